using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// cmp or test together with the jump that follows, when nothing else reads the flags: the operands decide, flags are never made.
/// </summary>
static unsafe class Compare<TMode> where TMode : struct, IMode
{
    interface IComparison
    {
        static abstract bool Holds<TCondition, TWidth>(ulong left, ulong right)
            where TCondition : struct, ICondition where TWidth : struct, IWidth;
    }

    struct OfDifference : IComparison
    {
        public static bool Holds<TCondition, TWidth>(ulong left, ulong right)
            where TCondition : struct, ICondition where TWidth : struct, IWidth =>
            TCondition.OfCompare<TWidth>(left, right);
    }

    struct OfIntersection : IComparison
    {
        public static bool Holds<TCondition, TWidth>(ulong left, ulong right)
            where TCondition : struct, ICondition where TWidth : struct, IWidth =>
            TCondition.OfTest<TWidth>(left & right);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* JumpIf<TComparison, TCondition, TWidth, TLeft, TRight>(Cpu* cpu, Op* op)
        where TComparison : struct, IComparison where TCondition : struct, ICondition where TWidth : struct, IWidth
        where TLeft : struct, IOperand where TRight : struct, IOperand
    {
        byte* left = TLeft.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (TLeft.CanFault && left == null) return TMode.Missed(cpu, op);
        byte* right = TRight.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (TRight.CanFault && right == null) return TMode.Missed(cpu, op);
        if (!TComparison.Holds<TCondition, TWidth>(TWidth.Load(left), TWidth.Load(right))) return TMode.Next(cpu, op + 1);
        if (--cpu->Budget < 0) return Branch<TMode>.Spent(cpu, op);
        return TMode.Next(cpu, op->Target);
    }

    public static bool TryFuse(Chain chain, in Instruction compare, in Instruction jump, uint liveAfterJump)
    {
        if (compare.Mnemonic is not (Mnemonic.Cmp or Mnemonic.Test) || !jump.IsJccShortOrNear) return false;
        if ((liveAfterJump & (uint)compare.RflagsModified) != 0) return false;
        ref Op op = ref chain.AddWithOperands<TMode>(compare);
        Form form = OperandEncoding.FormOf(compare, op);
        int size = OperandEncoding.SizeOf(compare, 0);
        op.Handler = compare.Mnemonic == Mnemonic.Cmp
            ? Select<OfDifference>(jump.ConditionCode, size, form)
            : Select<OfIntersection>(jump.ConditionCode, size, form);
        chain.LinkTo(jump.NearBranchTarget);
        return true;
    }

    static Handler Select<TComparison>(ConditionCode code, int size, Form form) where TComparison : struct, IComparison => code switch
    {
        ConditionCode.o => Select<TComparison, Overflow>(size, form),
        ConditionCode.no => Select<TComparison, Not<Overflow>>(size, form),
        ConditionCode.b => Select<TComparison, Below>(size, form),
        ConditionCode.ae => Select<TComparison, Not<Below>>(size, form),
        ConditionCode.e => Select<TComparison, Equal>(size, form),
        ConditionCode.ne => Select<TComparison, Not<Equal>>(size, form),
        ConditionCode.be => Select<TComparison, BelowOrEqual>(size, form),
        ConditionCode.a => Select<TComparison, Not<BelowOrEqual>>(size, form),
        ConditionCode.s => Select<TComparison, Negative>(size, form),
        ConditionCode.ns => Select<TComparison, Not<Negative>>(size, form),
        ConditionCode.p => Select<TComparison, EvenParity>(size, form),
        ConditionCode.np => Select<TComparison, Not<EvenParity>>(size, form),
        ConditionCode.l => Select<TComparison, Less>(size, form),
        ConditionCode.ge => Select<TComparison, Not<Less>>(size, form),
        ConditionCode.le => Select<TComparison, LessOrEqual>(size, form),
        _ => Select<TComparison, Not<LessOrEqual>>(size, form),
    };

    static Handler Select<TComparison, TCondition>(int size, Form form)
        where TComparison : struct, IComparison where TCondition : struct, ICondition => size switch
    {
        1 => Select<TComparison, TCondition, W8>(form),
        2 => Select<TComparison, TCondition, W16>(form),
        4 => Select<TComparison, TCondition, W32>(form),
        _ => Select<TComparison, TCondition, W64>(form),
    };

    static Handler Select<TComparison, TCondition, TWidth>(Form form)
        where TComparison : struct, IComparison where TCondition : struct, ICondition where TWidth : struct, IWidth => form switch
    {
        Form.RegisterRegister => &JumpIf<TComparison, TCondition, TWidth, First, Second>,
        Form.RegisterConstant => &JumpIf<TComparison, TCondition, TWidth, First, Constant>,
        Form.RegisterNear => &JumpIf<TComparison, TCondition, TWidth, First, Near>,
        Form.RegisterFar => &JumpIf<TComparison, TCondition, TWidth, First, Far>,
        Form.NearRegister => &JumpIf<TComparison, TCondition, TWidth, Near, Second>,
        Form.FarRegister => &JumpIf<TComparison, TCondition, TWidth, Far, Second>,
        Form.NearConstant => &JumpIf<TComparison, TCondition, TWidth, Near, Constant>,
        _ => &JumpIf<TComparison, TCondition, TWidth, Far, Constant>,
    };
}
