using Iced.Intel;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>One way to write an instruction: its encoding, register or memory operand, prefix.</summary>
readonly record struct InstructionForm(Code Code, bool Memory, bool Lock, bool Rep, bool Repne)
{
    public override string ToString() =>
        $"{(Lock ? "lock " : "")}{(Rep ? "rep " : "")}{(Repne ? "repne " : "")}{Code}{(Memory ? " [m]" : "")}";
}

/// <summary>Every instruction form of 64-bit code that can be executed by itself, and random instances of it.</summary>
static class InstructionForms
{
    static readonly Register[] Bytes =
    [
        Register.AL, Register.CL, Register.DL, Register.BL, Register.AH, Register.CH, Register.DH, Register.BH,
        Register.BPL, Register.SIL, Register.DIL, Register.R8L, Register.R9L, Register.R12L,
    ];

    public static IEnumerable<InstructionForm> All =>
        from code in Enum.GetValues<Code>()
        where IsCandidate(code)
        from form in Variants(code)
        select form;

    static bool IsCandidate(Code code)
    {
        OpCodeInfo info = code.ToOpCode();
        if (!info.IsInstruction || !info.Mode64 || info.AddressSize is 16 or 32) return false;
        if (info.Encoding != EncodingKind.Legacy && !IsBitField(code)) return false;
        Instruction probe = default;
        probe.Code = code;
        if (probe.FlowControl != FlowControl.Next || probe.IsPrivileged || probe.IsStackInstruction) return false;
        return code.Mnemonic() is not (Mnemonic.Cpuid or Mnemonic.Rdtsc or Mnemonic.Rdtscp or Mnemonic.Pause
            or Mnemonic.Leave or Mnemonic.Enter or Mnemonic.Pushfq or Mnemonic.Popfq or Mnemonic.Cli or Mnemonic.Sti or Mnemonic.Std
            or Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr or Mnemonic.Wbinvd or Mnemonic.Reservednop
            or Mnemonic.In or Mnemonic.Out or Mnemonic.Rdpmc
            or Mnemonic.Prefetchw or Mnemonic.Prefetch or Mnemonic.Clflush
            or Mnemonic.Str or Mnemonic.Sldt or Mnemonic.Smsw or Mnemonic.Sgdt or Mnemonic.Sidt
            or Mnemonic.Fxsave or Mnemonic.Fxsave64 or Mnemonic.Fxrstor or Mnemonic.Fxrstor64
            or Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase);
    }

    /// <summary>The instructions on general registers that are encoded as vector instructions are.</summary>
    static bool IsBitField(Code code) => code.ToOpCode().Encoding == EncodingKind.VEX
        && code.CpuidFeatures() is [CpuidFeature.BMI1 or CpuidFeature.BMI2];

    static IEnumerable<InstructionForm> Variants(Code code)
    {
        OpCodeInfo info = code.ToOpCode();
        bool hasRegister = true, hasMemory = false;
        for (int i = 0; i < info.OpCount; i++)
        {
            OpCodeOperandKind kind = info.GetOpKind(i);
            if (kind.ToString().EndsWith("_or_mem", StringComparison.Ordinal)) hasMemory = true;
            if (kind is OpCodeOperandKind.mem) (hasMemory, hasRegister) = (true, false);
        }
        if (hasRegister) yield return new(code, false, false, false, false);
        if (hasMemory) yield return new(code, true, false, false, false);
        if (hasMemory && info.CanUseLockPrefix) yield return new(code, true, true, false, false);
        if (info.CanUseRepPrefix && !hasMemory) yield return new(code, false, false, true, false);
        if (info.CanUseRepnePrefix && !hasMemory) yield return new(code, false, false, false, true);
    }

