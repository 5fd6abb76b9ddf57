using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Who made an IRP, which decides how it is finished and who frees it.</summary>
public enum IrpOrigin : byte
{
    /// <summary>IoAllocateIrp: freed by the driver.</summary>
    Allocated,
    /// <summary>IoInitializeIrp: the driver's own memory.</summary>
    Initialized,
    /// <summary>IoBuildDeviceIoControlRequest or IoBuildSynchronousFsdRequest: freed by the I/O manager in the creating thread.</summary>
    Threaded,
    /// <summary>IoBuildAsynchronousFsdRequest: freed by the driver.</summary>
    Asynchronous,
    /// <summary>IoMakeAssociatedIrp: finished into its master.</summary>
    Associated,
    /// <summary>A request on a handle: freed by the I/O manager.</summary>
    Request,
    /// <summary>IRP_MJ_PNP or IRP_MJ_SYSTEM_CONTROL of the PnP manager or WMI: freed by it.</summary>
    PlugAndPlay,
    /// <summary>IRP_MJ_POWER of the power manager or PoRequestPowerIrp: freed by the power manager.</summary>
    Power,
}

/// <summary>What a driver does with a value that nobody has written.</summary>
public enum UninitializedUse : byte
{
    /// <summary>A jump or another choice depends on it.</summary>
    Condition,
    /// <summary>It is an address, or part of one.</summary>
    Address,
    /// <summary>It is an argument of a kernel routine.</summary>
    Argument,
}

/// <summary>An event of which so many come that it says itself which guest thread causes it: looking that up takes long.</summary>
public interface ICausedByThread
{
    /// <summary>The guest thread of the machine that causes the event; null if none does.</summary>
    KernelThread? By { get; }
}

// IRPs

/// <summary>
/// What traces and reports call an IRP: <c>irp#1</c>, <c>pnp#1</c>, <c>power#1</c>. Addresses are used again, numbers are not.
/// </summary>
/// <param name="Number">
/// 1 for the first of its series. Packets of the system's have series of their own: the first request is irp#1, however many it took to
/// start the device. 0 for a packet that nobody watched when it was made.
/// </param>
public readonly record struct IrpLabel(IrpOrigin Origin, int Number)
{
    internal const int SeriesCount = 3;

    static readonly string[] Prefixes = ["irp", "pnp", "power"];

    internal int Series => Origin switch { IrpOrigin.PlugAndPlay => 1, IrpOrigin.Power => 2, _ => 0 };

    public override string ToString() => $"{Prefixes[Series]}#{Number}";
}

[KernelEvent] public readonly record struct IrpAllocated(PIRP Irp, int StackSize, IrpLabel Label)
{
    public IrpOrigin Origin => Label.Origin;
}

[KernelEvent] public readonly record struct IrpReused(PIRP Irp, NTSTATUS Status);

/// <summary>The packet is about to be released; it can still be read.</summary>
[KernelEvent] public readonly record struct IrpFreed(PIRP Irp);

/// <summary>IoCallDriver was called; nothing has been looked at or changed yet, and nothing about the arguments is sure.</summary>
[KernelEvent] public readonly record struct IrpForwarding(PIRP Irp, PDEVICE_OBJECT DeviceObject, KernelThread? By) : ICausedByThread;

/// <summary>IoCallDriver entered a stack location and is about to call the dispatch routine; the location is current.</summary>
[KernelEvent] public readonly record struct IrpForwarded(PIRP Irp, PDEVICE_OBJECT DeviceObject, PDRIVER_DISPATCH Routine, KernelThread? By) : ICausedByThread
{
    /// <summary>Device that owns the location above, null for the originator. To be asked before the dispatch routine is called.</summary>
    public PDEVICE_OBJECT Sender =>
        Irp.CurrentLocation < Irp.StackCount ? new PIO_STACK_LOCATION(Irp.Tail.Overlay.CurrentStackLocation.Address + IO_STACK_LOCATION.SizeOf).DeviceObject : default;
}

