/*
 * broken-overrun.c: writes behind a block of pool.
 *
 * \Device\Overrun0 (\DosDevices\Overrun0) keeps a name of up to 32 characters: WRITE sets it, READ returns it, both as UTF-16. The block for
 * it has 32 bytes, the check allows for 32 characters. The first 16 characters are safe.
 *
 * On Windows: whatever lies behind the block is damaged: bug check 0x19, 0xC2 or 0x50, in any driver, at any time later.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/allocating-system-space-memory
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x19--bad-pool-header
 */
#include "software.h"

#define OVERRUN_TAG 'emaN'
#define OVERRUN_DEVICE_NAME L"\\Device\\Overrun0"
#define OVERRUN_LINK_NAME L"\\DosDevices\\Overrun0"
#define OVERRUN_CHARACTERS 32

#ifdef FIXED
#define OVERRUN_SIZE (OVERRUN_CHARACTERS * sizeof(WCHAR))
#else
#define OVERRUN_SIZE OVERRUN_CHARACTERS /* BUG: characters are not bytes. */
#endif

typedef struct _OVERRUN_EXTENSION {
    FAST_MUTEX Lock; /* guards the name */
    PWCHAR Name;
    ULONG NameLength; /* in bytes */
} OVERRUN_EXTENSION, *POVERRUN_EXTENSION;

DRIVER_UNLOAD BrokenOverrunUnload;
DRIVER_DISPATCH BrokenOverrunDispatchRead;
DRIVER_DISPATCH BrokenOverrunDispatchWrite;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(OVERRUN_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(OVERRUN_LINK_NAME);
    POVERRUN_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(OVERRUN_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    ExInitializeFastMutex(&extension->Lock);
    extension->Name = ExAllocatePoolZero(NonPagedPoolNx, OVERRUN_SIZE, OVERRUN_TAG);
    if (extension->Name == NULL) {
        SoftwareDelete(deviceObject, &linkName);
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenOverrunDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenOverrunDispatchWrite;
    DriverObject->DriverUnload = BrokenOverrunUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenOverrunUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(OVERRUN_LINK_NAME);
    POVERRUN_EXTENSION extension = DriverObject->DeviceObject->DeviceExtension;

    ExFreePoolWithTag(extension->Name, OVERRUN_TAG);
    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenOverrunDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    POVERRUN_EXTENSION extension = DeviceObject->DeviceExtension;
    ULONG length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;

    ExAcquireFastMutex(&extension->Lock);

    length = min(length, extension->NameLength);
    if (length != 0) {
        RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, extension->Name, length);
    }

    ExReleaseFastMutex(&extension->Lock);

    return SoftwareComplete(Irp, STATUS_SUCCESS, length);
}

NTSTATUS BrokenOverrunDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    POVERRUN_EXTENSION extension = DeviceObject->DeviceExtension;
    ULONG length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;

    if (length % sizeof(WCHAR) != 0) {
        return SoftwareComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }

    if (length / sizeof(WCHAR) > OVERRUN_CHARACTERS) {
        return SoftwareComplete(Irp, STATUS_NAME_TOO_LONG, 0);
    }

    ExAcquireFastMutex(&extension->Lock);

    if (length != 0) {
        RtlCopyMemory(extension->Name, Irp->AssociatedIrp.SystemBuffer, length);
    }

    extension->NameLength = length;

    ExReleaseFastMutex(&extension->Lock);

    return SoftwareComplete(Irp, STATUS_SUCCESS, length);
}
