/*
 * broken-mdl.c: leaves a user's pages locked.
 *
 * \Device\Mdl0 (\DosDevices\Mdl0) adds up a table that a program hands over with IOCTL_MDL_SUM (0x00222403): METHOD_NEITHER, the input is a
 * count of ULONGs and as many ULONGs. The driver locks the table and works on a system address. A table that says it is longer than it is
 * gets STATUS_INVALID_PARAMETER, and nobody unlocks its pages or frees the MDL.
 *
 * On Windows: bug check 0x76, PROCESS_HAS_LOCKED_PAGES, when the program ends, or 0xCB with TrackLockedPages.
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-mmprobeandlockpages
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-mdls
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x76--process-has-locked-pages
 */
#include "software.h"

#define MDL_DEVICE_NAME L"\\Device\\Mdl0"
#define MDL_LINK_NAME L"\\DosDevices\\Mdl0"
#define MDL_LARGEST_TABLE 0x10000

#define IOCTL_MDL_SUM CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_NEITHER, FILE_ANY_ACCESS)

typedef struct _SUM_TABLE {
    ULONG Count;
    ULONG Numbers[ANYSIZE_ARRAY];
} SUM_TABLE, *PSUM_TABLE;

DRIVER_UNLOAD BrokenMdlUnload;
DRIVER_DISPATCH BrokenMdlDispatchDeviceControl;

static NTSTATUS BrokenMdlSum(PVOID Input, ULONG InputLength, PULONG Sum);
static NTSTATUS BrokenMdlStore(PVOID Output, ULONG OutputLength, ULONG Value);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(MDL_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(MDL_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, 0, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenMdlDispatchDeviceControl;
    DriverObject->DriverUnload = BrokenMdlUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenMdlUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(MDL_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenMdlDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status;
    ULONG sum = 0;

    UNREFERENCED_PARAMETER(DeviceObject);

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_MDL_SUM) {
        return SoftwareComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }

    status = BrokenMdlSum(
        location->Parameters.DeviceIoControl.Type3InputBuffer, location->Parameters.DeviceIoControl.InputBufferLength, &sum);
    if (NT_SUCCESS(status)) {
        status = BrokenMdlStore(Irp->UserBuffer, location->Parameters.DeviceIoControl.OutputBufferLength, sum);
    }

    return SoftwareComplete(Irp, status, NT_SUCCESS(status) ? sizeof(sum) : 0);
}

static NTSTATUS BrokenMdlSum(PVOID Input, ULONG InputLength, PULONG Sum)
{
    NTSTATUS status = STATUS_SUCCESS;
    PSUM_TABLE table;
    ULONG sum = 0;
    ULONG count;
    PMDL mdl;
    ULONG i;

    if (InputLength < sizeof(ULONG) || InputLength > MDL_LARGEST_TABLE) {
        return STATUS_INVALID_PARAMETER;
    }

    mdl = IoAllocateMdl(Input, InputLength, FALSE, FALSE, NULL);
    if (mdl == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    __try {
        MmProbeAndLockPages(mdl, UserMode, IoReadAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }

    if (!NT_SUCCESS(status)) {
        IoFreeMdl(mdl);
        return status;
    }

    table = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority | MdlMappingNoExecute);
    if (table == NULL) {
        status = STATUS_INSUFFICIENT_RESOURCES;
        goto unlock;
    }

    /* The program can change the table meanwhile: the count is read once. */
    count = *(volatile ULONG *)&table->Count;
    if (count > (InputLength - sizeof(ULONG)) / sizeof(ULONG)) {
#ifdef FIXED
        status = STATUS_INVALID_PARAMETER;
        goto unlock;
#else
        return STATUS_INVALID_PARAMETER; /* BUG: the pages stay locked, and the MDL is lost. */
#endif
    }

    for (i = 0; i < count; i++) {
        sum += table->Numbers[i];
    }

    *Sum = sum;

unlock:
    MmUnlockPages(mdl);
    IoFreeMdl(mdl);

    return status;
}

static NTSTATUS BrokenMdlStore(PVOID Output, ULONG OutputLength, ULONG Value)
{
    if (OutputLength < sizeof(Value)) {
        return STATUS_BUFFER_TOO_SMALL;
    }

    __try {
        ProbeForWrite(Output, sizeof(Value), 1);
        *(ULONG UNALIGNED *)Output = Value;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }

    return STATUS_SUCCESS;
}
