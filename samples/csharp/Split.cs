namespace Irpwright.Samples;

/// <summary>
/// An upper filter that sends a READ or WRITE of more than 16 KiB down in pieces of at most 16 KiB. Twin of <c>split.c</c>.
/// </summary>
/// <remarks>
/// Each piece is an IRP of this driver's own. It describes its part of the caller's buffer as the lower device expects it: a
/// partial MDL for direct I/O, an address inside the system buffer for buffered I/O, an address inside the caller's buffer for
/// neither. All pieces go down at once; the original is pending meanwhile and gets the bytes up to the first piece that failed or
/// came back short, whatever their order.
/// <para>
/// Two counts decide who completes the original. <c>Outstanding</c>: the pieces below, and the dispatch routine while it still
/// sends; dropping it to zero ends the piece side. <c>Owners</c>: the piece side and the cancel side; the last to leave completes
/// the original. The cancel side exists from the moment somebody takes the cancel routine's address out of the original. If the
/// piece side takes it, nobody else will, and the piece side is the only owner. Piece IRPs are freed at the very end, because
/// until then the cancel side may cancel them.
/// </para>
/// <para>
/// Pattern: asynchronous requests with IoAllocateIrp (scenario 11), partial MDLs, a cancel routine that cancels the IRPs made
/// from its own.
/// </para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/processing-irps-in-an-intermediate-level-driver"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuildpartialmdl"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-cancel-routines"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks"/>
public sealed class Split : WdmDriver
{
    const uint SPLIT_TAG = 0x746C7053; // 'tlpS'
    const uint SPLIT_PIECE_SIZE = 0x4000;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(SplitDispatchPassDown);
        }

        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(SplitDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(SplitDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(SplitDispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(SplitAddDevice);
        DriverObject.DriverUnload = Routine(SplitUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS SplitAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<SPLIT_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PSPLIT_EXTENSION)deviceObject.DeviceExtension;
        IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), SPLIT_TAG, 0, 0);

        extension.LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
        if (extension.LowerDevice.IsNull)
        {
            IoDeleteDevice(deviceObject);
            return STATUS_NO_SUCH_DEVICE;
        }

        deviceObject.DeviceType = extension.LowerDevice.DeviceType;
        deviceObject.Characteristics |= extension.LowerDevice.Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
        deviceObject.Flags |= extension.LowerDevice.Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void SplitUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    NTSTATUS SplitDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSPLIT_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SplitComplete(Irp, status);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }

    NTSTATUS SplitDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSPLIT_EXTENSION)DeviceObject.DeviceExtension;

        if (!SplitIsDivisible(extension, Irp))
        {
            return SplitDispatchPassDown(DeviceObject, Irp);
        }

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SplitComplete(Irp, status);
        }

        PSPLIT_REQUEST request = SplitCreateRequest(extension, Irp);
        if (request.IsNull)
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            return SplitComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
        }

        IoMarkIrpPending(Irp);
        Irp.Tail.Overlay.DriverContext[0] = request;
        IoSetCancelRoutine(Irp, SplitCancel);

        // Cancelled before the routine was set: nobody will call it, so this routine is the cancel side.
        if (Irp.Cancel && !IoSetCancelRoutine(Irp, null).IsNull)
        {
            SplitCancelPieces(request);
        }

        PPIRP pieces = PPIRP.To(ref request.Pieces);
        for (int i = 0; i < request.PieceCount; i++)
        {
            _ = IoCallDriver(extension.LowerDevice, pieces[i]);
        }

        SplitReleaseOutstanding(request);

        return STATUS_PENDING;
    }

    // A piece can be told only from a plain transfer at a plain offset (negative ones stand for "end of file" and "file position"),
    // and for direct I/O only if one MDL describes the whole buffer.
    bool SplitIsDivisible(PSPLIT_EXTENSION Extension, PIRP Irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        DO_FLAGS flags = Extension.LowerDevice.Flags;

        // READ and WRITE share the layout of their parameters.
        if (location.MinorFunction != IRP_MN_NORMAL || location.Parameters.Read.Length <= SPLIT_PIECE_SIZE ||
            location.Parameters.Read.ByteOffset < 0)
        {
            return false;
        }

        if ((flags & (DO_BUFFERED_IO | DO_DIRECT_IO)) == DO_DIRECT_IO)
        {
            return !Irp.MdlAddress.IsNull && MmGetMdlByteCount(Irp.MdlAddress) >= location.Parameters.Read.Length;
        }

        return true;
    }

    PSPLIT_REQUEST SplitCreateRequest(PSPLIT_EXTENSION Extension, PIRP Irp)
    {
        uint length = IoGetCurrentIrpStackLocation(Irp).Parameters.Read.Length;
        uint pieceCount = (length - 1) / SPLIT_PIECE_SIZE + 1;

        // The structure has room for one piece.
        uint size = SizeOf<SPLIT_REQUEST>() + (pieceCount - 1) * SizeOf<PIRP>();
        var request = (PSPLIT_REQUEST)ExAllocatePoolZero(NonPagedPoolNx, size, SPLIT_TAG);
        if (request.IsNull)
        {
            return default;
        }

        request.Extension = Extension;
        request.Irp = Irp;
        request.Outstanding = (int)pieceCount + 1;
        request.Owners = 2;
        request.PieceCount = pieceCount;

        PPIRP pieces = PPIRP.To(ref request.Pieces);
        for (int i = 0; i < pieceCount; i++)
        {
            uint offset = (uint)i * SPLIT_PIECE_SIZE;

            pieces[i] = SplitCreatePiece(request, offset, Math.Min(length - offset, SPLIT_PIECE_SIZE));
            if (pieces[i].IsNull)
            {
                SplitFreeRequest(request);
                return default;
            }
        }

        return request;
    }

    PIRP SplitCreatePiece(PSPLIT_REQUEST Request, uint Offset, uint Length)
    {
        PDEVICE_OBJECT lowerDevice = Request.Extension.LowerDevice;
        PIRP irp = Request.Irp;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);

        PIRP piece = IoAllocateIrp(lowerDevice.StackSize, false);
        if (piece.IsNull)
        {
            return default;
        }

        if ((lowerDevice.Flags & DO_BUFFERED_IO) != 0)
        {
            piece.AssociatedIrp.SystemBuffer = new PVOID(irp.AssociatedIrp.SystemBuffer.Address + Offset);
        }
        else if ((lowerDevice.Flags & DO_DIRECT_IO) != 0)
        {
            PVOID address = new(MmGetMdlVirtualAddress(irp.MdlAddress).Address + Offset);

            // Stores the MDL in piece.MdlAddress.
            if (IoAllocateMdl(address, Length, false, false, piece).IsNull)
            {
                IoFreeIrp(piece);
                return default;
            }

            IoBuildPartialMdl(irp.MdlAddress, piece.MdlAddress, address, Length);
        }
        else
        {
            piece.UserBuffer = new PVOID(irp.UserBuffer.Address + Offset);
        }

        piece.RequestorMode = irp.RequestorMode;
        piece.Tail.Overlay.Thread = irp.Tail.Overlay.Thread;

        PIO_STACK_LOCATION next = IoGetNextIrpStackLocation(piece);
        next.MajorFunction = location.MajorFunction;
        next.MinorFunction = location.MinorFunction;
        next.Flags = location.Flags;
        next.FileObject = location.FileObject;
        next.Parameters.Read = location.Parameters.Read;
        next.Parameters.Read.Length = Length;
        next.Parameters.Read.ByteOffset += Offset;
        IoSetCompletionRoutine(piece, SplitPieceDone, Request, true, true, true);

        return piece;
    }

    void SplitFreeRequest(PSPLIT_REQUEST Request)
    {
        PPIRP pieces = PPIRP.To(ref Request.Pieces);

        for (int i = 0; i < Request.PieceCount && !pieces[i].IsNull; i++)
        {
            if (!pieces[i].MdlAddress.IsNull)
            {
                IoFreeMdl(pieces[i].MdlAddress);
            }

            IoFreeIrp(pieces[i]);
        }

        ExFreePoolWithTag(Request, SPLIT_TAG);
    }

    // DeviceObject is NULL here: the allocator of an IRP has no stack location in it.
    NTSTATUS SplitPieceDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        SplitReleaseOutstanding((PSPLIT_REQUEST)Context);

        return STATUS_MORE_PROCESSING_REQUIRED;
    }

    void SplitCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var request = (PSPLIT_REQUEST)Irp.Tail.Overlay.DriverContext[0];

        IoReleaseCancelSpinLock(Irp.CancelIrql);
        SplitCancelPieces(request);
    }

    void SplitReleaseOutstanding(PSPLIT_REQUEST Request)
    {
        if (InterlockedDecrement(ref Request.Outstanding) != 0)
        {
            return;
        }

        if (!IoSetCancelRoutine(Request.Irp, null).IsNull || InterlockedDecrement(ref Request.Owners) == 0)
        {
            SplitFinish(Request);
        }
    }

    // The cancel side. Pieces not sent yet or back already only get their Cancel flag set.
    void SplitCancelPieces(PSPLIT_REQUEST Request)
    {
        PPIRP pieces = PPIRP.To(ref Request.Pieces);

        for (int i = 0; i < Request.PieceCount; i++)
        {
            IoCancelIrp(pieces[i]);
        }

        if (InterlockedDecrement(ref Request.Owners) == 0)
        {
            SplitFinish(Request);
        }
    }

    void SplitFinish(PSPLIT_REQUEST Request)
    {
        PSPLIT_EXTENSION extension = Request.Extension;
        PIRP irp = Request.Irp;
        PPIRP pieces = PPIRP.To(ref Request.Pieces);
        NTSTATUS status = STATUS_SUCCESS;
        ulong transferred = 0;

        for (int i = 0; i < Request.PieceCount; i++)
        {
            status = pieces[i].IoStatus.Status;
            if (!status.IsSuccess)
            {
                break;
            }

            transferred += pieces[i].IoStatus.Information;
            if (transferred != (ulong)(i + 1) * SPLIT_PIECE_SIZE)
            {
                break;
            }
        }

        // The device ends inside the request: a short transfer, as it would have been in one piece.
        if (status == STATUS_END_OF_FILE && transferred != 0)
        {
            status = STATUS_SUCCESS;
        }

        irp.IoStatus.Status = status;
        irp.IoStatus.Information = status.IsSuccess ? transferred : 0;

        SplitFreeRequest(Request);
        IoCompleteRequest(irp, IO_NO_INCREMENT);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), irp);
    }

    NTSTATUS SplitDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSPLIT_EXTENSION)DeviceObject.DeviceExtension;
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SplitComplete(Irp, status);
        }

        if (minor is IRP_MN_REMOVE_DEVICE or IRP_MN_SURPRISE_REMOVAL)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);

        if (minor == IRP_MN_REMOVE_DEVICE)
        {
            IoReleaseRemoveLockAndWait(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            IoDetachDevice(extension.LowerDevice);
            IoDeleteDevice(DeviceObject);
        }
        else
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        }

        return status;
    }

    NTSTATUS SplitComplete(PIRP Irp, NTSTATUS Status)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }
}

struct SPLIT_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
    public IO_REMOVE_LOCK RemoveLock;
}

[PointerTo(typeof(SPLIT_EXTENSION))] readonly partial struct PSPLIT_EXTENSION;

/// <summary>
/// One per original IRP; nonpaged. Found through DriverContext[0] of the original and the context of each piece's completion routine.
/// </summary>
struct SPLIT_REQUEST
{
    public PSPLIT_EXTENSION Extension;
    public PIRP Irp;
    public int Outstanding;
    public int Owners;
    public uint PieceCount;
    public PIRP Pieces; // the first of PieceCount
}

[PointerTo(typeof(SPLIT_REQUEST))] readonly partial struct PSPLIT_REQUEST;

[PointerTo(typeof(PIRP))] readonly partial struct PPIRP;
