namespace Irpwright.Verification.Tests;

/// <summary>A driver whose routines a test writes: the function driver of a device, or a filter above one.</summary>
/// <remarks>What is not written does what is right: complete with success, or pass down.</remarks>
public sealed partial class Probe(string? deviceName) : WdmDriver
{
    readonly Queue<Action> deferred = new();
    PKDPC dpc;
    byte held;

    public PDEVICE_OBJECT Device { get; private set; }

    /// <summary>The device below; null for the function driver.</summary>
    public PDEVICE_OBJECT Lower { get; private set; }

    /// <summary>Handles IRP_MJ_READ.</summary>
    public Func<PIRP, NTSTATUS>? Read { get; set; }

    /// <summary>Handles everything but IRP_MJ_READ.</summary>
    public Func<PIRP, NTSTATUS>? Other { get; set; }

    /// <summary>What <see cref="CompletionRoutine"/> does.</summary>
    public Func<PIRP, NTSTATUS> Done { get; set; } = static _ => STATUS_CONTINUE_COMPLETION;

    /// <summary>What <see cref="Cancel"/> does.</summary>
    public Action<PIRP> Cancelled { get; set; } = static _ => { };

    public PIO_COMPLETION_ROUTINE CompletionRoutine { get; private set; }

    public PDRIVER_CANCEL Cancel { get; private set; }

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        CompletionRoutine = Routine(OnDone);
        Cancel = CancelRoutine(OnCancel);
        dpc = new PKDPC(Allocate(KDPC.SizeOf).Address);
        KeInitializeDpc(dpc, OnDpc, default);
        for (int i = 0; i <= HighestMajor; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        if (deviceName is null) return STATUS_SUCCESS;
        NTSTATUS status = IoCreateDevice(
            DriverObject, 0, RTL_CONSTANT_STRING(deviceName), FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
        device.Flags |= DO_BUFFERED_IO;
        Device = device;
        return status;
    }

    NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        if (Adding is { } adding)
        {
            adding(this, PhysicalDeviceObject);
            return STATUS_SUCCESS;
        }
        IoCreateDevice(DriverObject, ExtensionSize, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
        Device = device;
        Lower = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
        device.Flags |= DO_BUFFERED_IO;
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return STATUS_SUCCESS;
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        Func<PIRP, NTSTATUS>? written = IoGetCurrentIrpStackLocation(Irp).MajorFunction == IRP_MJ_READ ? Read : Other;
        if (written is not null) return written(Irp);
        return Lower.IsNull ? Complete(Irp, STATUS_SUCCESS) : SkipDown(Irp);
    }

    /// <summary>Gives the driver a FastIoDeviceControl routine, which takes every request.</summary>
    public void TakeControlFast(Action act)
    {
        DriverObject.FastIoDispatch = new(Allocate(FAST_IO_DISPATCH.SizeOf).Address);
        DriverObject.FastIoDispatch.Value = new FAST_IO_DISPATCH
        {
            SizeOfFastIoDispatch = FAST_IO_DISPATCH.SizeOf,
            FastIoDeviceControl = Routine((PFILE_OBJECT _, BOOLEAN _, PVOID _, uint _, PVOID _, uint _, uint _, PIO_STATUS_BLOCK status, PDEVICE_OBJECT _) =>
            {
                act();
                status.Status = STATUS_SUCCESS;
                return (BOOLEAN)true;
            }),
        };
    }

    NTSTATUS OnDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => Done(Irp);

    void OnCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp) => Cancelled(Irp);

    void OnDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
    {
        while (deferred.TryDequeue(out Action? work)) work();
    }

    // ---- What tests use often

    public NTSTATUS Complete(PIRP irp, NTSTATUS status, ulong information = 0)
    {
        irp.IoStatus.Status = status;
        irp.IoStatus.Information = information;
        IoCompleteRequest(irp, IO_NO_INCREMENT);
        return status;
    }

    /// <summary>Marks pending and completes from a DPC.</summary>
    public NTSTATUS CompleteLater(PIRP irp, NTSTATUS status = STATUS_SUCCESS)
    {
        IoMarkIrpPending(irp);
        Later(() => Complete(irp, status));
        return STATUS_PENDING;
    }

    /// <summary>Does something in a DPC.</summary>
    public void Later(Action work)
    {
        deferred.Enqueue(work);
        KeInsertQueueDpc(dpc, default, default);
    }

    /// <summary>Does something in a DPC that runs only when the IRQL has fallen again.</summary>
    public void LaterButNotYet(Action work)
    {
        byte irql = KeRaiseIrqlToDpcLevel();
        Later(work);
        held = irql;
    }

    /// <summary>Lets the IRQL fall.</summary>
    public void Now() => KeLowerIrql(held);

