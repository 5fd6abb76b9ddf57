using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>An operation on two values, and the carries out of every bit of it.</summary>
interface IBinary
{
    static abstract bool Writes { get; }
    static abstract ulong Compute(ulong left, ulong right, in LazyFlags flags);
    static abstract ulong Carries(ulong left, ulong right, ulong result);
}

static class Carry
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong OfSum(ulong left, ulong right, ulong sum) => (left & right) | ((left | right) & ~sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong OfDifference(ulong left, ulong right, ulong difference) => (~left & right) | ((~left | right) & difference);
}

struct Add : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left + right;
    public static ulong Carries(ulong left, ulong right, ulong result) => Carry.OfSum(left, right, result);
}

struct Adc : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left + right + (flags.Aux >> 31);
    public static ulong Carries(ulong left, ulong right, ulong result) => Carry.OfSum(left, right, result);
}

struct Sub : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left - right;
    public static ulong Carries(ulong left, ulong right, ulong result) => Carry.OfDifference(left, right, result);
}

struct Sbb : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left - right - (flags.Aux >> 31);
    public static ulong Carries(ulong left, ulong right, ulong result) => Carry.OfDifference(left, right, result);
}

struct Cmp : IBinary
{
    public static bool Writes => false;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left - right;
    public static ulong Carries(ulong left, ulong right, ulong result) => Carry.OfDifference(left, right, result);
}

struct And : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left & right;
    public static ulong Carries(ulong left, ulong right, ulong result) => 0;
}

struct Or : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left | right;
    public static ulong Carries(ulong left, ulong right, ulong result) => 0;
}

struct Xor : IBinary
{
    public static bool Writes => true;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left ^ right;
    public static ulong Carries(ulong left, ulong right, ulong result) => 0;
}

struct Test : IBinary
{
    public static bool Writes => false;
    public static ulong Compute(ulong left, ulong right, in LazyFlags flags) => left & right;
    public static ulong Carries(ulong left, ulong right, ulong result) => 0;
}

/// <summary>An operation on one value; those that touch flags keep CF or say what it is.</summary>
interface IUnary
{
    static abstract bool WritesFlags { get; }
    static abstract bool KeepsCarry { get; }
    static abstract ulong Compute(ulong value);
    static abstract ulong Carries(ulong value, ulong result);
}

struct Inc : IUnary
{
    public static bool WritesFlags => true;
    public static bool KeepsCarry => true;
    public static ulong Compute(ulong value) => value + 1;
    public static ulong Carries(ulong value, ulong result) => Carry.OfSum(value, 1, result);
}

struct Dec : IUnary
{
    public static bool WritesFlags => true;
    public static bool KeepsCarry => true;
    public static ulong Compute(ulong value) => value - 1;
    public static ulong Carries(ulong value, ulong result) => Carry.OfDifference(value, 1, result);
}

struct Neg : IUnary
{
    public static bool WritesFlags => true;
    public static bool KeepsCarry => false;
    public static ulong Compute(ulong value) => 0 - value;
    public static ulong Carries(ulong value, ulong result) => Carry.OfDifference(0, value, result);
}

struct Complement : IUnary
{
    public static bool WritesFlags => false;
    public static bool KeepsCarry => true;
    public static ulong Compute(ulong value) => ~value;
    public static ulong Carries(ulong value, ulong result) => 0;
}

