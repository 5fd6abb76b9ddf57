/*
 * broken-method.c: uses a program's addresses as they come.
 *
 * \Device\Method0 (\DosDevices\Method0) counts how often a byte occurs in a buffer: IOCTL_METHOD_COUNT (0x0022240B), METHOD_NEITHER, input
 * METHOD_REQUEST, output ULONG. With that method the I/O manager checks nothing. The driver does not either: a bad address ends the system,
 * and a kernel address makes the driver read, or overwrite, what the program has no right to.
 *
 * On Windows: bug check 0x3B or 0x50, or a hole in the system's security.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-neither-buffered-nor-direct-i-o
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/errors-in-referencing-user-space-addresses
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-probeforread
 */
#include "software.h"

#define METHOD_DEVICE_NAME L"\\Device\\Method0"
#define METHOD_LINK_NAME L"\\DosDevices\\Method0"
#define METHOD_LARGEST_BUFFER 0x10000

#define IOCTL_METHOD_COUNT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x902, METHOD_NEITHER, FILE_ANY_ACCESS)

typedef struct _METHOD_REQUEST {
    PUCHAR Buffer; /* of the program, outside the request */
    ULONG Length;
    ULONG Byte;
} METHOD_REQUEST, *PMETHOD_REQUEST;

DRIVER_UNLOAD BrokenMethodUnload;
DRIVER_DISPATCH BrokenMethodDispatchDeviceControl;

static NTSTATUS BrokenMethodCount(PVOID Input, PVOID Output);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(METHOD_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(METHOD_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, 0, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenMethodDispatchDeviceControl;
    DriverObject->DriverUnload = BrokenMethodUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenMethodUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(METHOD_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenMethodDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status;

    UNREFERENCED_PARAMETER(DeviceObject);

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_METHOD_COUNT) {
        return SoftwareComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }

    if (location->Parameters.DeviceIoControl.InputBufferLength != sizeof(METHOD_REQUEST) ||
        location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return SoftwareComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }

    status = BrokenMethodCount(location->Parameters.DeviceIoControl.Type3InputBuffer, Irp->UserBuffer);

    return SoftwareComplete(Irp, status, NT_SUCCESS(status) ? sizeof(ULONG) : 0);
}

#ifdef FIXED

static NTSTATUS BrokenMethodCount(PVOID Input, PVOID Output)
{
    METHOD_REQUEST request;
    ULONG count = 0;
    ULONG i;

    __try {
        /* The program can change the request meanwhile: it is copied once, and the copy is used. */
        ProbeForRead(Input, sizeof(request), 1);
        RtlCopyMemory(&request, Input, sizeof(request));

        if (request.Length > METHOD_LARGEST_BUFFER) {
            return STATUS_INVALID_BUFFER_SIZE;
        }

        ProbeForRead(request.Buffer, request.Length, 1);
        for (i = 0; i < request.Length; i++) {
            count += request.Buffer[i] == request.Byte;
        }

        ProbeForWrite(Output, sizeof(count), 1);
        *(ULONG UNALIGNED *)Output = count;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }

    return STATUS_SUCCESS;
}

#else

static NTSTATUS BrokenMethodCount(PVOID Input, PVOID Output)
{
    PMETHOD_REQUEST request = Input;
    ULONG count = 0;
    ULONG i;

    if (request->Length > METHOD_LARGEST_BUFFER) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    /* BUG: neither probed nor guarded, and read again where it was checked. */
    for (i = 0; i < request->Length; i++) {
        count += request->Buffer[i] == request->Byte;
    }

    *(ULONG UNALIGNED *)Output = count;

    return STATUS_SUCCESS;
}

#endif
