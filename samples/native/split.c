/*
 * split.c: an upper filter that sends a READ or WRITE of more than 16 KiB down in pieces of at most 16 KiB.
 *
 * Each piece is an IRP of this driver's own. It describes its part of the caller's buffer as the lower device expects it: a partial MDL for
 * direct I/O, an address inside the system buffer for buffered I/O, an address inside the caller's buffer for neither. All pieces go down
 * at once; the original is pending meanwhile and gets the bytes up to the first piece that failed or came back short, whatever their order.
 *
 * Two counts decide who completes the original:
 *   Outstanding   the pieces below, and the dispatch routine while it still sends. Dropping it to zero ends the piece side.
 *   Owners        the piece side and the cancel side. The last to leave completes the original.
 * The cancel side exists from the moment somebody takes the cancel routine's address out of the original. If the piece side takes it,
 * nobody else will, and the piece side is the only owner. Piece IRPs are freed at the very end, because until then the cancel side may
 * cancel them.
 *
 * Pattern: asynchronous requests with IoAllocateIrp (scenario 11), partial MDLs, a cancel routine that cancels the IRPs made from its own.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/processing-irps-in-an-intermediate-level-driver
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuildpartialmdl
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-cancel-routines
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks
 */
#include "wdk.h"

#define SPLIT_TAG 'tlpS'
#define SPLIT_PIECE_SIZE 0x4000

typedef struct _SPLIT_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    IO_REMOVE_LOCK RemoveLock;
} SPLIT_EXTENSION, *PSPLIT_EXTENSION;

/* One per original IRP; nonpaged. Found through DriverContext[0] of the original and the context of each piece's completion routine. */
typedef struct _SPLIT_REQUEST {
    PSPLIT_EXTENSION Extension;
    PIRP Irp;
    LONG Outstanding;
    LONG Owners;
    ULONG PieceCount;
    PIRP Pieces[ANYSIZE_ARRAY];
} SPLIT_REQUEST, *PSPLIT_REQUEST;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE SplitAddDevice;
DRIVER_UNLOAD SplitUnload;
DRIVER_DISPATCH SplitDispatchPassDown;
DRIVER_DISPATCH SplitDispatchReadWrite;
DRIVER_DISPATCH SplitDispatchPnp;
DRIVER_CANCEL SplitCancel;
IO_COMPLETION_ROUTINE SplitPieceDone;

static BOOLEAN SplitIsDivisible(PSPLIT_EXTENSION Extension, PIRP Irp);
static PSPLIT_REQUEST SplitCreateRequest(PSPLIT_EXTENSION Extension, PIRP Irp);
static PIRP SplitCreatePiece(PSPLIT_REQUEST Request, ULONG Offset, ULONG Length);
static VOID SplitFreeRequest(PSPLIT_REQUEST Request);
static VOID SplitReleaseOutstanding(PSPLIT_REQUEST Request);
static VOID SplitCancelPieces(PSPLIT_REQUEST Request);
static VOID SplitFinish(PSPLIT_REQUEST Request);
static NTSTATUS SplitComplete(PIRP Irp, NTSTATUS Status);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = SplitDispatchPassDown;
    }

    DriverObject->MajorFunction[IRP_MJ_READ] = SplitDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = SplitDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_PNP] = SplitDispatchPnp;
    DriverObject->DriverExtension->AddDevice = SplitAddDevice;
    DriverObject->DriverUnload = SplitUnload;

    return STATUS_SUCCESS;
}

