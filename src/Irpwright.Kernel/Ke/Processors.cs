using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What drivers are told of processors.</summary>
/// <remarks>
/// Every guest thread has a virtual processor of its own, so a machine has as many as one group can hold: what a driver keeps for
/// each processor is then not shared by threads that run at the same time.
/// </remarks>
public sealed class Processors
{
    /// <summary>Active processors, all in group 0 and node 0.</summary>
    public const int Count = 64;

    internal const KAFFINITY All = ulong.MaxValue;
    const uint CacheLine = 64;

    readonly Machine machine;

    internal Processors(Machine machine) => this.machine = machine;

    /// <summary>The processor that a thread starts on.</summary>
    internal static uint NumberFor(KernelThread thread) => (uint)(thread.Id - 1) % Count;

    /// <summary>Returns the set of active processors. Any IRQL.</summary>
    [KernelExport]
    public KAFFINITY KeQueryActiveProcessors() => All;

    /// <summary>Returns the number of active processors. Any IRQL.</summary>
    /// <param name="ActiveProcessors">Receives their set; may be null.</param>
    [KernelExport]
    public uint KeQueryActiveProcessorCount(PULONG64 ActiveProcessors)
    {
        if (!ActiveProcessors.IsNull) ActiveProcessors.Value = All;
        return Count;
    }

    /// <summary>Returns the number of active processors of a group, or of all with ALL_PROCESSOR_GROUPS; 0 for a group that does not exist. Any IRQL.</summary>
    [KernelExport]
    public uint KeQueryActiveProcessorCountEx(ushort GroupNumber) => GroupNumber is 0 or ALL_PROCESSOR_GROUPS ? Count : 0u;

    /// <summary>Returns the number of processors that there can be. Any IRQL.</summary>
    [KernelExport]
    public uint KeQueryMaximumProcessorCount() => Count;

    /// <summary>Returns the number of processors that a group can have; as <see cref="KeQueryActiveProcessorCountEx"/>. Any IRQL.</summary>
    [KernelExport]
    public uint KeQueryMaximumProcessorCountEx(ushort GroupNumber) => KeQueryActiveProcessorCountEx(GroupNumber);

    /// <summary>Returns the number of processor groups. Any IRQL.</summary>
    [KernelExport]
    public ushort KeQueryActiveGroupCount() => 1;

    /// <summary>Returns the number of processor groups that there can be. Any IRQL.</summary>
    [KernelExport]
    public ushort KeQueryMaximumGroupCount() => 1;

    /// <summary>Returns the active processors of a group; 0 for one that does not exist. Any IRQL.</summary>
    [KernelExport]
    public KAFFINITY KeQueryGroupAffinity(ushort GroupNumber) => GroupNumber == 0 ? All : 0;

    /// <summary>Returns the highest NUMA node number. Any IRQL.</summary>
    [KernelExport]
    public ushort KeQueryHighestNodeNumber() => 0;

    /// <summary>Returns the NUMA node of the current processor. Any IRQL.</summary>
    [KernelExport]
    public ushort KeGetCurrentNodeNumber() => 0;

