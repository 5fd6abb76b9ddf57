using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Asynchronous procedure calls, which run in a certain thread, and what disables and interrupts for them: regions and alerts.</summary>
/// <remarks>
/// Special kernel APCs run at APC_LEVEL as soon as the thread is below that and outside of guarded regions; normal ones run at
/// PASSIVE_LEVEL, outside of critical regions too and one at a time. User APCs run when the thread returns to user mode after an
/// alertable wait that they ended.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/types-of-apcs"/>
public sealed class Apcs
{
    readonly Machine machine;

    internal Apcs(Machine machine) => this.machine = machine;

    /// <summary>Prepares an APC. Any IRQL.</summary>
    /// <param name="Environment">Threads have one environment only; all values mean it.</param>
    /// <param name="KernelRoutine">Called first, at APC_LEVEL; it may free the object.</param>
    /// <param name="RundownRoutine">Called instead of everything else for a user APC whose thread ends.</param>
    /// <param name="NormalRoutine">Null for a special kernel APC; the next two parameters are without meaning then.</param>
    [KernelExport]
    public void KeInitializeApc(PKAPC Apc, PKTHREAD Thread, KAPC_ENVIRONMENT Environment, PKKERNEL_ROUTINE KernelRoutine,
        PKRUNDOWN_ROUTINE RundownRoutine, PKNORMAL_ROUTINE NormalRoutine, MODE ApcMode, PVOID NormalContext)
    {
        Apc.Value = new KAPC
        {
            Type = KOBJECTS.ApcObject,
            Size = KAPC.SizeOf,
            Thread = Thread,
            KernelRoutine = KernelRoutine,
            RundownRoutine = RundownRoutine,
            NormalRoutine = NormalRoutine,
            ApcMode = NormalRoutine.IsNull ? MODE.KernelMode : ApcMode,
            NormalContext = NormalRoutine.IsNull ? default : NormalContext,
        };
    }

    /// <summary>Queues an APC to its thread. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Increment">Priority increment of the thread if that wakes it.</param>
    /// <returns>FALSE, and nothing is queued, when it is queued already or its thread has ended.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeInsertQueueApc(PKAPC Apc, PVOID SystemArgument1, PVOID SystemArgument2, int Increment)
    {
        if (machine.Scheduler.FindThread(Apc.Thread) is not { } target) return false;
        lock (target.Apcs)
        {
            if (Apc.Inserted || target.Apcs.IsClosed) return false;
            Apc.SystemArgument1 = SystemArgument1;
            Apc.SystemArgument2 = SystemArgument2;
            Apc.Inserted = true;
            target.Apcs.Add(Apc);
        }
        if (Apc.ApcMode == MODE.UserMode) machine.Dispatcher.EndAlertableWait(target, Increment);
        else machine.Scheduler.Unblock(target);
        if (machine.TryGetCurrentThread() is { } thread)
        {
            if (thread == target) Deliver(thread);
            machine.Scheduler.Yield(thread, SchedulingPoint.Wake);
        }
        return true;
    }

    /// <summary>Takes an APC back; FALSE if it is not queued (any more). IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeRemoveQueueApc(PKAPC Apc)
    {
        if (machine.Scheduler.FindThread(Apc.Thread) is not { } target) return false;
        lock (target.Apcs)
        {
            if (!target.Apcs.Remove(Apc)) return false;
            Apc.Inserted = false;
            return true;
        }
    }

    /// <summary>Finishes an IRP in its thread by special kernel APC.</summary>
    /// <param name="increment">Priority increment of the thread if that wakes it.</param>
    internal void Queue(KernelThread thread, PIRP irp, int increment)
    {
        if (thread == machine.TryGetCurrentThread() && CanDeliver(thread))
        {
            machine.Completion.FinishInThread(thread, irp);
            return;
        }
        lock (thread.Apcs) thread.Apcs.Add(irp);
        thread.PriorityIncrement = increment;
        machine.Scheduler.Unblock(thread);
    }

