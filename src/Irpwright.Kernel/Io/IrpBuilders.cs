using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>IRPs that come with their parameters filled in.</summary>
public sealed class IrpBuilders
{
    internal const uint SystemBufferTag = 0x42737953; // "SysB"

    readonly Machine machine;

    internal IrpBuilders(Machine machine) => this.machine = machine;

    /// <summary>
    /// Builds a device control IRP that the I/O manager finishes in the current thread. IRQL &lt;= APC_LEVEL. (BUILD-01 to BUILD-07)
    /// </summary>
    /// <returns>Null when memory is short or a buffer cannot be locked.</returns>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Null)]
    public PIRP IoBuildDeviceIoControlRequest(
        uint IoControlCode, PDEVICE_OBJECT DeviceObject, PVOID InputBuffer, uint InputBufferLength, PVOID OutputBuffer, uint OutputBufferLength,
        BOOLEAN InternalDeviceIoControl, PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock)
    {
        PIRP irp = machine.Irps.Allocate(DeviceObject.StackSize, IrpOrigin.Threaded);
        if (irp.IsNull) return default;
        PIO_STACK_LOCATION next = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        next.MajorFunction = InternalDeviceIoControl ? IRP_MJ_INTERNAL_DEVICE_CONTROL : IRP_MJ_DEVICE_CONTROL;
        next.Parameters.DeviceIoControl.IoControlCode = IoControlCode;
        next.Parameters.DeviceIoControl.InputBufferLength = InputBufferLength;
        next.Parameters.DeviceIoControl.OutputBufferLength = OutputBufferLength;
        if (AttachControlBuffers(irp, next, IoControlCode, InputBuffer, InputBufferLength, OutputBuffer, OutputBufferLength, MODE.KernelMode) < 0)
            return Undo(irp);
        irp.UserIosb = IoStatusBlock;
        irp.UserEvent = Event;
        OwnByThread(irp);
        return irp;
    }

    /// <summary>
    /// Builds a read, write, flush, shutdown or PnP IRP that its creator's completion routine frees. IRQL &lt;= APC_LEVEL. (BUILD-08 to BUILD-11)
    /// </summary>
    /// <param name="StartingOffset">Byte offset for read and write.</param>
    /// <returns>Null when memory is short or the buffer cannot be locked.</returns>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Null)]
    public PIRP IoBuildAsynchronousFsdRequest(
        uint MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, uint Length, long? StartingOffset, PIO_STATUS_BLOCK IoStatusBlock) =>
        BuildFsdRequest(IrpOrigin.Asynchronous, MajorFunction, DeviceObject, Buffer, Length, StartingOffset, IoStatusBlock);

    /// <summary>
    /// As <see cref="IoBuildAsynchronousFsdRequest"/>, but the I/O manager finishes the IRP in the current thread and signals
    /// <paramref name="Event"/>. IRQL &lt;= APC_LEVEL. (BUILD-12, BUILD-13)
    /// </summary>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Null)]
    public PIRP IoBuildSynchronousFsdRequest(
        uint MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, uint Length, long? StartingOffset, PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock)
    {
        PIRP irp = BuildFsdRequest(IrpOrigin.Threaded, MajorFunction, DeviceObject, Buffer, Length, StartingOffset, IoStatusBlock);
        if (irp.IsNull) return irp;
        irp.UserEvent = Event;
        OwnByThread(irp);
        return irp;
    }

    /// <summary>Allocates an IRP whose completion counts towards its master's. IRQL &lt;= DISPATCH_LEVEL. (ASSOC-01)</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PIRP IoMakeAssociatedIrp(PIRP Irp, sbyte StackSize)
    {
        PIRP associated = machine.Irps.Allocate(StackSize, IrpOrigin.Associated);
        if (associated.IsNull) return associated;
        associated.Flags |= IRP_ASSOCIATED_IRP;
        associated.AssociatedIrp.MasterIrp = Irp;
        associated.Tail.Overlay.Thread = Irp.Tail.Overlay.Thread;
        return associated;
    }