/// <summary>A dispatch routine returned. The IRP may be gone.</summary>
[KernelEvent] public readonly record struct DispatchReturned(PIRP Irp, PDEVICE_OBJECT DeviceObject, PDRIVER_DISPATCH Routine, NTSTATUS Status, KernelThread? By) : ICausedByThread;

/// <summary>A driver called IoCompleteRequest; the walk has not begun.</summary>
[KernelEvent] public readonly record struct IrpCompleting(PIRP Irp, NTSTATUS Status, ulong Information, sbyte PriorityBoost, KernelThread? By) : ICausedByThread;

/// <summary>The walk reached the registering driver's location and is about to call its routine (PendingReturned is in the IRP).</summary>
[KernelEvent] public readonly record struct CompletionRoutineCalled(PIRP Irp, PDEVICE_OBJECT DeviceObject, PIO_COMPLETION_ROUTINE Routine, PVOID Context, KernelThread? By) : ICausedByThread;

/// <summary>A completion routine returned. After STATUS_MORE_PROCESSING_REQUIRED the IRP may be gone.</summary>
[KernelEvent] public readonly record struct CompletionRoutineReturned(PIRP Irp, PDEVICE_OBJECT DeviceObject, PIO_COMPLETION_ROUTINE Routine, NTSTATUS Status, KernelThread? By) : ICausedByThread;

/// <summary>The walk left the topmost location; the originator-side stage begins.</summary>
[KernelEvent] public readonly record struct IrpCompleted(PIRP Irp, NTSTATUS Status, ulong Information);

/// <summary>A call of IoCompleteRequest ended; the IRP may be gone.</summary>
[KernelEvent] public readonly record struct IrpCompletionReturned(PIRP Irp);

/// <summary>IoCancelIrp set the Cancel flag; <paramref name="Routine"/> is called next, if it is not null.</summary>
[KernelEvent] public readonly record struct IrpCancelled(PIRP Irp, PDEVICE_OBJECT DeviceObject, PDRIVER_CANCEL Routine);

[KernelEvent] public readonly record struct CancelRoutineReturned(PIRP Irp, PDRIVER_CANCEL Routine);

/// <summary>The IRP is the device's current one, and its driver's StartIo routine is about to be called.</summary>
[KernelEvent] public readonly record struct StartIoCalled(PIRP Irp, PDEVICE_OBJECT DeviceObject, PDRIVER_STARTIO Routine);

/// <summary>The routine returned. The IRP may be gone.</summary>
[KernelEvent] public readonly record struct StartIoReturned(PIRP Irp, PDEVICE_OBJECT DeviceObject, PDRIVER_STARTIO Routine);

/// <summary>A routine of the FAST_IO_DISPATCH table of the device's driver is about to be called.</summary>
/// <param name="Name">The table's member, such as FastIoDeviceControl.</param>
/// <param name="FileObject">Null for FastIoDetachDevice.</param>
[KernelEvent] public readonly record struct FastIoCalled(string Name, ulong Routine, PDEVICE_OBJECT DeviceObject, PFILE_OBJECT FileObject);

/// <param name="Status">What the request came to; null if there was none, or the routine left it to an IRP.</param>
[KernelEvent] public readonly record struct FastIoReturned(string Name, ulong Routine, PDEVICE_OBJECT DeviceObject, NTSTATUS? Status);

// Requests on handles

[KernelEvent] public readonly record struct RequestSent(PIRP Irp, PFILE_OBJECT FileObject, PDEVICE_OBJECT DeviceObject);

/// <summary>The request is over for its requestor. The IRP is gone.</summary>
[KernelEvent] public readonly record struct RequestFinished(PIRP Irp, NTSTATUS Status, ulong Information);

// Drivers and devices

[KernelEvent] public readonly record struct DriverLoaded(PDRIVER_OBJECT DriverObject, string Name, NTSTATUS Status);

/// <summary>The driver's DriverUnload routine is about to be called.</summary>
[KernelEvent] public readonly record struct DriverUnloading(PDRIVER_OBJECT DriverObject, string Name);

