using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// SSE to SSE4: what an instruction computes is in <see cref="VectorInteger"/>, <see cref="VectorShuffle"/> and
/// <see cref="VectorFloat"/>, how it gets its operands here.
/// </summary>
static unsafe class Vector<TMode> where TMode : struct, IMode
{
    /// <summary>
    /// Destination is a vector register; <see cref="Op.Target"/> holds the function, <see cref="Op.Extra"/> the operand size, bit 7: must
    /// be aligned.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Apply(Cpu* cpu, Op* op)
    {
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, op->Extra & 0x7F, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        if (op->Extra > 0x80 && ((nuint)source & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        ((VectorFunction)op->Target)((byte*)cpu + op->Destination, source, (byte)op->Immediate);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>As <see cref="Apply"/>, for arithmetic that rounds.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Compute(Cpu* cpu, Op* op)
    {
        if (!Rounding.IsPlain(cpu)) return Stop.Because(cpu, op, StopReason.FloatingPointMode);
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, op->Extra & 0x7F, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        if (op->Extra > 0x80 && ((nuint)source & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        ((VectorFunction)op->Target)((byte*)cpu + op->Destination, source, (byte)op->Immediate);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>As <see cref="Apply"/>, for conversions; the constant says how they round.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Convert(Cpu* cpu, Op* op)
    {
        if (!Rounding.IsPlainButMode(cpu)) return Stop.Because(cpu, op, StopReason.FloatingPointMode);
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, op->Extra & 0x7F, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        if (op->Extra > 0x80 && ((nuint)source & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        ((VectorFunction)op->Target)((byte*)cpu + op->Destination, source, Rounding.ModeOf(cpu, op->Immediate));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>blendv: the mask is xmm0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ApplyMasked(Cpu* cpu, Op* op)
    {
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, 16, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        if (op->IsMemory && ((nuint)source & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        ((MaskFunction)op->Target)((byte*)cpu + op->Destination, source, cpu->Xmm);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>xorps and pxor of a register with itself: how compilers write zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Clear(Cpu* cpu, Op* op)
    {
        *(Vector128<byte>*)((byte*)cpu + op->Destination) = Vector128<byte>.Zero;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Conversions and masks that end in a general register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ToGeneral<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, op->Extra, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        TWidth.StoreRegister((byte*)cpu + op->Destination, ((ScalarFunction)op->Target)(source, (byte)op->Immediate));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>As <see cref="ToGeneral"/>, for conversions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ConvertToGeneral<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (!Rounding.IsPlainButMode(cpu)) return Stop.Because(cpu, op, StopReason.FloatingPointMode);
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, op->Extra, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        TWidth.StoreRegister((byte*)cpu + op->Destination, ((ScalarFunction)op->Target)(source, Rounding.ModeOf(cpu, op->Immediate)));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>ptest: ZF if no bit is in both, CF if the source has none that the destination lacks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* TestBits(Cpu* cpu, Op* op)
    {
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, 16, PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        if (op->IsMemory && ((nuint)source & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        UInt128 left = *(UInt128*)((byte*)cpu + op->Destination), right = *(UInt128*)source;
        cpu->Flags.Set(((left & right) == 0 ? Rflag.Zero : 0) | ((~left & right) == 0 ? Rflag.Carry : 0));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>ucomiss and its relatives: ZF, PF and CF from the order of two numbers, everything else clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Order<TNumber>(Cpu* cpu, Op* op) where TNumber : unmanaged, System.Numerics.INumber<TNumber>
    {
        if (!Rounding.IsPlainButMode(cpu)) return Stop.Because(cpu, op, StopReason.FloatingPointMode);
        byte* source = RegisterOrMemory.Locate<TMode>(cpu, op, sizeof(TNumber), PageAccess.Read);
        if (source == null) return TMode.Missed(cpu, op);
        TNumber left = *(TNumber*)((byte*)cpu + op->Destination), right = *(TNumber*)source;
        const uint Unordered = Rflag.Zero | Rflag.Parity | Rflag.Carry;
        cpu->Flags.Set(left > right ? 0 : left < right ? Rflag.Carry : left == right ? Rflag.Zero : Unordered);
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        if (instruction.Encoding != EncodingKind.Legacy || instruction.IsStringInstruction) return false;
        if (VectorMove<TMode>.UsesMmx(instruction)) return false;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Ucomiss or Mnemonic.Comiss:
                chain.AddWithRegisterOrMemory<TMode>(instruction, 1).Handler = &Order<float>;
                return true;
            case Mnemonic.Ucomisd or Mnemonic.Comisd:
                chain.AddWithRegisterOrMemory<TMode>(instruction, 1).Handler = &Order<double>;
                return true;
            case Mnemonic.Ptest:
                chain.AddWithRegisterOrMemory<TMode>(instruction, 1).Handler = &TestBits;
                return true;
            case Mnemonic.Pxor or Mnemonic.Xorps or Mnemonic.Xorpd
                when instruction.Op1Kind == OpKind.Register && instruction.Op0Register == instruction.Op1Register:
                chain.AddWithOperands<TMode>(instruction).Handler = &Clear;
                return true;
        }
        return TryEmitToGeneral(chain, instruction) || TryEmitMasked(chain, instruction) || TryEmitFunction(chain, instruction);
    }

    static bool TryEmitFunction(Chain chain, in Instruction instruction)
    {
        VectorFunction function = VectorInteger.Find(instruction);
        if (function == null) function = VectorShuffle.Find(instruction);
        VectorFunction arithmetic = VectorFloat.Find(instruction), conversion = VectorFloat.FindConversion(instruction);
        if (function == null && arithmetic == null && conversion == null) return false;
        // A shift by a constant has one operand only; the function ignores the other.
        bool single = instruction.Op1Kind == OpKind.Immediate8;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, single ? 0 : 1);
        int size = single ? 16 : OperandEncoding.SizeOf(instruction, 1);
        op.Extra = (byte)(size == 16 && op.IsMemory ? 0x80 | size : size);
        // insertps takes the only element that memory has.
        if (instruction.Mnemonic == Mnemonic.Insertps && op.IsMemory) op.Immediate &= 0x3F;
        if (conversion != null)
        {
            op.Immediate = RoundingOf(instruction);
            op.Target = (Op*)conversion;
            op.Handler = &Convert;
            return true;
        }
        op.Target = (Op*)(function != null ? function : arithmetic);
        op.Handler = function != null ? &Apply : &Compute;
        return true;
    }

    /// <summary>Rounding instructions name their mode; a second t in a conversion's name stands for truncation.</summary>
    static byte RoundingOf(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Roundps or Mnemonic.Roundpd or Mnemonic.Roundss or Mnemonic.Roundsd => instruction.Immediate8,
        Mnemonic.Cvttps2dq or Mnemonic.Cvttpd2dq or Mnemonic.Cvttss2si or Mnemonic.Cvttsd2si => Rounding.ToZero,
        _ => Rounding.ByControl,
    };

    static bool TryEmitMasked(Chain chain, in Instruction instruction)
    {
        MaskFunction function = VectorShuffle.FindMasked(instruction);
        if (function == null) return false;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Target = (Op*)function;
        op.Handler = &ApplyMasked;
        return true;
    }

    static bool TryEmitToGeneral(Chain chain, in Instruction instruction)
    {
        ScalarFunction function = VectorFloat.FindScalar(instruction), conversion = VectorFloat.FindScalarConversion(instruction);
        if (function == null && conversion == null) return false;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Extra = (byte)OperandEncoding.SizeOf(instruction, 1);
        bool wide = instruction.Op0Register.GetSize() == 8;
        if (conversion != null)
        {
            op.Target = (Op*)conversion;
            op.Immediate = RoundingOf(instruction);
            op.Handler = wide ? &ConvertToGeneral<W64> : &ConvertToGeneral<W32>;
            return true;
        }
        op.Target = (Op*)function;
        op.Handler = wide ? &ToGeneral<W64> : &ToGeneral<W32>;
        return true;
    }
}
