/*
 * memory.c: a filter with a memory error for each rule about memory, and the nearest code that is right.
 *
 * IRP_MJ_DEVICE_CONTROL with function 0x800 + 2 * n does number n of Cases wrong, 0x801 + 2 * n does it right; 0xF00 + n says how IRP_MJ_READ
 * behaves from then on (enum ReadMode).
 */
#include "../../samples/native/skeleton.h"

DRIVER_ADD_DEVICE MemoryAddDevice;
DRIVER_DISPATCH MemoryDispatchRead;
DRIVER_DISPATCH MemoryDispatchControl;
IO_COMPLETION_ROUTINE MemoryTakeBack;
IO_COMPLETION_ROUTINE MemorySetFlag;

#define TAG 'tseT'
#define NOINLINE __attribute__((noinline))

enum ReadMode { PassDown, TouchSent, TakeBack, TouchCompleted, LeaveRequest, AwaitRequest, LeaveContext, AwaitContext };

/* With a hole behind Kind. */
typedef struct _RECORD {
    ULONG Length;
    UCHAR Kind;
    ULONG Count;
    PVOID Next;
} RECORD, *PRECORD;

static volatile ULONG Sink;
static volatile ULONG ReadMode;
static UCHAR Table[256];

static PVOID New(SIZE_T Length)
{
    return ExAllocatePoolWithTag(NonPagedPoolNx, Length, TAG);
}

static NOINLINE VOID ReadByte(volatile UCHAR *Byte)
{
    Sink += *Byte;
}

static NOINLINE VOID WriteByte(volatile UCHAR *Byte)
{
    *Byte = 1;
}

static NOINLINE VOID Release(PVOID Block)
{
    ExFreePoolWithTag(Block, TAG);
}

static VOID UseFreed(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *block = New(64);

    UNREFERENCED_PARAMETER(Input);
    block[8] = 1;
    if (!Wrong) {
        ReadByte(block + 8);
    }
    Release(block);
    if (Wrong) {
        ReadByte(block + 8);
    }
}

static VOID CopyToFreed(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *block = New(64);

    UNREFERENCED_PARAMETER(Input);
    RtlZeroMemory(block, 64);
    if (Wrong) {
        Release(block);
        RtlCopyMemory(block, Table, (SIZE_T)Sink + 16);
    } else {
        RtlCopyMemory(block, Table, (SIZE_T)Sink + 16);
        Release(block);
    }
}

static VOID OverrunByOne(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *block = New(24);
    ULONG i;

    UNREFERENCED_PARAMETER(Input);
    for (i = 0; i < (Wrong ? 25u : 24u); i++) {
        WriteByte(block + i);
    }
    if (!Wrong) {
        /* Freeing it would end the system. */
        Release(block);
    }
}

static VOID Underrun(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *block = New(32);

    UNREFERENCED_PARAMETER(Input);
    block[0] = 0;
    ReadByte(block - (Wrong ? 1 : 0));
    Release(block);
}

static VOID OverrunLarge(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *block = New(5000);

    UNREFERENCED_PARAMETER(Input);
    block[4999] = 0;
    ReadByte(block + (Wrong ? 5000 : 4999));
    Release(block);
}

static VOID CompareTooMuch(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *block = New(24);

    UNREFERENCED_PARAMETER(Input);
    RtlZeroMemory(block, 24);
    Sink += (ULONG)RtlCompareMemory(block, Table, Wrong ? 28 : 24);
    Release(block);
}

static NOINLINE VOID Fill(PRECORD Record, BOOLEAN Completely)
{
    Record->Length = sizeof(*Record);
    Record->Kind = 3;
    if (Completely) {
        Record->Count = 'tnuC';
        Record->Next = Record;
    }
}

static VOID DecideByPool(BOOLEAN Wrong, PVOID Input)
{
    PRECORD record = New(sizeof(*record));
    PRECORD copy = New(sizeof(*copy));

    UNREFERENCED_PARAMETER(Input);
    Fill(record, !Wrong);
    /* The hole is copied, and what nobody has written with it. */
    *copy = *record;
    if (copy->Kind == 3 && copy->Count > 1) {
        Sink++;
    }
    Release(record);
    Release(copy);
}