    /// <summary>Returns the number of the current processor. Any IRQL.</summary>
    /// <param name="ProcNumber">Receives its group and number there; may be null.</param>
    [KernelExport]
    public uint KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber)
    {
        uint number = KeGetCurrentProcessorNumber();
        if (!ProcNumber.IsNull) ProcNumber.Value = new PROCESSOR_NUMBER { Number = (byte)number };
        return number;
    }

    /// <summary>The number of the current processor. Any IRQL.</summary>
    [WdkInline]
    public uint KeGetCurrentProcessorNumber() => machine.CurrentThread.ProcessorNumber;

    /// <summary>Finds group and number of a processor. Any IRQL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER when there is none with that index.</returns>
    [KernelExport]
    public NTSTATUS KeGetProcessorNumberFromIndex(uint ProcIndex, out PROCESSOR_NUMBER ProcNumber)
    {
        ProcNumber = default;
        if (ProcIndex >= Count) return NTSTATUS.STATUS_INVALID_PARAMETER;
        ProcNumber.Number = (byte)ProcIndex;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Returns the index of a processor; INVALID_PROCESSOR_INDEX when there is none like that. Any IRQL.</summary>
    [KernelExport]
    public uint KeGetProcessorIndexFromNumber(in PROCESSOR_NUMBER ProcNumber) =>
        ProcNumber is { Group: 0, Number: < Count, Reserved: 0 } ? ProcNumber.Number : INVALID_PROCESSOR_INDEX;

    /// <summary>Returns the alignment at which processors do not share cache lines, bytes. Any IRQL.</summary>
    [KernelExport]
    public uint KeGetRecommendedSharedDataAlignment() => CacheLine;

    // ---- Affinity

    /// <summary>Moves the calling thread to one of some processors. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">INVALID_AFFINITY_SET: no processor is given.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeSetSystemAffinityThread(KAFFINITY Affinity) => KeSetSystemAffinityThreadEx(Affinity);

    /// <returns>The processors that an earlier call chose; 0 if none did since the last reversal.</returns>
    /// <inheritdoc cref="KeSetSystemAffinityThread"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public KAFFINITY KeSetSystemAffinityThreadEx(KAFFINITY Affinity)
    {
        KernelThread thread = machine.CurrentThread;
        if (Affinity == 0)
        {
            throw machine.BugChecks.Stop(BugCheckCode.INVALID_AFFINITY_SET, 0, 0, 0, 0,
                $"{thread} asks to run on no processor at all.");
        }
        KAFFINITY previous = thread.SystemAffinity;
        Move(thread, Affinity);
        return previous;
    }

    /// <summary>Lets the calling thread run on all processors again. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeRevertToUserAffinityThread() => KeRevertToUserAffinityThreadEx(0);

    /// <summary>Restores what KeSetSystemAffinityThreadEx returned. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeRevertToUserAffinityThreadEx(KAFFINITY Affinity) => Move(machine.CurrentThread, Affinity);

    void Move(KernelThread thread, KAFFINITY affinity)
    {
        thread.SystemAffinity = affinity;
        if (affinity == 0) thread.ProcessorNumber = NumberFor(thread);
        else if ((affinity >> (int)thread.ProcessorNumber & 1) == 0) thread.ProcessorNumber = (uint)System.Numerics.BitOperations.TrailingZeroCount(affinity);
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
    }

    // ---- Floating point and stacks

    /// <summary>Allows floating point in kernel code; on x64 it is always allowed, and nothing is saved. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="FloatingSave">Not touched.</param>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS KeSaveFloatingPointState(PVOID FloatingSave) => NTSTATUS.STATUS_SUCCESS;

    /// <summary>Ends what KeSaveFloatingPointState began. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS KeRestoreFloatingPointState(PVOID FloatingSave) => NTSTATUS.STATUS_SUCCESS;

    /// <summary>Calls a routine with so many bytes of stack, waiting for memory. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="KeExpandKernelStackAndCalloutEx"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS KeExpandKernelStackAndCallout(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, ulong Size) =>
        KeExpandKernelStackAndCalloutEx(Callout, Parameter, Size, true, default);

    /// <summary>Calls a routine with so many bytes of stack. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Size">Bytes, at most MAXIMUM_EXPANSION_SIZE.</param>
    /// <param name="Wait">FALSE at DISPATCH_LEVEL.</param>
    /// <param name="Context">Reserved, null.</param>
    /// <returns>
    /// STATUS_SUCCESS if the routine was called; STATUS_INVALID_PARAMETER_3 or _4 for a size or a wait that is not allowed;
    /// STATUS_NO_MEMORY.
    /// </returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS KeExpandKernelStackAndCalloutEx(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, ulong Size, BOOLEAN Wait, PVOID Context)
    {
        KernelThread thread = machine.CurrentThread;
        if (Size > MAXIMUM_EXPANSION_SIZE) return NTSTATUS.STATUS_INVALID_PARAMETER_3;
        if (Wait && thread.Irql >= DISPATCH_LEVEL) return NTSTATUS.STATUS_INVALID_PARAMETER_4;
        if (machine.Code.RoutineAt(Callout.Address) is not null || machine.Guest is not { } guest)
        {
            // The stack of C# code is the host's, and larger than that.
            machine.Code.Call(Callout, Parameter);
            return NTSTATUS.STATUS_SUCCESS;
        }
        // A page that is not mapped lies below, so that even more than that is noticed.
        ulong size = ((Size + GuestMemory.PageSize - 1) & ~(GuestMemory.PageSize - 1)) + 2 * GuestMemory.PageSize;
        ulong stack = machine.Memory.ThreadAreas.Allocate(size, PageAccess.ReadWrite);
        if (stack == 0) return NTSTATUS.STATUS_NO_MEMORY;
        ulong limit = stack + GuestMemory.PageSize;
        machine.Memory.Protect(stack, GuestMemory.PageSize, PageAccess.None);
        guest.Invoke(thread, Callout.Address, Parameter.Address, 0, 0, 0, default, stack + size, limit);
        machine.Memory.Protect(stack, GuestMemory.PageSize, PageAccess.ReadWrite);
        machine.Memory.ThreadAreas.Free(stack, size);
        return NTSTATUS.STATUS_SUCCESS;
    }
}
