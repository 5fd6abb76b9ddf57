/*
 * broken-seh.c: lets an exception go that nobody takes.
 *
 * The filter counts how many READs begin at each sector size it was told, and divides by a size that is zero until IRP_MN_START_DEVICE sets
 * it, which nobody wrote. The __try block is there, but its filter only takes access violations, "the only thing that can happen".
 *
 * On Windows: bug check 0x3B (0x7E in a system thread, 0x1E in a DPC) with STATUS_INTEGER_DIVIDE_BY_ZERO, in BrokenSehSectorOf. The
 * __finally block does not run: the system stops where the exception was raised.
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x3b--system-service-exception
 */
#include "skeleton.h"

typedef struct _BROKEN_EXTENSION {
    FILTER_EXTENSION Filter;
    ULONG SectorSize; /* BUG: never set */
    ULONG Aligned;
    ULONG Looking;
} BROKEN_EXTENSION, *PBROKEN_EXTENSION;

DRIVER_ADD_DEVICE BrokenSehAddDevice;
DRIVER_DISPATCH BrokenSehDispatchRead;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenSehAddDevice, BrokenSehDispatchRead);
}

NTSTATUS BrokenSehAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(BROKEN_EXTENSION), &deviceObject);
}

static __attribute__((noinline)) ULONG BrokenSehSectorOf(volatile BROKEN_EXTENSION *Extension, ULONG Offset)
{
    return Offset % Extension->SectorSize;
}

NTSTATUS BrokenSehDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBROKEN_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    __try {
        __try {
            InterlockedIncrement((LONG *)&extension->Looking);
            if (BrokenSehSectorOf(extension, location->Parameters.Read.ByteOffset.LowPart) == 0) {
                extension->Aligned++;
            }
        } __finally {
            InterlockedDecrement((LONG *)&extension->Looking);
        }
    } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
        return STATUS_UNSUCCESSFUL;
    }

    IoSkipCurrentIrpStackLocation(Irp);

    return IoCallDriver(extension->Filter.LowerDevice, Irp);
}
