using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Hands a device's IRPs to its driver's StartIo routine one at a time; the others wait in the device object's queue.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-startio-routines"/>
public sealed class StartIo
{
    const ulong DeviceQueueOffset = 0xA0;
    const ulong DeviceQueueEntryOffset = 0x78;

    /// <summary><c>DEVOBJ_EXTENSION.StartIoFlags</c>. Known from the kernel, not in the WDK.</summary>
    [Flags]
    enum Attributes : uint
    {
        /// <summary>IoStartNextPacket was called inside StartIo; with the next two, how.</summary>
        Requested = 0x01,
        RequestedByKey = 0x02,
        Cancelable = 0x04,
        /// <summary>IoSetStartIoAttributes.</summary>
        Deferred = 0x08,
        NonCancelable = 0x10,
    }

    readonly Machine machine;
    // For StartIoCount, StartIoKey and StartIoFlags of all devices; never held while a driver runs.
    readonly Lock gate = new();

    internal StartIo(Machine machine) => this.machine = machine;

    /// <summary>Chooses how a device's StartIo routine is called. Any IRQL. (STARTIO-11, STARTIO-12)</summary>
    /// <param name="DeferredStartIo">TRUE: IoStartNextPacket inside StartIo takes effect when that call of StartIo has returned.</param>
    /// <param name="NonCancelable">TRUE: an IRP has no cancel routine any more when StartIo gets it.</param>
    [KernelExport]
    public void IoSetStartIoAttributes(PDEVICE_OBJECT DeviceObject, BOOLEAN DeferredStartIo, BOOLEAN NonCancelable)
    {
        lock (gate)
        {
            ref uint flags = ref DeviceObject.DeviceObjectExtension.StartIoFlags;
            flags &= ~(uint)(Attributes.Deferred | Attributes.NonCancelable);
            if (DeferredStartIo) flags |= (uint)Attributes.Deferred;
            if (NonCancelable) flags |= (uint)Attributes.NonCancelable;
        }
    }

    /// <summary>
    /// Calls StartIo with an IRP at DISPATCH_LEVEL, or queues the IRP while the device is busy. IRQL &lt;= DISPATCH_LEVEL.
    /// (STARTIO-06 to STARTIO-08)
    /// </summary>
    /// <param name="Key">Points to the sort key; NULL puts the IRP at the end.</param>
    /// <param name="CancelFunction">Cancel routine to set in the IRP; with one, the cancel spin lock protects queue and current IRP.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoStartPacket(PDEVICE_OBJECT DeviceObject, PIRP Irp, PULONG Key, PDRIVER_CANCEL CancelFunction)
    {
        byte irql = machine.Irqls.Raise(machine.CurrentThread, DISPATCH_LEVEL);
        bool cancelable = !CancelFunction.IsNull;
        byte cancelIrql = 0;
        if (cancelable)
        {
            machine.Cancellation.IoAcquireCancelSpinLock(out cancelIrql);
            IrpCancellation.Exchange(Irp, CancelFunction);
        }
        PKDEVICE_QUEUE queue = QueueOf(DeviceObject);
        PKDEVICE_QUEUE_ENTRY entry = new(Irp.Address + DeviceQueueEntryOffset);
        bool inserted = Key.IsNull ? machine.DeviceQueues.KeInsertDeviceQueue(queue, entry)
            : machine.DeviceQueues.KeInsertByKeyDeviceQueue(queue, entry, Key.Value);
        if (!inserted)
        {
            BecomeCurrent(DeviceObject, Irp, cancelable);
            if (cancelable) machine.Cancellation.IoReleaseCancelSpinLock(cancelIrql);
            Start(DeviceObject, Irp);
        }
        else if (cancelable)
        {
            if (Irp.Cancel) machine.Cancellation.CallWithLock(IrpCancellation.Exchange(Irp, default), DeviceObject, Irp, cancelIrql);
            else machine.Cancellation.IoReleaseCancelSpinLock(cancelIrql);
        }
        machine.Irqls.Lower(machine.CurrentThread, irql);
    }

    /// <summary>The device is done with its current IRP: calls StartIo with the next one, if there is one. IRQL = DISPATCH_LEVEL. (STARTIO-09)</summary>
    /// <param name="Cancelable">TRUE when IRPs in the queue have cancel routines: the cancel spin lock is taken to choose the next.</param>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void IoStartNextPacket(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable) =>
        StartNext(DeviceObject, Cancelable ? Attributes.Cancelable : 0, 0);

