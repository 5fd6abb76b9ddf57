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
    [KernelExport(MaxIrql = APC_LEVEL)]
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
        if (!AttachControlBuffers(irp, next, IoControlCode, InputBuffer, InputBufferLength, OutputBuffer, OutputBufferLength, MODE.KernelMode))
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
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PIRP IoBuildAsynchronousFsdRequest(
        uint MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, uint Length, long? StartingOffset, PIO_STATUS_BLOCK IoStatusBlock) =>
        BuildFsdRequest(IrpOrigin.Asynchronous, MajorFunction, DeviceObject, Buffer, Length, StartingOffset, IoStatusBlock);

    /// <summary>
    /// As <see cref="IoBuildAsynchronousFsdRequest"/>, but the I/O manager finishes the IRP in the current thread and signals
    /// <paramref name="Event"/>. IRQL &lt;= APC_LEVEL. (BUILD-12, BUILD-13)
    /// </summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PIRP IoBuildSynchronousFsdRequest(
        uint MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, uint Length, long? StartingOffset, PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock)
    {
        PIRP irp = BuildFsdRequest(IrpOrigin.Threaded, MajorFunction, DeviceObject, Buffer, Length, StartingOffset, IoStatusBlock);
        if (irp.IsNull) return irp;
        irp.UserEvent = Event;
        OwnByThread(irp);
        return irp;
    }

    /// <summary>Allocates an IRP whose completion counts towards its master's. IRQL &lt;= APC_LEVEL. (ASSOC-01)</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PIRP IoMakeAssociatedIrp(PIRP Irp, sbyte StackSize)
    {
        PIRP associated = machine.Irps.Allocate(StackSize, IrpOrigin.Associated);
        if (associated.IsNull) return associated;
        associated.Flags |= IRP_ASSOCIATED_IRP;
        associated.AssociatedIrp.MasterIrp = Irp;
        associated.Tail.Overlay.Thread = Irp.Tail.Overlay.Thread;
        return associated;
    }

    /// <summary>Merges the status of an associated IRP into the master's, by the documented precedence. (ASSOC-05)</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
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
            if (!AttachTransferBuffer(irp, device.Flags, (byte)major, buffer, length, MODE.KernelMode)) return Undo(irp);
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
    /// <returns>False when memory is short or the buffer cannot be locked.</returns>
    internal bool AttachTransferBuffer(PIRP irp, DO_FLAGS deviceFlags, byte major, PVOID buffer, uint length, MODE mode)
    {
        bool isRead = major == IRP_MJ_READ;
        if ((deviceFlags & DO_BUFFERED_IO) != 0)
        {
            if (length == 0) return true;
            if (!AllocateSystemBuffer(irp, length)) return false;
            if (isRead)
            {
                irp.UserBuffer = buffer;
                irp.Flags |= IRP_INPUT_OPERATION;
                irp.Tail.Overlay.IrpExtension = new PVOID(length);
            }
            else
            {
                CopyIn(irp, buffer, length);
            }
            return true;
        }
        if ((deviceFlags & DO_DIRECT_IO) != 0)
            return length == 0 || LockBuffer(irp, buffer, length, mode, isRead ? LOCK_OPERATION.IoWriteAccess : LOCK_OPERATION.IoReadAccess);
        irp.UserBuffer = buffer;
        return true;
    }

    /// <summary>Gives a control request its buffers by the transfer method in its code (BUILD-04 to BUILD-06, BUF-02, BUF-05).</summary>
    /// <returns>False when memory is short or a buffer cannot be locked.</returns>
    internal bool AttachControlBuffers(
        PIRP irp, PIO_STACK_LOCATION location, uint code, PVOID input, uint inputLength, PVOID output, uint outputLength, MODE mode)
    {
        uint method = code & 3;
        switch (method)
        {
            case METHOD_NEITHER:
                location.Parameters.DeviceIoControl.Type3InputBuffer = input;
                irp.UserBuffer = output;
                return true;
            case METHOD_BUFFERED:
                uint length = Math.Max(inputLength, outputLength);
                if (length == 0) return true;
                if (!AllocateSystemBuffer(irp, length)) return false;
                irp.UserBuffer = output;
                if (!output.IsNull)
                {
                    irp.Flags |= IRP_INPUT_OPERATION;
                    irp.Tail.Overlay.IrpExtension = new PVOID(outputLength);
                }
                CopyIn(irp, input, inputLength);
                return true;
            default:
                if (!input.IsNull && inputLength != 0)
                {
                    if (!AllocateSystemBuffer(irp, inputLength)) return false;
                    CopyIn(irp, input, inputLength);
                }
                LOCK_OPERATION access = method == METHOD_IN_DIRECT ? LOCK_OPERATION.IoReadAccess : LOCK_OPERATION.IoWriteAccess;
                return output.IsNull || outputLength == 0 || LockBuffer(irp, output, outputLength, mode, access);
        }
    }

    bool AllocateSystemBuffer(PIRP irp, uint length)
    {
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, length, SystemBufferTag, 0);
        if (address == 0) return false;
        irp.AssociatedIrp.SystemBuffer = new PVOID(address);
        irp.Flags |= IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER;
        return true;
    }

    static void CopyIn(PIRP irp, PVOID buffer, uint length)
    {
        if (buffer.IsNull || length == 0) return;
        GuestMemory.Read(buffer.Address, (int)length).CopyTo(GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, (int)length));
    }

    bool LockBuffer(PIRP irp, PVOID buffer, uint length, MODE mode, LOCK_OPERATION access)
    {
        PMDL mdl = machine.Mdls.IoAllocateMdl(buffer, length, false, false, irp);
        if (mdl.IsNull) return false;
        try
        {
            machine.Mdls.MmProbeAndLockPages(mdl, mode, access);
            return true;
        }
        catch (NtStatusException)
        {
            irp.MdlAddress = default;
            machine.Mdls.IoFreeMdl(mdl);
            return false;
        }
    }

    void OwnByThread(PIRP irp)
    {
        KernelThread thread = machine.CurrentThread;
        irp.Tail.Overlay.Thread = thread.Object;
        IrpAllocation.QueueToThread(irp, thread);
    }

    /// <summary>Releases what a half-built IRP holds.</summary>
    internal PIRP Undo(PIRP irp)
    {
        if ((irp.Flags & IRP_DEALLOCATE_BUFFER) != 0) machine.Pool.Free(irp.AssociatedIrp.SystemBuffer.Address, SystemBufferTag);
        machine.Irps.IoFreeIrp(irp);
        return default;
    }
}