NTSTATUS SplitAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PSPLIT_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(
        DriverObject, sizeof(SPLIT_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    IoInitializeRemoveLock(&extension->RemoveLock, SPLIT_TAG, 0, 0);

    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    deviceObject->DeviceType = extension->LowerDevice->DeviceType;
    deviceObject->Characteristics |= extension->LowerDevice->Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
    deviceObject->Flags |= extension->LowerDevice->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID SplitUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS SplitDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSPLIT_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SplitComplete(Irp, status);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

NTSTATUS SplitDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSPLIT_EXTENSION extension = DeviceObject->DeviceExtension;
    PSPLIT_REQUEST request;
    NTSTATUS status;
    ULONG i;

    if (!SplitIsDivisible(extension, Irp)) {
        return SplitDispatchPassDown(DeviceObject, Irp);
    }

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SplitComplete(Irp, status);
    }

    request = SplitCreateRequest(extension, Irp);
    if (request == NULL) {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return SplitComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
    }

    IoMarkIrpPending(Irp);
    Irp->Tail.Overlay.DriverContext[0] = request;
    IoSetCancelRoutine(Irp, SplitCancel);

    /* Cancelled before the routine was set: nobody will call it, so this routine is the cancel side. */
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        SplitCancelPieces(request);
    }

    for (i = 0; i < request->PieceCount; i++) {
        (VOID)IoCallDriver(extension->LowerDevice, request->Pieces[i]);
    }

    SplitReleaseOutstanding(request);

    return STATUS_PENDING;
}

/*
 * Only a plain transfer at a plain offset can be divided (negative offsets stand for "end of file" and "file position"), and for direct I/O
 * only if one MDL describes the whole buffer.
 */
static BOOLEAN SplitIsDivisible(PSPLIT_EXTENSION Extension, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG flags = Extension->LowerDevice->Flags;

    /* READ and WRITE share the layout of their parameters. */
    if (location->MinorFunction != IRP_MN_NORMAL || location->Parameters.Read.Length <= SPLIT_PIECE_SIZE ||
        location->Parameters.Read.ByteOffset.QuadPart < 0) {
        return FALSE;
    }

    if ((flags & (DO_BUFFERED_IO | DO_DIRECT_IO)) == DO_DIRECT_IO) {
        return Irp->MdlAddress != NULL && MmGetMdlByteCount(Irp->MdlAddress) >= location->Parameters.Read.Length;
    }

    return TRUE;
}

static PSPLIT_REQUEST SplitCreateRequest(PSPLIT_EXTENSION Extension, PIRP Irp)
{
    ULONG length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    ULONG pieceCount = (length - 1) / SPLIT_PIECE_SIZE + 1;
    PSPLIT_REQUEST request;
    ULONG i;

    request = ExAllocatePoolZero(NonPagedPoolNx, FIELD_OFFSET(SPLIT_REQUEST, Pieces) + pieceCount * sizeof(PIRP), SPLIT_TAG);
    if (request == NULL) {
        return NULL;
    }

    request->Extension = Extension;
    request->Irp = Irp;
    request->Outstanding = (LONG)pieceCount + 1;
    request->Owners = 2;
    request->PieceCount = pieceCount;

    for (i = 0; i < pieceCount; i++) {
        ULONG offset = i * SPLIT_PIECE_SIZE;

        request->Pieces[i] = SplitCreatePiece(request, offset, min(length - offset, SPLIT_PIECE_SIZE));
        if (request->Pieces[i] == NULL) {
            SplitFreeRequest(request);
            return NULL;
        }
    }

    return request;
}

static PIRP SplitCreatePiece(PSPLIT_REQUEST Request, ULONG Offset, ULONG Length)
{
    PDEVICE_OBJECT lowerDevice = Request->Extension->LowerDevice;
    PIRP irp = Request->Irp;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    PIO_STACK_LOCATION next;
    PIRP piece;

    piece = IoAllocateIrp(lowerDevice->StackSize, FALSE);
    if (piece == NULL) {
        return NULL;
    }

    if (lowerDevice->Flags & DO_BUFFERED_IO) {
        piece->AssociatedIrp.SystemBuffer = (PUCHAR)irp->AssociatedIrp.SystemBuffer + Offset;
    } else if (lowerDevice->Flags & DO_DIRECT_IO) {
        PVOID address = (PUCHAR)MmGetMdlVirtualAddress(irp->MdlAddress) + Offset;

        /* Stores the MDL in piece->MdlAddress. */
        if (IoAllocateMdl(address, Length, FALSE, FALSE, piece) == NULL) {
            IoFreeIrp(piece);
            return NULL;
        }

        IoBuildPartialMdl(irp->MdlAddress, piece->MdlAddress, address, Length);
    } else {
        piece->UserBuffer = (PUCHAR)irp->UserBuffer + Offset;
    }

    piece->RequestorMode = irp->RequestorMode;
    piece->Tail.Overlay.Thread = irp->Tail.Overlay.Thread;

    next = IoGetNextIrpStackLocation(piece);
    next->MajorFunction = location->MajorFunction;
    next->MinorFunction = location->MinorFunction;
    next->Flags = location->Flags;
    next->FileObject = location->FileObject;
    next->Parameters.Read = location->Parameters.Read;
    next->Parameters.Read.Length = Length;
    next->Parameters.Read.ByteOffset.QuadPart += Offset;
    IoSetCompletionRoutine(piece, SplitPieceDone, Request, TRUE, TRUE, TRUE);

    return piece;
}