/// <summary>The routine returned; the driver is not forgotten yet.</summary>
[KernelEvent] public readonly record struct DriverUnloaded(PDRIVER_OBJECT DriverObject, string Name);

[KernelEvent] public readonly record struct DeviceCreated(PDEVICE_OBJECT DeviceObject, string Name);

[KernelEvent] public readonly record struct DeviceAttached(PDEVICE_OBJECT SourceDevice, PDEVICE_OBJECT LowerDevice);

[KernelEvent] public readonly record struct DeviceDetached(PDEVICE_OBJECT LowerDevice);

[KernelEvent] public readonly record struct DeviceDeleted(PDEVICE_OBJECT DeviceObject);

// Plug and Play

/// <summary>A driver's AddDevice routine is about to be called.</summary>
[KernelEvent] public readonly record struct AddDeviceCalled(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject, PDRIVER_ADD_DEVICE Routine);

[KernelEvent] public readonly record struct AddDeviceReturned(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject, PDRIVER_ADD_DEVICE Routine, NTSTATUS Status);

/// <summary>A device came into the tree, or went on to another state.</summary>
/// <param name="Before">The state it was in; the same as now for a device that is new.</param>
[KernelEvent] public readonly record struct DeviceNodeChanged(DeviceNode Node, DeviceNodeState Before, DeviceNodeState State);

// Power

/// <summary>A driver told the power manager of a device's new power state (PoSetPowerState).</summary>
[KernelEvent] public readonly record struct PowerStateSet(PDEVICE_OBJECT DeviceObject, POWER_STATE_TYPE Type, POWER_STATE Before, POWER_STATE State);

/// <summary>All devices have been told of a new power state of the system.</summary>
[KernelEvent] public readonly record struct SystemPowerChanged(SYSTEM_POWER_STATE Before, SYSTEM_POWER_STATE State);

/// <summary>A driver wrote to the error log.</summary>
[KernelEvent] public readonly record struct ErrorLogged(ErrorLogEntry Entry);

// Execution

/// <summary>A driver called an exported routine.</summary>
/// <param name="caller">Return address of a compiled driver, or an address that identifies the C# driver.</param>
[KernelEvent]
public readonly ref struct DdiCalled(KernelExport export, ulong caller, KernelThread by, in DdiArguments arguments) : ICausedByThread
{
    // Not the whole: copying what was just written in parts takes longer than all else here.
    readonly ref readonly ulong first = ref arguments.First;
    readonly int count = arguments.Count;

    public KernelExport Export { get; } = export;

    public ulong Caller { get; } = caller;

    public KernelThread By { get; } = by;

    public byte Irql => By.Irql;

    public DdiArguments Arguments => new(MemoryMarshal.CreateReadOnlySpan(in first, count));
}

/// <summary>The routine returned, as opposed to raising an exception or stopping the machine.</summary>
/// <param name="result">What was left in rax; 0 for a routine without a result.</param>
/// <inheritdoc cref="DdiCalled"/>
[KernelEvent]
public readonly ref struct DdiReturned(KernelExport export, ulong caller, KernelThread by, in DdiArguments arguments, ulong result) : ICausedByThread
{
    // Not the whole: copying what was just written in parts takes longer than all else here.
    readonly ref readonly ulong first = ref arguments.First;
    readonly int count = arguments.Count;

    public KernelExport Export { get; } = export;

    public ulong Caller { get; } = caller;

    public KernelThread By { get; } = by;

    public byte Irql => By.Irql;

    public DdiArguments Arguments => new(MemoryMarshal.CreateReadOnlySpan(in first, count));

    public ulong Result { get; } = result;
}

[KernelEvent] public readonly record struct ThreadStarted(KernelThread Thread);

[KernelEvent] public readonly record struct ThreadEnded(KernelThread Thread);

/// <param name="MayBlock">False for a wait with a zero timeout, which only looks.</param>
[KernelEvent] public readonly record struct WaitStarted(KernelThread Thread, PVOID Object, bool MayBlock = true);

