using System.Numerics;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>
/// Floating-point operations on vectors and on their lowest element, rounding to nearest even, and conversions, which round as they are
/// told: the constant of a conversion is one of <see cref="Rounding"/>.
/// </summary>
static unsafe class VectorFloat
{
    static ref Vector128<T> Of<T>(byte* at) => ref *(Vector128<T>*)at;

    static void Add<T>(byte* to, byte* from, byte constant) => Of<T>(to) += Of<T>(from);
    static void Subtract<T>(byte* to, byte* from, byte constant) => Of<T>(to) -= Of<T>(from);
    static void Multiply<T>(byte* to, byte* from, byte constant) => Of<T>(to) *= Of<T>(from);
    static void Divide<T>(byte* to, byte* from, byte constant) => Of<T>(to) /= Of<T>(from);
    static void SquareRoot<T>(byte* to, byte* from, byte constant) => Of<T>(to) = Vector128.Sqrt(Of<T>(from));

    static void AddScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T> => *(T*)to += *(T*)from;
    static void SubtractScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T> => *(T*)to -= *(T*)from;
    static void MultiplyScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T> => *(T*)to *= *(T*)from;
    static void DivideScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T> => *(T*)to /= *(T*)from;
    static void SquareRootScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, IRootFunctions<T> =>
        *(T*)to = T.Sqrt(*(T*)from);

    // Two zeros or a NaN: the source, whatever it is.
    static void MinimumScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T> =>
        *(T*)to = *(T*)to < *(T*)from ? *(T*)to : *(T*)from;
    static void MaximumScalar<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T> =>
        *(T*)to = *(T*)to > *(T*)from ? *(T*)to : *(T*)from;

    static void Minimum<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T>
    {
        for (int i = 0; i < 16; i += sizeof(T)) MinimumScalar<T>(to + i, from + i, constant);
    }

    static void Maximum<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T>
    {
        for (int i = 0; i < 16; i += sizeof(T)) MaximumScalar<T>(to + i, from + i, constant);
    }

    /// <summary>eq lt le unord, and the negation of each.</summary>
    static void CompareScalar<T>(byte* to, byte* from, byte predicate) where T : unmanaged, INumber<T>
    {
        T left = *(T*)to, right = *(T*)from;
        bool holds = (predicate & 3) switch
        {
            0 => left == right,
            1 => left < right,
            2 => left <= right,
            _ => T.IsNaN(left) || T.IsNaN(right),
        };
        new Span<byte>(to, sizeof(T)).Fill(holds != ((predicate & 4) != 0) ? (byte)0xFF : (byte)0);
    }

    static void Compare<T>(byte* to, byte* from, byte predicate) where T : unmanaged, INumber<T>
    {
        for (int i = 0; i < 16; i += sizeof(T)) CompareScalar<T>(to + i, from + i, predicate);
    }

    /// <summary>addsub: even elements are subtracted, odd ones added.</summary>
    static void Alternate<T>(byte* to, byte* from, byte constant) where T : unmanaged, INumber<T>
    {
        for (int i = 0; i < 16 / sizeof(T); i++) ((T*)to)[i] = i % 2 == 0 ? ((T*)to)[i] - ((T*)from)[i] : ((T*)to)[i] + ((T*)from)[i];
    }

    /// <summary>dpps: the upper bits of the constant choose the products, the lower ones the elements that receive their sum.</summary>
    static void DotProduct32(byte* to, byte* from, byte constant)
    {
        Vector128<float> products = Of<float>(to) * Of<float>(from);
        for (int i = 0; i < 4; i++) products = products.WithElement(i, (constant >> 4 + i & 1) != 0 ? products[i] : 0);
        float sum = products[0] + products[1] + (products[2] + products[3]);
        for (int i = 0; i < 4; i++) ((float*)to)[i] = (constant >> i & 1) != 0 ? sum : 0;
    }

    static void DotProduct64(byte* to, byte* from, byte constant)
    {
        Vector128<double> products = Of<double>(to) * Of<double>(from);
        double sum = ((constant & 0x10) != 0 ? products[0] : 0) + ((constant & 0x20) != 0 ? products[1] : 0);
        for (int i = 0; i < 2; i++) ((double*)to)[i] = (constant >> i & 1) != 0 ? sum : 0;
    }

