using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

public enum ThreadKind : byte
{
    /// <summary>Issues requests; the machine is expected to let it make progress.</summary>
    User,
    /// <summary>PsCreateSystemThread and the kernel's own workers; may wait for ever.</summary>
    System,
}

/// <summary>A guest thread with the virtual processor it runs on.</summary>
/// <remarks>Driver-visible state (KTHREAD, KPCR, kernel stack) lies in guest memory; the rest is the scheduler's.</remarks>
public sealed unsafe class KernelThread : IDisposable
{
    internal const ulong AreaSize = 16 * GuestMemory.PageSize;
    /// <summary>Of KPCR and KTHREAD, which come first; the rest are stacks.</summary>
    internal const ulong ObjectsSize = 2 * GuestMemory.PageSize;
    const ulong StackSize = 24 * 1024;
    const ulong IrpListOffset = 0x5A0;
    const int CellCount = 0x100;
    const ulong ObjectOffset = GuestMemory.PageSize + 0x40; // leaves room for the object's header
    const sbyte NormalPriority = 8;

    [ThreadStatic] static KernelThread? current;

    readonly byte* irql;
    readonly uint* apcDisable;
    int cells;

    internal KernelThread(Machine machine, int id, string name, ThreadKind kind, Process owner, ulong area)
    {
        Machine = machine;
        Id = id;
        Name = name;
        Kind = kind;
        Area = area;
        // KPCR, KTHREAD, guard, 6 pages of stack, guard, 6 pages of DPC stack: a stack that overflows meets a guard page.
        machine.Memory.Protect(Area + 2 * GuestMemory.PageSize, GuestMemory.PageSize, PageAccess.None);
        machine.Memory.Protect(Area + 9 * GuestMemory.PageSize, GuestMemory.PageSize, PageAccess.None);
        StackLimit = Area + 3 * GuestMemory.PageSize;
        StackBase = StackLimit + StackSize;
        DpcStackLimit = Area + 10 * GuestMemory.PageSize;
        DpcStackBase = DpcStackLimit + StackSize;
        irql = GuestMemory.Translate(Pcr.Address, 0x1000, PageAccess.ReadWrite) + 0x50;
        apcDisable = (uint*)(GuestMemory.Translate(Object.Address, KTHREAD.SizeOf, PageAccess.ReadWrite) + 0x1E4);
        Pcr.Self = Pcr;
        Pcr.Prcb.CurrentThread = Object;
        Pcr.CurrentPrcb = new(GuestMemory.AddressOf(ref Pcr.Prcb));
        Pcr.MajorVersion = Pcr.MinorVersion = 1;
        ProcessorNumber = Processors.NumberFor(this);
        machine.Objects.Adopt(machine.Objects.Types.Thread, Object.Address, ownsMemory: false);
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(Object.Address), (byte)KOBJECTS.ThreadObject, KTHREAD.SizeOf, 0);
        Object.Priority = Object.BasePriority = NormalPriority;
        Object.Process = owner.Object;
        // Ids of threads and processes are of one kind; those of the two processes come first.
        Object.Cid = new CLIENT_ID { UniqueProcess = owner.Id, UniqueThread = new HANDLE(8 + 4 * (ulong)id) };
        Process = owner;
        IrpList.Flink = IrpList.Blink = IrpList;
        MutexList.Flink = MutexList.Blink = MutexList;
    }

    /// <summary>The guest thread that this host thread is, if it is one.</summary>
    public static KernelThread? Current
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => current;
        internal set => current = value;
    }

    /// <summary>
    /// Whether calls are nested so deeply on the thread that Windows would have no kernel stack left. To be asked on the thread itself.
    /// </summary>
    internal bool IsStackSpent
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            byte here;
            return (nuint)(&here) < HostStackLimit;
        }
    }

    public Machine Machine { get; }

    /// <summary>1 for the first thread of a machine, and so on.</summary>
    public int Id { get; }

    public string Name { get; }

    public ThreadKind Kind { get; }

    /// <summary>The process whose handles and user memory the thread sees: its own, or one that it is attached to.</summary>
    public Process Process
    {
        get;
        internal set
        {
            field = value;
            Object.ApcState.Process = value.Object;
        }
    }

    internal ulong Area { get; }

    /// <summary>The processor's control region; what gs: points to.</summary>
    public PKPCR Pcr => new(Area);

    /// <summary>The number of the thread's virtual processor, where drivers read it.</summary>
    internal uint ProcessorNumber
    {
        get => Pcr.Prcb.Number;
        set
        {
            Pcr.Prcb.Number = value;
            Pcr.Prcb.LegacyNumber = (byte)value;
            Pcr.ObsoleteNumber = (byte)value;
        }
    }

    /// <summary>What KeSetSystemAffinityThread chose; 0 while the thread may run on any processor.</summary>
    internal KAFFINITY SystemAffinity { get; set; }

    /// <summary>The KTHREAD (and ETHREAD) object that drivers see.</summary>
    public PKTHREAD Object => new(Area + ObjectOffset);

    internal static ulong AreaOf(PKTHREAD thread) => thread.Address - ObjectOffset;

    /// <summary>Highest address of the kernel stack; the first push goes below it.</summary>
    public ulong StackBase { get; }

    /// <summary>Lowest usable address of the kernel stack.</summary>
    public ulong StackLimit { get; }

    public ulong DpcStackBase { get; }

    public ulong DpcStackLimit { get; }

    /// <summary>Where arguments beyond the fourth are laid for calls that do not come from guest code.</summary>
    internal ulong ArgumentScratch => Area + GuestMemory.PageSize + 0xE00;

    /// <summary>
    /// A zeroed byte of guest memory for what a C kernel would keep in a local variable while it calls a driver; last taken, first
    /// given back.
    /// </summary>
    internal PUCHAR PushCell()
    {
        if (cells == CellCount) throw Machine.BugChecks.KernelStackOverflow(0);
        var cell = new PUCHAR(Area + GuestMemory.PageSize + 0xF00 + (ulong)cells++);
        cell.Value = 0;
        return cell;
    }

    internal void PopCell() => cells--;

    /// <summary>Where the kernel routine of an APC finds the four arguments that it may change.</summary>
    internal ulong ApcScratch => Area + GuestMemory.PageSize + 0xD80;

    /// <summary>IRQL of the virtual processor; the cell is what cr8 reads and writes.</summary>
    public byte Irql
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => *irql;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        internal set => *irql = value;
    }

    /// <summary>KernelApcDisable (low) and SpecialApcDisable.</summary>
    public uint ApcDisable
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => *apcDisable;
    }

    /// <summary>IF of the virtual processor is clear: DPCs and APCs, which are software interrupts, wait whatever the IRQL.</summary>
    public bool InterruptsDisabled { get; internal set; }

    /// <summary>Whether a DPC may take the virtual processor.</summary>
    internal bool TakesDpcs => *irql < DISPATCH_LEVEL && !InterruptsDisabled;

    /// <summary>Host address of the IRQL.</summary>
    public byte* IrqlCell => irql;

    /// <summary>The processor's own state of this thread.</summary>
    public object? GuestState { get; set; }

    /// <summary>What an observer keeps of this thread and looks up for every event; its own if it comes first.</summary>
    public object? ObserverState { get; set; }

    /// <summary>Of IoSetTopLevelIrp.</summary>
    internal PIRP TopLevelIrp { get; set; }

    /// <summary>Nesting of DPCs and interrupts that borrowed this thread's processor.</summary>
    internal int InterruptDepth { get; set; }

    // Scheduler state; guarded by the scheduler's own rules.
    internal SchedulerState State;
    internal ulong ReadySequence;
    internal ulong SpinningOn;
    internal uint SpinMask;
    internal bool RunsDpcNext;
    internal Interrupt? TakesInterruptNext;
    internal long Deadline = long.MaxValue;
    internal bool Permit;
    /// <summary>1 from when it is woken on real threads until it runs.</summary>
    internal int IsWoken;
    internal readonly SemaphoreSlim Baton = new(0);

    /// <summary>Set when the host thread does not touch the machine any more.</summary>
    internal readonly ManualResetEventSlim HostIsDone = new();

    /// <summary>Nothing ends it.</summary>
    internal bool IsRunaway;

    /// <summary>Host address below which nested calls must not go: what is left then is for ending with a report.</summary>
    public nuint HostStackLimit { get; internal set; }

    /// <summary>DPCs queued to this thread's processor, next first; guarded by the DPC queue's lock.</summary>
    internal readonly LinkedList<PKDPC> Dpcs = [];

    /// <summary>Asynchronous procedure calls to make in this thread; guarded by itself.</summary>
    internal readonly ApcQueue Apcs = new();

    /// <summary>What the thread waits for, in words; null while it does not wait.</summary>
    public string? WaitReason => Reason ?? Machine.Dispatcher.Describe(this);

    /// <summary>The words for what is not a wait for dispatcher objects.</summary>
    internal string? Reason;

    /// <summary>Finds the words for a wait when they are asked for, as owners change meanwhile.</summary>
    internal Func<string>? Description;

    /// <summary>
    /// True while code outside of the machine may end the thread's wait, by cancelling its request for example: then the machine is
    /// idle, not hung, when nobody inside can run.
    /// </summary>
    public bool CanBeWokenFromOutside { get; set; }

    /// <summary>The wait for dispatcher objects that the thread is in; guarded by the dispatcher.</summary>
    internal ObjectWait Wait;

    /// <summary>Set between KeSetEvent (or the like) with Wait TRUE and the wait that follows it.</summary>
    internal byte? IrqlBeforeWait;

    /// <summary>The priority increment that whoever ended the thread's last wait, or completed its last request, gave it.</summary>
    public int PriorityIncrement { get; internal set; }

    /// <summary>Where a request of this thread met a missing or changed medium; null where none did.</summary>
    internal PDEVICE_OBJECT DeviceToVerify { get; set; }

    /// <summary>Head of the list that the thread's own IRPs (threaded ones and requests) are linked into; guarded by <see cref="OutstandingIrps"/>.</summary>
    internal PLIST_ENTRY IrpList => new(Object.Address + IrpListOffset);

    /// <summary>Head of the list of mutexes that the thread owns; guarded by the dispatcher.</summary>
    internal PLIST_ENTRY MutexList => new(Object.Address + 0x308);

    /// <summary>Nesting of system calls; a user thread outside of any runs its own code, however long that takes.</summary>
    internal int SystemCalls { get; set; }

    /// <summary>How many system calls the thread has made so far, ended or not.</summary>
    public long SystemCallCount { get; private set; }

    /// <summary>Whether the thread is inside a system call.</summary>
    public bool IsInSystemCall => SystemCalls > 0;

    /// <summary>Enters the kernel: from user mode where a user thread does so first, else from kernel mode.</summary>
    internal SystemCall Enter() => Enter(SystemCalls == 0 && Kind == ThreadKind.User ? MODE.UserMode : MODE.KernelMode);

    internal SystemCall Enter(MODE mode)
    {
        var call = new SystemCall(this);
        SystemCalls++;
        SystemCallCount++;
        Object.PreviousMode = mode;
        return call;
    }

    /// <summary>PsCreateSystemThread made it.</summary>
    public bool IsDriverThread { get; internal set; }

    /// <summary>Notify routines know of it.</summary>
    internal bool IsAnnounced { get; set; }

    /// <summary>What IoSetThreadHardErrorMode sets.</summary>
    public bool ReportsHardErrors { get; internal set; } = true;

    /// <summary>What a system thread ended with.</summary>
    public NTSTATUS ExitStatus { get; internal set; }

    public override string ToString() => $"T{Id} {Name}";

    public void Dispose()
    {
        Baton.Dispose();
        HostIsDone.Dispose();
    }
}

/// <summary>A user thread inside the kernel.</summary>
readonly struct SystemCall(KernelThread thread) : IDisposable
{
    readonly uint apcDisable = thread.Object.CombinedApcDisable;
    readonly MODE previousMode = thread.Object.PreviousMode;

    public void Dispose()
    {
        thread.Object.PreviousMode = previousMode;
        if (--thread.SystemCalls == 0) thread.Machine.Apcs.ReturnToUser(thread, apcDisable);
    }
}

enum SchedulerState : byte
{
    Ready,
    Running,
    Blocked,
    Exited,
}
