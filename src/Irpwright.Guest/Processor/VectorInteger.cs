global using unsafe VectorFunction = delegate*<byte*, byte*, byte, void>;
global using unsafe ScalarFunction = delegate*<byte*, byte, ulong>;

using System.Numerics;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>Logical and integer operations on vectors: (destination, source, constant). The source may be the destination.</summary>
static unsafe class VectorInteger
{
    static ref Vector128<T> Of<T>(byte* at) => ref *(Vector128<T>*)at;

    static void And(byte* to, byte* from, byte constant) => Of<ulong>(to) &= Of<ulong>(from);
    static void AndNot(byte* to, byte* from, byte constant) => Of<ulong>(to) = ~Of<ulong>(to) & Of<ulong>(from);
    static void Or(byte* to, byte* from, byte constant) => Of<ulong>(to) |= Of<ulong>(from);
    static void Xor(byte* to, byte* from, byte constant) => Of<ulong>(to) ^= Of<ulong>(from);

    static void Add<T>(byte* to, byte* from, byte constant) => Of<T>(to) += Of<T>(from);
    static void Subtract<T>(byte* to, byte* from, byte constant) => Of<T>(to) -= Of<T>(from);
    static void AddSaturated<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.AddSaturate(Of<T>(to), Of<T>(from));
    static void SubtractSaturated<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.SubtractSaturate(Of<T>(to), Of<T>(from));
    static void Equals<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.Equals(Of<T>(to), Of<T>(from));
    static void Greater<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.GreaterThan(Of<T>(to), Of<T>(from));
    static void Minimum<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.Min(Of<T>(to), Of<T>(from));
    static void Maximum<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.Max(Of<T>(to), Of<T>(from));
    static void MultiplyLow(byte* to, byte* from, byte constant) => Of<short>(to) *= Of<short>(from);