    /// <summary>An instance with random registers, constants and address form; false for operands that this cannot write.</summary>
    public static bool TryCreate(InstructionForm form, Random random, out Instruction instruction)
    {
        instruction = default;
        instruction.Code = form.Code;
        instruction.HasLockPrefix = form.Lock;
        instruction.HasRepPrefix = form.Rep;
        instruction.HasRepnePrefix = form.Repne;
        OpCodeInfo info = form.Code.ToOpCode();
        bool legacyByteRegister = false, needsRex = form.Memory;
        for (int i = 0; i < info.OpCount; i++)
        {
            if (!TrySetOperand(ref instruction, i, info.GetOpKind(i), form.Memory, random)) return false;
            if (instruction.GetOpKind(i) != OpKind.Register) continue;
            legacyByteRegister |= instruction.GetOpRegister(i) is >= Register.AH and <= Register.BH;
            needsRex |= instruction.GetOpRegister(i) is >= Register.SPL and <= Register.R15L;
        }
        return !(legacyByteRegister && needsRex);
    }

    static bool TrySetOperand(ref Instruction instruction, int operand, OpCodeOperandKind kind, bool memory, Random random)
    {
        string name = kind.ToString();
        if (kind == OpCodeOperandKind.mem || (memory && name.EndsWith("_or_mem", StringComparison.Ordinal)))
        {
            SetMemory(ref instruction, operand, random);
            return true;
        }
        Register register = kind switch
        {
            OpCodeOperandKind.al => Register.AL,
            OpCodeOperandKind.cl => Register.CL,
            OpCodeOperandKind.ax => Register.AX,
            OpCodeOperandKind.eax => Register.EAX,
            OpCodeOperandKind.rax => Register.RAX,
            OpCodeOperandKind.r8_or_mem or OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode => Bytes[random.Next(Bytes.Length)],
            OpCodeOperandKind.r16_or_mem or OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_opcode or OpCodeOperandKind.r16_rm
                => General(Register.AX, random),
            OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_opcode or OpCodeOperandKind.r32_rm
                or OpCodeOperandKind.r32_vvvv
                => General(Register.EAX, random),
            OpCodeOperandKind.r64_or_mem or OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_opcode or OpCodeOperandKind.r64_rm
                or OpCodeOperandKind.r64_vvvv
                => General(Register.RAX, random),
            OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_rm => Register.XMM0 + random.Next(16),
            _ => Register.None,
        };
        if (register != Register.None)
        {
            instruction.SetOpKind(operand, OpKind.Register);
            instruction.SetOpRegister(operand, register);
            return true;
        }
        return TrySetImplicit(ref instruction, operand, kind) || TrySetImmediate(ref instruction, operand, kind, random);
    }

    /// <summary>Any register but rsp, and none of r10, r11, r14, r15, which addresses use.</summary>
    static Register General(Register first, Random random)
    {
        int number = random.Next(10);
        return first + (number == 4 ? 12 : number);
    }

    static bool TrySetImplicit(ref Instruction instruction, int operand, OpCodeOperandKind kind)
    {
        OpKind? implied = kind switch
        {
            OpCodeOperandKind.seg_rSI => OpKind.MemorySegRSI,
            OpCodeOperandKind.es_rDI => OpKind.MemoryESRDI,
            OpCodeOperandKind.seg_rDI => OpKind.MemorySegRDI,
            _ => null,
        };
        if (kind == OpCodeOperandKind.seg_rBX_al)
        {
            instruction.SetOpKind(operand, OpKind.Memory);
            (instruction.MemoryBase, instruction.MemoryIndex) = (Register.RBX, Register.AL);
            return true;
        }
        if (implied is not { } value) return false;
        instruction.SetOpKind(operand, value);
        return true;
    }

