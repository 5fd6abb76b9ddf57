namespace Irpwright.Samples;

/// <summary>Completes IRPs while it holds a spin lock. Twin of <c>broken-lockheld.c</c>.</summary>
/// <remarks>
/// \Device\LockHeld0 (\DosDevices\LockHeld0) is a metronome: a READ waits for the next beat, which comes every 10 ms while somebody
/// waits, and returns its number. The DPC of the timer empties the list of waiting reads, and completes each in the loop, with the
/// lock in its hand. Completing calls the completion routines of the drivers above. One that sends the next READ right away comes
/// back for the same lock.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-spinlocksafe"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/completing-irps"/>
public sealed class BrokenLockHeld : Software
{
    const string LOCKHELD_DEVICE_NAME = @"\Device\LockHeld0";
    const string LOCKHELD_LINK_NAME = @"\DosDevices\LockHeld0";
    const int LOCKHELD_PERIOD_MS = 10;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = SoftwareCreate(DriverObject, RTL_CONSTANT_STRING(LOCKHELD_DEVICE_NAME), RTL_CONSTANT_STRING(LOCKHELD_LINK_NAME),
            SizeOf<LOCKHELD_EXTENSION>(), out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PLOCKHELD_EXTENSION)deviceObject.DeviceExtension;
        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.Lock));
        InitializeListHead(PLIST_ENTRY.To(ref extension.Waiting));
        KeInitializeTimer(PKTIMER.To(ref extension.Timer));
        KeInitializeDpc(PKDPC.To(ref extension.TimerDpc), BrokenLockHeldBeat, extension);

        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(BrokenLockHeldDispatchRead);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(BrokenLockHeldDispatchCleanup);
        DriverObject.DriverUnload = Routine(BrokenLockHeldUnload);
        SoftwareReady(deviceObject);

        return STATUS_SUCCESS;
    }

    void BrokenLockHeldUnload(PDRIVER_OBJECT DriverObject)
    {
        var extension = (PLOCKHELD_EXTENSION)DriverObject.DeviceObject.DeviceExtension;

        KeCancelTimer(PKTIMER.To(ref extension.Timer));
        KeFlushQueuedDpcs();
        SoftwareDelete(DriverObject.DeviceObject, RTL_CONSTANT_STRING(LOCKHELD_LINK_NAME));
    }

    NTSTATUS BrokenLockHeldDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PLOCKHELD_EXTENSION)DeviceObject.DeviceExtension;

        if (IoGetCurrentIrpStackLocation(Irp).Parameters.Read.Length < sizeof(uint))
        {
            return SoftwareComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);

        IoMarkIrpPending(Irp);
        bool first = IsListEmpty(PLIST_ENTRY.To(ref extension.Waiting));
        InsertTailList(PLIST_ENTRY.To(ref extension.Waiting), PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        IoSetCancelRoutine(Irp, BrokenLockHeldCancel);

        // Cancelled before the routine was set: nobody will call it. Cancelled since: it waits for the lock and will complete the IRP.
        bool cancelled = Irp.Cancel && !IoSetCancelRoutine(Irp, null).IsNull;
        if (cancelled)
        {
            RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        }
        else if (first)
        {
            LARGE_INTEGER dueTime = -10000L * LOCKHELD_PERIOD_MS;
            KeSetTimer(PKTIMER.To(ref extension.Timer), dueTime, PKDPC.To(ref extension.TimerDpc));
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        if (cancelled)
        {
            SoftwareComplete(Irp, STATUS_CANCELLED, 0);
        }

        return STATUS_PENDING;
    }

    // Takes the read that has waited longest out of the list, with the lock held; null if none waits, other than those being cancelled.
    PIRP BrokenLockHeldTake(PLOCKHELD_EXTENSION Extension)
    {
        PLIST_ENTRY waiting = PLIST_ENTRY.To(ref Extension.Waiting);

        while (!IsListEmpty(waiting))
        {
            var irp = (PIRP)CONTAINING_RECORD(RemoveHeadList(waiting), (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            if (!IoSetCancelRoutine(irp, null).IsNull)
            {
                return irp;
            }

            // The cancel routine has it and is about to unlink it: let it unlink the entry from itself.
            InitializeListHead(PLIST_ENTRY.To(ref irp.Tail.Overlay.ListEntry));
        }

        return default;
    }

    void BrokenLockHeldBeat(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
    {
        var extension = (PLOCKHELD_EXTENSION)DeferredContext;

        KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK.To(ref extension.Lock));

        extension.Beat++;
        for (PIRP irp = BrokenLockHeldTake(extension); !irp.IsNull; irp = BrokenLockHeldTake(extension))
        {
            ((PULONG)irp.AssociatedIrp.SystemBuffer)[0] = extension.Beat;
            SoftwareComplete(irp, STATUS_SUCCESS, sizeof(uint)); // BUG: who knows what the drivers above do, and the lock is held.
        }

        KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK.To(ref extension.Lock));
    }

    void BrokenLockHeldCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PLOCKHELD_EXTENSION)DeviceObject.DeviceExtension;

        IoReleaseCancelSpinLock(Irp.CancelIrql);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);
        RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        SoftwareComplete(Irp, STATUS_CANCELLED, 0);
    }

    // A read waits for one beat at most, so a file that is closed need not take it back.
    NTSTATUS BrokenLockHeldDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp) => SoftwareComplete(Irp, STATUS_SUCCESS, 0);
}

struct LOCKHELD_EXTENSION
{
    public KSPIN_LOCK Lock; // guards Waiting and Beat
    public LIST_ENTRY Waiting;
    public uint Beat;
    public KTIMER Timer;
    public KDPC TimerDpc;
}

[PointerTo(typeof(LOCKHELD_EXTENSION))] readonly partial struct PLOCKHELD_EXTENSION;
