using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>An operation of BMI1 or BMI2 on the r/m operand and another register or constant.</summary>
interface IBitField
{
    static abstract bool WritesFlags { get; }
    static abstract ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth;
    static abstract bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth;
}

struct AndNot : IBitField
{
    public static bool WritesFlags => true;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value & ~other;
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => false;
}

/// <summary>bextr: bits 7..0 of the other operand say where the field starts, bits 15..8 how long it is.</summary>
struct ExtractField : IBitField
{
    public static bool WritesFlags => true;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth
    {
        int start = (byte)other, length = (byte)(other >> 8);
        ulong field = start < TWidth.Bits ? value >> start : 0;
        return length < 64 ? field & ((1UL << length) - 1) : field;
    }
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => false;
}

/// <summary>bzhi: clears the bits from a number upwards.</summary>
struct ZeroFrom : IBitField
{
    public static bool WritesFlags => true;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth =>
        (byte)other < TWidth.Bits ? value & ((1UL << (byte)other) - 1) : value;
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => (byte)other >= TWidth.Bits;
}

struct IsolateLowest : IBitField
{
    public static bool WritesFlags => true;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value & (0 - value);
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value != 0;
}

struct MaskToLowest : IBitField
{
    public static bool WritesFlags => true;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value ^ (value - 1);
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value == 0;
}

struct ResetLowest : IBitField
{
    public static bool WritesFlags => true;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value & (value - 1);
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => value == 0;
}

/// <summary>pdep: the low bits of the other operand, to the places of the bits of the r/m operand.</summary>
struct Deposit : IBitField
{
    public static bool WritesFlags => false;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth
    {
        ulong result = 0;
        for (; value != 0; value &= value - 1, other >>= 1) result |= (other & 1) != 0 ? value & (0 - value) : 0;
        return result;
    }
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => false;
}

/// <summary>pext: the bits of the other operand at the places of the bits of the r/m operand, put together.</summary>
struct Collect : IBitField
{
    public static bool WritesFlags => false;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth
    {
        ulong result = 0;
        for (int i = 0; value != 0; value &= value - 1, i++) result |= (other & value & (0 - value)) != 0 ? 1UL << i : 0;
        return result;
    }
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => false;
}

/// <summary>shlx shrx sarx rorx: a shift that leaves the flags alone.</summary>
struct Flagless<TShift> : IBitField where TShift : struct, IShift
{
    public static bool WritesFlags => false;
    public static ulong Compute<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth =>
        TShift.Compute<TWidth>(value, (int)other & (TWidth.Bits - 1));
    public static bool Carry<TWidth>(ulong value, ulong other) where TWidth : struct, IWidth => false;
}

/// <summary>andn bextr bzhi blsi blsmsk blsr pdep pext rorx sarx shlx shrx mulx.</summary>
static unsafe class BitFields<TMode> where TMode : struct, IMode
{
    /// <summary>The other operand is where <see cref="Op.Source"/> says, or the constant.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Apply<TOperation, TWidth, TOther>(Cpu* cpu, Op* op)
        where TOperation : struct, IBitField where TWidth : struct, IWidth where TOther : struct, IOperand
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load(at), other = TWidth.Load(TOther.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read));
        ulong result = TOperation.Compute<TWidth>(value, other);
        TWidth.StoreRegister((byte*)cpu + op->Destination, result);
        if (TOperation.WritesFlags) cpu->Flags.SetResult(TWidth.Extend(result), TOperation.Carry<TWidth>(value, other), false);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>mulx: rdx times the operand; the upper half wins if both go to the same register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Multiply<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* at = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (at == null) return TMode.Missed(cpu, op);
        UInt128 product = WideMath.Product(TWidth.Load((byte*)&cpu->Rdx), TWidth.Load(at));
        TWidth.StoreRegister((byte*)cpu + op->Source, (ulong)product);
        TWidth.StoreRegister((byte*)cpu + op->Destination, (ulong)(product >> TWidth.Bits));
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        if (instruction.Encoding != EncodingKind.VEX) return false;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Andn: return Emit<AndNot>(chain, instruction, 2, 1);
            case Mnemonic.Pdep: return Emit<Deposit>(chain, instruction, 2, 1);
            case Mnemonic.Pext: return Emit<Collect>(chain, instruction, 2, 1);
            case Mnemonic.Bextr: return Emit<ExtractField>(chain, instruction, 1, 2);
            case Mnemonic.Bzhi: return Emit<ZeroFrom>(chain, instruction, 1, 2);
            case Mnemonic.Shlx: return Emit<Flagless<Shl>>(chain, instruction, 1, 2);
            case Mnemonic.Shrx: return Emit<Flagless<Shr>>(chain, instruction, 1, 2);
            case Mnemonic.Sarx: return Emit<Flagless<Sar>>(chain, instruction, 1, 2);
            case Mnemonic.Rorx: return Emit<Flagless<Ror>>(chain, instruction, 1, 2);
            case Mnemonic.Blsi: return Emit<IsolateLowest>(chain, instruction, 1, 0);
            case Mnemonic.Blsmsk: return Emit<MaskToLowest>(chain, instruction, 1, 0);
            case Mnemonic.Blsr: return Emit<ResetLowest>(chain, instruction, 1, 0);
            case Mnemonic.Mulx:
                chain.AddWithRegisterOrMemory<TMode>(instruction, 2).Handler =
                    instruction.Op0Register.GetSize() == 4 ? &Multiply<W32> : &Multiply<W64>;
                return true;
            default: return false;
        }
    }

    /// <param name="other">Which operand is not the r/m one.</param>
    static bool Emit<TOperation>(Chain chain, in Instruction instruction, int operand, int other) where TOperation : struct, IBitField
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, operand);
        bool narrow = instruction.Op0Register.GetSize() == 4;
        if (OperandEncoding.IsImmediate(instruction.GetOpKind(other)))
        {
            op.Handler = narrow ? &Apply<TOperation, W32, Constant> : &Apply<TOperation, W64, Constant>;
            return true;
        }
        op.Source = OperandEncoding.OffsetOf(instruction.GetOpRegister(other));
        op.Handler = narrow ? &Apply<TOperation, W32, Second> : &Apply<TOperation, W64, Second>;
        return true;
    }
}
