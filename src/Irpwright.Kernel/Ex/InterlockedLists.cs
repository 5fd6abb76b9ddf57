using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Lists and counters that are changed in one step: under a spin lock of the caller, or by themselves (sequenced lists).</summary>
public sealed class InterlockedLists
{
    readonly Machine machine;
    readonly Lock gate = new();

    internal InterlockedLists(Machine machine) => this.machine = machine;

    // ---- Under a spin lock, held at HIGH_LEVEL: callers at any IRQL may use the same lock, but only for these routines.

    /// <summary>Inserts an entry before all others. Any IRQL.</summary>
    /// <returns>The entry that was first; NULL if the list was empty.</returns>
    [KernelExport]
    public PLIST_ENTRY ExInterlockedInsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        PLIST_ENTRY first = ListHead.Flink;
        Lists.InsertTail(first, ListEntry);
        return first == ListHead ? default : first;
    }

    /// <summary>Inserts an entry behind all others. Any IRQL.</summary>
    /// <returns>The entry that was last; NULL if the list was empty.</returns>
    [KernelExport]
    public PLIST_ENTRY ExInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        PLIST_ENTRY last = ListHead.Blink;
        Lists.InsertTail(ListHead, ListEntry);
        return last == ListHead ? default : last;
    }

    /// <summary>Removes the first entry. Any IRQL.</summary>
    /// <returns>The entry; NULL if the list was empty.</returns>
    [KernelExport]
    public PLIST_ENTRY ExInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        PLIST_ENTRY first = ListHead.Flink;
        if (first == ListHead) return default;
        Lists.Remove(first);
        return first;
    }

    /// <summary>Inserts an entry before all others of a singly linked list. Any IRQL.</summary>
    /// <returns>The entry that was first, or NULL.</returns>
    [KernelExport]
    public PSINGLE_LIST_ENTRY ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        PSINGLE_LIST_ENTRY first = ListHead.Next;
        ListEntry.Next = first;
        ListHead.Next = ListEntry;
        return first;
    }

    /// <summary>Removes the first entry of a singly linked list. Any IRQL.</summary>
    /// <returns>The entry, or NULL.</returns>
    [KernelExport]
    public PSINGLE_LIST_ENTRY ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY ListHead, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        PSINGLE_LIST_ENTRY first = ListHead.Next;
        if (!first.IsNull) ListHead.Next = first.Next;
        return first;
    }

    /// <summary>Adds to a number; returns its value before. Any IRQL.</summary>
    [KernelExport]
    public LARGE_INTEGER ExInterlockedAddLargeInteger(PLARGE_INTEGER Addend, LARGE_INTEGER Increment, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        LARGE_INTEGER before = Addend.Value;
        Addend.Value = unchecked(before + Increment);
        return before;
    }

    /// <summary>Adds to a number; returns its value before. Any IRQL.</summary>
    [KernelExport]
    public uint ExInterlockedAddUlong(PULONG Addend, uint Increment, PKSPIN_LOCK Lock)
    {
        using Holding held = new(machine, Lock);
        uint before = Addend.Value;
        Addend.Value = unchecked(before + Increment);
        return before;
    }

    readonly ref struct Holding : IDisposable
    {
        readonly Machine machine;
        readonly PKSPIN_LOCK spinLock;
        readonly KernelThread thread;
        readonly byte previous;

        internal Holding(Machine machine, PKSPIN_LOCK spinLock)
        {
            this.machine = machine;
            this.spinLock = spinLock;
            thread = machine.CurrentThread;
            previous = thread.Irql;
            thread.Irql = HIGH_LEVEL;
            machine.SpinLocks.Acquire(spinLock);
        }

        public void Dispose()
        {
            if (machine.BugChecks.StopReason is not null) return;
            machine.SpinLocks.Release(spinLock);
            machine.Irqls.Lower(thread, previous);
        }
    }

    // ---- Sequenced lists: depth and a number that grows with every change in the first quadword, the first entry in the second.

    const int SequenceShift = 16;

    /// <summary>Makes a list empty. Any IRQL.</summary>
    /// <exception cref="NtStatusException">STATUS_DATATYPE_MISALIGNMENT: the head is not 16-byte aligned.</exception>
    [KernelExport]
    public void InitializeSListHead(PSLIST_HEADER SListHead)
    {
        RequireAlignment(SListHead);
        SListHead.Value = default;
    }

    /// <summary>Another name of InitializeSListHead.</summary>
    /// <inheritdoc cref="InitializeSListHead"/>
    [WdkInline]
    public void ExInitializeSListHead(PSLIST_HEADER SListHead) => InitializeSListHead(SListHead);

    /// <summary>Inserts an entry before all others. Any IRQL.</summary>
    /// <returns>The entry that was first, or NULL.</returns>
    /// <exception cref="NtStatusException">STATUS_DATATYPE_MISALIGNMENT: the entry is not 16-byte aligned.</exception>
    [KernelExport("ExpInterlockedPushEntrySList")]
    public PSLIST_ENTRY InterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry)
    {
        RequireAlignment(ListEntry);
        YieldIfAny();
        lock (gate)
        {
            PSLIST_ENTRY first = FirstOf(ListHead);
            ListEntry.Next = first;
            Change(ListHead, ListEntry, DepthOf(ListHead) + 1);
            return first;
        }
    }

    /// <summary>Removes the first entry. Any IRQL.</summary>
    /// <returns>The entry, or NULL.</returns>
    [KernelExport("ExpInterlockedPopEntrySList")]
    public PSLIST_ENTRY InterlockedPopEntrySList(PSLIST_HEADER ListHead)
    {
        YieldIfAny();
        lock (gate)
        {
            PSLIST_ENTRY first = FirstOf(ListHead);
            if (!first.IsNull) Change(ListHead, first.Next, DepthOf(ListHead) - 1);
            return first;
        }
    }

    /// <summary>Removes all entries. Any IRQL.</summary>
    /// <returns>The first entry, still linked to the others, or NULL.</returns>
    [KernelExport("ExpInterlockedFlushSList")]
    public PSLIST_ENTRY InterlockedFlushSList(PSLIST_HEADER ListHead)
    {
        YieldIfAny();
        lock (gate)
        {
            PSLIST_ENTRY first = FirstOf(ListHead);
            if (!first.IsNull) Change(ListHead, default, 0);
            return first;
        }
    }

    /// <summary>Returns how many entries a list has. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public ushort ExQueryDepthSList(PSLIST_HEADER SListHead) => (ushort)DepthOf(SListHead);

    /// <summary>InterlockedPushEntrySList; the lock is not used.</summary>
    /// <inheritdoc cref="InterlockedPushEntrySList"/>
    [WdkInline]
    public PSLIST_ENTRY ExInterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry, PKSPIN_LOCK Lock) =>
        InterlockedPushEntrySList(ListHead, ListEntry);

    /// <summary>InterlockedPopEntrySList; the lock is not used.</summary>
    /// <inheritdoc cref="InterlockedPopEntrySList"/>
    [WdkInline]
    public PSLIST_ENTRY ExInterlockedPopEntrySList(PSLIST_HEADER ListHead, PKSPIN_LOCK Lock) => InterlockedPopEntrySList(ListHead);

    /// <summary>Another name of InterlockedFlushSList.</summary>
    /// <inheritdoc cref="InterlockedFlushSList"/>
    [WdkInline]
    public PSLIST_ENTRY ExInterlockedFlushSList(PSLIST_HEADER ListHead) => InterlockedFlushSList(ListHead);

    static uint DepthOf(PSLIST_HEADER head) => (ushort)Volatile.Read(ref head.Alignment);

    static PSLIST_ENTRY FirstOf(PSLIST_HEADER head) => new(head.Region & ~15UL);

    static void Change(PSLIST_HEADER head, PSLIST_ENTRY first, uint depth)
    {
        ulong sequence = (head.Alignment >> SequenceShift) + 1;
        head.Region = first.Address;
        head.Alignment = sequence << SequenceShift | (ushort)depth;
    }

    static void RequireAlignment(PVOID address)
    {
        if ((address.Address & 15) != 0) throw new NtStatusException(NTSTATUS.STATUS_DATATYPE_MISALIGNMENT);
    }

    void YieldIfAny()
    {
        if (machine.TryGetCurrentThread() is { } thread) machine.Scheduler.Yield(thread, SchedulingPoint.Call);
    }
}