static VOID SplitFreeRequest(PSPLIT_REQUEST Request)
{
    ULONG i;

    for (i = 0; i < Request->PieceCount && Request->Pieces[i] != NULL; i++) {
        if (Request->Pieces[i]->MdlAddress != NULL) {
            IoFreeMdl(Request->Pieces[i]->MdlAddress);
        }

        IoFreeIrp(Request->Pieces[i]);
    }

    ExFreePoolWithTag(Request, SPLIT_TAG);
}

/* DeviceObject is NULL here: the allocator of an IRP has no stack location in it. */
NTSTATUS SplitPieceDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);

    SplitReleaseOutstanding(Context);

    return STATUS_MORE_PROCESSING_REQUIRED;
}

VOID SplitCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSPLIT_REQUEST request = Irp->Tail.Overlay.DriverContext[0];

    UNREFERENCED_PARAMETER(DeviceObject);

    IoReleaseCancelSpinLock(Irp->CancelIrql);
    SplitCancelPieces(request);
}

static VOID SplitReleaseOutstanding(PSPLIT_REQUEST Request)
{
    if (InterlockedDecrement(&Request->Outstanding) != 0) {
        return;
    }

    if (IoSetCancelRoutine(Request->Irp, NULL) != NULL || InterlockedDecrement(&Request->Owners) == 0) {
        SplitFinish(Request);
    }
}

/* The cancel side. Pieces not sent yet or back already only get their Cancel flag set. */
static VOID SplitCancelPieces(PSPLIT_REQUEST Request)
{
    ULONG i;

    for (i = 0; i < Request->PieceCount; i++) {
        IoCancelIrp(Request->Pieces[i]);
    }

    if (InterlockedDecrement(&Request->Owners) == 0) {
        SplitFinish(Request);
    }
}

static VOID SplitFinish(PSPLIT_REQUEST Request)
{
    PSPLIT_EXTENSION extension = Request->Extension;
    PIRP irp = Request->Irp;
    NTSTATUS status = STATUS_SUCCESS;
    ULONG_PTR transferred = 0;
    ULONG i;

    for (i = 0; i < Request->PieceCount; i++) {
        status = Request->Pieces[i]->IoStatus.Status;
        if (!NT_SUCCESS(status)) {
            break;
        }

        transferred += Request->Pieces[i]->IoStatus.Information;
        if (transferred != (ULONG_PTR)(i + 1) * SPLIT_PIECE_SIZE) {
            break;
        }
    }

    /* The device ends inside the request: a short transfer, as it would have been in one piece. */
    if (status == STATUS_END_OF_FILE && transferred != 0) {
        status = STATUS_SUCCESS;
    }

    irp->IoStatus.Status = status;
    irp->IoStatus.Information = NT_SUCCESS(status) ? transferred : 0;

    SplitFreeRequest(Request);
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    IoReleaseRemoveLock(&extension->RemoveLock, irp);
}

NTSTATUS SplitDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSPLIT_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SplitComplete(Irp, status);
    }

    if (minor == IRP_MN_REMOVE_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    if (minor == IRP_MN_REMOVE_DEVICE) {
        IoReleaseRemoveLockAndWait(&extension->RemoveLock, Irp);
        IoDetachDevice(extension->LowerDevice);
        IoDeleteDevice(DeviceObject);
    } else {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
    }

    return status;
}

static NTSTATUS SplitComplete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
