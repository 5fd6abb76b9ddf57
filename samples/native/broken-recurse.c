/*
 * broken-recurse.c: recurses until the kernel stack is used up.
 *
 * READ is checked against a chain of protected ranges, recursively, in frames of about 200 bytes. The chain was closed to a ring by
 * mistake.
 *
 * On Windows: bug check 0x7F with parameter 1 = 8, double fault.
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x7f--unexpected-kernel-mode-trap
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-kernel-stack
 */
#include "skeleton.h"

#define TRAIL_LENGTH 16

typedef struct _PROTECTED_RANGE {
    struct _PROTECTED_RANGE *Next;
    LONGLONG Start;
    LONGLONG End;
} PROTECTED_RANGE, *PPROTECTED_RANGE;

typedef struct _BROKEN_EXTENSION {
    FILTER_EXTENSION Filter;
    PROTECTED_RANGE Ranges[2];
} BROKEN_EXTENSION, *PBROKEN_EXTENSION;

DRIVER_ADD_DEVICE BrokenRecurseAddDevice;
DRIVER_DISPATCH BrokenRecurseDispatchRead;

ULONG BrokenRecurseCountRanges(PPROTECTED_RANGE Range, LONGLONG Offset, ULONG Depth);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenRecurseAddDevice, BrokenRecurseDispatchRead);
}

NTSTATUS BrokenRecurseAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(BROKEN_EXTENSION), &deviceObject);
    if (NT_SUCCESS(status)) {
        PBROKEN_EXTENSION extension = deviceObject->DeviceExtension;

        extension->Ranges[0].Next = &extension->Ranges[1];
        extension->Ranges[1].Next = &extension->Ranges[0]; /* BUG: should be NULL */
    }

    return status;
}

NTSTATUS BrokenRecurseDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBROKEN_EXTENSION extension = DeviceObject->DeviceExtension;
    LONGLONG offset = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.ByteOffset.QuadPart;

    if (BrokenRecurseCountRanges(&extension->Ranges[0], offset, 0) != 0) {
        Irp->IoStatus.Status = STATUS_ACCESS_DENIED;
        Irp->IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_ACCESS_DENIED;
    }

    return FilterDispatchPassDown(DeviceObject, Irp);
}

/* How many ranges from here on hold the offset. The volatile trail is read after the call below it, so no compiler can make this a loop. */
DECLSPEC_NOINLINE ULONG BrokenRecurseCountRanges(PPROTECTED_RANGE Range, LONGLONG Offset, ULONG Depth)
{
    volatile LONGLONG trail[TRAIL_LENGTH];
    ULONG count;

    if (Range == NULL) {
        return 0;
    }

    trail[Depth % TRAIL_LENGTH] = Offset - Range->Start;
    count = BrokenRecurseCountRanges(Range->Next, Offset, Depth + 1);

    return trail[Depth % TRAIL_LENGTH] >= 0 && Offset < Range->End ? count + 1 : count;
}
