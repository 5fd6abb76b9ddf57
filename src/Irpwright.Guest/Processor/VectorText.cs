using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>pcmpestri pcmpestrm pcmpistri pcmpistrm: comparisons of two short texts.</summary>
static unsafe class VectorText<TMode> where TMode : struct, IMode
{
    /// <summary>Bits of <see cref="Op.Extra"/>.</summary>
    const byte ExplicitLength = 1, WideLength = 2, ToMask = 4;

    /// <summary>The first text is the register, the second the r/m operand, which need not be aligned.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Compare(Cpu* cpu, Op* op)
    {
        byte* second = RegisterOrMemory.Locate<TMode>(cpu, op, 16, PageAccess.Read);
        if (second == null) return TMode.Missed(cpu, op);
        TextComparison.Run(cpu, (byte*)cpu + op->Destination, second, (byte)op->Immediate,
            (op->Extra & ExplicitLength) != 0, (op->Extra & WideLength) != 0, (op->Extra & ToMask) != 0);
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        int extra = instruction.Mnemonic switch
        {
            Mnemonic.Pcmpistri => 0,
            Mnemonic.Pcmpistrm => ToMask,
            Mnemonic.Pcmpestri => ExplicitLength,
            Mnemonic.Pcmpestrm => ExplicitLength | ToMask,
            Mnemonic.Pcmpestri64 => ExplicitLength | WideLength,
            Mnemonic.Pcmpestrm64 => ExplicitLength | WideLength | ToMask,
            _ => -1,
        };
        if (extra < 0) return false;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Extra = (byte)extra;
        op.Handler = &Compare;
        return true;
    }
}

/// <summary>What the constant of a text comparison means, and what comes of it.</summary>
/// <remarks>
/// <code>
/// bits 1..0  elements: unsigned bytes, unsigned words, signed bytes, signed words
/// bits 3..2  any of the first text; in one of its ranges; equal at the same place; the first text begins here
/// bits 5..4  bit 4: negate, bit 5: only within the second text
/// bit 6      the last instead of the first; a mask of elements instead of bits
/// </code>
/// </remarks>
static unsafe class TextComparison
{
    public static void Run(Cpu* cpu, byte* first, byte* second, byte constant, bool explicitLength, bool wideLength, bool toMask)
    {
        bool words = (constant & 1) != 0;
        int count = words ? 8 : 16;
        int firstLength = explicitLength ? Length(cpu->Rax, wideLength, count) : Length(first, words, count);
        int secondLength = explicitLength ? Length(cpu->Rdx, wideLength, count) : Length(second, words, count);
        uint matches = 0;
        for (int at = 0; at < count; at++)
        {
            if (Matches(first, firstLength, second, secondLength, at, count, constant)) matches |= 1u << at;
        }
        uint all = (1u << count) - 1, within = (1u << secondLength) - 1;
        if ((constant & 0x10) != 0) matches ^= (constant & 0x20) != 0 ? within : all;
        bool last = (constant & 0x40) != 0;
        if (toMask) *(UInt128*)cpu->Xmm = last ? Spread(matches, words, count) : matches;
        else if (matches == 0) cpu->Rcx = (uint)count;
        else cpu->Rcx = (uint)(last ? System.Numerics.BitOperations.Log2(matches) : System.Numerics.BitOperations.TrailingZeroCount(matches));
        cpu->Flags.Set((matches != 0 ? Rflag.Carry : 0) | (secondLength < count ? Rflag.Zero : 0) | (firstLength < count ? Rflag.Sign : 0)
            | ((matches & 1) != 0 ? Rflag.Overflow : 0));
    }

    static bool Matches(byte* first, int firstLength, byte* second, int secondLength, int at, int count, byte constant)
    {
        bool inside = at < secondLength;
        switch (constant >> 2 & 3)
        {
            case 0:
                for (int i = 0; inside && i < firstLength; i++)
                {
                    if (Element(first, i, constant) == Element(second, at, constant)) return true;
                }
                return false;
            case 1:
                for (int i = 0; inside && i + 1 < firstLength; i += 2)
                {
                    int value = Element(second, at, constant);
                    if (Element(first, i, constant) <= value && value <= Element(first, i + 1, constant)) return true;
                }
                return false;
            case 2:
                return at >= firstLength ? !inside : inside && Element(first, at, constant) == Element(second, at, constant);
            default:
                for (int i = 0; i < firstLength && at + i < count; i++)
                {
                    if (at + i >= secondLength || Element(first, i, constant) != Element(second, at + i, constant)) return false;
                }
                return true;
        }
    }

    static int Element(byte* text, int index, byte constant) => (constant & 3) switch
    {
        0 => text[index],
        1 => ((ushort*)text)[index],
        2 => ((sbyte*)text)[index],
        _ => ((short*)text)[index],
    };

    /// <summary>Up to the first zero.</summary>
    static int Length(byte* text, bool words, int count)
    {
        int length = 0;
        while (length < count && (words ? ((ushort*)text)[length] : text[length]) != 0) length++;
        return length;
    }

    /// <summary>A length in a register counts by its magnitude.</summary>
    static int Length(ulong register, bool wide, int count)
    {
        Int128 value = wide ? (long)register : (int)register;
        return (int)Int128.Min(Int128.Abs(value), count);
    }

    static UInt128 Spread(uint bits, bool words, int count)
    {
        UInt128 mask = 0, element = words ? 0xFFFFu : 0xFFu;
        for (int i = 0; i < count; i++)
        {
            if ((bits >> i & 1) != 0) mask |= element << i * (128 / count);
        }
        return mask;
    }
}