    public NTSTATUS SkipDown(PIRP irp)
    {
        IoSkipCurrentIrpStackLocation(irp);
        return IoCallDriver(Lower, irp);
    }

    /// <summary>Forwards with the completion routine.</summary>
    public NTSTATUS CopyDown(PIRP irp, PVOID context = default)
    {
        IoCopyCurrentIrpStackLocationToNext(irp);
        IoSetCompletionRoutine(irp, CompletionRoutine, context, true, true, true);
        return IoCallDriver(Lower, irp);
    }

    /// <summary>Prepares an IRP of the driver's own as a read of the lower device.</summary>
    public PIRP Prepare(PIRP irp, byte major = IRP_MJ_READ)
    {
        IoGetNextIrpStackLocation(irp).MajorFunction = major;
        return irp;
    }

    public static byte Major(PIRP irp) => WdmDriver.IoGetCurrentIrpStackLocation(irp).MajorFunction;

    /// <summary>An IRP of the driver's own.</summary>
    public PIRP NewFlush(bool quota = false) => Prepare(IoAllocateIrp(Lower.StackSize, quota), IRP_MJ_FLUSH_BUFFERS);

    /// <summary>Sends an IRP of the driver's own with the completion routine.</summary>
    public NTSTATUS SendOwn(PIRP own, bool onError = true)
    {
        IoSetCompletionRoutine(own, CompletionRoutine, default, true, onError, onError);
        return IoCallDriver(Lower, own);
    }

    /// <summary>Sends and waits, if it has to, for an event.</summary>
    public void SendAndWait(PIRP own, PKEVENT done)
    {
        if (IoCallDriver(Lower, own) == STATUS_PENDING) Wait(done);
    }

    /// <summary>A completion routine's end for the driver's own IRP.</summary>
    public NTSTATUS Free(PIRP own)
    {
        IoFreeIrp(own);
        return STATUS_MORE_PROCESSING_REQUIRED;
    }

    public PIO_STATUS_BLOCK NewStatusBlock() => new(Allocate(16).Address);

    public PVOID Allocate(ulong size) => ExAllocatePool2(POOL_FLAGS.POOL_FLAG_NON_PAGED | POOL_FLAGS.POOL_FLAG_UNINITIALIZED, size, 0x626F7250);

    public PKEVENT NewEvent()
    {
        PKEVENT created = new(Allocate(KEVENT.SizeOf).Address);
        Initialize(created);
        return created;
    }

    public void Delay() => KeDelayExecutionThread(KernelMode, false, -10_000);

    /// <summary>Whether any thread waits for an event.</summary>
    public static bool IsAwaited(PKEVENT signal)
    {
        if (signal.IsNull) return false;
        ulong waiters = signal.Address + 8;
        return GuestMemory.Ref<ulong>(waiters) != waiters;
    }

    public void Initialize(PKEVENT signal) => KeInitializeEvent(signal, NotificationEvent, false);

    public PKSPIN_LOCK NewSpinLock()
    {
        PKSPIN_LOCK created = new(Allocate(8).Address);
        KeInitializeSpinLock(created);
        return created;
    }

    public void Wait(PKEVENT signal) => KeWaitForSingleObject(signal, Executive, KernelMode, false, null);

    // ---- The DDIs, for tests