/// <summary>add or adc sbb and sub xor cmp test inc dec neg not.</summary>
static unsafe class Alu<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Binary<TOperation, TWidth, TLeft, TRight, TFlags>(Cpu* cpu, Op* op)
        where TOperation : struct, IBinary where TWidth : struct, IWidth where TLeft : struct, IOperand where TRight : struct, IOperand
        where TFlags : struct, IFlagUse
    {
        byte* leftAt = TLeft.Locate<TMode>(cpu, op, TWidth.Size, TOperation.Writes ? PageAccess.Write : PageAccess.Read);
        if (TLeft.CanFault && leftAt == null) return TMode.Missed(cpu, op);
        byte* rightAt = TRight.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (TRight.CanFault && rightAt == null) return TMode.Missed(cpu, op);
        ulong left = TWidth.Load(leftAt), right = TWidth.Load(rightAt);
        ulong result = TOperation.Compute(left, right, cpu->Flags);
        if (TOperation.Writes) TLeft.Store<TWidth>(op, leftAt, result);
        if (TFlags.Live)
        {
            cpu->Flags.Result = TWidth.Extend(result);
            cpu->Flags.Aux = TWidth.Aux(TOperation.Carries(left, right, result));
        }
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Unary<TOperation, TWidth, TOperand, TFlags>(Cpu* cpu, Op* op)
        where TOperation : struct, IUnary where TWidth : struct, IWidth where TOperand : struct, IOperand where TFlags : struct, IFlagUse
    {
        byte* at = TOperand.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (TOperand.CanFault && at == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load(at);
        ulong result = TOperation.Compute(value);
        TOperand.Store<TWidth>(op, at, result);
        if (TFlags.Live && TOperation.WritesFlags)
        {
            uint aux = TWidth.Aux(TOperation.Carries(value, result));
            cpu->Flags.Result = TWidth.Extend(result);
            cpu->Flags.Aux = TOperation.KeepsCarry && TFlags.CarryLive ? LazyFlags.WithCarry(aux, cpu->Flags.Aux) : aux;
        }
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction, bool keepFlags, bool keepCarry) => instruction.Mnemonic switch
    {
        Mnemonic.Add => EmitBinary<Add>(chain, instruction, keepFlags),
        Mnemonic.Or => EmitBinary<Or>(chain, instruction, keepFlags),
        Mnemonic.Adc => EmitBinary<Adc>(chain, instruction, keepFlags),
        Mnemonic.Sbb => EmitBinary<Sbb>(chain, instruction, keepFlags),
        Mnemonic.And => EmitBinary<And>(chain, instruction, keepFlags),
        Mnemonic.Sub => EmitBinary<Sub>(chain, instruction, keepFlags),
        Mnemonic.Xor => EmitBinary<Xor>(chain, instruction, keepFlags),
        Mnemonic.Cmp => EmitBinary<Cmp>(chain, instruction, keepFlags),
        Mnemonic.Test => EmitBinary<Test>(chain, instruction, keepFlags),
        Mnemonic.Inc => EmitUnary<Inc>(chain, instruction, keepFlags, keepCarry),
        Mnemonic.Dec => EmitUnary<Dec>(chain, instruction, keepFlags, keepCarry),
        Mnemonic.Neg => EmitUnary<Neg>(chain, instruction, keepFlags, keepCarry),
        Mnemonic.Not => EmitUnary<Complement>(chain, instruction, keepFlags: false, keepCarry: false),
        _ => false,
    };

    static bool EmitBinary<TOperation>(Chain chain, in Instruction instruction, bool keepFlags) where TOperation : struct, IBinary
    {
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        Form form = OperandEncoding.FormOf(instruction, op);
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            1 => SelectBinary<TOperation, W8, FlagsLive>(form),
            2 => SelectBinary<TOperation, W16, FlagsLive>(form),
            4 => keepFlags ? SelectBinary<TOperation, W32, FlagsLive>(form) : SelectBinary<TOperation, W32, FlagsDead>(form),
            _ => keepFlags ? SelectBinary<TOperation, W64, FlagsLive>(form) : SelectBinary<TOperation, W64, FlagsDead>(form),
        };
        return true;
    }

    static Handler SelectBinary<TOperation, TWidth, TFlags>(Form form)
        where TOperation : struct, IBinary where TWidth : struct, IWidth where TFlags : struct, IFlagUse => form switch
    {
        Form.RegisterRegister => &Binary<TOperation, TWidth, First, Second, TFlags>,
        Form.RegisterConstant => &Binary<TOperation, TWidth, First, Constant, TFlags>,
        Form.RegisterNear => &Binary<TOperation, TWidth, First, Near, TFlags>,
        Form.RegisterFar => &Binary<TOperation, TWidth, First, Far, TFlags>,
        Form.NearRegister => &Binary<TOperation, TWidth, Near, Second, TFlags>,
        Form.FarRegister => &Binary<TOperation, TWidth, Far, Second, TFlags>,
        Form.NearConstant => &Binary<TOperation, TWidth, Near, Constant, TFlags>,
        _ => &Binary<TOperation, TWidth, Far, Constant, TFlags>,
    };

    static bool EmitUnary<TOperation>(Chain chain, in Instruction instruction, bool keepFlags, bool keepCarry)
        where TOperation : struct, IUnary
    {
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        bool memory = op.IsMemory;
        op.Handler = OperandEncoding.SizeOf(instruction, 0) switch
        {
            1 => SelectUnary<TOperation, W8, FlagsLive>(memory),
            2 => SelectUnary<TOperation, W16, FlagsLive>(memory),
            4 => SelectUnary<TOperation, W32>(memory, keepFlags, keepCarry),
            _ => SelectUnary<TOperation, W64>(memory, keepFlags, keepCarry),
        };
        return true;
    }

    static Handler SelectUnary<TOperation, TWidth>(bool memory, bool keepFlags, bool keepCarry)
        where TOperation : struct, IUnary where TWidth : struct, IWidth =>
        !keepFlags ? SelectUnary<TOperation, TWidth, FlagsDead>(memory)
        : keepCarry ? SelectUnary<TOperation, TWidth, FlagsLive>(memory)
        : SelectUnary<TOperation, TWidth, FlagsLiveButCarry>(memory);

    static Handler SelectUnary<TOperation, TWidth, TFlags>(bool memory)
        where TOperation : struct, IUnary where TWidth : struct, IWidth where TFlags : struct, IFlagUse =>
        memory ? &Unary<TOperation, TWidth, Far, TFlags> : &Unary<TOperation, TWidth, First, TFlags>;
}