    /// <summary>Whether the thread may be interrupted by special kernel APCs now.</summary>
    static bool CanDeliver(KernelThread thread) =>
        thread.Irql < APC_LEVEL && !thread.InterruptsDisabled && thread.InterruptDepth == 0 && thread.Object.SpecialApcDisable >= 0;

    /// <summary>Whether <see cref="Deliver"/> would run something.</summary>
    internal static bool HasDeliverable(KernelThread thread)
    {
        if (!thread.Apcs.HasKernel || !CanDeliver(thread)) return false;
        lock (thread.Apcs) return thread.Apcs.HasSpecial || CanDeliverNormal(thread);
    }

    static bool CanDeliverNormal(KernelThread thread) => thread.Object.KernelApcDisable >= 0 && !thread.Apcs.NormalInProgress;

    /// <summary>Runs the kernel APCs that wait for this thread, as far as they are enabled.</summary>
    internal void Deliver(KernelThread thread)
    {
        while (thread.Apcs.HasKernel && CanDeliver(thread))
        {
            ApcQueue.Entry next;
            lock (thread.Apcs)
            {
                if (!thread.Apcs.TryTakeKernel(CanDeliverNormal(thread), out next)) return;
            }
            if (next.Apc.IsNull) machine.Completion.FinishInThread(thread, next.Irp);
            else Run(thread, next.Apc);
        }
    }

    /// <summary>The object is off the queue, and not looked at any more once its kernel routine runs, which may free it.</summary>
    void Run(KernelThread thread, PKAPC apc)
    {
        PKKERNEL_ROUTINE kernelRoutine = apc.KernelRoutine;
        PKNORMAL_ROUTINE normalRoutine = apc.NormalRoutine;
        bool isKernel = apc.ApcMode == MODE.KernelMode;
        PPVOID arguments = new(thread.ApcScratch);
        arguments[0] = new PVOID(normalRoutine.Address);
        arguments[1] = apc.NormalContext;
        arguments[2] = apc.SystemArgument1;
        arguments[3] = apc.SystemArgument2;
        thread.Irql = APC_LEVEL;
        machine.Code.Call(kernelRoutine, apc, arguments, Argument(1), Argument(2), Argument(3));
        RequireIrql(thread, APC_LEVEL, kernelRoutine, apc, normalRoutine);
        thread.Irql = PASSIVE_LEVEL;
        normalRoutine = new PKNORMAL_ROUTINE(arguments[0].Address);
        if (normalRoutine.IsNull) return;
        thread.Apcs.NormalInProgress = isKernel;
        machine.Code.Call(normalRoutine, arguments[1], arguments[2], arguments[3]);
        RequireIrql(thread, PASSIVE_LEVEL, kernelRoutine, apc, normalRoutine);
        if (isKernel) thread.Apcs.NormalInProgress = false;

        PVOID Argument(ulong index) => new(arguments.Address + 8 * index);
    }

    void RequireIrql(KernelThread thread, byte expected, PKKERNEL_ROUTINE kernelRoutine, PKAPC apc, PKNORMAL_ROUTINE normalRoutine)
    {
        if (thread.Irql == expected) return;
        ulong levels = (ulong)thread.Irql << 16 | (ulong)expected << 8 | (expected == APC_LEVEL ? 0u : 1u);
        throw machine.BugChecks.Stop(BugCheckCode.IRQL_UNEXPECTED_VALUE, levels, kernelRoutine.Address, apc.Address, normalRoutine.Address,
            $"A routine of the APC at {apc} was called at IRQL {expected} and returned at IRQL {thread.Irql}.");
    }

    // ---- Regions

    /// <summary>Disables normal kernel APCs and user APCs of the calling thread; nests. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeEnterCriticalRegion() => machine.CurrentThread.Object.KernelApcDisable--;

    /// <summary>Ends what KeEnterCriticalRegion began. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeLeaveCriticalRegion()
    {
        KernelThread thread = machine.CurrentThread;
        thread.Object.KernelApcDisable++;
        Deliver(thread);
    }