static VOID DecideByStack(BOOLEAN Wrong, PVOID Input)
{
    RECORD record;

    UNREFERENCED_PARAMETER(Input);
    Fill(&record, !Wrong);
    if (record.Count > 1) {
        Sink++;
    }
}

static VOID AddressFromPool(BOOLEAN Wrong, PVOID Input)
{
    PRECORD record = New(sizeof(*record));

    UNREFERENCED_PARAMETER(Input);
    if (!Wrong) {
        record->Kind = 7;
    }
    Sink += Table[record->Kind];
    Release(record);
}

static VOID ArgumentFromPool(BOOLEAN Wrong, PVOID Input)
{
    PRECORD record = New(sizeof(*record));
    PVOID block;

    UNREFERENCED_PARAMETER(Input);
    Fill(record, !Wrong);
    block = ExAllocatePoolWithTag(NonPagedPoolNx, 16, record->Count);
    ExFreePoolWithTag(block, record->Count);
    Release(record);
}

static VOID TouchPaged(BOOLEAN Wrong, PVOID Input)
{
    UCHAR *paged = ExAllocatePoolWithTag(PagedPool, 16, TAG);
    UCHAR *nonPaged = New(16);
    KIRQL irql;

    UNREFERENCED_PARAMETER(Input);
    WriteByte(paged);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    WriteByte(Wrong ? paged : nonPaged);
    KeLowerIrql(irql);
    Release(paged);
    Release(nonPaged);
}

static NOINLINE __attribute__((section("PAGE"))) VOID Pageable(VOID)
{
    Sink++;
}

static VOID RunPageable(BOOLEAN Wrong, PVOID Input)
{
    KIRQL irql;

    UNREFERENCED_PARAMETER(Input);
    KeRaiseIrql(Wrong ? DISPATCH_LEVEL : APC_LEVEL, &irql);
    Pageable();
    KeLowerIrql(irql);
}

static VOID UseFreedIrp(BOOLEAN Wrong, PVOID Input)
{
    PIRP irp = IoAllocateIrp(1, FALSE);

    UNREFERENCED_PARAMETER(Input);
    if (!Wrong) {
        ReadByte((PUCHAR)&irp->StackCount);
    }
    IoFreeIrp(irp);
    if (Wrong) {
        ReadByte((PUCHAR)&irp->StackCount);
    }
}

static VOID StoreCancelRoutine(BOOLEAN Wrong, PVOID Input)
{
    PIRP irp = IoAllocateIrp(1, FALSE);

    UNREFERENCED_PARAMETER(Input);
    if (Wrong) {
        ((volatile IRP *)irp)->CancelRoutine = NULL;
    } else {
        IoSetCancelRoutine(irp, NULL);
    }
    IoFreeIrp(irp);
}

/* Bits of a byte that nobody has written as a whole; arithmetic on fields of all sizes; a byte that the kernel has written. */
static VOID HandleBits(BOOLEAN Wrong, PVOID Input)
{
    struct { ULONG First : 3; ULONG Second : 5; ULONG Third : 24; } *bits = New(sizeof(*bits));
    volatile KIRQL irql;
    KSPIN_LOCK lock;

    UNREFERENCED_PARAMETER(Wrong);
    UNREFERENCED_PARAMETER(Input);
    bits->First = 5;
    bits->Second = 0;
    if (bits->First == 5 && bits->Second == 0) {
        Sink++;
    }
    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, (PKIRQL)&irql);
    if (irql != PASSIVE_LEVEL) {
        Sink++;
    }
    KeReleaseSpinLock(&lock, irql);
    Release(bits);
}

/* Pages that are mapped for an MDL are zeroed unless the driver does not want that. */
static VOID DecideByPages(BOOLEAN Wrong, PVOID Input)
{
    PHYSICAL_ADDRESS low = { .QuadPart = 0 }, high = { .QuadPart = -1 };
    PMDL mdl = MmAllocatePagesForMdlEx(low, high, low, PAGE_SIZE, MmCached, Wrong ? MM_DONT_ZERO_ALLOCATION : 0);
    ULONG *numbers = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority | MdlMappingNoExecute);

    UNREFERENCED_PARAMETER(Input);
    if (numbers[100] > 5) {
        Sink++;
    }
    MmUnmapLockedPages(numbers, mdl);
    MmFreePagesFromMdl(mdl);
    ExFreePool(mdl);
}

