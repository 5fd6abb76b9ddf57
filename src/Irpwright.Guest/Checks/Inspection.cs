using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Checks;

/// <summary>
/// A close look at one instruction before it is carried out: whether it may touch the memory that it names, and which bytes of what it
/// makes depend on memory that nobody has written.
/// </summary>
/// <remarks>
/// Copying what nobody has written is no error, or every padding byte of a structure were one. It is one to decide by it, to use it as
/// an address, or to pass it to the kernel. A byte is the smallest thing with a state: where bits are changed one by one, and in vector
/// arithmetic, the result counts as written. So some errors are missed, and none is made up.
/// </remarks>
readonly unsafe ref struct Inspection
{
    readonly Cpu* cpu;
    readonly Op* op;
    readonly InspectionPlan* plan;
    readonly byte* state;
    readonly MemoryChecks checks;
    readonly ulong rip;

    Inspection(Cpu* cpu, Op* op)
    {
        this.cpu = cpu;
        this.op = op;
        plan = (InspectionPlan*)op->Target;
        state = (byte*)CheckState.Of(cpu);
        checks = Interpreter.Of(cpu).Checks!;
        rip = cpu->CodeBase + op->Offset;
        cpu->Rip = rip;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Run(Cpu* cpu, Op* op) => new Inspection(cpu, op).Run();

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void LeaveFrame(Cpu* cpu, Op* op)
    {
        cpu->Rip = cpu->CodeBase + op->Offset;
        Interpreter.Of(cpu).Checks!.LeaveFrame(cpu, cpu->Rip);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void RunPageable(Cpu* cpu, Op* op)
    {
        ulong address = cpu->CodeBase + op->Offset;
        cpu->Rip = address;
        Interpreter.Of(cpu).Checks!.RequireResident(cpu, address, PageAccess.Execute, address);
    }

    /// <summary>Room on the stack that nobody has written.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Lower(Cpu* cpu, ulong from, ulong length)
    {
        const ulong most = 24 << 10;
        if (length - 1 >= most || from < cpu->StackLimit || ((from ^ cpu->CodeBase) & GuestAccess.OutsideKernel) != 0) return;
        if (!GuestMemory.TryTranslate(from, length, PageAccess.Write, out byte* host, out _)) return;
        new Span<byte>(host, (int)length).Fill(MemoryShadow.FreshFill);
        new Span<byte>(CheckState.Of(cpu)->Memory + (uint)from, (int)length).Fill((byte)ByteState.Uninitialized);
    }

    ref readonly Instruction Instruction => ref plan->Instruction;

    static ulong Low(int size) => size >= 8 ? InspectionPlan.EveryByte : InspectionPlan.EveryByte >> (64 - 8 * size);

    static ulong All(ulong any, int size) => any == 0 ? 0 : Low(size);

    /// <summary>What a carry may change: everything from the first such byte up.</summary>
    static ulong Upwards(ulong unwritten, int size) => (unwritten | 0 - unwritten) & Low(size);

    void Run()
    {
        if (plan->UsesOtherRegisters) Mix();
        else Look();
        if (plan->JumpFollows) Jump();
    }

    void Look()
    {
        switch (Instruction.Mnemonic)
        {
            case Mnemonic.Mov or Mnemonic.Movnti or Mnemonic.Not:
                Write(0, Read(Instruction.Mnemonic == Mnemonic.Not ? 0 : 1));
                break;
            case Mnemonic.Movzx:
                Write(0, Read(1));
                break;
            case Mnemonic.Movsx or Mnemonic.Movsxd:
                Write(0, SignExtend(Read(1), OperandEncoding.SizeOf(Instruction, 1)));
                break;
            case Mnemonic.Cdqe or Mnemonic.Cwde or Mnemonic.Cbw:
                int half = Instruction.Mnemonic switch { Mnemonic.Cdqe => 4, Mnemonic.Cwde => 2, _ => 1 };
                SetRegister(0, 2 * half, SignExtend(Register(0, half), half));
                break;
            case Mnemonic.Cqo or Mnemonic.Cdq or Mnemonic.Cwd:
                int whole = Instruction.Mnemonic switch { Mnemonic.Cqo => 8, Mnemonic.Cdq => 4, _ => 2 };
                SetRegister(0x10, whole, All(Register(0, whole) >> (8 * (whole - 1)) & 1, whole));
                break;
            case Mnemonic.Add or Mnemonic.Adc or Mnemonic.Sub or Mnemonic.Sbb or Mnemonic.Cmp:
                Arithmetic();
                break;
            case Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test:
                Logic();
                break;
            case Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Neg:
                ulong one = Read(0);
                SetFlags(one);
                Write(0, Upwards(one, 8));
                break;
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar when OperandEncoding.IsImmediate(Instruction.Op1Kind):
                Shift();
                break;
            case Mnemonic.Bswap:
                int size = OperandEncoding.SizeOf(Instruction, 0);
                Write(0, System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(Read(0)) >> (64 - 8 * size));
                break;
            case Mnemonic.Xchg:
                (ulong left, ulong right) = (Read(0), Read(1));
                Write(0, right);
                Write(1, left);
                break;
            case Mnemonic.Push:
                ulong pushed = Read(0);
                int slot = -Instruction.StackPointerIncrement;
                Store(cpu->Rsp - (ulong)slot, slot, pushed);
                break;
            case Mnemonic.Pop:
                Write(0, Slot(cpu->Rsp, Instruction.StackPointerIncrement));
                break;
            case Mnemonic.Leave:
                SetRegister(0x28, 8, Slot(cpu->Rbp, 8));
                break;
            case Mnemonic.Jmp or Mnemonic.Call:
                if (Read(0) != 0) Unwritten(UninitializedUse.Address);
                break;
            case Mnemonic.Movdqa or Mnemonic.Movdqu or Mnemonic.Movaps or Mnemonic.Movups or Mnemonic.Movapd or Mnemonic.Movupd or Mnemonic.Movq
                or Mnemonic.Movd or Mnemonic.Movntdq or Mnemonic.Movntps or Mnemonic.Lddqu:
                MoveVector();
                break;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc or Mnemonic.Xlatb or Mnemonic.Maskmovdqu
                when plan->ReadsMemory || plan->WritesMemory || Instruction.Mnemonic is Mnemonic.Xlatb or Mnemonic.Maskmovdqu:
                // Their address is not the operand's: only what makes it is looked at.
                RequireWrittenAddress();
                SetOutputs(0);
                break;
            default:
                if (Instruction.IsJccShortOrNear) Jump();
                else if (Instruction.IsLoop || Instruction.IsLoopcc || Instruction.IsJkccShortOrNear || Instruction.IsJcxShort) CountedJump();
                else if (Instruction.IsStringInstruction) Strings();
                else if (Instruction.ConditionCode != ConditionCode.None && Instruction.OpCount == 2) MoveIf();
                else Mix();
                break;
        }
    }

    // ---- Kinds of instructions

    void Arithmetic()
    {
        ulong sources = Read(0);
        bool isSame = Instruction.Op1Kind == OpKind.Register && Instruction.Op0Kind == OpKind.Register && Instruction.Op0Register == Instruction.Op1Register;
        // x - x is 0 whatever x is; with borrow it depends on the borrow.
        bool isKnown = isSame && Instruction.Mnemonic is Mnemonic.Sub or Mnemonic.Sbb or Mnemonic.Cmp;
        sources = isSame && isKnown ? 0 : sources | Read(1);
        if (Instruction.Mnemonic is Mnemonic.Adc or Mnemonic.Sbb && state[CheckState.FlagsOffset] != 0) sources |= 1;
        SetFlags(sources);
        if (Instruction.Mnemonic != Mnemonic.Cmp) Write(0, Upwards(sources, 8));
    }

    void Logic()
    {
        ulong left = Read(0), result;
        if (OperandEncoding.IsImmediate(Instruction.Op1Kind))
        {
            ulong constant = Instruction.GetImmediate(1);
            ulong kept = 0;
            for (int i = 0; i < 8; i++)
            {
                byte bits = (byte)(constant >> (8 * i));
                // Whole bytes that stay as they are. Bits of a byte are changed, or picked, one by one: that a byte does not tell.
                bool stays = Instruction.Mnemonic switch
                {
                    Mnemonic.And => bits == 0xFF,
                    Mnemonic.Test => bits != 0,
                    Mnemonic.Or => bits == 0,
                    _ => true,
                };
                if (stays) kept |= 1UL << (8 * i);
            }
            result = left & kept;
        }
        else
        {
            bool isSame = Instruction.Op0Kind == OpKind.Register && Instruction.Op1Kind == OpKind.Register && Instruction.Op0Register == Instruction.Op1Register;
            result = isSame && Instruction.Mnemonic == Mnemonic.Xor ? 0 : left | Read(1);
        }
        SetFlags(result);
        if (Instruction.Mnemonic != Mnemonic.Test) Write(0, result);
    }

    void Shift()
    {
        int size = OperandEncoding.SizeOf(Instruction, 0), count = Instruction.Immediate8 & (size == 8 ? 63 : 31), bytes = count / 8;
        ulong value = Read(0), shifted;
        if (Instruction.Mnemonic is Mnemonic.Shl or Mnemonic.Sal)
        {
            shifted = value << (8 * bytes);
            if (count % 8 != 0) shifted |= shifted << 8;
        }
        else
        {
            ulong wide = Instruction.Mnemonic == Mnemonic.Sar ? SignExtend(value, size) : value;
            shifted = wide >> (8 * bytes);
            if (count % 8 != 0) shifted |= shifted >> 8;
            if (Instruction.Mnemonic == Mnemonic.Sar && bytes > 0 && (wide >> 56 & 1) != 0) shifted |= InspectionPlan.EveryByte << (8 * (8 - bytes));
        }
        SetFlags(value);
        Write(0, shifted & Low(size));
    }

    void MoveIf()
    {
        ulong either = Read(0) | Read(1);
        int size = OperandEncoding.SizeOf(Instruction, 0);
        Write(0, state[CheckState.FlagsOffset] != 0 ? Low(size) : either);
    }

    /// <summary>What depends on anything depends on it as a whole.</summary>
    void Mix()
    {
        ulong any = plan->ReadsFlags ? state[CheckState.FlagsOffset] : 0u;
        if (plan->ReadsMemory || plan->WritesMemory) RequireWrittenAddress();
        if (plan->ReadsMemory || plan->WritesMemory)
        {
            ulong address = Far.Address(cpu, op);
            for (int i = 0; i < plan->MemorySize; i += 8)
            {
                int part = Math.Min(plan->MemorySize - i, 8);
                ulong found = Check(address + (ulong)i, part, plan->ReadsMemory, plan->WritesMemory);
                if (plan->ReadsMemory) any |= found;
            }
        }
        for (int i = 0; i < plan->InputCount; i++)
        {
            if (plan->Inputs[i] < Cpu.XmmOffset) any |= Register(plan->Inputs[i], plan->InputSizes[i]);
        }
        SetOutputs(plan->IsVector || Instruction.IsPrivileged ? 0 : any);
    }

    void SetOutputs(ulong any)
    {
        for (int i = 0; i < plan->OutputCount; i++)
        {
            if (plan->Outputs[i] >= Cpu.XmmOffset) new Span<byte>(state + plan->Outputs[i], 16).Clear();
            else SetRegister(plan->Outputs[i], plan->OutputSizes[i], All(any, plan->OutputSizes[i]));
        }
        if (plan->WritesMemory && op->IsMemory)
        {
            ulong address = Far.Address(cpu, op);
            for (int i = 0; i < plan->MemorySize; i += 8) SetMemory(address + (ulong)i, Math.Min(plan->MemorySize - i, 8), All(any, 8));
        }
        if (plan->WritesFlags) SetFlags(any);
    }

    void MoveVector()
    {
        bool toMemory = Instruction.Op0Kind == OpKind.Memory, fromMemory = Instruction.Op1Kind == OpKind.Memory;
        int size = toMemory || fromMemory ? plan->MemorySize
            : Math.Min(Instruction.Op0Register.GetSize(), Instruction.Op1Register.GetSize()) is var least && Instruction.Mnemonic == Mnemonic.Movq ? 8
            : Instruction.Mnemonic == Mnemonic.Movd ? 4 : least;
        ulong* parts = stackalloc ulong[2];
        parts[0] = parts[1] = 0;
        ulong address = 0;
        if (toMemory || fromMemory)
        {
            RequireWrittenAddress();
            address = Far.Address(cpu, op);
        }
        for (int i = 0; i < size; i += 8)
        {
            int part = Math.Min(size - i, 8);
            parts[i / 8] = fromMemory ? Check(address + (ulong)i, part, isRead: true, isWrite: false)
                : *(ulong*)(state + OperandEncoding.OffsetOf(Instruction.Op1Register) + i) & Low(part);
        }
        if (!toMemory)
        {
            ulong* to = (ulong*)(state + OperandEncoding.OffsetOf(Instruction.Op0Register));
            to[0] = parts[0];
            if (Instruction.Op0Register.IsXMM()) to[1] = parts[1];
            return;
        }
        for (int i = 0; i < size; i += 8)
        {
            int part = Math.Min(size - i, 8);
            Check(address + (ulong)i, part, isRead: false, isWrite: true);
            SetMemory(address + (ulong)i, part, parts[i / 8]);
        }
    }

    void Strings()
    {
        int size = Instruction.Mnemonic switch
        {
            Mnemonic.Movsb or Mnemonic.Stosb or Mnemonic.Lodsb or Mnemonic.Cmpsb or Mnemonic.Scasb or Mnemonic.Insb or Mnemonic.Outsb => 1,
            Mnemonic.Movsw or Mnemonic.Stosw or Mnemonic.Lodsw or Mnemonic.Cmpsw or Mnemonic.Scasw or Mnemonic.Insw or Mnemonic.Outsw => 2,
            Mnemonic.Movsq or Mnemonic.Stosq or Mnemonic.Lodsq or Mnemonic.Cmpsq or Mnemonic.Scasq => 8,
            _ => 4,
        };
        bool isRepeated = Instruction.HasRepPrefix || Instruction.HasRepnePrefix;
        bool compares = Instruction.RflagsWritten != RflagsBits.None;
        if (isRepeated && Register(0x08, 8) != 0) Unwritten(UninitializedUse.Condition);
        ulong count = isRepeated ? Math.Min(cpu->Rcx, GuestMemory.SliceSize) : 1;
        if (count == 0) return;
        // Where a comparison ends is not known yet: one element is certain.
        if (compares) count = 1;
        ulong length = count * (ulong)size;
        bool backwards = (cpu->SystemFlags & Rflag.Direction) != 0;
        ulong from = backwards ? cpu->Rsi - length + (ulong)size : cpu->Rsi, to = backwards ? cpu->Rdi - length + (ulong)size : cpu->Rdi;
        switch (Instruction.Mnemonic)
        {
            case Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq:
                checks.CheckRange(cpu, from, length, isWrite: false, rip);
                checks.CheckRange(cpu, to, length, isWrite: true, rip);
                checks.Copied(cpu, from, to, length);
                break;
            case Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq or Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd:
                checks.CheckRange(cpu, to, length, isWrite: true, rip);
                checks.Written(cpu, to, length);
                break;
            case Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq:
                SetRegister(0, size, Check(from, size, isRead: true, isWrite: false));
                break;
            case Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq:
                checks.CheckRange(cpu, to, length, isWrite: false, rip);
                SetFlags(0);
                break;
            default:
                checks.CheckRange(cpu, from, length, isWrite: false, rip);
                if (compares) checks.CheckRange(cpu, to, length, isWrite: false, rip);
                SetFlags(0);
                break;
        }
    }

    void Jump()
    {
        if (state[CheckState.FlagsOffset] != 0) Unwritten(UninitializedUse.Condition);
    }

    void CountedJump()
    {
        if (Register(0x08, 8) != 0 || plan->ReadsFlags && state[CheckState.FlagsOffset] != 0) Unwritten(UninitializedUse.Condition);
    }

    // ---- Operands

    ulong Read(int operand)
    {
        OpKind kind = Instruction.GetOpKind(operand);
        if (kind == OpKind.Register) return Register(OperandEncoding.OffsetOf(Instruction.GetOpRegister(operand)), Instruction.GetOpRegister(operand).GetSize());
        if (kind != OpKind.Memory) return 0;
        RequireWrittenAddress();
        return Check(Far.Address(cpu, op), plan->MemorySize, isRead: true, isWrite: plan->WritesMemory);
    }

    void Write(int operand, ulong unwritten)
    {
        if (Instruction.GetOpKind(operand) == OpKind.Register)
        {
            Register register = Instruction.GetOpRegister(operand);
            SetRegister(OperandEncoding.OffsetOf(register), register.GetSize(), unwritten);
            return;
        }
        ulong address = Far.Address(cpu, op);
        if (!plan->ReadsMemory)
        {
            RequireWrittenAddress();
            Check(address, plan->MemorySize, isRead: false, isWrite: true);
        }
        SetMemory(address, plan->MemorySize, unwritten);
    }

    ulong Register(int offset, int size) => *(ulong*)(state + offset) & Low(size);

    /// <summary>Writing 32 bits writes the whole register.</summary>
    void SetRegister(int offset, int size, ulong unwritten)
    {
        if (size >= 4) *(ulong*)(state + offset) = unwritten & Low(size);
        else if (size == 2) *(ushort*)(state + offset) = (ushort)(unwritten & 0x0101);
        else state[offset] = (byte)(unwritten & 1);
    }

    void SetFlags(ulong any) => state[CheckState.FlagsOffset] = any == 0 ? (byte)0 : (byte)1;

    static ulong SignExtend(ulong unwritten, int size) =>
        size < 8 && (unwritten >> (8 * (size - 1)) & 1) != 0 ? unwritten | InspectionPlan.EveryByte << (8 * size) : unwritten;

    void RequireWrittenAddress()
    {
        ulong parts = *(ulong*)(state + op->Base) | *(ulong*)(state + op->Index);
        if (parts != 0) Unwritten(UninitializedUse.Address);
    }

    /// <summary>The stack pointer itself is above suspicion.</summary>
    ulong Slot(ulong address, int size) => checks.IsWatched(cpu, address) ? checks.Unwritten(cpu, address, size) : 0;

    void Store(ulong address, int size, ulong unwritten) => SetMemory(address, size, unwritten);

    void SetMemory(ulong address, int size, ulong unwritten)
    {
        if (!checks.IsWatched(cpu, address)) return;
        byte* bytes = ((CheckState*)state)->Memory + (uint)address;
        for (int i = 0; i < size; i++) bytes[i] = (byte)(bytes[i] & ~(byte)ByteState.Uninitialized | (byte)(unwritten >> (8 * i) & 1));
    }

    /// <summary>Whether the instruction may touch memory, and which bytes of it nobody has written.</summary>
    ulong Check(ulong address, int size, bool isRead, bool isWrite)
    {
        if (!checks.IsWatched(cpu, address)) return 0;
        ByteState found = checks.CheckBytes(cpu, address, (ulong)size, isWrite, rip, *(ulong*)((byte*)cpu + op->Base));
        if ((found & ByteState.Exchanged) != 0 && Instruction.Mnemonic == Mnemonic.Mov && isWrite && size == 8) checks.ReportStored(address, rip);
        return isRead && (found & ByteState.Uninitialized) != 0 ? checks.Unwritten(cpu, address, size) : 0;
    }

    /// <summary>Reports, and takes the value as written from here on: one error is reported once.</summary>
    void Unwritten(UninitializedUse use)
    {
        checks.ReportUnwritten(cpu, use, rip);
        switch (use)
        {
            case UninitializedUse.Condition:
                state[CheckState.FlagsOffset] = 0;
                if (Instruction.IsStringInstruction || !Instruction.IsJccShortOrNear && !plan->JumpFollows) *(ulong*)(state + 0x08) = 0;
                break;
            default:
                *(ulong*)(state + op->Base) = *(ulong*)(state + op->Index) = 0;
                if (Instruction.Mnemonic is Mnemonic.Jmp or Mnemonic.Call && Instruction.Op0Kind == OpKind.Register)
                    *(ulong*)(state + OperandEncoding.OffsetOf(Instruction.Op0Register)) = 0;
                break;
        }
        // After a comparison with a register the register stays unwritten: not so.
        if (plan->JumpFollows || Instruction.IsJccShortOrNear) ForgetOperands();
    }

    void ForgetOperands()
    {
        for (int i = 0; i < plan->InputCount; i++)
        {
            if (plan->Inputs[i] < Cpu.XmmOffset) *(ulong*)(state + (plan->Inputs[i] & 0xFFF8)) = 0;
        }
    }
}