    /// <summary>Merges the status of an associated IRP into the master's, by the documented precedence. Any IRQL. (ASSOC-05)</summary>
    [KernelExport]
    public void IoSetMasterIrpStatus(PIRP MasterIrp, NTSTATUS Status)
    {
        NTSTATUS present = MasterIrp.IoStatus.Status;
        if (Status == NTSTATUS.STATUS_FT_READ_FROM_COPY) return;
        if (Status == NTSTATUS.STATUS_VERIFY_REQUIRED || (Status < 0 && (present >= 0 || (uint)Status > (uint)present)))
            MasterIrp.IoStatus.Status = Status;
    }

    PIRP BuildFsdRequest(IrpOrigin origin, uint major, PDEVICE_OBJECT device, PVOID buffer, uint length, long? offset, PIO_STATUS_BLOCK iosb)
    {
        PIRP irp = machine.Irps.Allocate(device.StackSize, origin);
        if (irp.IsNull) return irp;
        PIO_STACK_LOCATION next = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        next.MajorFunction = (byte)major;
        if (major is IRP_MJ_READ or IRP_MJ_WRITE)
        {
            next.Parameters.Read.Length = length;
            next.Parameters.Read.ByteOffset = offset ?? 0;
            if (AttachTransferBuffer(irp, device.Flags, (byte)major, buffer, length, MODE.KernelMode) < 0) return Undo(irp);
        }
        else if (major == IRP_MJ_PNP)
        {
            irp.IoStatus.Status = NTSTATUS.STATUS_NOT_SUPPORTED;
        }
        irp.UserIosb = iosb;
        irp.Tail.Overlay.Thread = machine.CurrentThread.Object;
        return irp;
    }

