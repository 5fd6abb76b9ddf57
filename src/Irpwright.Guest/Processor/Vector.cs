using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// SSE and SSE2 arithmetic: what an instruction computes is in <see cref="VectorInteger"/> and <see cref="VectorFloat"/>, how it gets its
/// operands here.
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

    /// <summary>ucomiss and its relatives: ZF, PF and CF from the order of two numbers, everything else clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Order<TNumber>(Cpu* cpu, Op* op) where TNumber : unmanaged, System.Numerics.INumber<TNumber>
    {
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
            case Mnemonic.Pxor or Mnemonic.Xorps or Mnemonic.Xorpd
                when instruction.Op1Kind == OpKind.Register && instruction.Op0Register == instruction.Op1Register:
                chain.AddWithOperands<TMode>(instruction).Handler = &Clear;
                return true;
        }
        return TryEmitToGeneral(chain, instruction) || TryEmitFunction(chain, instruction);
    }

    static bool TryEmitFunction(Chain chain, in Instruction instruction)
    {
        VectorFunction function = VectorInteger.Find(instruction);
        if (function == null) function = VectorFloat.Find(instruction);
        if (function == null) return false;
        // A shift by a constant has one operand only; the function ignores the other.
        bool single = instruction.Op1Kind == OpKind.Immediate8;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, single ? 0 : 1);
        int size = single ? 16 : OperandEncoding.SizeOf(instruction, 1);
        op.Extra = (byte)(size == 16 && op.IsMemory ? 0x80 | size : size);
        op.Target = (Op*)function;
        op.Handler = &Apply;
        return true;
    }

    static bool TryEmitToGeneral(Chain chain, in Instruction instruction)
    {
        ScalarFunction function = VectorFloat.FindScalar(instruction);
        if (function == null) return false;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Extra = (byte)OperandEncoding.SizeOf(instruction, 1);
        op.Target = (Op*)function;
        op.Handler = instruction.Op0Register.GetSize() == 8 ? &ToGeneral<W64> : &ToGeneral<W32>;
        return true;
    }
}
