/*
 * broken-deadlock.c: acquires two spin locks in two orders.
 *
 * \Device\Deadlock0 (\DosDevices\Deadlock0) is a store of 4 KiB with statistics. Each has a lock. WRITE changes the store and, still holding
 * its lock, the statistics; IOCTL_DEADLOCK_RESET (0x0022A01C) clears the statistics and, still holding their lock, the store. On two
 * processors at once, each can wait for the lock that the other has.
 *
 * On Windows: the system hangs, or bug check 0x133, once in a long time; with Driver Verifier bug check 0xC4, parameter 1 = 0x1001, as soon
 * as both orders have been seen.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/preventing-errors-and-deadlocks-while-using-spin-locks
 *   https://learn.microsoft.com/windows-hardware/drivers/devtest/deadlock-detection
 */
#include "software.h"

#define DEADLOCK_DEVICE_NAME L"\\Device\\Deadlock0"
#define DEADLOCK_LINK_NAME L"\\DosDevices\\Deadlock0"
#define DEADLOCK_STORE_SIZE 4096

#define IOCTL_DEADLOCK_RESET CTL_CODE(FILE_DEVICE_UNKNOWN, 0x807, METHOD_BUFFERED, FILE_WRITE_ACCESS)

typedef struct _DEADLOCK_EXTENSION {
    KSPIN_LOCK StoreLock;
    KSPIN_LOCK StatisticsLock;
    ULONG64 Writes;
    ULONG64 Bytes;
    UCHAR Store[DEADLOCK_STORE_SIZE];
} DEADLOCK_EXTENSION, *PDEADLOCK_EXTENSION;

DRIVER_UNLOAD BrokenDeadlockUnload;
DRIVER_DISPATCH BrokenDeadlockDispatchRead;
DRIVER_DISPATCH BrokenDeadlockDispatchWrite;
DRIVER_DISPATCH BrokenDeadlockDispatchDeviceControl;

static VOID BrokenDeadlockReset(PDEADLOCK_EXTENSION Extension);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(DEADLOCK_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(DEADLOCK_LINK_NAME);
    PDEADLOCK_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(DEADLOCK_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeSpinLock(&extension->StoreLock);
    KeInitializeSpinLock(&extension->StatisticsLock);

    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenDeadlockDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenDeadlockDispatchWrite;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenDeadlockDispatchDeviceControl;
    DriverObject->DriverUnload = BrokenDeadlockUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenDeadlockUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(DEADLOCK_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

/* How much of a transfer lies inside the store. READ and WRITE share the layout of their parameters. */
static ULONG BrokenDeadlockClip(PIO_STACK_LOCATION Location)
{
    LONGLONG offset = Location->Parameters.Read.ByteOffset.QuadPart;

    if (offset < 0 || offset >= DEADLOCK_STORE_SIZE) {
        return 0;
    }

    return (ULONG)min(Location->Parameters.Read.Length, DEADLOCK_STORE_SIZE - offset);
}

NTSTATUS BrokenDeadlockDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PDEADLOCK_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG length = BrokenDeadlockClip(location);
    KIRQL irql;

    if (length != 0) {
        KeAcquireSpinLock(&extension->StoreLock, &irql);
        RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, extension->Store + location->Parameters.Read.ByteOffset.QuadPart, length);
        KeReleaseSpinLock(&extension->StoreLock, irql);
    }

    return SoftwareComplete(Irp, STATUS_SUCCESS, length);
}

NTSTATUS BrokenDeadlockDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PDEADLOCK_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG length = BrokenDeadlockClip(location);
    KIRQL irql;

    if (length != 0) {
        KeAcquireSpinLock(&extension->StoreLock, &irql);
        RtlCopyMemory(extension->Store + location->Parameters.Write.ByteOffset.QuadPart, Irp->AssociatedIrp.SystemBuffer, length);

        KeAcquireSpinLockAtDpcLevel(&extension->StatisticsLock);
        extension->Writes++;
        extension->Bytes += length;
        KeReleaseSpinLockFromDpcLevel(&extension->StatisticsLock);

        KeReleaseSpinLock(&extension->StoreLock, irql);
    }

    return SoftwareComplete(Irp, STATUS_SUCCESS, length);
}

NTSTATUS BrokenDeadlockDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode != IOCTL_DEADLOCK_RESET) {
        return SoftwareComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }

    BrokenDeadlockReset(DeviceObject->DeviceExtension);

    return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID BrokenDeadlockReset(PDEADLOCK_EXTENSION Extension)
{
    KIRQL irql;

#ifdef FIXED
    /* As in WRITE: the store's lock first. */
    KeAcquireSpinLock(&Extension->StoreLock, &irql);
    KeAcquireSpinLockAtDpcLevel(&Extension->StatisticsLock);
#else
    KeAcquireSpinLock(&Extension->StatisticsLock, &irql);
    KeAcquireSpinLockAtDpcLevel(&Extension->StoreLock); /* BUG: WRITE acquires the two in the other order. */
#endif

    Extension->Writes = 0;
    Extension->Bytes = 0;
    RtlZeroMemory(Extension->Store, sizeof(Extension->Store));

#ifdef FIXED
    KeReleaseSpinLockFromDpcLevel(&Extension->StatisticsLock);
    KeReleaseSpinLock(&Extension->StoreLock, irql);
#else
    KeReleaseSpinLockFromDpcLevel(&Extension->StoreLock);
    KeReleaseSpinLock(&Extension->StatisticsLock, irql);
#endif
}