    static void Average<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < 16 / sizeof(T); i++)
            ((T*)to)[i] = T.CreateTruncating((uint.CreateTruncating(((T*)to)[i]) + uint.CreateTruncating(((T*)from)[i]) + 1) >> 1);
    }

    static void MultiplyHigh<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < 8; i++)
            ((T*)to)[i] = T.CreateTruncating(int.CreateTruncating(((T*)to)[i]) * int.CreateTruncating(((T*)from)[i]) >> 16);
    }

    static void MultiplyEven(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 2; i++) ((ulong*)to)[i] = (ulong)((uint*)to)[2 * i] * ((uint*)from)[2 * i];
    }

    static void MultiplyAddPairs(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 4; i++)
        {
            short* left = (short*)to + 2 * i, right = (short*)from + 2 * i;
            ((int*)to)[i] = unchecked(left[0] * right[0] + left[1] * right[1]);
        }
    }

    static void SumDifferences(byte* to, byte* from, byte constant)
    {
        for (int half = 0; half < 2; half++)
        {
            ulong sum = 0;
            for (int i = 8 * half; i < 8 * half + 8; i++) sum += (ulong)Math.Abs(to[i] - from[i]);
            ((ulong*)to)[half] = sum;
        }
    }

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

    /// <summary>Narrows the elements of both, clamping each to what fits.</summary>
    static void Pack<TWide, TNarrow>(byte* to, byte* from, byte constant)
        where TWide : unmanaged, IBinaryInteger<TWide> where TNarrow : unmanaged, IBinaryInteger<TNarrow>
    {
        Vector128<byte> left = Of<byte>(to), right = Of<byte>(from);
        int count = 16 / sizeof(TWide);
        for (int i = 0; i < count; i++)
        {
            ((TNarrow*)to)[i] = TNarrow.CreateSaturating(left.As<byte, TWide>()[i]);
            ((TNarrow*)to)[count + i] = TNarrow.CreateSaturating(right.As<byte, TWide>()[i]);
        }
    }

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

    // Shifts: the distance is a constant, or the low 64 bits of the source; beyond the width nothing is left.
    static void ShiftLeft<T>(byte* to, ulong distance) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < 16 / sizeof(T); i++) ((T*)to)[i] = distance < 8 * (ulong)sizeof(T) ? ((T*)to)[i] << (int)distance : T.Zero;
    }

    static void ShiftRight<T>(byte* to, ulong distance) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < 16 / sizeof(T); i++) ((T*)to)[i] = distance < 8 * (ulong)sizeof(T) ? ((T*)to)[i] >>> (int)distance : T.Zero;
    }

    static void ShiftRightSigned<T>(byte* to, ulong distance) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < 16 / sizeof(T); i++) ((T*)to)[i] >>= (int)Math.Min(distance, 8 * (ulong)sizeof(T) - 1);
    }

    static void ShiftLeftBy<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T> =>
        ShiftLeft<T>(to, *(ulong*)from);
    static void ShiftRightBy<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T> =>
        ShiftRight<T>(to, *(ulong*)from);
    static void ShiftRightSignedBy<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T> =>
        ShiftRightSigned<T>(to, *(ulong*)from);
    static void ShiftLeftConstant<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T> =>
        ShiftLeft<T>(to, constant);
    static void ShiftRightConstant<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T> =>
        ShiftRight<T>(to, constant);
    static void ShiftRightSignedConstant<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T> =>
        ShiftRightSigned<T>(to, constant);

    static void ShiftBytesLeft(byte* to, byte* from, byte constant) => *(UInt128*)to = constant < 16 ? *(UInt128*)to << 8 * constant : 0;
    static void ShiftBytesRight(byte* to, byte* from, byte constant) => *(UInt128*)to = constant < 16 ? *(UInt128*)to >> 8 * constant : 0;

    static void Insert16(byte* to, byte* from, byte constant) => ((ushort*)to)[constant & 7] = *(ushort*)from;

    /// <summary>The function of an instruction, or null.</summary>
    public static VectorFunction Find(in Instruction instruction)
    {
        bool constant = instruction.OpCount > 1 && instruction.Op1Kind == OpKind.Immediate8;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Pand or Mnemonic.Andps or Mnemonic.Andpd: return &And;
            case Mnemonic.Pandn or Mnemonic.Andnps or Mnemonic.Andnpd: return &AndNot;
            case Mnemonic.Por or Mnemonic.Orps or Mnemonic.Orpd: return &Or;
            case Mnemonic.Pxor or Mnemonic.Xorps or Mnemonic.Xorpd: return &Xor;
            case Mnemonic.Paddb: return &Add<byte>;
            case Mnemonic.Paddw: return &Add<ushort>;
            case Mnemonic.Paddd: return &Add<uint>;
            case Mnemonic.Paddq: return &Add<ulong>;
            case Mnemonic.Psubb: return &Subtract<byte>;
            case Mnemonic.Psubw: return &Subtract<ushort>;
            case Mnemonic.Psubd: return &Subtract<uint>;
            case Mnemonic.Psubq: return &Subtract<ulong>;
            case Mnemonic.Paddsb: return &AddSaturated<sbyte>;
            case Mnemonic.Paddsw: return &AddSaturated<short>;
            case Mnemonic.Paddusb: return &AddSaturated<byte>;
            case Mnemonic.Paddusw: return &AddSaturated<ushort>;
            case Mnemonic.Psubsb: return &SubtractSaturated<sbyte>;
            case Mnemonic.Psubsw: return &SubtractSaturated<short>;
            case Mnemonic.Psubusb: return &SubtractSaturated<byte>;
            case Mnemonic.Psubusw: return &SubtractSaturated<ushort>;
            case Mnemonic.Pcmpeqb: return &Equals<byte>;
            case Mnemonic.Pcmpeqw: return &Equals<ushort>;
            case Mnemonic.Pcmpeqd: return &Equals<uint>;
            case Mnemonic.Pcmpgtb: return &Greater<sbyte>;
            case Mnemonic.Pcmpgtw: return &Greater<short>;
            case Mnemonic.Pcmpgtd: return &Greater<int>;
            case Mnemonic.Pminub: return &Minimum<byte>;
            case Mnemonic.Pminsw: return &Minimum<short>;
            case Mnemonic.Pmaxub: return &Maximum<byte>;
            case Mnemonic.Pmaxsw: return &Maximum<short>;
            case Mnemonic.Pavgb: return &Average<byte>;
            case Mnemonic.Pavgw: return &Average<ushort>;
            case Mnemonic.Pmullw: return &MultiplyLow;
            case Mnemonic.Pmulhw: return &MultiplyHigh<short>;
            case Mnemonic.Pmulhuw: return &MultiplyHigh<ushort>;
            case Mnemonic.Pmuludq: return &MultiplyEven;
            case Mnemonic.Pmaddwd: return &MultiplyAddPairs;
            case Mnemonic.Psadbw: return &SumDifferences;
            case Mnemonic.Punpcklbw: return &InterleaveLow<byte>;
            case Mnemonic.Punpcklwd: return &InterleaveLow<ushort>;
            case Mnemonic.Punpckldq or Mnemonic.Unpcklps: return &InterleaveLow<uint>;
            case Mnemonic.Punpcklqdq or Mnemonic.Unpcklpd: return &InterleaveLow<ulong>;
            case Mnemonic.Punpckhbw: return &InterleaveHigh<byte>;
            case Mnemonic.Punpckhwd: return &InterleaveHigh<ushort>;
            case Mnemonic.Punpckhdq or Mnemonic.Unpckhps: return &InterleaveHigh<uint>;
            case Mnemonic.Punpckhqdq or Mnemonic.Unpckhpd: return &InterleaveHigh<ulong>;
            case Mnemonic.Packsswb: return &Pack<short, sbyte>;
            case Mnemonic.Packssdw: return &Pack<int, short>;
            case Mnemonic.Packuswb: return &Pack<short, byte>;
            case Mnemonic.Pshufd: return &Shuffle32;
            case Mnemonic.Pshuflw: return &ShuffleLow16;
            case Mnemonic.Pshufhw: return &ShuffleHigh16;
            case Mnemonic.Shufps: return &ShufflePair32;
            case Mnemonic.Shufpd: return &ShufflePair64;
            case Mnemonic.Psllw: return constant ? &ShiftLeftConstant<ushort> : &ShiftLeftBy<ushort>;
            case Mnemonic.Pslld: return constant ? &ShiftLeftConstant<uint> : &ShiftLeftBy<uint>;
            case Mnemonic.Psllq: return constant ? &ShiftLeftConstant<ulong> : &ShiftLeftBy<ulong>;
            case Mnemonic.Psrlw: return constant ? &ShiftRightConstant<ushort> : &ShiftRightBy<ushort>;
            case Mnemonic.Psrld: return constant ? &ShiftRightConstant<uint> : &ShiftRightBy<uint>;
            case Mnemonic.Psrlq: return constant ? &ShiftRightConstant<ulong> : &ShiftRightBy<ulong>;
            case Mnemonic.Psraw: return constant ? &ShiftRightSignedConstant<short> : &ShiftRightSignedBy<short>;
            case Mnemonic.Psrad: return constant ? &ShiftRightSignedConstant<int> : &ShiftRightSignedBy<int>;
            case Mnemonic.Pslldq: return &ShiftBytesLeft;
            case Mnemonic.Psrldq: return &ShiftBytesRight;
            case Mnemonic.Pinsrw: return &Insert16;
            default: return null;
        }
    }
}