    // Processors differ in the last 12 bits of these estimates; ours are as good as the type. Numbers too small are zero.
    static void ReciprocalScalar(byte* to, byte* from, byte constant) => *(float*)to = Normal(1 / Normal(*(float*)from));
    static void ReciprocalRootScalar(byte* to, byte* from, byte constant) => *(float*)to = 1 / MathF.Sqrt(Normal(*(float*)from));

    static float Normal(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;

    static void Reciprocal(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 16; i += 4) ReciprocalScalar(to + i, from + i, constant);
    }

    static void ReciprocalRoot(byte* to, byte* from, byte constant)
    {
        for (int i = 0; i < 16; i += 4) ReciprocalRootScalar(to + i, from + i, constant);
    }

    static void FromInteger<TInteger, T>(byte* to, byte* from, byte rounding)
        where TInteger : unmanaged, IBinaryInteger<TInteger> where T : unmanaged, IFloatingPointIeee754<T> =>
        *(T*)to = ToFloat<TInteger, T>(*(TInteger*)from, rounding);

    static T ToFloat<TInteger, T>(TInteger value, byte rounding)
        where TInteger : unmanaged, IBinaryInteger<TInteger> where T : unmanaged, IFloatingPointIeee754<T>
    {
        T nearest = T.CreateTruncating(value);
        int error = rounding == Rounding.ToNearest ? 0 : Int128.CreateChecked(value).CompareTo(Int128.CreateChecked(nearest));
        return Rounding.Adjust(nearest, error, TInteger.IsNegative(value), rounding);
    }

    static float ToSingle(double value, byte rounding)
    {
        float nearest = (float)value;
        int error = value > nearest ? 1 : value < nearest ? -1 : 0;
        return Rounding.Adjust(nearest, error, value < 0, rounding);
    }

    static void SingleToDouble(byte* to, byte* from, byte rounding) => *(double*)to = *(float*)from;
    static void DoubleToSingle(byte* to, byte* from, byte rounding) => *(float*)to = ToSingle(*(double*)from, rounding);

    static void SinglesToDoubles(byte* to, byte* from, byte rounding) =>
        Of<double>(to) = Vector128.Create((double)((float*)from)[0], ((float*)from)[1]);
    static void DoublesToSingles(byte* to, byte* from, byte rounding) =>
        Of<float>(to) = Vector128.Create(ToSingle(((double*)from)[0], rounding), ToSingle(((double*)from)[1], rounding), 0, 0);
    static void IntegersToDoubles(byte* to, byte* from, byte rounding) =>
        Of<double>(to) = Vector128.Create((double)((int*)from)[0], ((int*)from)[1]);

    static void IntegersToSingles(byte* to, byte* from, byte rounding)
    {
        for (int i = 0; i < 4; i++) ((float*)to)[i] = ToFloat<int, float>(((int*)from)[i], rounding);
    }

    static void SinglesToIntegers(byte* to, byte* from, byte rounding)
    {
        for (int i = 0; i < 4; i++) ((int*)to)[i] = ToInt32(((float*)from)[i], rounding);
    }

    static void DoublesToIntegers(byte* to, byte* from, byte rounding) =>
        Of<int>(to) = Vector128.Create(ToInt32(((double*)from)[0], rounding), ToInt32(((double*)from)[1], rounding), 0, 0);

    static void RoundScalar<T>(byte* to, byte* from, byte rounding) where T : unmanaged, IFloatingPointIeee754<T> =>
        *(T*)to = Rounding.Round(*(T*)from, rounding);