    static bool TrySetImmediate(ref Instruction instruction, int operand, OpCodeOperandKind kind, Random random)
    {
        ulong value = OperandValues.Integer(random);
        switch (kind)
        {
            case OpCodeOperandKind.imm8_const_1:
                instruction.SetOpKind(operand, OpKind.Immediate8);
                instruction.Immediate8 = 1;
                return true;
            case OpCodeOperandKind.imm8:
                instruction.SetOpKind(operand, OpKind.Immediate8);
                instruction.Immediate8 = (byte)value;
                return true;
            case OpCodeOperandKind.imm8sex16:
                instruction.SetOpKind(operand, OpKind.Immediate8to16);
                instruction.Immediate8to16 = (sbyte)value;
                return true;
            case OpCodeOperandKind.imm8sex32:
                instruction.SetOpKind(operand, OpKind.Immediate8to32);
                instruction.Immediate8to32 = (sbyte)value;
                return true;
            case OpCodeOperandKind.imm8sex64:
                instruction.SetOpKind(operand, OpKind.Immediate8to64);
                instruction.Immediate8to64 = (sbyte)value;
                return true;
            case OpCodeOperandKind.imm16:
                instruction.SetOpKind(operand, OpKind.Immediate16);
                instruction.Immediate16 = (ushort)value;
                return true;
            case OpCodeOperandKind.imm32:
                instruction.SetOpKind(operand, OpKind.Immediate32);
                instruction.Immediate32 = (uint)value;
                return true;
            case OpCodeOperandKind.imm32sex64:
                instruction.SetOpKind(operand, OpKind.Immediate32to64);
                instruction.Immediate32to64 = (int)value;
                return true;
            case OpCodeOperandKind.imm64:
                instruction.SetOpKind(operand, OpKind.Immediate64);
                instruction.Immediate64 = value;
                return true;
            default:
                return false;
        }
    }

    static void SetMemory(ref Instruction instruction, int operand, Random random)
    {
        instruction.SetOpKind(operand, OpKind.Memory);
        instruction.MemoryBase = random.Next(2) == 0 ? Register.R14 : Register.R15;
        if (random.Next(2) == 0)
        {
            instruction.MemoryIndex = random.Next(2) == 0 ? Register.R10 : Register.R11;
            instruction.MemoryIndexScale = 1 << random.Next(4);
        }
        instruction.MemoryDisplacement64 = (ulong)(random.Next(8) * 16);
        instruction.MemoryDisplSize = 8;
    }
}

/// <summary>Operand values: edges as often as random bits.</summary>
static class OperandValues
{
    static readonly ulong[] Edges =
    [
        0, 1, 2, 7, 8, 15, 16, 31, 32, 33, 63, 64, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
        0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x1_0000_0000, 0x7FFFFFFF_FFFFFFFF, 0x80000000_00000000, 0xFFFFFFFF_80000000,
        0xFFFFFFFF_FFFFFFFF, 0xFFFFFFFF_FFFFFFFE, 0x55555555_55555555, 0xAAAAAAAA_AAAAAAAA,
    ];

    static readonly double[] Doubles =
    [
        0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 3.25, 1e10, -1e10, 1e300, -1e300, 1e-310, 2147483647, 2147483648,
        -2147483648, -2147483649, 9.3e18, 9007199254740993,
        double.NaN, double.PositiveInfinity, double.NegativeInfinity, double.Epsilon, double.MaxValue,
    ];

    public static ulong Integer(Random random) => random.Next(4) switch
    {
        0 => Edges[random.Next(Edges.Length)],
        1 => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
        2 => (ulong)random.Next(-256, 256),
        _ => Edges[random.Next(Edges.Length)] ^ (1UL << random.Next(64)),
    };

    /// <summary>Half of a vector register: integers, a double, or two floats.</summary>
    public static ulong Vector(Random random) => random.Next(3) switch
    {
        0 => Integer(random),
        1 => BitConverter.DoubleToUInt64Bits(Number(random)),
        _ => BitConverter.SingleToUInt32Bits((float)Number(random)) | (ulong)BitConverter.SingleToUInt32Bits((float)Number(random)) << 32,
    };

    static double Number(Random random) => Doubles[random.Next(Doubles.Length)];
}