    /// <summary>Disables all APCs of the calling thread; nests. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeEnterGuardedRegion() => machine.CurrentThread.Object.SpecialApcDisable--;

    /// <summary>Ends what KeEnterGuardedRegion began. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeLeaveGuardedRegion()
    {
        KernelThread thread = machine.CurrentThread;
        thread.Object.SpecialApcDisable++;
        Deliver(thread);
    }

    /// <summary>TRUE in a critical or guarded region: normal kernel APCs are disabled. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeAreApcsDisabled() => machine.CurrentThread.Object.CombinedApcDisable != 0;

    /// <summary>
    /// TRUE when the thread cannot be interrupted even by special kernel APCs: in a guarded region, or at APC_LEVEL and above.
    /// IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeAreAllApcsDisabled() =>
        machine.CurrentThread is var thread && (thread.Irql >= APC_LEVEL || thread.Object.SpecialApcDisable != 0);

    // ---- Alerts

    /// <summary>Ends a thread's alertable wait, or the next one that it begins, with STATUS_ALERTED. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="AlertMode">UserMode alerts end only waits for user mode.</param>
    /// <returns>TRUE if the thread was alerted already.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeAlertThread(PKTHREAD Thread, MODE AlertMode)
    {
        if (machine.Scheduler.FindThread(Thread) is not { } target) return false;
        bool before = machine.Dispatcher.Alert(target, AlertMode);
        if (machine.TryGetCurrentThread() is { } thread) machine.Scheduler.Yield(thread, SchedulingPoint.Wake);
        return before;
    }

    /// <summary>Whether the calling thread was alerted; takes the alert back. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="AlertMode">UserMode also lets user APCs run when the thread returns to user mode.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeTestAlertThread(MODE AlertMode) => machine.Dispatcher.TestAlert(machine.CurrentThread, AlertMode);

    // ---- Returning to user mode, and ending

    /// <summary>A system call of a user thread is over: nothing more is disabled than before, and user APCs that are due run now.</summary>
    internal void ReturnToUser(KernelThread thread, uint apcDisable)
    {
        if (machine.BugChecks.StopReason is not null) return;
        if (thread.Object.CombinedApcDisable != apcDisable) IndexMismatch(thread, 0, "A system call", 0);
        while (thread.Apcs.UserPending && thread.Kind == ThreadKind.User)
        {
            PKAPC apc;
            lock (thread.Apcs)
            {
                if (!thread.Apcs.TryTakeUser(out apc))
                {
                    thread.Apcs.UserPending = false;
                    return;
                }
            }
            Run(thread, apc);
        }
    }

    /// <summary>Requires that a work item's routine has enabled as often as it disabled.</summary>
    internal void RequireEnabled(KernelThread thread, ulong workerRoutine)
    {
        if (thread.Object.CombinedApcDisable != 0) IndexMismatch(thread, workerRoutine, $"The work item routine at {Format.Address(workerRoutine)}", 1);
    }

    void IndexMismatch(KernelThread thread, ulong routine, string who, ulong kind) =>
        throw machine.BugChecks.Stop(BugCheckCode.APC_INDEX_MISMATCH, routine, 0, thread.Object.CombinedApcDisable, kind,
            $"{who} returned with APCs {Disabled(thread)}: entering and leaving critical or guarded regions, or acquiring and releasing mutexes, do not match.");

    static string Disabled(KernelThread thread) =>
        $"disabled (KernelApcDisable {thread.Object.KernelApcDisable}, SpecialApcDisable {thread.Object.SpecialApcDisable})";

    /// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x20--kernel-apc-pending-during-exit"/>
    internal void RequireEnabledAtExit(KernelThread thread)
    {
        Deliver(thread);
        // A mutex that is still owned is the better explanation.
        if (thread.Object.CombinedApcDisable == 0 || !Lists.IsEmpty(thread.MutexList)) return;
        throw machine.BugChecks.Stop(BugCheckCode.KERNEL_APC_PENDING_DURING_EXIT, 0, thread.Object.CombinedApcDisable, thread.Irql, 0,
            $"{thread} ended with APCs {Disabled(thread)}.");
    }