    static void Round<T>(byte* to, byte* from, byte rounding) where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int i = 0; i < 16; i += sizeof(T)) RoundScalar<T>(to + i, from + i, rounding);
    }

    /// <summary>Out of range, or no number: the most negative integer, where C# would saturate.</summary>
    static int ToInt32(double value, byte rounding)
    {
        double whole = Rounding.Round(value, rounding);
        return whole is >= int.MinValue and <= int.MaxValue ? (int)whole : int.MinValue;
    }

    static long ToInt64(double value, byte rounding)
    {
        double whole = Rounding.Round(value, rounding);
        return whole is >= long.MinValue and < 9223372036854775808.0 ? (long)whole : long.MinValue;
    }

    static ulong To32<T>(byte* from, byte rounding) where T : unmanaged, INumberBase<T> =>
        (uint)ToInt32(double.CreateTruncating(*(T*)from), rounding);
    static ulong To64<T>(byte* from, byte rounding) where T : unmanaged, INumberBase<T> =>
        (ulong)ToInt64(double.CreateTruncating(*(T*)from), rounding);
    static ulong SignMask<T>(byte* from, byte constant) => Vector128.ExtractMostSignificantBits(Of<T>(from));
    static ulong Extract16(byte* from, byte constant) => ((ushort*)from)[constant & 7];

    /// <summary>The conversion of an instruction whose result is a general register, or null.</summary>
    public static ScalarFunction FindScalarConversion(in Instruction instruction)
    {
        bool wide = instruction.Op0Kind == OpKind.Register && instruction.Op0Register.GetSize() == 8;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cvtss2si or Mnemonic.Cvttss2si: return wide ? &To64<float> : &To32<float>;
            case Mnemonic.Cvtsd2si or Mnemonic.Cvttsd2si: return wide ? &To64<double> : &To32<double>;
            default: return null;
        }
    }

    /// <summary>The function of another instruction whose result is a general register, or null.</summary>
    public static ScalarFunction FindScalar(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Pmovmskb: return &SignMask<byte>;
            case Mnemonic.Movmskps: return &SignMask<float>;
            case Mnemonic.Movmskpd: return &SignMask<double>;
            default: return null;
        }
    }

    /// <summary>The function of a conversion, or null.</summary>
    public static VectorFunction FindConversion(in Instruction instruction)
    {
        bool wide = instruction.OpCount > 1 && OperandEncoding.SizeOf(instruction, 1) == 8;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cvtsi2ss: return wide ? &FromInteger<long, float> : &FromInteger<int, float>;
            case Mnemonic.Cvtsi2sd: return wide ? &FromInteger<long, double> : &FromInteger<int, double>;
            case Mnemonic.Cvtss2sd: return &SingleToDouble;
            case Mnemonic.Cvtsd2ss: return &DoubleToSingle;
            case Mnemonic.Cvtps2pd: return &SinglesToDoubles;
            case Mnemonic.Cvtpd2ps: return &DoublesToSingles;
            case Mnemonic.Cvtdq2pd: return &IntegersToDoubles;
            case Mnemonic.Cvtdq2ps: return &IntegersToSingles;
            case Mnemonic.Cvtps2dq or Mnemonic.Cvttps2dq: return &SinglesToIntegers;
            case Mnemonic.Cvtpd2dq or Mnemonic.Cvttpd2dq: return &DoublesToIntegers;
            case Mnemonic.Roundps: return &Round<float>;
            case Mnemonic.Roundpd: return &Round<double>;
            case Mnemonic.Roundss: return &RoundScalar<float>;
            case Mnemonic.Roundsd: return &RoundScalar<double>;
            default: return null;
        }
    }

    /// <summary>The function of an arithmetic instruction, or null.</summary>
    public static VectorFunction Find(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Addps: return &Add<float>;
            case Mnemonic.Addpd: return &Add<double>;
            case Mnemonic.Addss: return &AddScalar<float>;
            case Mnemonic.Addsd: return &AddScalar<double>;
            case Mnemonic.Subps: return &Subtract<float>;
            case Mnemonic.Subpd: return &Subtract<double>;
            case Mnemonic.Subss: return &SubtractScalar<float>;
            case Mnemonic.Subsd: return &SubtractScalar<double>;
            case Mnemonic.Mulps: return &Multiply<float>;
            case Mnemonic.Mulpd: return &Multiply<double>;
            case Mnemonic.Mulss: return &MultiplyScalar<float>;
            case Mnemonic.Mulsd: return &MultiplyScalar<double>;
            case Mnemonic.Divps: return &Divide<float>;
            case Mnemonic.Divpd: return &Divide<double>;
            case Mnemonic.Divss: return &DivideScalar<float>;
            case Mnemonic.Divsd: return &DivideScalar<double>;
            case Mnemonic.Sqrtps: return &SquareRoot<float>;
            case Mnemonic.Sqrtpd: return &SquareRoot<double>;
            case Mnemonic.Sqrtss: return &SquareRootScalar<float>;
            case Mnemonic.Sqrtsd: return &SquareRootScalar<double>;
            case Mnemonic.Minps: return &Minimum<float>;
            case Mnemonic.Minpd: return &Minimum<double>;
            case Mnemonic.Minss: return &MinimumScalar<float>;
            case Mnemonic.Minsd: return &MinimumScalar<double>;
            case Mnemonic.Maxps: return &Maximum<float>;
            case Mnemonic.Maxpd: return &Maximum<double>;
            case Mnemonic.Maxss: return &MaximumScalar<float>;
            case Mnemonic.Maxsd: return &MaximumScalar<double>;
            case Mnemonic.Cmpps: return &Compare<float>;
            case Mnemonic.Cmppd: return &Compare<double>;
            case Mnemonic.Cmpss: return &CompareScalar<float>;
            case Mnemonic.Cmpsd: return &CompareScalar<double>;
            case Mnemonic.Addsubps: return &Alternate<float>;
            case Mnemonic.Addsubpd: return &Alternate<double>;
            case Mnemonic.Haddps: return &VectorInteger.Horizontal<float, SumOf<float>>;
            case Mnemonic.Haddpd: return &VectorInteger.Horizontal<double, SumOf<double>>;
            case Mnemonic.Hsubps: return &VectorInteger.Horizontal<float, DifferenceOf<float>>;
            case Mnemonic.Hsubpd: return &VectorInteger.Horizontal<double, DifferenceOf<double>>;
            case Mnemonic.Dpps: return &DotProduct32;
            case Mnemonic.Dppd: return &DotProduct64;
            case Mnemonic.Rcpps: return &Reciprocal;
            case Mnemonic.Rcpss: return &ReciprocalScalar;
            case Mnemonic.Rsqrtps: return &ReciprocalRoot;
            case Mnemonic.Rsqrtss: return &ReciprocalRootScalar;
            default: return null;
        }
    }
}

