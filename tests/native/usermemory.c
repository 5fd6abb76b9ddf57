/*
 * usermemory.c: a filter with an error for each rule about user memory, and the nearest code that is right. It is above memory.c.
 *
 * IRP_MJ_DEVICE_CONTROL with function 0xA00 + 2 * n does number n of Cases wrong, 0xA01 + 2 * n does it right.
 */
#include "../../samples/native/skeleton.h"

DRIVER_ADD_DEVICE UserMemoryAddDevice;
DRIVER_DISPATCH UserMemoryDispatchControl;

#define NOINLINE __attribute__((noinline))

static volatile ULONG Sink;

static NOINLINE VOID ReadByte(volatile UCHAR *Byte)
{
    Sink += *Byte;
}

/* Guards whatever it is told to call. */
static NOINLINE VOID Guard(VOID (*Routine)(volatile UCHAR *Byte), PVOID Input)
{
    __try {
        Routine(Input);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Sink++;
    }
}

static NOINLINE VOID AtDispatch(volatile UCHAR *Byte)
{
    KIRQL irql;

    ProbeForRead((PVOID)Byte, 1, 1);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    ReadByte(Byte);
    KeLowerIrql(irql);
}

static NOINLINE VOID AtApcLevel(volatile UCHAR *Byte)
{
    KIRQL irql;

    ProbeForRead((PVOID)Byte, 1, 1);
    KeRaiseIrql(APC_LEVEL, &irql);
    ReadByte(Byte);
    KeLowerIrql(irql);
}

static VOID TouchAtDispatch(BOOLEAN Wrong, PVOID Input)
{
    Guard(Wrong ? AtDispatch : AtApcLevel, Input);
}

/* A __finally does not handle the exception. */
static VOID TouchUnguarded(BOOLEAN Wrong, PVOID Input)
{
    if (Wrong) {
        ProbeForRead(Input, 1, 1);
        __try {
            ReadByte(Input);
        } __finally {
            Sink++;
        }
        return;
    }
    __try {
        ProbeForRead(Input, 1, 1);
        ReadByte(Input);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Sink++;
    }
}

static VOID CopyUnguarded(BOOLEAN Wrong, PVOID Input)
{
    UCHAR copy[16];

    __try {
        ProbeForRead(Input, sizeof(copy), 1);
        if (!Wrong) {
            RtlCopyMemory(copy, Input, 16 + (SIZE_T)(Sink & 0));
            Sink += copy[3];
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Sink++;
    }
    if (Wrong) {
        RtlCopyMemory(copy, Input, 16 + (SIZE_T)(Sink & 0));
        Sink += copy[3];
    }
}

/* Probing less than is used is not enough. */
static VOID TouchUnprobed(BOOLEAN Wrong, PVOID Input)
{
    __try {
        ProbeForRead(Input, Wrong ? 8 : 16, 1);
        ReadByte((PUCHAR)Input + 8);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Sink++;
    }
}

/* What the driver itself mapped needs no probing: the program chose no address. But it may unmap it at any time. */
static VOID TouchOwnView(BOOLEAN Wrong, PVOID Input)
{
    HANDLE section;
    OBJECT_ATTRIBUTES attributes;
    LARGE_INTEGER size = { .QuadPart = PAGE_SIZE };
    PVOID view = NULL;
    SIZE_T viewSize = PAGE_SIZE;

    UNREFERENCED_PARAMETER(Input);
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!NT_SUCCESS(ZwCreateSection(&section, SECTION_MAP_READ | SECTION_MAP_WRITE, &attributes, &size, PAGE_READWRITE, SEC_COMMIT, NULL))) {
        return;
    }
    if (NT_SUCCESS(ZwMapViewOfSection(section, ZwCurrentProcess(), &view, 0, 0, NULL, &viewSize, ViewUnmap, 0, PAGE_READWRITE))) {
        if (Wrong) {
            ReadByte(view);
            /* So that the call does not return to where the __try begins, which would guard it. */
            Sink++;
        }
        __try {
            ReadByte((PUCHAR)view + 64);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Sink++;
        }
        ZwUnmapViewOfSection(ZwCurrentProcess(), view);
    }
    ZwClose(section);
}

static VOID (*const Cases[])(BOOLEAN Wrong, PVOID Input) = { TouchAtDispatch, TouchUnguarded, CopyUnguarded, TouchUnprobed, TouchOwnView };

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = FilterInitialize(DriverObject, UserMemoryAddDevice, FilterDispatchPassDown);

    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = UserMemoryDispatchControl;

    return status;
}

NTSTATUS UserMemoryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(FILTER_EXTENSION), &deviceObject);
}

NTSTATUS UserMemoryDispatchControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG function = location->Parameters.DeviceIoControl.IoControlCode >> 2 & 0xFFF;

    if (function - 0xA00 >= 2 * ARRAYSIZE(Cases)) {
        return FilterDispatchPassDown(DeviceObject, Irp);
    }
    Cases[(function - 0xA00) / 2]((function & 1) == 0, location->Parameters.DeviceIoControl.Type3InputBuffer);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}
