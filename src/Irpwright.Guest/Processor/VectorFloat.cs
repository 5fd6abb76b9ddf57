using System.Numerics;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>Floating-point operations on vectors and on their lowest element, and conversions; always rounding to nearest even.</summary>
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

    static void FromInteger<TInteger, T>(byte* to, byte* from, byte constant)
        where TInteger : unmanaged, INumberBase<TInteger> where T : unmanaged, INumberBase<T> =>
        *(T*)to = T.CreateTruncating(*(TInteger*)from);

    static void SingleToDouble(byte* to, byte* from, byte constant) => *(double*)to = *(float*)from;
    static void DoubleToSingle(byte* to, byte* from, byte constant) => *(float*)to = (float)*(double*)from;

    static void SinglesToDoubles(byte* to, byte* from, byte constant) =>
        Of<double>(to) = Vector128.Create((double)((float*)from)[0], ((float*)from)[1]);
    static void DoublesToSingles(byte* to, byte* from, byte constant) =>
        Of<float>(to) = Vector128.Create((float)((double*)from)[0], (float)((double*)from)[1], 0, 0);
    static void IntegersToDoubles(byte* to, byte* from, byte constant) =>
        Of<double>(to) = Vector128.Create((double)((int*)from)[0], ((int*)from)[1]);
    static void IntegersToSingles(byte* to, byte* from, byte constant) => Of<float>(to) = Vector128.ConvertToSingle(Of<int>(from));

    static void SinglesToIntegers(byte* to, byte* from, bool truncate)
    {
        for (int i = 0; i < 4; i++) ((int*)to)[i] = ToInt32(((float*)from)[i], truncate);
    }

    static void DoublesToIntegers(byte* to, byte* from, bool truncate) =>
        Of<int>(to) = Vector128.Create(ToInt32(((double*)from)[0], truncate), ToInt32(((double*)from)[1], truncate), 0, 0);

    static void RoundSinglesToIntegers(byte* to, byte* from, byte constant) => SinglesToIntegers(to, from, truncate: false);
    static void TruncateSinglesToIntegers(byte* to, byte* from, byte constant) => SinglesToIntegers(to, from, truncate: true);
    static void RoundDoublesToIntegers(byte* to, byte* from, byte constant) => DoublesToIntegers(to, from, truncate: false);
    static void TruncateDoublesToIntegers(byte* to, byte* from, byte constant) => DoublesToIntegers(to, from, truncate: true);

    /// <summary>Out of range, or no number: the most negative integer, where C# would saturate.</summary>
    static int ToInt32(double value, bool truncate)
    {
        double whole = truncate ? Math.Truncate(value) : Math.Round(value, MidpointRounding.ToEven);
        return whole is >= int.MinValue and <= int.MaxValue ? (int)whole : int.MinValue;
    }

    static long ToInt64(double value, bool truncate)
    {
        double whole = truncate ? Math.Truncate(value) : Math.Round(value, MidpointRounding.ToEven);
        return whole is >= long.MinValue and < 9223372036854775808.0 ? (long)whole : long.MinValue;
    }

    static ulong Round32<T>(byte* from, byte constant) where T : unmanaged, INumberBase<T> =>
        (uint)ToInt32(double.CreateTruncating(*(T*)from), truncate: false);
    static ulong Truncate32<T>(byte* from, byte constant) where T : unmanaged, INumberBase<T> =>
        (uint)ToInt32(double.CreateTruncating(*(T*)from), truncate: true);
    static ulong Round64<T>(byte* from, byte constant) where T : unmanaged, INumberBase<T> =>
        (ulong)ToInt64(double.CreateTruncating(*(T*)from), truncate: false);
    static ulong Truncate64<T>(byte* from, byte constant) where T : unmanaged, INumberBase<T> =>
        (ulong)ToInt64(double.CreateTruncating(*(T*)from), truncate: true);
    static ulong SignMask<T>(byte* from, byte constant) => Vector128.ExtractMostSignificantBits(Of<T>(from));
    static ulong Extract16(byte* from, byte constant) => ((ushort*)from)[constant & 7];

    /// <summary>The function of an instruction whose result is a general register, or null.</summary>
    public static ScalarFunction FindScalar(in Instruction instruction)
    {
        bool wide = instruction.Op0Kind == OpKind.Register && instruction.Op0Register.GetSize() == 8;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cvtss2si: return wide ? &Round64<float> : &Round32<float>;
            case Mnemonic.Cvtsd2si: return wide ? &Round64<double> : &Round32<double>;
            case Mnemonic.Cvttss2si: return wide ? &Truncate64<float> : &Truncate32<float>;
            case Mnemonic.Cvttsd2si: return wide ? &Truncate64<double> : &Truncate32<double>;
            case Mnemonic.Pmovmskb: return &SignMask<byte>;
            case Mnemonic.Movmskps: return &SignMask<float>;
            case Mnemonic.Movmskpd: return &SignMask<double>;
            case Mnemonic.Pextrw when instruction.Op0Kind == OpKind.Register: return &Extract16;
            default: return null;
        }
    }

    /// <summary>The function of an instruction, or null.</summary>
    public static VectorFunction Find(in Instruction instruction)
    {
        bool wide = instruction.OpCount > 1 && OperandEncoding.SizeOf(instruction, 1) == 8;
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
            case Mnemonic.Cvtsi2ss: return wide ? &FromInteger<long, float> : &FromInteger<int, float>;
            case Mnemonic.Cvtsi2sd: return wide ? &FromInteger<long, double> : &FromInteger<int, double>;
            case Mnemonic.Cvtss2sd: return &SingleToDouble;
            case Mnemonic.Cvtsd2ss: return &DoubleToSingle;
            case Mnemonic.Cvtps2pd: return &SinglesToDoubles;
            case Mnemonic.Cvtpd2ps: return &DoublesToSingles;
            case Mnemonic.Cvtdq2pd: return &IntegersToDoubles;
            case Mnemonic.Cvtdq2ps: return &IntegersToSingles;
            case Mnemonic.Cvtps2dq: return &RoundSinglesToIntegers;
            case Mnemonic.Cvttps2dq: return &TruncateSinglesToIntegers;
            case Mnemonic.Cvtpd2dq: return &RoundDoublesToIntegers;
            case Mnemonic.Cvttpd2dq: return &TruncateDoublesToIntegers;
            default: return null;
        }
    }
}