/// <summary>What <see cref="Cpu.Mxcsr"/> and the constants of rounding instructions say about floating-point arithmetic.</summary>
static unsafe class Rounding
{
    public const byte ToNearest = 0, Down = 1, Up = 2, ToZero = 3;

    /// <summary>In a constant: the mode is the one in mxcsr.</summary>
    public const byte ByControl = 4;

    const int Shift = 13;
    const uint ModeMask = 3 << Shift;
    // Exceptions masked, subnormal numbers kept: the rest of mxcsr but its sticky flags.
    const uint Environment = 0xFFC0, Default = 0x1F80;

    /// <summary>Bits of mxcsr that exist.</summary>
    public const uint ValidBits = 0xFFFF;

    /// <summary>Whether arithmetic that always rounds to nearest, and never traps or flushes, is what mxcsr asks for.</summary>
    public static bool IsPlain(Cpu* cpu) => (cpu->Mxcsr & Environment) == Default;

    /// <summary>As <see cref="IsPlain"/>, in any rounding mode.</summary>
    public static bool IsPlainButMode(Cpu* cpu) => (cpu->Mxcsr & Environment & ~ModeMask) == Default;

    /// <summary>The mode that a constant chooses.</summary>
    public static byte ModeOf(Cpu* cpu, ulong constant) =>
        (byte)((constant & ByControl) != 0 ? (cpu->Mxcsr & ModeMask) >> Shift : constant & 3);

    public static T Round<T>(T value, byte mode) where T : IFloatingPoint<T> => mode switch
    {
        ToNearest => T.Round(value, MidpointRounding.ToEven),
        Down => T.Floor(value),
        Up => T.Ceiling(value),
        _ => T.Truncate(value),
    };

    /// <summary>Moves a result that was rounded to nearest to the neighbour that another mode wants.</summary>
    /// <param name="error">Sign of the exact value minus <paramref name="nearest"/>.</param>
    public static T Adjust<T>(T nearest, int error, bool isNegative, byte mode) where T : IFloatingPointIeee754<T>
    {
        bool down = mode == Down || (mode == ToZero && !isNegative), up = mode == Up || (mode == ToZero && isNegative);
        return error < 0 && down ? T.BitDecrement(nearest) : error > 0 && up ? T.BitIncrement(nearest) : nearest;
    }
}
