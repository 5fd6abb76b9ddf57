using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Exploration;

/// <summary>Finds out what each step of a run touches.</summary>
/// <remarks>
/// The parts are the kernel's objects (locks, dispatcher objects, IRPs, DPCs, threads), the memory of each driver, and that of the
/// scenario. Whatever code of a driver runs counts as touching all memory of that driver, and the IRP that it was called for: memory is
/// taken to be shared inside a driver, not between drivers. What a step does by a routine that is not in <see cref="Described"/> may be
/// anything.
/// </remarks>
sealed class FootprintTracker : KernelObserver
{
    // No address, so they are never taken for one.
    const ulong ScenarioPart = 1;

    static readonly bool[] Described = FindDescribed();

    readonly Machine machine;
    readonly Dictionary<KernelThread, Stack> stacks = [];
    readonly Dictionary<ulong, ulong> owners = [];
    readonly HashSet<ulong> parts = [];
    bool isEverything;

    internal FootprintTracker(Machine machine)
    {
        this.machine = machine;
        machine.Scheduler.Touched = address => parts.Add(address);
    }

    /// <summary>A routine of a driver that runs on a thread.</summary>
    readonly record struct Frame(ulong Owner, ulong Irp);

    /// <summary>What a thread is in the middle of.</summary>
    sealed class Stack
    {
        internal readonly List<Frame> Frames = [];
        internal readonly List<ulong> WaitsFor = [];
        // Since the last step: how far down the stack code has run, and which system calls there were.
        internal int Lowest;
        internal long CallsBefore;
        internal bool WasInCall;
        internal int Sent;
    }

    /// <summary>The footprint of the step that ends now, on the current thread. The next one begins.</summary>
    internal Footprint Take()
    {
        if (machine.TryGetCurrentThread() is { } thread) AddCode(thread, StackOf(thread));
        Footprint footprint = isEverything ? Footprint.Everything : Footprint.Of(parts);
        parts.Clear();
        isEverything = false;
        foreach (Stack stack in stacks.Values) stack.Lowest = stack.Frames.Count;
        return footprint;
    }

    void AddCode(KernelThread thread, Stack stack)
    {
        parts.Add(thread.Object.Address);
        foreach (ulong waited in stack.WaitsFor) parts.Add(waited);
        for (int i = Math.Max(0, stack.Lowest - 1); i < stack.Frames.Count; i++) Add(stack.Frames[i]);
        if (stack.Lowest == 0 && thread.Kind == ThreadKind.User)
        {
            long calls = thread.SystemCallCount - stack.CallsBefore;
            // Inside one system call all the time, the scenario itself has not run.
            if (calls != 0 || !stack.WasInCall || !thread.IsInSystemCall) parts.Add(ScenarioPart);
            // Sending a request touches what its events say; other system calls may touch anything.
            if (calls != stack.Sent) isEverything = true;
        }
        else if (stack.Lowest == 0 && thread.IsDriverThread)
        {
            isEverything = true;
        }
        stack.CallsBefore = thread.SystemCallCount;
        stack.WasInCall = thread.IsInSystemCall;
        stack.Sent = 0;
    }

    void Add(Frame frame)
    {
        if (frame.Owner == 0) isEverything = true;
        parts.Add(frame.Owner);
        if (frame.Irp != 0) parts.Add(frame.Irp);
    }

    Stack StackOf(KernelThread thread)
    {
        if (!stacks.TryGetValue(thread, out Stack? stack)) stacks[thread] = stack = new Stack();
        return stack;
    }

    Stack? Current => machine.TryGetCurrentThread() is { } thread ? StackOf(thread) : null;

    void Enter(ulong owner, ulong irp)
    {
        if (Current is not { } stack) return;
        if (stack.Frames.Count > 0) Add(stack.Frames[^1]);
        stack.Frames.Add(new(owner, irp));
        Add(stack.Frames[^1]);
    }

    void Leave(ulong owner, ulong irp)
    {
        if (Current is not { } stack) return;
        int i = stack.Frames.LastIndexOf(new Frame(owner, irp));
        if (i < 0) return;
        stack.Frames.RemoveRange(i, stack.Frames.Count - i);
        stack.Lowest = Math.Min(stack.Lowest, stack.Frames.Count);
    }

    ulong OwnerOf(PDEVICE_OBJECT device, ulong routine) => device.IsNull ? OwnerOf(routine) : device.DriverObject.Address;

    /// <summary>The driver object of the driver that a routine belongs to; 0 if that is not known.</summary>
    ulong OwnerOf(ulong routine)
    {
        if (owners.TryGetValue(routine, out ulong owner)) return owner;
        object? target = machine.Code.RoutineAt(routine)?.Target;
        foreach (Driver driver in machine.Drivers.All)
        {
            bool isOwner = driver.Managed is { } managed
                ? managed == target : routine - driver.Object.DriverStart.Address < driver.Object.DriverSize;
            if (isOwner) owner = driver.Object.Address;
        }
        if (owner != 0) owners[routine] = owner;
        return owner;
    }

    public override void On(in IrpForwarded e) => Enter(e.DeviceObject.DriverObject.Address, e.Irp.Address);

    // The device may be gone: what was entered last is left.
    public override void On(in DispatchReturned e) => LeaveFor(e.Irp.Address);

    public override void On(in CompletionRoutineCalled e) => Enter(OwnerOf(e.DeviceObject, e.Routine.Address), e.Irp.Address);

    public override void On(in CompletionRoutineReturned e) => LeaveFor(e.Irp.Address);

    public override void On(in IrpCancelled e)
    {
        parts.Add(e.Irp.Address);
        if (!e.Routine.IsNull) Enter(OwnerOf(e.DeviceObject, e.Routine.Address), e.Irp.Address);
    }