[KernelEvent] public readonly record struct WaitEnded(KernelThread Thread, PVOID Object, NTSTATUS Status);

/// <param name="Increment">Priority increment of the threads that it wakes.</param>
[KernelEvent] public readonly record struct EventSet(PKEVENT Event, int Increment = 0);

/// <param name="Increment">Priority increment of the threads that it wakes.</param>
[KernelEvent] public readonly record struct SemaphoreReleased(PKSEMAPHORE Semaphore, int Adjustment, int Increment);

[KernelEvent] public readonly record struct SpinLockAcquired(PKSPIN_LOCK SpinLock, KernelThread Thread);

[KernelEvent] public readonly record struct SpinLockReleased(PKSPIN_LOCK SpinLock, KernelThread Thread);

[KernelEvent] public readonly record struct TimerSet(PKTIMER Timer, long DueTime);

[KernelEvent] public readonly record struct TimerExpired(PKTIMER Timer);

/// <summary>A timer that was set was taken back.</summary>
[KernelEvent] public readonly record struct TimerCancelled(PKTIMER Timer);

[KernelEvent] public readonly record struct DpcQueued(PKDPC Dpc);

[KernelEvent] public readonly record struct DpcStarted(PKDPC Dpc, PKDEFERRED_ROUTINE Routine, KernelThread Thread);

[KernelEvent] public readonly record struct DpcReturned(PKDPC Dpc, PKDEFERRED_ROUTINE Routine, KernelThread Thread);

/// <summary>A DPC was taken out of its queue.</summary>
[KernelEvent] public readonly record struct DpcRemoved(PKDPC Dpc);

/// <param name="IoObject">Null for a work item that belongs to no object.</param>
[KernelEvent] public readonly record struct WorkItemQueued(PVOID WorkItem, PVOID IoObject, ulong Routine);

[KernelEvent] public readonly record struct WorkItemStarted(PVOID WorkItem, PVOID IoObject, ulong Routine);

[KernelEvent] public readonly record struct WorkItemReturned(PVOID WorkItem, ulong Routine);

/// <summary>An interrupt service routine is about to be called, at its IRQL and holding the interrupt's spin lock.</summary>
[KernelEvent] public readonly record struct InterruptServiceStarted(PKINTERRUPT Interrupt, PKSERVICE_ROUTINE Routine, KernelThread Thread);

/// <param name="Claimed">What the routine returned: whether its device was it.</param>
[KernelEvent] public readonly record struct InterruptServiceReturned(PKINTERRUPT Interrupt, PKSERVICE_ROUTINE Routine, KernelThread Thread, bool Claimed);

// Hardware

/// <param name="IsPort">An I/O port, not a physical address.</param>
/// <param name="Size">Bytes.</param>
[KernelEvent] public readonly record struct DeviceRead(bool IsPort, ulong Address, int Size, ulong Value);

/// <summary>A driver writes a register; the device has not done anything yet.</summary>
/// <inheritdoc cref="DeviceRead"/>
[KernelEvent] public readonly record struct DeviceWritten(bool IsPort, ulong Address, int Size, ulong Value);

// Memory

/// <param name="Owner">Address in the code that allocated.</param>
[KernelEvent] public readonly record struct PoolAllocated(ulong Address, ulong Size, uint Tag, POOL_TYPE PoolType, ulong Owner);

[KernelEvent] public readonly record struct PoolFreed(ulong Address, uint Tag);

/// <summary>MmProbeAndLockPages or a relative of it locked what an MDL describes, for a driver or for the kernel.</summary>
[KernelEvent] public readonly record struct PagesLocked(PMDL Mdl, ulong Address, uint Length);

/// <summary>The pages that an MDL describes are about to be unlocked.</summary>
[KernelEvent] public readonly record struct PagesUnlocked(PMDL Mdl);

/// <summary>The pages of an MDL were mapped.</summary>
/// <param name="Address">Where, with the buffer's offset in its page.</param>
[KernelEvent] public readonly record struct MdlMapped(PMDL Mdl, MODE Mode, PVOID Address, MM_PAGE_PRIORITY Priority);

