using System.Runtime.CompilerServices;
using Irpwright.Guest.Processor;

namespace Irpwright.Guest.Checks;

/// <summary>How many bytes of state an access concerns.</summary>
unsafe interface IStateSize
{
    static abstract ulong Any(byte* at);
    static abstract void Clear(byte* at);
}

unsafe struct S1 : IStateSize
{
    public static ulong Any(byte* at) => *at;
    public static void Clear(byte* at) => *at = 0;
}

unsafe struct S2 : IStateSize
{
    public static ulong Any(byte* at) => *(ushort*)at;
    public static void Clear(byte* at) => *(ushort*)at = 0;
}

unsafe struct S4 : IStateSize
{
    public static ulong Any(byte* at) => *(uint*)at;
    public static void Clear(byte* at) => *(uint*)at = 0;
}

unsafe struct S8 : IStateSize
{
    public static ulong Any(byte* at) => *(ulong*)at;
    public static void Clear(byte* at) => *(ulong*)at = 0;
}

unsafe struct S16 : IStateSize
{
    public static ulong Any(byte* at) => *(ulong*)at | *(ulong*)(at + 8);
    public static void Clear(byte* at) => ((ulong*)at)[0] = ((ulong*)at)[1] = 0;
}

/// <summary>The form of an address.</summary>
unsafe interface IPlace
{
    static abstract ulong Address(Cpu* cpu, Op* op);
    static abstract ulong State(byte* state, Op* op);
}

unsafe struct NearPlace : IPlace
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Address(Cpu* cpu, Op* op) => *(ulong*)((byte*)cpu + op->Base) + (ulong)op->Displacement;
    public static ulong State(byte* state, Op* op) => *(ulong*)(state + op->Base);
}

unsafe struct FarPlace : IPlace
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Address(Cpu* cpu, Op* op) => Far.Address(cpu, op);
    public static ulong State(byte* state, Op* op) => *(ulong*)(state + op->Base) | *(ulong*)(state + op->Index);
}

