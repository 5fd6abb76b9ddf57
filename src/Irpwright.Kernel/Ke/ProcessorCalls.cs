using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Routines that all processors execute at the same time.</summary>
/// <remarks>A thread stands for each processor but the caller's; all begin when all are there.</remarks>
public sealed class ProcessorCalls
{
    const uint Tag = 0x6350_654B; // "KePc"
    const byte IpiLevel = 14;
    const ulong BlockSize = 16, SynchronizeOffset = 8;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, Broadcast> broadcasts = [];

    internal ProcessorCalls(Machine machine) => this.machine = machine;

    /// <summary>One call of a routine by all processors.</summary>
    sealed class Broadcast
    {
        /// <summary>Processors that have not come to the beginning.</summary>
        internal int Absent = Processors.Count;

        /// <summary>Processors whose routine has not returned.</summary>
        internal int Running = Processors.Count;

        /// <summary>Processors that have not said that they are done.</summary>
        internal int NotDone = Processors.Count;

        /// <summary>Processors that the next KeSignalCallDpcSynchronize waits for, and how many times all have been there.</summary>
        internal int NotArrived = Processors.Count, Rounds;
    }

    /// <summary>Has every processor call a routine at IPI_LEVEL. IRQL &lt; IPI_LEVEL.</summary>
    /// <returns>What the routine returned on the calling processor, when it has returned on all.</returns>
    [KernelExport(MaxIrql = IpiLevel - 1)]
    public ulong KeIpiGenericCall(PKIPI_BROADCAST_WORKER BroadcastFunction, ulong Context)
    {
        ulong result = 0;
        KernelThread caller = machine.CurrentThread;
        Run(new Broadcast(), caller.Irql, IpiLevel, thread =>
        {
            ulong answer = machine.Code.Call(BroadcastFunction, Context);
            if (thread == caller) result = answer;
        });
        return result;
    }

    /// <summary>
    /// Has every processor call a DPC routine, which calls KeSignalCallDpcDone with SystemArgument1 at its end. IRQL &lt; DISPATCH_LEVEL.
    /// </summary>
    /// <param name="Context">DeferredContext of the routine.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeGenericCallDpc(PKDEFERRED_ROUTINE Routine, PVOID Context)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, BlockSize, Tag, 0, zero: true);
        if (block == 0) throw new NtStatusException(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES);
        var broadcast = new Broadcast();
        lock (gate) broadcasts.Add(block, broadcast);
        Run(broadcast, machine.CurrentThread.Irql, DISPATCH_LEVEL, thread =>
        {
            using var dpc = new LocalVariable<KDPC>(machine);
            machine.Dpcs.KeInitializeDpc((PKDPC)dpc.Address, Routine, Context);
            machine.Code.Call(Routine, (PKDPC)dpc.Address, Context, new PVOID(block), new PVOID(block + SynchronizeOffset));
        });
        if (broadcast.NotDone != 0)
        {
            throw machine.BugChecks.StopHung(
                $"KeGenericCallDpc never returns: its routine has returned on all processors, but {broadcast.NotDone} of them did not call KeSignalCallDpcDone.");
        }
        lock (gate) broadcasts.Remove(block);
        machine.Pool.Free(block, Tag);
    }

    /// <summary>Says that the routine of KeGenericCallDpc is done on this processor. IRQL = DISPATCH_LEVEL.</summary>
    /// <param name="SystemArgument1">Of the routine.</param>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void KeSignalCallDpcDone(PVOID SystemArgument1) => Interlocked.Decrement(ref Find(SystemArgument1.Address, nameof(KeSignalCallDpcDone)).NotDone);

    /// <summary>Waits until the routine of KeGenericCallDpc has come here on all processors. IRQL = DISPATCH_LEVEL.</summary>
    /// <param name="SystemArgument2">Of the routine.</param>
    /// <returns>1 on one of the processors, 0 on all others.</returns>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public uint KeSignalCallDpcSynchronize(PVOID SystemArgument2)
    {
        Broadcast broadcast = Find(SystemArgument2.Address - SynchronizeOffset, nameof(KeSignalCallDpcSynchronize));
        int round = Volatile.Read(ref broadcast.Rounds);
        if (Interlocked.Decrement(ref broadcast.NotArrived) == 0)
        {
            broadcast.NotArrived = Processors.Count;
            Volatile.Write(ref broadcast.Rounds, round + 1);
            return 1;
        }
        SpinUntil(machine.CurrentThread, () => Volatile.Read(ref broadcast.Rounds) != round);
        return 0;
    }

    Broadcast Find(ulong block, string routine)
    {
        lock (gate) if (broadcasts.TryGetValue(block, out Broadcast? broadcast)) return broadcast;
        throw machine.BugChecks.Unhandled(NTSTATUS.STATUS_ACCESS_VIOLATION, 0, block, 0,
            $"{routine} was called with {Format.Address(block)}, which is not what KeGenericCallDpc gave to the routine.");
    }

    void Run(Broadcast broadcast, byte previous, byte irql, Action<KernelThread> routine)
    {
        KernelThread caller = machine.CurrentThread;
        uint own = caller.ProcessorNumber;
        for (uint number = 0; number < Processors.Count; number++)
        {
            uint processor = number;
            if (processor == own) continue;
            machine.Scheduler.Start($"processor {processor}", ThreadKind.System, () =>
            {
                KernelThread thread = machine.CurrentThread;
                thread.ProcessorNumber = processor;
                Call(thread, PASSIVE_LEVEL);
            });
        }
        Call(caller, previous);
        SpinUntil(caller, () => Volatile.Read(ref broadcast.Running) == 0);

        void Call(KernelThread thread, byte before)
        {
            thread.Irql = irql;
            Interlocked.Decrement(ref broadcast.Absent);
            SpinUntil(thread, () => Volatile.Read(ref broadcast.Absent) == 0);
            routine(thread);
            Interlocked.Decrement(ref broadcast.Running);
            machine.Irqls.Lower(thread, before);
        }
    }

    void SpinUntil(KernelThread thread, Func<bool> condition)
    {
        while (!condition()) machine.Scheduler.Yield(thread, SchedulingPoint.Spin);
    }
}
