/*
 * dispatch.c: what a filter's dispatch routine asks of a processor, for the benchmarks.
 *
 * Dispatch takes 48 instructions to the end, 8-byte moves throughout as older compilers make them; DispatchShort takes as few as a compiler
 * with wide moves needs. Both are entered directly, with an IRP whose current location is a read, and call IofCallDriver once.
 */
#include "../../samples/native/wdk.h"

#define LONGEST 0x100000
#define QUADWORDS_COPIED (FIELD_OFFSET(IO_STACK_LOCATION, CompletionRoutine) / sizeof(ULONG64))

typedef struct _EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    volatile LONG64 Requests;
    ULONG64 Bytes;
    ULONG Pending, Odd;
    NTSTATUS LastStatus;
    ULONG ByMajor[IRP_MJ_MAXIMUM_FUNCTION + 1];
} EXTENSION, *PEXTENSION;

DRIVER_INITIALIZE DriverEntry;
IO_COMPLETION_ROUTINE Done;
__declspec(dllexport) DRIVER_DISPATCH Dispatch;
__declspec(dllexport) DRIVER_DISPATCH DispatchShort;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);

    return STATUS_NOT_SUPPORTED;
}

NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);

    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PEXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION current = IoGetCurrentIrpStackLocation(Irp);
    volatile ULONG64 *from = (volatile ULONG64 *)current;
    volatile ULONG64 *to = (volatile ULONG64 *)(current - 1);
    NTSTATUS status;

    InterlockedAdd64(&extension->Requests, 1);
    extension->ByMajor[current->MajorFunction]++;
    if (current->MajorFunction == IRP_MJ_READ) {
        ULONG length = current->Parameters.Read.Length;

        if (length == 0 || length > LONGEST) {
            extension->Odd++;
        }
        extension->Bytes += length;
    }
    if (Irp->Cancel || Irp->CurrentLocation <= 1) {
        extension->Odd++;
    }

    Irp->IoStatus.Information = 0;
#pragma GCC unroll 7
    for (ULONG i = 0; i < QUADWORDS_COPIED; i++) {
        to[i] = from[i];
    }
    IoSetCompletionRoutine(Irp, Done, extension, TRUE, TRUE, TRUE);

    status = IoCallDriver(extension->LowerDevice, Irp);
    extension->LastStatus = status;
    if (status == STATUS_PENDING) {
        extension->Pending++;
    }

    return status;
}

NTSTATUS DispatchShort(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PEXTENSION extension = DeviceObject->DeviceExtension;

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Done, extension, TRUE, TRUE, TRUE);

    return IoCallDriver(extension->LowerDevice, Irp);
}