    public new NTSTATUS IoCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp) => base.IoCallDriver(DeviceObject, Irp);

    public new void IoCompleteRequest(PIRP Irp, sbyte PriorityBoost) => base.IoCompleteRequest(Irp, PriorityBoost);

    public new void IoMarkIrpPending(PIRP Irp) => WdmDriver.IoMarkIrpPending(Irp);

    public new void IoSkipCurrentIrpStackLocation(PIRP Irp) => WdmDriver.IoSkipCurrentIrpStackLocation(Irp);

    public new void IoCopyCurrentIrpStackLocationToNext(PIRP Irp) => WdmDriver.IoCopyCurrentIrpStackLocationToNext(Irp);

    public new void IoSetNextIrpStackLocation(PIRP Irp) => WdmDriver.IoSetNextIrpStackLocation(Irp);

    public new PIO_STACK_LOCATION IoGetCurrentIrpStackLocation(PIRP Irp) => WdmDriver.IoGetCurrentIrpStackLocation(Irp);

    public new PIO_STACK_LOCATION IoGetNextIrpStackLocation(PIRP Irp) => WdmDriver.IoGetNextIrpStackLocation(Irp);

    public new PDRIVER_CANCEL IoSetCancelRoutine(PIRP Irp, PDRIVER_CANCEL CancelRoutine) =>
        base.IoSetCancelRoutine(Irp, CancelRoutine);

    public void SetCompletionRoutine(PIRP Irp, PIO_COMPLETION_ROUTINE routine, bool invoke = true) =>
        IoSetCompletionRoutine(Irp, routine, default, invoke, invoke, invoke);

    public PIRP IoAllocateIrp(sbyte StackSize, BOOLEAN ChargeQuota) => base.IoAllocateIrp(StackSize, ChargeQuota);

    public new void IoInitializeIrp(PIRP Irp, ushort PacketSize, sbyte StackSize) => base.IoInitializeIrp(Irp, PacketSize, StackSize);

    public new void IoReuseIrp(PIRP Irp, NTSTATUS Status) => base.IoReuseIrp(Irp, Status);

    public new void IoFreeIrp(PIRP Irp) => base.IoFreeIrp(Irp);

    public new BOOLEAN IoCancelIrp(PIRP Irp) => base.IoCancelIrp(Irp);

    public new void IoReleaseCancelSpinLock(byte Irql) => base.IoReleaseCancelSpinLock(Irql);

    public new void IoAcquireCancelSpinLock(out byte Irql) => base.IoAcquireCancelSpinLock(out Irql);

    public PIRP BuildControl(uint code, PKEVENT done, PIO_STATUS_BLOCK iosb) =>
        IoBuildDeviceIoControlRequest(code, Lower, default, 0, default, 0, false, done, iosb);

    public PIRP BuildSynchronousFlush(PKEVENT done, PIO_STATUS_BLOCK iosb) =>
        IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, Lower, default, 0, null, done, iosb);

    public PIRP BuildPnp(PKEVENT done, PIO_STATUS_BLOCK iosb) =>
        IoBuildSynchronousFsdRequest(IRP_MJ_PNP, Lower, default, 0, null, done, iosb);

    public PIRP BuildAsynchronousFlush() => IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, Lower, default, 0, null, default);

    public new BOOLEAN IoForwardIrpSynchronously(PDEVICE_OBJECT DeviceObject, PIRP Irp) =>
        base.IoForwardIrpSynchronously(DeviceObject, Irp);

    public new int KeSetEvent(PKEVENT Event, int Increment, BOOLEAN Wait) => base.KeSetEvent(Event, Increment, Wait);

    public NTSTATUS KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, MODE WaitMode, BOOLEAN Alertable, long? Timeout) =>
        base.KeWaitForSingleObject(Object, WaitReason, WaitMode, Alertable, Timeout);

    public new byte KfRaiseIrql(byte NewIrql) => base.KfRaiseIrql(NewIrql);

    public new byte KeRaiseIrqlToDpcLevel() => base.KeRaiseIrqlToDpcLevel();

    public new void KeLowerIrql(byte NewIrql) => base.KeLowerIrql(NewIrql);

    public new void KeAcquireSpinLock(PKSPIN_LOCK SpinLock, out byte OldIrql) => base.KeAcquireSpinLock(SpinLock, out OldIrql);

    public new void KeReleaseSpinLock(PKSPIN_LOCK SpinLock, byte NewIrql) => base.KeReleaseSpinLock(SpinLock, NewIrql);

    public PIRP BuildRead(PVOID buffer, uint length) => IoBuildAsynchronousFsdRequest(IRP_MJ_READ, Lower, buffer, length, 0, default);

    public NTSTATUS SetCompletionRoutineEx(PDEVICE_OBJECT DeviceObject, PIRP Irp) =>
        IoSetCompletionRoutineEx(DeviceObject, Irp, CompletionRoutine, default, true, true, true);

    public new void IoSetStartIoAttributes(PDEVICE_OBJECT DeviceObject, BOOLEAN DeferredStartIo, BOOLEAN NonCancelable) =>
        base.IoSetStartIoAttributes(DeviceObject, DeferredStartIo, NonCancelable);

    public void RequestPower(PVOID irp) =>
        PoRequestPowerIrp(Device, IRP_MN_SET_POWER, new POWER_STATE { DeviceState = DEVICE_POWER_STATE.PowerDeviceD0 }, default(PREQUEST_POWER_COMPLETE), default, irp);

    /// <summary>Puts an IRP at the end of an interlocked list.</summary>
    public void InsertInterlocked(PIRP irp, PLIST_ENTRY head, PKSPIN_LOCK spinLock) =>
        ExInterlockedInsertTailList(head, new PLIST_ENTRY(irp.Address + ListEntryOffset), spinLock);

    /// <summary>Puts an IRP at the end of a list.</summary>
    public static void Insert(PIRP irp, PLIST_ENTRY head) => InsertTailList(head, new PLIST_ENTRY(irp.Address + ListEntryOffset));

    const ulong ListEntryOffset = 0xA8;

    public PLIST_ENTRY NewList()
    {
        PLIST_ENTRY head = new(Allocate(16).Address);
        InitializeListHead(head);
        return head;
    }

    public NTSTATUS CreateLink(string link, string target) => IoCreateSymbolicLink(RTL_CONSTANT_STRING(link), RTL_CONSTANT_STRING(target));
}