    /// <summary>
    /// As <see cref="IoStartNextPacket"/>; the next IRP is the first whose key is not below <paramref name="Key"/>, or else the first
    /// of all. IRQL &lt;= DISPATCH_LEVEL. (STARTIO-09)
    /// </summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoStartNextPacketByKey(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable, uint Key)
    {
        byte irql = machine.Irqls.Raise(machine.CurrentThread, DISPATCH_LEVEL);
        StartNext(DeviceObject, Attributes.RequestedByKey | (Cancelable ? Attributes.Cancelable : 0), Key);
        machine.Irqls.Lower(machine.CurrentThread, irql);
    }

    void StartNext(PDEVICE_OBJECT device, Attributes how, uint key)
    {
        if (Defer(device, how, key)) return;
        PIRP next = TakeNext(device, how, key);
        if (!next.IsNull) Start(device, next);
    }

    /// <summary>Notes a request for the next IRP if StartIo must not be called now (STARTIO-11).</summary>
    bool Defer(PDEVICE_OBJECT device, Attributes how, uint key)
    {
        PDEVOBJ_EXTENSION extension = device.DeviceObjectExtension;
        lock (gate)
        {
            if (extension.StartIoCount == 0) return false;
            extension.StartIoFlags |= (uint)(Attributes.Requested | how);
            extension.StartIoKey = (int)key;
            return true;
        }
    }

    PIRP TakeNext(PDEVICE_OBJECT device, Attributes how, uint key)
    {
        bool cancelable = (how & Attributes.Cancelable) != 0;
        byte cancelIrql = 0;
        if (cancelable) machine.Cancellation.IoAcquireCancelSpinLock(out cancelIrql);
        device.CurrentIrp = default;
        PKDEVICE_QUEUE queue = QueueOf(device);
        PKDEVICE_QUEUE_ENTRY entry = (how & Attributes.RequestedByKey) != 0 ? machine.DeviceQueues.KeRemoveByKeyDeviceQueue(queue, key)
            : machine.DeviceQueues.KeRemoveDeviceQueue(queue);
        PIRP irp = default;
        if (!entry.IsNull)
        {
            irp = new PIRP(entry.Address - DeviceQueueEntryOffset);
            BecomeCurrent(device, irp, cancelable);
        }
        if (cancelable) machine.Cancellation.IoReleaseCancelSpinLock(cancelIrql);
        return irp;
    }

    static void BecomeCurrent(PDEVICE_OBJECT device, PIRP irp, bool cancelable)
    {
        device.CurrentIrp = irp;
        if (cancelable && ((Attributes)device.DeviceObjectExtension.StartIoFlags & Attributes.NonCancelable) != 0)
            IrpCancellation.Exchange(irp, default);
    }

    void Start(PDEVICE_OBJECT device, PIRP irp)
    {
        PDEVOBJ_EXTENSION extension = device.DeviceObjectExtension;
        if (((Attributes)extension.StartIoFlags & Attributes.Deferred) == 0)
        {
            Call(device, irp);
            return;
        }
        while (!irp.IsNull)
        {
            lock (gate) extension.StartIoCount++;
            Call(device, irp);
            Attributes noted;
            uint key;
            lock (gate)
            {
                extension.StartIoCount--;
                const Attributes Request = Attributes.Requested | Attributes.RequestedByKey | Attributes.Cancelable;
                noted = (Attributes)extension.StartIoFlags & Request;
                key = (uint)extension.StartIoKey;
                extension.StartIoFlags &= ~(uint)Request;
            }
            irp = (noted & Attributes.Requested) != 0 ? TakeNext(device, noted, key) : default;
        }
    }

    void Call(PDEVICE_OBJECT device, PIRP irp)
    {
        // StartIo that fails its IRPs and asks for the next one recurses as deep as the queue is long (STARTIO-11).
        if (KernelThread.Current is { IsStackSpent: true }) throw machine.BugChecks.KernelStackOverflow(0);
        PDRIVER_STARTIO routine = device.DriverObject.DriverStartIo;
        machine.Events.Emit(new StartIoCalled(irp, device, routine));
        machine.Code.Call(routine, device, irp);
        machine.Events.Emit(new StartIoReturned(irp, device, routine));
    }

    static PKDEVICE_QUEUE QueueOf(PDEVICE_OBJECT device) => new(device.Address + DeviceQueueOffset);
}
