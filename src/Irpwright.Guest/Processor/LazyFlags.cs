using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Guest.Processor;

/// <summary>Bits of rflags.</summary>
static class Rflag
{
    public const uint Carry = 1, AlwaysSet = 2, Parity = 4, Adjust = 0x10, Zero = 0x40, Sign = 0x80;
    public const uint Trap = 0x100, Interrupt = 0x200, Direction = 0x400, Overflow = 0x800;
    public const uint PrivilegeLevel = 0x3000, NestedTask = 0x4000;
    public const uint AlignmentCheck = 0x40000, Identification = 0x200000;
    public const uint Arithmetic = Carry | Parity | Adjust | Zero | Sign | Overflow;
    public const uint System = Trap | Interrupt | Direction | PrivilegeLevel | NestedTask | AlignmentCheck | Identification;
}

/// <summary>
/// The arithmetic flags as two values that every operation has at hand anyway; a flag costs only when something asks for it.
/// </summary>
/// <remarks>
/// <c>Result</c> is the result, sign-extended to 64 bits: ZF is Result == 0, SF its sign, PF the parity of its low byte.
/// <c>Aux</c> holds what the result cannot tell:
/// <code>
/// bit 31     CF
/// bit 30     carry into the most significant bit, so OF = bit 31 xor bit 30
/// bits 15..8 xor-ed to the low byte of Result before taking its parity
/// bit 3      AF
/// bit 0      xor-ed to the sign, so that popfq can set both ZF and SF
/// </code>
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
struct LazyFlags
{
    public long Result;
    public uint Aux;

    const uint CarryBits = 0xC0000000;

    public readonly bool Carry => (int)Aux < 0;
    public readonly bool Overflow => (int)(Aux ^ (Aux << 1)) < 0;
    public readonly bool Zero => Result == 0;
    public readonly bool Sign => (Result ^ ((long)Aux << 63)) < 0;
    public readonly bool Parity => (BitOperations.PopCount((byte)((uint)Result ^ (Aux >> 8))) & 1) == 0;
    public readonly bool Adjust => (Aux & 8) != 0;

    /// <summary>CF alone, everything else as it was.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SetCarry(bool carry) => Aux = WithCarry(Aux, carry ? 1u << 31 : 0);

    /// <summary><paramref name="aux"/> with the CF of <paramref name="carrySource"/> and its own OF.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint WithCarry(uint aux, uint carrySource)
    {
        uint difference = (aux ^ carrySource) & 0x80000000;
        return aux ^ (difference | difference >> 1);
    }

    /// <summary>CF and OF, everything else as it was.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SetCarryOverflow(bool carry, bool overflow) =>
        Aux = (Aux & ~CarryBits) | (carry ? 1u << 31 : 0) | (carry != overflow ? 1u << 30 : 0);

    /// <summary>ZF, SF and PF from a result; CF and OF given; AF clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void SetResult(long result, bool carry, bool overflow)
    {
        Result = result;
        Aux = (carry ? 1u << 31 : 0) | (carry != overflow ? 1u << 30 : 0);
    }

    /// <summary>ZF alone, everything else as it was.</summary>
    public void SetZero(bool zero)
    {
        uint flags = Materialize() & ~Rflag.Zero;
        Set(zero ? flags | Rflag.Zero : flags);
    }

    public void Set(uint rflags)
    {
        bool sign = (rflags & Rflag.Sign) != 0, carry = (rflags & Rflag.Carry) != 0, overflow = (rflags & Rflag.Overflow) != 0;
        Result = (rflags & Rflag.Zero) != 0 ? 0 : 0x100;
        Aux = (sign ? 1u : 0) | ((rflags & Rflag.Parity) != 0 ? 0 : 0x100u) | ((rflags & Rflag.Adjust) != 0 ? 8u : 0)
            | (carry ? 1u << 31 : 0) | (carry != overflow ? 1u << 30 : 0);
    }

    public readonly uint Materialize() =>
        (Carry ? Rflag.Carry : 0) | (Parity ? Rflag.Parity : 0) | (Adjust ? Rflag.Adjust : 0)
        | (Zero ? Rflag.Zero : 0) | (Sign ? Rflag.Sign : 0) | (Overflow ? Rflag.Overflow : 0);
}

/// <summary>Whether an operation keeps its flags, decided while translating: most are overwritten before anything reads them.</summary>
interface IFlagUse
{
    static abstract bool Live { get; }

    /// <summary>Whether somebody will read CF, which inc and dec leave as it was.</summary>
    static abstract bool CarryLive { get; }
}

struct FlagsLive : IFlagUse
{
    public static bool Live => true;
    public static bool CarryLive => true;
}

struct FlagsLiveButCarry : IFlagUse
{
    public static bool Live => true;
    public static bool CarryLive => false;
}

struct FlagsDead : IFlagUse
{
    public static bool Live => false;
    public static bool CarryLive => false;
}