static VOID DecideByContiguous(BOOLEAN Wrong, PVOID Input)
{
    PHYSICAL_ADDRESS high = { .QuadPart = -1 };
    volatile UCHAR *bytes = MmAllocateContiguousMemory(100, high);

    UNREFERENCED_PARAMETER(Input);
    if (!Wrong) {
        bytes[7] = 0;
    }
    if (bytes[7] != 0) {
        Sink++;
    }
    MmFreeContiguousMemory((PVOID)bytes);
}

static VOID (*const Cases[])(BOOLEAN Wrong, PVOID Input) = {
    UseFreed, CopyToFreed, OverrunByOne, Underrun, OverrunLarge, CompareTooMuch, DecideByPool, DecideByStack, AddressFromPool,
    ArgumentFromPool, TouchPaged, RunPageable, UseFreedIrp, StoreCancelRoutine, HandleBits,
    DecideByPages, DecideByContiguous,
};

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = FilterInitialize(DriverObject, MemoryAddDevice, MemoryDispatchRead);

    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = MemoryDispatchControl;

    return status;
}

NTSTATUS MemoryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(FILTER_EXTENSION), &deviceObject);
}

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

NTSTATUS MemoryDispatchControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG function = location->Parameters.DeviceIoControl.IoControlCode >> 2 & 0xFFF;

    UNREFERENCED_PARAMETER(DeviceObject);
    if (function >= 0xF00) {
        ReadMode = function - 0xF00;
    } else if (function - 0x800 < 2 * ARRAYSIZE(Cases)) {
        Cases[(function - 0x800) / 2]((function & 1) == 0, location->Parameters.DeviceIoControl.Type3InputBuffer);
    } else {
        return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST);
    }

    return Complete(Irp, STATUS_SUCCESS);
}

NTSTATUS MemoryTakeBack(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);

    return STATUS_MORE_PROCESSING_REQUIRED;
}

NTSTATUS MemorySetFlag(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }

    return STATUS_CONTINUE_COMPLETION;
}

/* Sends a request of its own, with event and status block on the stack. */
static NOINLINE NTSTATUS ReadBelow(PDEVICE_OBJECT LowerDevice, PVOID Buffer, BOOLEAN Wait)
{
    LARGE_INTEGER offset = { .QuadPart = 0 };
    IO_STATUS_BLOCK ioStatus;
    KEVENT event;
    PIRP irp;
    NTSTATUS status;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    irp = IoBuildSynchronousFsdRequest(IRP_MJ_READ, LowerDevice, Buffer, 512, &offset, &event, &ioStatus);
    if (irp == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status = IoCallDriver(LowerDevice, irp);
    if (status == STATUS_PENDING && Wait) {
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
        status = ioStatus.Status;
    }

    return status;
}

/* Sends the request on with a local variable as context of the completion routine. */
static NOINLINE NTSTATUS SendWithContext(PDEVICE_OBJECT LowerDevice, PIRP Irp, BOOLEAN Wait)
{
    KEVENT event;
    NTSTATUS status;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Wait ? MemoryTakeBack : MemorySetFlag, &event, TRUE, TRUE, TRUE);
    status = IoCallDriver(LowerDevice, Irp);
    if (status == STATUS_PENDING && Wait) {
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    }

    return status;
}

NTSTATUS MemoryDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;
    PVOID buffer;

    switch (ReadMode) {
    case TouchSent:
        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension->LowerDevice, Irp);
        Sink += (ULONG)((volatile IRP *)Irp)->IoStatus.Status;
        return status;
    case TakeBack:
    case AwaitContext:
        SendWithContext(extension->LowerDevice, Irp, TRUE);
        status = Irp->IoStatus.Status;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    case TouchCompleted:
        status = Complete(Irp, STATUS_DEVICE_NOT_READY);
        ReadByte((PUCHAR)&Irp->StackCount);
        return status;
    case LeaveRequest:
    case AwaitRequest:
        buffer = New(512);
        status = ReadBelow(extension->LowerDevice, buffer, ReadMode == AwaitRequest);
        if (ReadMode == AwaitRequest) {
            Release(buffer);
        }
        return Complete(Irp, status == STATUS_PENDING ? STATUS_SUCCESS : status);
    case LeaveContext:
        return SendWithContext(extension->LowerDevice, Irp, FALSE);
    default:
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(extension->LowerDevice, Irp);
    }
}
