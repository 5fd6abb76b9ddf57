using System.Numerics;

namespace Irpwright.Guest.Processor;

/// <summary>A condition code: of the flags, and directly of the operands of a cmp or test fused with its jump.</summary>
interface ICondition
{
    static abstract bool Of(in LazyFlags flags);
    static abstract bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth;
    /// <summary>After a logical operation, where CF and OF are clear.</summary>
    static abstract bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth;
}

struct Not<TCondition> : ICondition where TCondition : struct, ICondition
{
    public static bool Of(in LazyFlags flags) => !TCondition.Of(flags);
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth =>
        !TCondition.OfCompare<TWidth>(left, right);
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => !TCondition.OfTest<TWidth>(result);
}

struct Always : ICondition
{
    public static bool Of(in LazyFlags flags) => true;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth => true;
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => true;
}

struct Overflow : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Overflow;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth =>
        TWidth.Extend((left ^ right) & (left ^ (left - right))) < 0;
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => false;
}

struct Below : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Carry;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth => left < right;
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => false;
}

struct Equal : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Zero;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth => left == right;
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => result == 0;
}

struct BelowOrEqual : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Carry | flags.Zero;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth => left <= right;
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => result == 0;
}

struct Negative : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Sign;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth => TWidth.Extend(left - right) < 0;
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => TWidth.Extend(result) < 0;
}

struct EvenParity : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Parity;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth => OfTest<TWidth>(left - right);
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => (BitOperations.PopCount((byte)result) & 1) == 0;
}

struct Less : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Sign != flags.Overflow;
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth =>
        TWidth.Extend(left) < TWidth.Extend(right);
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => TWidth.Extend(result) < 0;
}

struct LessOrEqual : ICondition
{
    public static bool Of(in LazyFlags flags) => flags.Zero | (flags.Sign != flags.Overflow);
    public static bool OfCompare<TWidth>(ulong left, ulong right) where TWidth : struct, IWidth =>
        TWidth.Extend(left) <= TWidth.Extend(right);
    public static bool OfTest<TWidth>(ulong result) where TWidth : struct, IWidth => TWidth.Extend(result) <= 0;
}