    /// <summary>The thread takes no more APCs; user APCs that it did not take are given up.</summary>
    internal void RunDown(KernelThread thread)
    {
        lock (thread.Apcs) thread.Apcs.IsClosed = true;
        // Those that came until now.
        Deliver(thread);
        if (thread.Apcs.HasKernel)
        {
            throw machine.BugChecks.Stop(BugCheckCode.KERNEL_APC_PENDING_DURING_EXIT, thread.Apcs.FirstKernel.Address,
                thread.Object.CombinedApcDisable, thread.Irql, 0, $"{thread} ended at IRQL {thread.Irql}, with kernel APCs that it never took.");
        }
        while (true)
        {
            PKAPC apc;
            lock (thread.Apcs)
            {
                if (!thread.Apcs.TryTakeUser(out apc)) return;
            }
            if (!apc.RundownRoutine.IsNull) machine.Code.Call(apc.RundownRoutine, apc);
            else machine.Pool.Free(apc.Address, 0);
        }
    }

    /// <summary>For a report: that APCs wait for a thread which cannot take them; null if none do.</summary>
    internal static string? Describe(KernelThread thread)
    {
        if (!thread.Apcs.HasKernel || HasDeliverable(thread)) return null;
        return thread.Irql >= APC_LEVEL ? $"cannot take the APCs queued to it at IRQL {thread.Irql}" : $"cannot take the APCs queued to it, as they are {Disabled(thread)}";
    }
}

/// <summary>APCs that wait for one thread. Whoever calls holds its lock.</summary>
sealed class ApcQueue
{
    readonly LinkedList<Entry> special = [];
    readonly LinkedList<Entry> normal = [];
    readonly LinkedList<Entry> user = [];

    /// <summary>An IRP to finish, or an APC object.</summary>
    internal readonly record struct Entry(PIRP Irp, PKAPC Apc);

    /// <summary>Whether kernel APCs are queued; may be asked without the lock.</summary>
    internal bool HasKernel => special.Count + normal.Count > 0;

    internal bool HasSpecial => special.Count > 0;

    internal bool HasUser => user.Count > 0;

    /// <summary>The object of the kernel APC that comes next; null for an IRP.</summary>
    internal PKAPC FirstKernel => (special.First ?? normal.First)?.Value.Apc ?? default;

    /// <summary>A normal kernel APC's normal routine is running; the next one waits for its end.</summary>
    internal bool NormalInProgress { get; set; }

    /// <summary>User APCs run when the thread returns to user mode next.</summary>
    internal bool UserPending { get; set; }

    /// <summary>The thread ends.</summary>
    internal bool IsClosed { get; set; }

    /// <summary>User and kernel alerts, by <see cref="MODE"/>; guarded by the dispatcher.</summary>
    internal readonly bool[] Alerted = new bool[2];

    internal void Add(PIRP irp) => special.AddLast(new Entry(irp, default));

    internal void Add(PKAPC apc) => ListOf(apc).AddLast(new Entry(default, apc));

    internal bool Remove(PKAPC apc) => ListOf(apc).Remove(new Entry(default, apc));

    LinkedList<Entry> ListOf(PKAPC apc) => apc.ApcMode == MODE.UserMode ? user : apc.NormalRoutine.IsNull ? special : normal;

    internal bool TryTakeKernel(bool normalToo, out Entry entry) => TryTake(special, out entry) || (normalToo && TryTake(normal, out entry));

    internal bool TryTakeUser(out PKAPC apc)
    {
        bool taken = TryTake(user, out Entry entry);
        apc = entry.Apc;
        return taken;
    }

    static bool TryTake(LinkedList<Entry> list, out Entry entry)
    {
        entry = default;
        if (list.First is not { } first) return false;
        entry = first.Value;
        list.RemoveFirst();
        if (!entry.Apc.IsNull) entry.Apc.Inserted = false;
        return true;
    }
}