    /// <summary>Gives a read or write its buffer the way the device's flags ask for (BUILD-09, BUILD-10, BUF-01, BUF-03, BUF-04).</summary>
    /// <returns>An error when memory is short or the buffer does not allow the access.</returns>
    internal NTSTATUS AttachTransferBuffer(PIRP irp, DO_FLAGS deviceFlags, byte major, PVOID buffer, uint length, MODE mode)
    {
        bool isRead = major == IRP_MJ_READ;
        if ((deviceFlags & DO_BUFFERED_IO) != 0)
        {
            if (length == 0) return NTSTATUS.STATUS_SUCCESS;
            if (!isRead) return AllocateSystemBuffer(irp, length, buffer, length, mode);
            if (!MayUse(buffer, length, mode, PageAccess.Write)) return NTSTATUS.STATUS_ACCESS_VIOLATION;
            irp.UserBuffer = buffer;
            irp.Tail.Overlay.IrpExtension = new PVOID(length);
            NTSTATUS status = AllocateSystemBuffer(irp, length, default, 0, mode);
            if (status >= 0) irp.Flags |= IRP_INPUT_OPERATION;
            return status;
        }
        if ((deviceFlags & DO_DIRECT_IO) != 0)
            return LockBuffer(irp, buffer, length, mode, isRead ? LOCK_OPERATION.IoWriteAccess : LOCK_OPERATION.IoReadAccess);
        irp.UserBuffer = buffer;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Gives a request that always has buffered I/O its system buffer (BUF-08).</summary>
    /// <param name="isQuery">Whether the driver fills the buffer, or reads what is in it.</param>
    internal NTSTATUS AttachSystemBuffer(PIRP irp, PVOID buffer, uint length, MODE mode, bool isQuery)
    {
        if (!isQuery) return AllocateSystemBuffer(irp, length, buffer, length, mode);
        if (!MayUse(buffer, length, mode, PageAccess.Write)) return NTSTATUS.STATUS_ACCESS_VIOLATION;
        NTSTATUS status = AllocateSystemBuffer(irp, length, default, 0, mode);
        if (status < 0) return status;
        irp.UserBuffer = buffer;
        irp.Tail.Overlay.IrpExtension = new PVOID(length);
        irp.Flags |= IRP_INPUT_OPERATION;
        return status;
    }

    /// <summary>Gives a control request its buffers by the transfer method in its code (BUILD-04 to BUILD-06, BUF-02, BUF-05).</summary>
    /// <returns>An error when memory is short or a buffer does not allow the access.</returns>
    internal NTSTATUS AttachControlBuffers(
        PIRP irp, PIO_STACK_LOCATION location, uint code, PVOID input, uint inputLength, PVOID output, uint outputLength, MODE mode)
    {
        uint method = code & 3;
        NTSTATUS status;
        switch (method)
        {
            case METHOD_NEITHER:
                location.Parameters.DeviceIoControl.Type3InputBuffer = input;
                irp.UserBuffer = output;
                return NTSTATUS.STATUS_SUCCESS;
            case METHOD_BUFFERED:
                uint length = Math.Max(inputLength, outputLength);
                if (length == 0) return NTSTATUS.STATUS_SUCCESS;
                if (!output.IsNull && !MayUse(output, outputLength, mode, PageAccess.Write)) return NTSTATUS.STATUS_ACCESS_VIOLATION;
                status = AllocateSystemBuffer(irp, length, input, inputLength, mode);
                if (status < 0 || output.IsNull) return status;
                irp.UserBuffer = output;
                irp.Flags |= IRP_INPUT_OPERATION;
                irp.Tail.Overlay.IrpExtension = new PVOID(outputLength);
                return status;
            default:
                status = input.IsNull || inputLength == 0 ? NTSTATUS.STATUS_SUCCESS : AllocateSystemBuffer(irp, inputLength, input, inputLength, mode);
                if (status < 0 || output.IsNull) return status;
                return LockBuffer(irp, output, outputLength, mode, method == METHOD_IN_DIRECT ? LOCK_OPERATION.IoReadAccess : LOCK_OPERATION.IoWriteAccess);
        }
    }

    /// <summary>Allocates the system buffer and copies what the requestor put in.</summary>
    NTSTATUS AllocateSystemBuffer(PIRP irp, uint length, PVOID source, uint sourceLength, MODE mode)
    {
        bool copies = !source.IsNull && sourceLength != 0;
        if (copies && !MayUse(source, sourceLength, mode, PageAccess.Read)) return NTSTATUS.STATUS_ACCESS_VIOLATION;
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, length, SystemBufferTag, 0);
        if (address == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        irp.AssociatedIrp.SystemBuffer = new PVOID(address);
        irp.Flags |= IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER;
        if (copies) GuestMemory.Read(source.Address, (int)sourceLength).CopyTo(GuestMemory.Write(address, (int)sourceLength));
        return NTSTATUS.STATUS_SUCCESS;
    }

    // A user program's mistake is its own; one of a driver is found when the memory is touched.
    static bool MayUse(PVOID buffer, uint length, MODE mode, PageAccess access) =>
        mode == MODE.KernelMode || length == 0 || (buffer.Address < GuestMemory.KernelBase && GuestMemory.IsAccessible(buffer.Address, length, access));

    NTSTATUS LockBuffer(PIRP irp, PVOID buffer, uint length, MODE mode, LOCK_OPERATION access)
    {
        if (length == 0) return NTSTATUS.STATUS_SUCCESS;
        PMDL mdl = machine.Mdls.IoAllocateMdl(buffer, length, false, false, irp);
        if (mdl.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        try
        {
            machine.Mdls.MmProbeAndLockPages(mdl, mode, access);
            return NTSTATUS.STATUS_SUCCESS;
        }
        catch (NtStatusException e)
        {
            irp.MdlAddress = default;
            machine.Mdls.IoFreeMdl(mdl);
            return e.Status;
        }
    }

    void OwnByThread(PIRP irp)
    {
        KernelThread thread = machine.CurrentThread;
        irp.Tail.Overlay.Thread = thread.Object;
        machine.Outstanding.Add(irp, thread.IrpList);
    }

    /// <summary>Releases what a half-built IRP holds.</summary>
    internal PIRP Undo(PIRP irp)
    {
        if ((irp.Flags & IRP_DEALLOCATE_BUFFER) != 0) machine.Pool.Free(irp.AssociatedIrp.SystemBuffer.Address, SystemBufferTag);
        if (!irp.Tail.Overlay.AuxiliaryBuffer.IsNull) machine.Pool.Free(irp.Tail.Overlay.AuxiliaryBuffer.Address, 0);
        machine.Irps.IoFreeIrp(irp);
        return default;
    }
}