/// <summary>A mapping is to be ended; nothing has been looked at yet.</summary>
[KernelEvent] public readonly record struct MdlUnmapping(PMDL Mdl, PVOID Address);

/// <param name="Size">Bytes of the list's own structure.</param>
/// <param name="BlockSize">Bytes of its blocks, as requested.</param>
[KernelEvent] public readonly record struct LookasideInitialized(PVOID Lookaside, ulong Size, ulong BlockSize);

/// <summary>A list is deleted; nothing has been looked at yet.</summary>
[KernelEvent] public readonly record struct LookasideDeleted(PVOID Lookaside);

// Handles

[KernelEvent] public readonly record struct HandleOpened(HANDLE Handle, PVOID Object);

[KernelEvent] public readonly record struct HandleClosed(HANDLE Handle);

// Accesses of compiled drivers that went wrong, where the machine checks memory. Each place in the code tells once.

/// <summary>A driver touches a pool block that was freed, or bytes beside one.</summary>
/// <param name="Address">The first byte that it must not touch.</param>
/// <param name="Instruction">Where the driver does it; in a call of a kernel routine for it, the address behind the call.</param>
[KernelEvent] public readonly record struct PoolBlockMisused(PoolBlockHistory Block, ulong Address, bool IsWrite, ulong Instruction);

/// <summary>A driver decides by, or passes on, a value that nobody has written.</summary>
/// <param name="Source">Where the value was read from; 0 if not known.</param>
[KernelEvent] public readonly record struct UninitializedUsed(UninitializedUse Use, ulong Source, ulong Instruction);

/// <summary>A driver touches, or runs, memory that could be paged out, at DISPATCH_LEVEL or above.</summary>
[KernelEvent] public readonly record struct PageableTouched(ulong Address, PageAccess Access, byte Irql, ulong Instruction);

/// <summary>A driver touches an IRP that it does not have any more: it has completed it or sent it on.</summary>
[KernelEvent] public readonly record struct LentIrpTouched(PIRP Irp, ulong Address, bool IsWrite, ulong Instruction);

/// <summary>A routine returns while an IRP in flight knows an address in its stack frame.</summary>
/// <param name="Holder">What in the IRP holds it: UserIosb, UserEvent, completion context.</param>
/// <param name="Instruction">The return.</param>
[KernelEvent] public readonly record struct StackFrameLeft(PIRP Irp, string Holder, ulong Address, ulong Instruction);

/// <summary>A driver touches user memory; told once for each instruction, frame and page until the driver next calls the kernel.</summary>
/// <param name="IsGuarded">The code is inside of a __try with an __except, or was called from inside of one.</param>
/// <param name="MayProbeInline">The driver uses MmUserProbeAddress, so that it may probe addresses without a call.</param>
[KernelEvent] public readonly record struct UserMemoryTouched(ulong Address, bool IsWrite, bool IsGuarded, bool MayProbeInline, ulong Instruction);

/// <summary>A driver stores to an IRP's CancelRoutine instead of exchanging it.</summary>
[KernelEvent] public readonly record struct CancelRoutineStored(PIRP Irp, ulong Instruction);

// Words and ends

[KernelEvent] public readonly record struct DebugPrinted(string Text, ulong Caller);

/// <summary><see cref="FaultInjection"/> has a call of a kernel routine fail.</summary>
/// <param name="Place">Of the call: an address in a compiled driver as a debugger shows it, or method and line of a C# driver.</param>
[KernelEvent] public readonly record struct CallMadeToFail(KernelExport Export, Driver Driver, string Place);

[KernelEvent] public readonly record struct BugCheckRaised(BugCheckReport Report);

/// <summary>A driver reported more bytes than the requestor's buffer takes; the copy was bounded.</summary>
[KernelEvent] public readonly record struct InformationTooLarge(PIRP Irp, ulong Information, ulong BufferLength);
