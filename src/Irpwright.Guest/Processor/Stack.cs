using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>push pop enter leave pushfq popfq.</summary>
static unsafe class Stack<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Push<TWidth, TFrom>(Cpu* cpu, Op* op) where TWidth : struct, IWidth where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load(from);
        ulong stack = cpu->Rsp - (uint)TWidth.Size;
        byte* to = TMode.Translate(cpu, op, stack, TWidth.Size, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        TWidth.Store(to, value);
        cpu->Rsp = stack;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Pop<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = TMode.Translate(cpu, op, cpu->Rsp, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load(from);
        cpu->Rsp += (uint)TWidth.Size;
        TWidth.StoreRegister((byte*)cpu + op->Destination, value);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>An address that uses rsp sees it already popped; if the store faults, nothing was.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* PopMemory<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = TMode.Translate(cpu, op, cpu->Rsp, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        cpu->Rsp += (uint)TWidth.Size;
        byte* to = Far.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (to == null)
        {
            cpu->Rsp -= (uint)TWidth.Size;
            return TMode.Missed(cpu, op);
        }
        TWidth.Store(to, TWidth.Load(from));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>enter without nesting: saves rbp and makes room.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Enter(Cpu* cpu, Op* op)
    {
        ulong frame = cpu->Rsp - 8;
        byte* to = TMode.Translate(cpu, op, frame, 8, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(ulong*)to = cpu->Rbp;
        cpu->Rbp = frame;
        cpu->Rsp = frame - op->Immediate;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Leave(Cpu* cpu, Op* op)
    {
        byte* from = TMode.Translate(cpu, op, cpu->Rbp, 8, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        cpu->Rsp = cpu->Rbp + 8;
        cpu->Rbp = *(ulong*)from;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* PushFlags(Cpu* cpu, Op* op)
    {
        ulong stack = cpu->Rsp - 8;
        byte* to = TMode.Translate(cpu, op, stack, 8, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(ulong*)to = cpu->Rflags;
        cpu->Rsp = stack;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* PopFlags(Cpu* cpu, Op* op)
    {
        byte* from = TMode.Translate(cpu, op, cpu->Rsp, 8, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        ulong flags = *(ulong*)from;
        if ((flags & Rflag.Trap) != 0) return Stop.Because(cpu, op, StopReason.SingleStep);
        cpu->Rsp += 8;
        uint changed = cpu->SystemFlags ^ (uint)flags;
        cpu->Rflags = flags;
        if ((changed & Rflag.Interrupt) == 0 || cpu->OnInterruptFlag == null) return TMode.Next(cpu, op + 1);
        return Control<TMode>.TellInterruptFlag(cpu, op);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push when instruction.Op0Kind != OpKind.Register || instruction.Op0Register.IsGPR():
                ref Op push = ref chain.AddWithOperands<TMode>(instruction);
                bool wide = instruction.StackPointerIncrement == -8;
                push.Handler = (instruction.Op0Kind, wide) switch
                {
                    (OpKind.Register, true) => &Push<W64, First>,
                    (OpKind.Register, false) => &Push<W16, First>,
                    (OpKind.Memory, true) => &Push<W64, Far>,
                    (OpKind.Memory, false) => &Push<W16, Far>,
                    (_, true) => &Push<W64, Constant>,
                    _ => &Push<W16, Constant>,
                };
                return true;
            case Mnemonic.Pop when instruction.Op0Kind == OpKind.Memory || instruction.Op0Register.IsGPR():
                ref Op pop = ref chain.AddWithOperands<TMode>(instruction);
                bool eight = instruction.StackPointerIncrement == 8;
                pop.Handler = pop.IsMemory ? eight ? &PopMemory<W64> : &PopMemory<W16> : eight ? &Pop<W64> : &Pop<W16>;
                return true;
            case Mnemonic.Leave when instruction.Code == Code.Leaveq:
                chain.Add(instruction).Handler = &Leave;
                return true;
            case Mnemonic.Enter when instruction.Code == Code.Enterq_imm16_imm8 && instruction.Immediate8_2nd == 0:
                ref Op enter = ref chain.Add(instruction);
                enter.Immediate = instruction.Immediate16;
                enter.Handler = &Enter;
                return true;
            case Mnemonic.Pushfq:
                chain.Add(instruction).Handler = &PushFlags;
                return true;
            case Mnemonic.Popfq:
                chain.Add(instruction).Handler = &PopFlags;
                return true;
            default:
                return false;
        }
    }
}