/// <summary>
/// Operations of checked mode that run before an instruction and see at a glance that nothing can be wrong: every register and every
/// byte of memory that it uses is in good order. Then so is what it makes. Anything else goes to <see cref="Inspection"/>.
/// </summary>
/// <remarks>
/// Operands are those of the instruction, as offsets. <see cref="Op.Source"/> is a register that it reads, <see cref="Op.Destination"/>
/// one that it writes as a whole, the low half of <see cref="Op.Immediate"/> where its flags go, <see cref="Op.Target"/> its
/// <see cref="InspectionPlan"/>.
/// </remarks>
static unsafe class Screen<TMode> where TMode : struct, IMode
{
    /// <summary>An instruction without memory; the registers that it reads are in Source, Base and Index.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Registers<TSize>(Cpu* cpu, Op* op) where TSize : struct, IStateSize
    {
        byte* state = (byte*)(cpu + 1);
        if ((TSize.Any(state + op->Source) | TSize.Any(state + op->Base) | TSize.Any(state + op->Index)) != 0) return ((InspectionPlan*)op->Target)->Inspect(cpu, op);
        TSize.Clear(state + op->Destination);
        state[(ushort)op->Immediate] = 0;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>An instruction that reads memory, and may write it back.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Load<TSize, TPlace, TResult>(Cpu* cpu, Op* op)
        where TSize : struct, IStateSize where TPlace : struct, IPlace where TResult : struct, IStateSize
    {
        byte* state = (byte*)(cpu + 1);
        ulong address = TPlace.Address(cpu, op);
        if (((address ^ cpu->CodeBase) & GuestAccess.OutsideKernel) != 0) return ((InspectionPlan*)op->Target)->Inspect(cpu, op);
        ulong any = TPlace.State(state, op) | *(ulong*)(state + op->Source) | TSize.Any(((CheckState*)state)->Memory + (uint)address);
        if (any != 0) return ((InspectionPlan*)op->Target)->Inspect(cpu, op);
        TResult.Clear(state + op->Destination);
        state[(ushort)op->Immediate] = 0;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>An instruction that only writes memory: whether somebody had before does not matter.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Store<TSize, TPlace, TSource>(Cpu* cpu, Op* op)
        where TSize : struct, IStateSize where TPlace : struct, IPlace where TSource : struct, IStateSize
    {
        byte* state = (byte*)(cpu + 1);
        ulong address = TPlace.Address(cpu, op);
        if (((address ^ cpu->CodeBase) & GuestAccess.OutsideKernel) != 0) return ((InspectionPlan*)op->Target)->Inspect(cpu, op);
        byte* memory = ((CheckState*)state)->Memory + (uint)address;
        ulong any = TPlace.State(state, op) | TSource.Any(state + op->Source) | TSize.Any(memory) & ~InspectionPlan.EveryByte;
        if (any != 0) return ((InspectionPlan*)op->Target)->Inspect(cpu, op);
        TSize.Clear(memory);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Push(Cpu* cpu, Op* op)
    {
        byte* state = (byte*)(cpu + 1);
        // The state of the register is that of the slot from now on.
        *(ulong*)(((CheckState*)state)->Memory + (uint)(cpu->Rsp - 8)) = *(ulong*)(state + op->Source);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Pop(Cpu* cpu, Op* op)
    {
        byte* state = (byte*)(cpu + 1);
        *(ulong*)(state + op->Destination) = *(ulong*)(((CheckState*)state)->Memory + (uint)cpu->Rsp) & InspectionPlan.EveryByte;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A jump that reads flags.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Condition(Cpu* cpu, Op* op)
    {
        if (((byte*)(cpu + 1))[CheckState.FlagsOffset] != 0) return ((InspectionPlan*)op->Target)->Inspect(cpu, op);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Return(Cpu* cpu, Op* op)
    {
        if (cpu->Rsp > CheckState.Of(cpu)->WatchedFrame) return ((Handler)op->Immediate)(cpu, op);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>sub rsp, constant: nobody has written what is on the stack now.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Lower(Cpu* cpu, Op* op)
    {
        Inspection.Lower(cpu, cpu->Rsp - op->Immediate, op->Immediate);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Before another instruction that changes rsp.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* NoteStack(Cpu* cpu, Op* op)
    {
        CheckState.Of(cpu)->StackBefore = cpu->Rsp;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Behind it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* FollowStack(Cpu* cpu, Op* op)
    {
        Inspection.Lower(cpu, cpu->Rsp, CheckState.Of(cpu)->StackBefore - cpu->Rsp);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Before code in a section that may be pageable.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* PageableCode(Cpu* cpu, Op* op)
    {
        if (cpu->Irql != null && *cpu->Irql >= Wdk.Constants.DISPATCH_LEVEL) Inspection.RunPageable(cpu, op);
        return TMode.Next(cpu, op + 1);
    }

    // What is rare is reached through a pointer: a call of a known method would be inlined, and the handler needed a frame.

    /// <summary>Looks at everything that the instruction does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Inspect(Cpu* cpu, Op* op)
    {
        Inspection.Run(cpu, op);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* LeaveFrame(Cpu* cpu, Op* op)
    {
        Inspection.LeaveFrame(cpu, op);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A call of a kernel routine.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Thunk(Cpu* cpu, Op* op)
    {
        cpu->Rip = cpu->CodeBase + op->Offset;
        MemoryChecks checks = Interpreter.Of(cpu).Checks!;
        // The kernel may run compiled code on this processor meanwhile.
        ulong first = cpu->Rcx, second = cpu->Rdx;
        checks.BeforeCall(cpu);
        cpu->OnThunk(cpu, (nint)op->Immediate);
        if (cpu->Stop != StopReason.None) return null;
        checks.AfterCall(cpu, cpu->CodeBase + op->Offset, first, second);
        return Branch<TMode>.ReturnToCaller(cpu, op);
    }

    /// <summary>A call of a C# driver's routine.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Trap(Cpu* cpu, Op* op)
    {
        ulong address = cpu->CodeBase + op->Offset;
        cpu->Rip = address;
        cpu->OnTrap(cpu, address);
        if (cpu->Stop != StopReason.None) return null;
        CheckState.ForgetVolatile(cpu);
        return Branch<TMode>.ReturnToCaller(cpu, op);
    }
}
