using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Finding operations by address.</summary>
static unsafe class Branch
{
    /// <summary>The operation for a guest address; never null.</summary>
    public static Op* Find(Cpu* cpu, ulong rip)
    {
        Op* op = TryFind(cpu, rip);
        return op != null ? op : FindSlowly(cpu, rip);
    }

    /// <summary>The operation for a guest address that was met before.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* TryFind(Cpu* cpu, ulong rip)
    {
        if ((rip ^ cpu->CodeBase) >= GuestMemory.SliceSize) return null;
        Op** page = cpu->CodePages[(uint)rip >> GuestMemory.PageShift];
        return page == null ? null : page[rip & (GuestMemory.PageSize - 1)];
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* FindSlowly(Cpu* cpu, ulong rip) => Interpreter.Of(cpu).Translate(cpu, rip);

    /// <summary>The chain ends; the reason is recorded.</summary>
    public static Op* Halt(Cpu* cpu, Op* op) => null;

    public static Op* EndRun(Cpu* cpu, Op* op)
    {
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->Stop = StopReason.Returned;
        return null;
    }
}

/// <summary>jmp call ret jcc setcc cmovcc, and calls into C#.</summary>
static unsafe class Branch<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Trap(Cpu* cpu, Op* op)
    {
        ulong address = cpu->CodeBase + op->Offset;
        cpu->Rip = address;
        cpu->OnTrap(cpu, address);
        if (cpu->Stop != StopReason.None) return null;
        return ReturnToCaller(cpu, op);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Thunk(Cpu* cpu, Op* op)
    {
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnThunk(cpu, (nint)op->Immediate);
        if (cpu->Stop != StopReason.None) return null;
        return ReturnToCaller(cpu, op);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Op* ReturnToCaller(Cpu* cpu, Op* op)
    {
        // Whatever happens now, the routine is not called again.
        byte* from = TMode.TranslateNow(cpu, op, cpu->Rsp, 8, PageAccess.Read);
        if (from == null) return null;
        cpu->Rsp += 8;
        return GoTo(cpu, *(ulong*)from);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Link(Cpu* cpu, Op* op)
    {
        Op* target = Branch.Find(cpu, op->Immediate);
        // A target that cannot be executed now may be later: only a real one is remembered. Threads may race to store the same value.
        if (cpu->Stop == StopReason.None) Volatile.Write(ref *(nint*)&op->Target->Target, (nint)target);
        return TMode.Next(cpu, target);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Continue(Cpu* cpu, Op* op) => TMode.Next(cpu, op->Target);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Stale(Cpu* cpu, Op* op) => TMode.Next(cpu, Branch.Find(cpu, cpu->CodeBase + op->Offset));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Jump(Cpu* cpu, Op* op)
    {
        if (--cpu->Budget < 0) return Spent(cpu, op);
        return TMode.Next(cpu, op->Target);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* JumpIf<TCondition>(Cpu* cpu, Op* op) where TCondition : struct, ICondition
    {
        if (!TCondition.Of(cpu->Flags)) return TMode.Next(cpu, op + 1);
        if (--cpu->Budget < 0) return Spent(cpu, op);
        return TMode.Next(cpu, op->Target);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* JumpIndirect<TFrom>(Cpu* cpu, Op* op) where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, 8, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        return GoTo(cpu, *(ulong*)from);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Call(Cpu* cpu, Op* op)
    {
        ulong stack = cpu->Rsp - 8;
        byte* to = TMode.Translate(cpu, op, stack, 8, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(ulong*)to = op->Immediate;
        cpu->Rsp = stack;
        if (--cpu->Budget < 0) return Spent(cpu, op);
        return TMode.Next(cpu, op->Target);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* CallIndirect<TFrom>(Cpu* cpu, Op* op) where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, 8, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        ulong target = *(ulong*)from;
        ulong stack = cpu->Rsp - 8;
        byte* to = TMode.Translate(cpu, op, stack, 8, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(ulong*)to = op->Immediate;
        cpu->Rsp = stack;
        return GoTo(cpu, target);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Return(Cpu* cpu, Op* op)
    {
        byte* from = TMode.Translate(cpu, op, cpu->Rsp, 8, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        ulong target = *(ulong*)from;
        cpu->Rsp += 8 + op->Immediate;
        return GoTo(cpu, target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Op* GoTo(Cpu* cpu, ulong target)
    {
        if (--cpu->Budget < 0) return Stop.At(cpu, target, StopReason.BudgetSpent);
        Op* op = Branch.TryFind(cpu, target);
        if (op == null) return cpu->OnUnknown(cpu, target);
        return TMode.Next(cpu, op);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Unknown(Cpu* cpu, ulong target) => TMode.Next(cpu, Branch.FindSlowly(cpu, target));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Set<TCondition>(Cpu* cpu, Op* op) where TCondition : struct, ICondition
    {
        byte* to = RegisterOrMemory.Locate<TMode>(cpu, op, 1, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *to = TCondition.Of(cpu->Flags) ? (byte)1 : (byte)0;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>
    /// The source is read, and may fault, even if the condition does not hold; a 32-bit destination is extended either way.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* MoveIf<TCondition, TWidth>(Cpu* cpu, Op* op) where TCondition : struct, ICondition where TWidth : struct, IWidth
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        byte* to = (byte*)cpu + op->Destination;
        ulong value = TWidth.Load(from), old = TWidth.Load(to);
        TWidth.StoreRegister(to, TCondition.Of(cpu->Flags) ? value : old);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* JumpIfCounterZero<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (TWidth.Load((byte*)&cpu->Rcx) != 0) return TMode.Next(cpu, op + 1);
        if (--cpu->Budget < 0) return Spent(cpu, op);
        return TMode.Next(cpu, op->Target);
    }

    /// <summary>loop loope loopne: counts down, flags untouched.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* CountDown<TCondition, TWidth>(Cpu* cpu, Op* op) where TCondition : struct, ICondition where TWidth : struct, IWidth
    {
        ulong count = TWidth.Load((byte*)&cpu->Rcx) - 1;
        TWidth.StoreRegister((byte*)&cpu->Rcx, count);
        if (TWidth.Extend(count) == 0 || !TCondition.Of(cpu->Flags)) return TMode.Next(cpu, op + 1);
        if (--cpu->Budget < 0) return Spent(cpu, op);
        return TMode.Next(cpu, op->Target);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* Spent(Cpu* cpu, Op* op) => Stop.Because(cpu, op->Target, StopReason.BudgetSpent);

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        if (instruction.IsLoop || instruction.IsLoopcc) return TryEmitCountDown(chain, instruction);
        if (instruction.ConditionCode != ConditionCode.None) return TryEmitConditional(chain, instruction);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Jmp or Mnemonic.Call when instruction.IsJmpShortOrNear || instruction.IsCallNear:
                ref Op direct = ref chain.Add(instruction);
                direct.Immediate = instruction.NextIP;
                direct.Handler = instruction.Mnemonic == Mnemonic.Call ? &Call : &Jump;
                chain.LinkTo(instruction.NearBranchTarget);
                return true;
            case Mnemonic.Jmp or Mnemonic.Call when instruction.IsJmpNearIndirect || instruction.IsCallNearIndirect:
                ref Op indirect = ref chain.AddWithOperands<TMode>(instruction);
                indirect.Immediate = instruction.NextIP;
                bool calls = instruction.Mnemonic == Mnemonic.Call;
                indirect.Handler = OperandEncoding.FormOf(instruction, indirect) switch
                {
                    Form.Register => calls ? &CallIndirect<First> : &JumpIndirect<First>,
                    Form.Near => calls ? &CallIndirect<Near> : &JumpIndirect<Near>,
                    _ => calls ? &CallIndirect<Far> : &JumpIndirect<Far>,
                };
                return true;
            case Mnemonic.Ret:
                ref Op ret = ref chain.Add(instruction);
                ret.Immediate = instruction.OpCount > 0 ? instruction.Immediate16 : 0u;
                ret.Handler = &Return;
                return true;
            case Mnemonic.Jrcxz or Mnemonic.Jecxz:
                chain.Add(instruction).Handler = instruction.Mnemonic == Mnemonic.Jrcxz ? &JumpIfCounterZero<W64> : &JumpIfCounterZero<W32>;
                chain.LinkTo(instruction.NearBranchTarget);
                return true;
            default:
                return false;
        }
    }

    static bool TryEmitCountDown(Chain chain, in Instruction instruction)
    {
        Handler handler = instruction.Code switch
        {
            Code.Loop_rel8_64_RCX => &CountDown<Always, W64>,
            Code.Loop_rel8_64_ECX => &CountDown<Always, W32>,
            Code.Loope_rel8_64_RCX => &CountDown<Equal, W64>,
            Code.Loope_rel8_64_ECX => &CountDown<Equal, W32>,
            Code.Loopne_rel8_64_RCX => &CountDown<Not<Equal>, W64>,
            Code.Loopne_rel8_64_ECX => &CountDown<Not<Equal>, W32>,
            _ => null,
        };
        if (handler == null) return false;
        chain.Add(instruction).Handler = handler;
        chain.LinkTo(instruction.NearBranchTarget);
        return true;
    }

    static bool TryEmitConditional(Chain chain, in Instruction instruction) => instruction.ConditionCode switch
    {
        ConditionCode.o => TryEmitIf<Overflow>(chain, instruction),
        ConditionCode.no => TryEmitIf<Not<Overflow>>(chain, instruction),
        ConditionCode.b => TryEmitIf<Below>(chain, instruction),
        ConditionCode.ae => TryEmitIf<Not<Below>>(chain, instruction),
        ConditionCode.e => TryEmitIf<Equal>(chain, instruction),
        ConditionCode.ne => TryEmitIf<Not<Equal>>(chain, instruction),
        ConditionCode.be => TryEmitIf<BelowOrEqual>(chain, instruction),
        ConditionCode.a => TryEmitIf<Not<BelowOrEqual>>(chain, instruction),
        ConditionCode.s => TryEmitIf<Negative>(chain, instruction),
        ConditionCode.ns => TryEmitIf<Not<Negative>>(chain, instruction),
        ConditionCode.p => TryEmitIf<EvenParity>(chain, instruction),
        ConditionCode.np => TryEmitIf<Not<EvenParity>>(chain, instruction),
        ConditionCode.l => TryEmitIf<Less>(chain, instruction),
        ConditionCode.ge => TryEmitIf<Not<Less>>(chain, instruction),
        ConditionCode.le => TryEmitIf<LessOrEqual>(chain, instruction),
        _ => TryEmitIf<Not<LessOrEqual>>(chain, instruction),
    };

    static bool TryEmitIf<TCondition>(Chain chain, in Instruction instruction) where TCondition : struct, ICondition
    {
        if (instruction.IsJccShortOrNear)
        {
            chain.Add(instruction).Handler = &JumpIf<TCondition>;
            chain.LinkTo(instruction.NearBranchTarget);
            return true;
        }
        if (instruction.OpCount == 1)
        {
            chain.AddWithRegisterOrMemory<TMode>(instruction, 0).Handler = &Set<TCondition>;
            return true;
        }
        if (instruction.OpCount != 2 || instruction.Op0Kind != OpKind.Register || !instruction.Op0Register.IsGPR()) return false;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Handler = instruction.Op0Register.GetSize() switch
        {
            2 => &MoveIf<TCondition, W16>,
            4 => &MoveIf<TCondition, W32>,
            _ => &MoveIf<TCondition, W64>,
        };
        return true;
    }
}
