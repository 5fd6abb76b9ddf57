global using unsafe MaskFunction = delegate*<byte*, byte*, byte*, void>;

using System.Numerics;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>Elements of vectors that change places, sizes or owners: (destination, source, constant).</summary>
static unsafe class VectorShuffle
{
    static ref Vector128<T> Of<T>(byte* at) => ref *(Vector128<T>*)at;

    /// <summary>punpckl and punpckh: elements of both, alternating, from one half.</summary>
    static void Interleave<T>(byte* to, byte* from, bool high) where T : unmanaged
    {
        Vector128<byte> left = Of<byte>(to), right = Of<byte>(from);
        int first = high ? 8 / sizeof(T) : 0;
        for (int i = 0; i < 8 / sizeof(T); i++)
        {
            ((T*)to)[2 * i] = left.As<byte, T>()[first + i];
            ((T*)to)[2 * i + 1] = right.As<byte, T>()[first + i];
        }
    }

    static void InterleaveLow<T>(byte* to, byte* from, byte constant) where T : unmanaged => Interleave<T>(to, from, high: false);
    static void InterleaveHigh<T>(byte* to, byte* from, byte constant) where T : unmanaged => Interleave<T>(to, from, high: true);

    static void Shuffle32(byte* to, byte* from, byte constant)
    {
        Vector128<uint> source = Of<uint>(from);
        for (int i = 0; i < 4; i++) ((uint*)to)[i] = source[constant >> 2 * i & 3];
    }

    static void Shuffle16(byte* to, byte* from, byte constant, int first)
    {
        Vector128<ushort> source = Of<ushort>(from);
        Of<ushort>(to) = source;
        for (int i = 0; i < 4; i++) ((ushort*)to)[first + i] = source[first + (constant >> 2 * i & 3)];
    }

    static void ShuffleLow16(byte* to, byte* from, byte constant) => Shuffle16(to, from, constant, 0);
    static void ShuffleHigh16(byte* to, byte* from, byte constant) => Shuffle16(to, from, constant, 4);

    static void ShufflePair32(byte* to, byte* from, byte constant)
    {
        Vector128<uint> left = Of<uint>(to), right = Of<uint>(from);
        Of<uint>(to) = Vector128.Create(left[constant & 3], left[constant >> 2 & 3], right[constant >> 4 & 3], right[constant >> 6 & 3]);
    }

    static void ShufflePair64(byte* to, byte* from, byte constant) =>
        Of<ulong>(to) = Vector128.Create(Of<ulong>(to)[constant & 1], Of<ulong>(from)[constant >> 1 & 1]);

    /// <summary>pshufb: an index with its top bit set selects zero.</summary>
    static void ShuffleBytes(byte* to, byte* from, byte constant) =>
        Of<byte>(to) = Vector128.Shuffle(Of<byte>(to), Of<byte>(from) & Vector128.Create((byte)0x8F));

    /// <summary>palignr: sixteen bytes out of thirty-two, the destination being the upper half.</summary>
    static void Align(byte* to, byte* from, byte constant)
    {
        UInt128 upper = *(UInt128*)to, lower = *(UInt128*)from;
        *(UInt128*)to = constant switch
        {
            0 => lower,
            < 16 => lower >> 8 * constant | upper << 128 - 8 * constant,
            < 32 => upper >> 8 * (constant - 16),
            _ => 0,
        };
    }

    /// <summary>movddup and its relatives: of each pair of elements one, twice.</summary>
    static void Duplicate<T>(byte* to, byte* from, int which) where T : unmanaged
    {
        for (int i = 0; i < 16 / sizeof(T); i += 2) ((T*)to)[i] = ((T*)to)[i + 1] = ((T*)from)[i + which];
    }

    static void DuplicateEven<T>(byte* to, byte* from, byte constant) where T : unmanaged => Duplicate<T>(to, from, 0);
    static void DuplicateOdd<T>(byte* to, byte* from, byte constant) where T : unmanaged => Duplicate<T>(to, from, 1);

    /// <summary>Each bit of the constant chooses an element of the source.</summary>
    static void Blend<T>(byte* to, byte* from, byte constant) where T : unmanaged
    {
        for (int i = 0; i < 16 / sizeof(T); i++)
        {
            if ((constant >> i & 1) != 0) ((T*)to)[i] = ((T*)from)[i];
        }
    }

