/*
 * broken-lockheld.c: completes IRPs while it holds a spin lock.
 *
 * \Device\LockHeld0 (\DosDevices\LockHeld0) is a metronome: a READ waits for the next beat, which comes every 10 ms while somebody waits, and
 * returns its number. The DPC of the timer empties the list of waiting reads, and completes each in the loop, with the lock in its hand.
 * Completing calls the completion routines of the drivers above. One that sends the next READ right away comes back for the same lock.
 *
 * On Windows: a deadlock at DISPATCH_LEVEL, so bug check 0x133, below such a driver; otherwise nothing.
 *   https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-spinlocksafe
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/completing-irps
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/preventing-errors-and-deadlocks-while-using-spin-locks
 */
#include "software.h"

#define LOCKHELD_DEVICE_NAME L"\\Device\\LockHeld0"
#define LOCKHELD_LINK_NAME L"\\DosDevices\\LockHeld0"
#define LOCKHELD_PERIOD_MS 10

typedef struct _LOCKHELD_EXTENSION {
    KSPIN_LOCK Lock; /* guards Waiting and Beat */
    LIST_ENTRY Waiting;
    ULONG Beat;
    KTIMER Timer;
    KDPC TimerDpc;
} LOCKHELD_EXTENSION, *PLOCKHELD_EXTENSION;

DRIVER_UNLOAD BrokenLockHeldUnload;
DRIVER_DISPATCH BrokenLockHeldDispatchRead;
DRIVER_DISPATCH BrokenLockHeldDispatchCleanup;
DRIVER_CANCEL BrokenLockHeldCancel;
KDEFERRED_ROUTINE BrokenLockHeldBeat;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(LOCKHELD_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(LOCKHELD_LINK_NAME);
    PLOCKHELD_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(LOCKHELD_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeSpinLock(&extension->Lock);
    InitializeListHead(&extension->Waiting);
    KeInitializeTimer(&extension->Timer);
    KeInitializeDpc(&extension->TimerDpc, BrokenLockHeldBeat, extension);

    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenLockHeldDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = BrokenLockHeldDispatchCleanup;
    DriverObject->DriverUnload = BrokenLockHeldUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenLockHeldUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(LOCKHELD_LINK_NAME);
    PLOCKHELD_EXTENSION extension = DriverObject->DeviceObject->DeviceExtension;

    KeCancelTimer(&extension->Timer);
    KeFlushQueuedDpcs();
    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenLockHeldDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PLOCKHELD_EXTENSION extension = DeviceObject->DeviceExtension;
    LARGE_INTEGER dueTime;
    BOOLEAN cancelled;
    BOOLEAN first;
    KIRQL irql;

    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length < sizeof(ULONG)) {
        return SoftwareComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }

    KeAcquireSpinLock(&extension->Lock, &irql);

    IoMarkIrpPending(Irp);
    first = IsListEmpty(&extension->Waiting);
    InsertTailList(&extension->Waiting, &Irp->Tail.Overlay.ListEntry);
    IoSetCancelRoutine(Irp, BrokenLockHeldCancel);

    /* Cancelled before the routine was set: nobody will call it. Cancelled since: it waits for the lock and will complete the IRP. */
    cancelled = Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL;
    if (cancelled) {
        RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    } else if (first) {
        dueTime.QuadPart = -10000LL * LOCKHELD_PERIOD_MS;
        KeSetTimer(&extension->Timer, dueTime, &extension->TimerDpc);
    }

    KeReleaseSpinLock(&extension->Lock, irql);

    if (cancelled) {
        SoftwareComplete(Irp, STATUS_CANCELLED, 0);
    }

    return STATUS_PENDING;
}

/* Takes the read that has waited longest out of the list, with the lock held; NULL if none waits, other than those being cancelled. */
static PIRP BrokenLockHeldTake(PLOCKHELD_EXTENSION Extension)
{
    while (!IsListEmpty(&Extension->Waiting)) {
        PIRP irp = CONTAINING_RECORD(RemoveHeadList(&Extension->Waiting), IRP, Tail.Overlay.ListEntry);

        if (IoSetCancelRoutine(irp, NULL) != NULL) {
            return irp;
        }

        /* The cancel routine has it and is about to unlink it: let it unlink the entry from itself. */
        InitializeListHead(&irp->Tail.Overlay.ListEntry);
    }

    return NULL;
}

#ifdef FIXED

VOID BrokenLockHeldBeat(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PLOCKHELD_EXTENSION extension = DeferredContext;
    LIST_ENTRY ready;
    ULONG beat;
    PIRP irp;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    InitializeListHead(&ready);

    KeAcquireSpinLockAtDpcLevel(&extension->Lock);

    beat = ++extension->Beat;
    while ((irp = BrokenLockHeldTake(extension)) != NULL) {
        InsertTailList(&ready, &irp->Tail.Overlay.ListEntry);
    }

    KeReleaseSpinLockFromDpcLevel(&extension->Lock);

    while (!IsListEmpty(&ready)) {
        irp = CONTAINING_RECORD(RemoveHeadList(&ready), IRP, Tail.Overlay.ListEntry);
        *(PULONG)irp->AssociatedIrp.SystemBuffer = beat;
        SoftwareComplete(irp, STATUS_SUCCESS, sizeof(ULONG));
    }
}

#else

VOID BrokenLockHeldBeat(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PLOCKHELD_EXTENSION extension = DeferredContext;
    PIRP irp;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    KeAcquireSpinLockAtDpcLevel(&extension->Lock);

    extension->Beat++;
    while ((irp = BrokenLockHeldTake(extension)) != NULL) {
        *(PULONG)irp->AssociatedIrp.SystemBuffer = extension->Beat;
        SoftwareComplete(irp, STATUS_SUCCESS, sizeof(ULONG)); /* BUG: who knows what the drivers above do, and the lock is held. */
    }

    KeReleaseSpinLockFromDpcLevel(&extension->Lock);
}

#endif

VOID BrokenLockHeldCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PLOCKHELD_EXTENSION extension = DeviceObject->DeviceExtension;
    KIRQL irql;

    IoReleaseCancelSpinLock(Irp->CancelIrql);

    KeAcquireSpinLock(&extension->Lock, &irql);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->Lock, irql);

    SoftwareComplete(Irp, STATUS_CANCELLED, 0);
}

/* A read waits for one beat at most, so a file that is closed need not take it back. */
NTSTATUS BrokenLockHeldDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
}
