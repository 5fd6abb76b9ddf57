using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Push locks: as resources, one thread has them exclusively or several share them, but in one word, and without nesting.</summary>
/// <remarks>
/// A lock that becomes free goes to who waits longest, and if that one wants to share it, to all that do until the next that does not.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exinitializepushlock"/>
public sealed class PushLocks
{
    const ulong Locked = 1, Waiting = 2, OneShare = 1 << 4;
    const uint KnownFlags = 3; // whether priorities are boosted, of which there are none

    readonly Machine machine;
    readonly Lock gate = new();
    readonly LinkedList<Waiter> waiters = [];
    // Who has the locks that are not free.
    readonly Dictionary<ulong, List<KernelThread>> holders = [];

    internal PushLocks(Machine machine) => this.machine = machine;

    sealed class Waiter(PEX_PUSH_LOCK target, KernelThread thread, bool exclusive)
    {
        internal readonly PEX_PUSH_LOCK Target = target;
        internal readonly KernelThread Thread = thread;
        internal readonly bool Exclusive = exclusive;
        internal bool Granted;
    }

    /// <summary>Prepares a push lock that nobody has. Any IRQL at which its memory may be touched.</summary>
    [KernelExport]
    public void ExInitializePushLock(PEX_PUSH_LOCK PushLock)
    {
        lock (gate)
        {
            Word(PushLock) = 0;
            holders.Remove(PushLock.Address);
        }
    }

    /// <summary>Acquires a push lock exclusively. Normal kernel APCs must be disabled. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Flags">0, or whether priorities are boosted, which has no effect.</param>
    /// <exception cref="MachineHungException">The calling thread has it already: it would wait for itself.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, uint Flags) => Acquire(PushLock, Flags, exclusive: true, nameof(ExAcquirePushLockExclusiveEx));

    /// <summary>Acquires a push lock to share it; not before those who wait for it exclusively. Normal kernel APCs must be disabled. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExAcquirePushLockExclusiveEx"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExAcquirePushLockSharedEx(PEX_PUSH_LOCK PushLock, uint Flags) => Acquire(PushLock, Flags, exclusive: false, nameof(ExAcquirePushLockSharedEx));

    /// <summary>Gives up a push lock that was acquired exclusively. Normal kernel APCs must still be disabled. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE: the calling thread does not have it so.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, uint Flags) => Release(PushLock, Flags, exclusive: true, nameof(ExReleasePushLockExclusiveEx));

    /// <summary>Gives up a push lock that was acquired to share it. Normal kernel APCs must still be disabled. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExReleasePushLockExclusiveEx"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExReleasePushLockSharedEx(PEX_PUSH_LOCK PushLock, uint Flags) => Release(PushLock, Flags, exclusive: false, nameof(ExReleasePushLockSharedEx));

    void Acquire(PEX_PUSH_LOCK target, uint flags, bool exclusive, string routine)
    {
        RequireKnown(flags, routine);
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        Waiter waiter;
        lock (gate)
        {
            // Memory that was freed and zeroed with a lock in it.
            if (Word(target) == 0) holders.Remove(target.Address);
            if (Word(target) == 0 || (!exclusive && CanShare(target)))
            {
                Grant(target, thread, exclusive);
                return;
            }
            if (HoldersOf(target).Contains(thread) && (exclusive || !IsShared(target)))
                throw machine.BugChecks.StopHung($"{thread} acquires the push lock at {target}, which it has already: it would wait for itself.");
            waiter = new Waiter(target, thread, exclusive);
            waiters.AddLast(waiter);
            Word(target) |= Waiting;
        }
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref waiter.Granted), () => Describe(waiter));
    }

    void Release(PEX_PUSH_LOCK target, uint flags, bool exclusive, string routine)
    {
        RequireKnown(flags, routine);
        KernelThread thread = machine.CurrentThread;
        lock (gate)
        {
            if (Word(target) == 0 || IsShared(target) == exclusive || !HoldersOf(target).Remove(thread)) NotHeld(target, thread, routine);
            Word(target) -= exclusive ? Locked : OneShare;
            if (!exclusive && Word(target) < OneShare) Word(target) &= ~Locked;
            if ((Word(target) & Locked) == 0) HandOver(target);
        }
        machine.Dispatcher.AfterSignal(wait: false);
    }

    void HandOver(PEX_PUSH_LOCK target)
    {
        holders.Remove(target.Address);
        bool first = true;
        for (LinkedListNode<Waiter>? node = waiters.First; node is not null;)
        {
            (Waiter waiter, LinkedListNode<Waiter>? next) = (node.Value, node.Next);
            if (waiter.Target == target)
            {
                if (!first && waiter.Exclusive) return;
                waiters.Remove(node);
                if (!waiters.Any(w => w.Target == target)) Word(target) &= ~Waiting;
                Grant(target, waiter.Thread, waiter.Exclusive);
                Volatile.Write(ref waiter.Granted, true);
                machine.Scheduler.Unblock(waiter.Thread);
                if (waiter.Exclusive) return;
                first = false;
            }
            node = next;
        }
    }

    void Grant(PEX_PUSH_LOCK target, KernelThread thread, bool exclusive)
    {
        Word(target) = (Word(target) | Locked) + (exclusive ? 0 : OneShare);
        HoldersOf(target).Add(thread);
    }

    List<KernelThread> HoldersOf(PEX_PUSH_LOCK target)
    {
        if (!holders.TryGetValue(target.Address, out List<KernelThread>? found)) holders.Add(target.Address, found = []);
        return found;
    }

    static ref ulong Word(PEX_PUSH_LOCK target) => ref target.Value.Value;

    static bool IsShared(PEX_PUSH_LOCK target) => Word(target) >= OneShare;

    static bool CanShare(PEX_PUSH_LOCK target) => IsShared(target) && (Word(target) & Waiting) == 0;

    void RequireKnown(uint flags, string routine)
    {
        if ((flags & ~KnownFlags) != 0) throw machine.BugChecks.StopUnsupported($"{routine} was called with flags 0x{flags:x}, which are not supported.");
    }

    void NotHeld(PEX_PUSH_LOCK target, KernelThread thread, string routine) =>
        throw machine.BugChecks.Stop(BugCheckCode.KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE, thread.Object.Address, target.Address, 0, 0,
            $"{thread} called {routine} for the push lock at {target}, which it does not have in that way; {DescribeHolders(target)}.");

    string Describe(Waiter waiter) => $"waits to {(waiter.Exclusive ? "have" : "share")} the push lock at {waiter.Target}; {DescribeHolders(waiter.Target)}";

    string DescribeHolders(PEX_PUSH_LOCK target) =>
        Word(target) == 0 ? "nobody has it" : $"it is {(IsShared(target) ? "shared" : "had")} by {string.Join(" and ", HoldersOf(target))}";
}
