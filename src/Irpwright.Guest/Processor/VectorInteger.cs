global using unsafe VectorFunction = delegate*<byte*, byte*, byte, void>;
global using unsafe ScalarFunction = delegate*<byte*, byte, ulong>;

using System.Numerics;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>What becomes of two neighbouring elements.</summary>
interface IPair<T>
{
    static abstract T Join(T first, T second);
}

struct SumOf<T> : IPair<T> where T : INumberBase<T>
{
    public static T Join(T first, T second) => first + second;
}

struct DifferenceOf<T> : IPair<T> where T : INumberBase<T>
{
    public static T Join(T first, T second) => first - second;
}

struct SaturatedSum : IPair<short>
{
    public static short Join(short first, short second) => short.CreateSaturating(first + second);
}

struct SaturatedDifference : IPair<short>
{
    public static short Join(short first, short second) => short.CreateSaturating(first - second);
}

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

    static void MultiplyLow32(byte* to, byte* from, byte constant) => Of<int>(to) *= Of<int>(from);

    static void MultiplyEvenSigned(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 2; i++) ((long*)to)[i] = (long)((int*)to)[2 * i] * ((int*)from)[2 * i];
    }

    /// <summary>The upper half of a product of fractions, rounded.</summary>
    static void MultiplyHighRounded(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 8; i++) ((short*)to)[i] = (short)((((short*)to)[i] * ((short*)from)[i] >> 14) + 1 >> 1);
    }

    /// <summary>pmaddubsw: unsigned bytes times signed ones.</summary>
    static void MultiplyAddBytes(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 16; i += 2)
            *(short*)(to + i) = short.CreateSaturating(to[i] * (sbyte)from[i] + to[i + 1] * (sbyte)from[i + 1]);
    }

    static void Absolute<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.Abs(Of<T>(from));

    /// <summary>psign: takes the sign of the source, which may be that of zero.</summary>
    static void Sign<T>(byte* to, byte* from, byte constant) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = 0; i < 16 / sizeof(T); i++)
        {
            T sign = ((T*)from)[i];
            ((T*)to)[i] = T.IsNegative(sign) ? T.Zero - ((T*)to)[i] : T.IsZero(sign) ? T.Zero : ((T*)to)[i];
        }
    }

    /// <summary>Joins neighbours: the pairs of the destination, then those of the source.</summary>
    public static void Horizontal<T, TPair>(byte* to, byte* from, byte constant) where T : unmanaged where TPair : struct, IPair<T>
    {
        Vector128<T> left = Of<T>(to), right = Of<T>(from);
        int half = 8 / sizeof(T);
        for (int i = 0; i < half; i++)
        {
            ((T*)to)[i] = TPair.Join(left[2 * i], left[2 * i + 1]);
            ((T*)to)[half + i] = TPair.Join(right[2 * i], right[2 * i + 1]);
        }
    }

    /// <summary>The least of eight, and where it is.</summary>
    static void HorizontalMinimum(byte* to, byte* from, byte constant)
    {
        int least = 0;
        for (int i = 1; i < 8; i++)
        {
            if (((ushort*)from)[i] < ((ushort*)from)[least]) least = i;
        }
        Of<ulong>(to) = Vector128.Create(((ushort*)from)[least] | (ulong)least << 16, 0);
    }

    /// <summary>mpsadbw: a block of four bytes against each of eight neighbouring ones.</summary>
    static void BlockDifferences(byte* to, byte* from, byte constant)
    {
        Vector128<byte> left = Of<byte>(to), right = Of<byte>(from);
        int start = (constant & 4) != 0 ? 4 : 0, block = 4 * (constant & 3);
        for (int i = 0; i < 8; i++)
        {
            int sum = 0;
            for (int j = 0; j < 4; j++) sum += Math.Abs(left[start + i + j] - right[block + j]);
            ((ushort*)to)[i] = (ushort)sum;
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
            case Mnemonic.Pcmpeqq: return &Equals<ulong>;
            case Mnemonic.Pcmpgtq: return &Greater<long>;
            case Mnemonic.Pminsb: return &Minimum<sbyte>;
            case Mnemonic.Pminuw: return &Minimum<ushort>;
            case Mnemonic.Pminsd: return &Minimum<int>;
            case Mnemonic.Pminud: return &Minimum<uint>;
            case Mnemonic.Pmaxsb: return &Maximum<sbyte>;
            case Mnemonic.Pmaxuw: return &Maximum<ushort>;
            case Mnemonic.Pmaxsd: return &Maximum<int>;
            case Mnemonic.Pmaxud: return &Maximum<uint>;
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
            case Mnemonic.Pmulld: return &MultiplyLow32;
            case Mnemonic.Pmuldq: return &MultiplyEvenSigned;
            case Mnemonic.Pmulhrsw: return &MultiplyHighRounded;
            case Mnemonic.Pmaddubsw: return &MultiplyAddBytes;
            case Mnemonic.Pabsb: return &Absolute<sbyte>;
            case Mnemonic.Pabsw: return &Absolute<short>;
            case Mnemonic.Pabsd: return &Absolute<int>;
            case Mnemonic.Psignb: return &Sign<sbyte>;
            case Mnemonic.Psignw: return &Sign<short>;
            case Mnemonic.Psignd: return &Sign<int>;
            case Mnemonic.Phaddw: return &Horizontal<short, SumOf<short>>;
            case Mnemonic.Phaddd: return &Horizontal<int, SumOf<int>>;
            case Mnemonic.Phaddsw: return &Horizontal<short, SaturatedSum>;
            case Mnemonic.Phsubw: return &Horizontal<short, DifferenceOf<short>>;
            case Mnemonic.Phsubd: return &Horizontal<int, DifferenceOf<int>>;
            case Mnemonic.Phsubsw: return &Horizontal<short, SaturatedDifference>;
            case Mnemonic.Phminposuw: return &HorizontalMinimum;
            case Mnemonic.Mpsadbw: return &BlockDifferences;
            case Mnemonic.Packusdw: return &Pack<int, ushort>;
            case Mnemonic.Psadbw: return &SumDifferences;
            case Mnemonic.Packsswb: return &Pack<short, sbyte>;
            case Mnemonic.Packssdw: return &Pack<int, short>;
            case Mnemonic.Packuswb: return &Pack<short, byte>;
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
            default: return null;
        }
    }
}
