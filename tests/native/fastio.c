/*
 * fastio.c: a software driver that takes control requests by FastIoDeviceControl: one right, and two that are wrong.
 *
 * \Device\FastIo0 (\DosDevices\FastIo0): IOCTL_FASTIO_SUM adds the bytes of the input, IOCTL_FASTIO_REGION returns in a critical region
 * (0xC4/0xC6), IOCTL_FASTIO_UNGUARDED reads the input as if it were a system buffer. All else is left to an IRP.
 */
#include "../../samples/native/software.h"

#define FASTIO_DEVICE_NAME L"\\Device\\FastIo0"
#define FASTIO_LINK_NAME L"\\DosDevices\\FastIo0"

#define IOCTL_FASTIO_SUM CTL_CODE(FILE_DEVICE_UNKNOWN, 0x811, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_FASTIO_REGION CTL_CODE(FILE_DEVICE_UNKNOWN, 0x822, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_FASTIO_UNGUARDED CTL_CODE(FILE_DEVICE_UNKNOWN, 0x833, METHOD_BUFFERED, FILE_ANY_ACCESS)

#define NOINLINE __attribute__((noinline))

DRIVER_UNLOAD FastIoUnload;
DRIVER_DISPATCH FastIoDispatchDeviceControl;
FAST_IO_DEVICE_CONTROL FastIoControl;

static FAST_IO_DISPATCH Table;

static NOINLINE ULONG Sum(volatile UCHAR *Bytes, ULONG Length)
{
    ULONG sum = 0;

    while (Length-- > 0) {
        sum += *Bytes++;
    }

    return sum;
}

static NOINLINE NTSTATUS SumGuarded(PVOID Bytes, ULONG Length, PULONG_PTR Result)
{
    __try {
        ProbeForRead(Bytes, Length, 1);
        *Result = Sum(Bytes, Length);
        return STATUS_SUCCESS;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        *Result = 0;
        return STATUS_INVALID_USER_BUFFER;
    }
}

BOOLEAN NTAPI FastIoControl(PFILE_OBJECT FileObject, BOOLEAN Wait, PVOID InputBuffer, ULONG InputBufferLength, PVOID OutputBuffer,
    ULONG OutputBufferLength, ULONG IoControlCode, PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject)
{
    UNREFERENCED_PARAMETER(FileObject);
    UNREFERENCED_PARAMETER(Wait);
    UNREFERENCED_PARAMETER(OutputBuffer);
    UNREFERENCED_PARAMETER(OutputBufferLength);
    UNREFERENCED_PARAMETER(DeviceObject);

    switch (IoControlCode) {
    case IOCTL_FASTIO_SUM:
        IoStatus->Status = SumGuarded(InputBuffer, InputBufferLength, &IoStatus->Information);
        return TRUE;

    case IOCTL_FASTIO_REGION:
        KeEnterCriticalRegion(); /* BUG: nobody leaves it. */
        IoStatus->Status = STATUS_SUCCESS;
        return TRUE;

    case IOCTL_FASTIO_UNGUARDED:
        if (InputBufferLength > 0) {
            IoStatus->Information = *(volatile UCHAR *)InputBuffer; /* BUG: a program may take the memory away, or never had it. */
        }
        IoStatus->Status = STATUS_SUCCESS;
        return TRUE;

    default:
        return FALSE;
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(FASTIO_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(FASTIO_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, 0, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    Table.SizeOfFastIoDispatch = sizeof(Table);
    Table.FastIoDeviceControl = FastIoControl;
    DriverObject->FastIoDispatch = &Table;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = FastIoDispatchDeviceControl;
    DriverObject->DriverUnload = FastIoUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID FastIoUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(FASTIO_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS FastIoDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return SoftwareComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}