    /// <summary>The sign of each element of the mask chooses an element of the source.</summary>
    static void BlendBy<T>(byte* to, byte* from, byte* mask) where T : unmanaged, INumber<T>
    {
        Vector128<T> chosen = Of<T>(mask);
        for (int i = 0; i < 16 / sizeof(T); i++)
        {
            if (T.IsNegative(chosen[i])) ((T*)to)[i] = ((T*)from)[i];
        }
    }

    /// <summary>insertps: one element of the source to one place, then some places cleared.</summary>
    static void Insert32(byte* to, byte* from, byte constant)
    {
        ((uint*)to)[constant >> 4 & 3] = ((uint*)from)[constant >> 6];
        for (int i = 0; i < 4; i++)
        {
            if ((constant >> i & 1) != 0) ((uint*)to)[i] = 0;
        }
    }

    /// <summary>pmovsx and pmovzx. From the top down, as the source may be the destination.</summary>
    static void Widen<TNarrow, TWide>(byte* to, byte* from, byte constant)
        where TNarrow : unmanaged, INumberBase<TNarrow> where TWide : unmanaged, INumberBase<TWide>
    {
        for (int i = 16 / sizeof(TWide) - 1; i >= 0; i--) ((TWide*)to)[i] = TWide.CreateTruncating(((TNarrow*)from)[i]);
    }

    /// <summary>The function of an instruction that takes its mask from xmm0, or null.</summary>
    public static MaskFunction FindMasked(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Pblendvb: return &BlendBy<sbyte>;
            case Mnemonic.Blendvps: return &BlendBy<int>;
            case Mnemonic.Blendvpd: return &BlendBy<long>;
            default: return null;
        }
    }

    /// <summary>The function of an instruction, or null.</summary>
    public static VectorFunction Find(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Punpcklbw: return &InterleaveLow<byte>;
            case Mnemonic.Punpcklwd: return &InterleaveLow<ushort>;
            case Mnemonic.Punpckldq or Mnemonic.Unpcklps: return &InterleaveLow<uint>;
            case Mnemonic.Punpcklqdq or Mnemonic.Unpcklpd: return &InterleaveLow<ulong>;
            case Mnemonic.Punpckhbw: return &InterleaveHigh<byte>;
            case Mnemonic.Punpckhwd: return &InterleaveHigh<ushort>;
            case Mnemonic.Punpckhdq or Mnemonic.Unpckhps: return &InterleaveHigh<uint>;
            case Mnemonic.Punpckhqdq or Mnemonic.Unpckhpd: return &InterleaveHigh<ulong>;
            case Mnemonic.Pshufd: return &Shuffle32;
            case Mnemonic.Pshuflw: return &ShuffleLow16;
            case Mnemonic.Pshufhw: return &ShuffleHigh16;
            case Mnemonic.Shufps: return &ShufflePair32;
            case Mnemonic.Shufpd: return &ShufflePair64;
            case Mnemonic.Pshufb: return &ShuffleBytes;
            case Mnemonic.Palignr: return &Align;
            case Mnemonic.Movddup: return &DuplicateEven<ulong>;
            case Mnemonic.Movsldup: return &DuplicateEven<uint>;
            case Mnemonic.Movshdup: return &DuplicateOdd<uint>;
            case Mnemonic.Pblendw: return &Blend<ushort>;
            case Mnemonic.Blendps: return &Blend<uint>;
            case Mnemonic.Blendpd: return &Blend<ulong>;
            case Mnemonic.Insertps: return &Insert32;
            case Mnemonic.Pmovsxbw: return &Widen<sbyte, short>;
            case Mnemonic.Pmovsxbd: return &Widen<sbyte, int>;
            case Mnemonic.Pmovsxbq: return &Widen<sbyte, long>;
            case Mnemonic.Pmovsxwd: return &Widen<short, int>;
            case Mnemonic.Pmovsxwq: return &Widen<short, long>;
            case Mnemonic.Pmovsxdq: return &Widen<int, long>;
            case Mnemonic.Pmovzxbw: return &Widen<byte, ushort>;
            case Mnemonic.Pmovzxbd: return &Widen<byte, uint>;
            case Mnemonic.Pmovzxbq: return &Widen<byte, ulong>;
            case Mnemonic.Pmovzxwd: return &Widen<ushort, uint>;
            case Mnemonic.Pmovzxwq: return &Widen<ushort, ulong>;
            case Mnemonic.Pmovzxdq: return &Widen<uint, ulong>;
            default: return null;
        }
    }
}