    public override void On(in CancelRoutineReturned e) => LeaveFor(e.Irp.Address);

    public override void On(in StartIoCalled e) => Enter(e.DeviceObject.DriverObject.Address, e.Irp.Address);

    public override void On(in StartIoReturned e) => LeaveFor(e.Irp.Address);

    public override void On(in DpcStarted e)
    {
        parts.Add(e.Dpc.Address);
        Enter(OwnerOf(e.Routine.Address), 0);
    }

    public override void On(in DpcReturned e) => Leave(OwnerOf(e.Routine.Address), 0);

    public override void On(in WorkItemStarted e) => Enter(OwnerOf(e.Routine), 0);

    public override void On(in WorkItemReturned e) => Leave(OwnerOf(e.Routine), 0);

    public override void On(in FastIoCalled e) => Enter(OwnerOf(e.Routine), 0);

    public override void On(in FastIoReturned e) => Leave(OwnerOf(e.Routine), 0);

    public override void On(in InterruptServiceStarted e)
    {
        parts.Add(e.Interrupt.Address);
        Enter(OwnerOf(e.Routine.Address), 0);
    }

    public override void On(in InterruptServiceReturned e) => Leave(OwnerOf(e.Routine.Address), 0);

    void LeaveFor(ulong irp)
    {
        if (Current is not { } stack) return;
        int i = stack.Frames.FindLastIndex(frame => frame.Irp == irp);
        if (i < 0) return;
        stack.Frames.RemoveRange(i, stack.Frames.Count - i);
        stack.Lowest = Math.Min(stack.Lowest, stack.Frames.Count);
    }

    public override void On(in RequestSent e)
    {
        parts.Add(e.Irp.Address);
        parts.Add(e.FileObject.Address);
        if (Current is { } stack) stack.Sent++;
    }

    public override void On(in IrpForwarding e) => parts.Add(e.Irp.Address);

    public override void On(in IrpCompleting e)
    {
        parts.Add(e.Irp.Address);
        // Its requestor is about to learn of it.
        if (!e.Irp.Tail.Overlay.Thread.IsNull) parts.Add(e.Irp.Tail.Overlay.Thread.Address);
    }

    public override void On(in IrpFreed e) => parts.Add(e.Irp.Address);

    public override void On(in SpinLockAcquired e) => parts.Add(e.SpinLock.Address);

    public override void On(in SpinLockReleased e) => parts.Add(e.SpinLock.Address);

    public override void On(in WaitStarted e) => StackOf(e.Thread).WaitsFor.Add(e.Object.Address);

    public override void On(in WaitEnded e)
    {
        parts.Add(e.Object.Address);
        StackOf(e.Thread).WaitsFor.Remove(e.Object.Address);
    }

    public override void On(in EventSet e) => parts.Add(e.Event.Address);

    public override void On(in SemaphoreReleased e) => parts.Add(e.Semaphore.Address);

    public override void On(in DpcQueued e) => parts.Add(e.Dpc.Address);

    public override void On(in ThreadStarted e) => isEverything = true;

    public override void On(in ThreadEnded e) => isEverything = true;

    public override void On(in DeviceNodeChanged e) => isEverything = true;

    public override void On(in DeviceRead e) => isEverything = true;

    public override void On(in DeviceWritten e) => isEverything = true;

    public override void On(in DdiCalled e) => isEverything |= !Described[e.Export.Index];

    /// <summary>Routines that touch nothing but what their events name, or only what belongs to the caller.</summary>
    static bool[] FindDescribed()
    {
        string[] names =
        [
            "IofCallDriver", "IofCompleteRequest", "IoCancelIrp", "IoAllocateIrp", "IoFreeIrp", "IoReuseIrp", "IoInitializeIrp",
            "IoAcquireCancelSpinLock", "IoReleaseCancelSpinLock", "IoGetCurrentProcess", "IoGetRequestorProcess",
            "KeInitializeSpinLock", "KeAcquireSpinLockRaiseToDpc", "KeReleaseSpinLock", "KeAcquireSpinLockAtDpcLevel",
            "KeReleaseSpinLockFromDpcLevel", "KeAcquireInStackQueuedSpinLock", "KeReleaseInStackQueuedSpinLock",
            "KeAcquireInStackQueuedSpinLockAtDpcLevel", "KeReleaseInStackQueuedSpinLockFromDpcLevel",
            "KeInitializeEvent", "KeSetEvent", "KeClearEvent", "KeResetEvent", "KeReadStateEvent",
            "KeWaitForSingleObject", "KeWaitForMultipleObjects", "KeInitializeSemaphore", "KeReleaseSemaphore",
            "KeInitializeDpc", "KeInsertQueueDpc", "KeGetCurrentIrql", "KfRaiseIrql", "KfLowerIrql", "KeRaiseIrqlToDpcLevel",
            "KeGetCurrentThread", "PsGetCurrentThread", "KeEnterCriticalRegion", "KeLeaveCriticalRegion",
            "ExAllocatePoolWithTag", "ExAllocatePool2", "ExAllocatePool", "ExFreePoolWithTag", "ExFreePool",
            "MmMapLockedPagesSpecifyCache", "MmProbeAndLockPages", "MmProbeAndLockProcessPages", "MmUnlockPages", "IoAllocateMdl", "IoFreeMdl", "MmBuildMdlForNonPagedPool",
            "RtlInitUnicodeString", "RtlCompareMemory", "RtlCopyMemory", "memcpy", "memmove", "memset", "DbgPrint", "DbgPrintEx",
        ];
        bool[] described = new bool[KernelExports.All.Count];
        foreach (string name in names)
        {
            if (KernelExports.Find(name) is { } export) described[export.Index] = true;
        }
        return described;
    }
}
