namespace Irpwright.Samples;

/// <summary>
/// The highest driver of a stack, which sends a READ or WRITE of more than 16 KiB down as associated IRPs of at most 16 KiB. Twin of
/// <c>associated.c</c>.
/// </summary>
/// <remarks>
/// The original is their master. It carries the number of associated IRPs in AssociatedIrp.IrpCount; the I/O manager counts down, frees
/// each associated IRP with its MDL, and completes the master with the last one. So the completion routine only notes what became of
/// its part and lets completion go on. There is nothing to free, and nobody to wait for.
/// <para>
/// IrpCount and MasterIrp lie where a buffered request has its system buffer: only direct I/O can be divided like this. Everything
/// else, and every transfer that is small enough, is passed down as it is. Cancelling the master does not cancel its parts; a driver
/// whose parts may take long needs a cancel routine that does (see <see cref="Split"/>).
/// </para>
/// <para>
/// Pattern: IoMakeAssociatedIrp, partial MDLs, IoSetMasterIrpStatus.
/// </para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-iomakeassociatedirp"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-iosetmasterirpstatus"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuildpartialmdl"/>
public sealed class Associated : WdmDriver
{
    const uint ASSOCIATED_TAG = 0x63737341; // 'cssA'
    const uint ASSOCIATED_PART_SIZE = 0x4000;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(AssociatedDispatchPassDown);
        }

        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(AssociatedDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(AssociatedDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(AssociatedDispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(AssociatedAddDevice);
        DriverObject.DriverUnload = Routine(AssociatedUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS AssociatedAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<ASSOCIATED_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PASSOCIATED_EXTENSION)deviceObject.DeviceExtension;
        IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), ASSOCIATED_TAG, 0, 0);
        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.StatusLock));

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

    void AssociatedUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    NTSTATUS AssociatedDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PASSOCIATED_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return AssociatedComplete(Irp, status);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }

    NTSTATUS AssociatedDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PASSOCIATED_EXTENSION)DeviceObject.DeviceExtension;
        uint length = IoGetCurrentIrpStackLocation(Irp).Parameters.Read.Length;
        uint count = (length - 1) / ASSOCIATED_PART_SIZE + 1;

        if (!AssociatedIsDivisible(extension, Irp))
        {
            return AssociatedDispatchPassDown(DeviceObject, Irp);
        }

        // All of them before the first is sent: what has been sent cannot be taken back.
        var parts = new PPIRP(ExAllocatePoolZero(NonPagedPoolNx, count * SizeOf<PIRP>(), ASSOCIATED_TAG).Address);
        if (parts.IsNull)
        {
            return AssociatedComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
        }

        for (int i = 0; i < count; i++)
        {
            uint offset = (uint)i * ASSOCIATED_PART_SIZE;

            parts[i] = AssociatedCreatePart(extension, Irp, offset, Math.Min(length - offset, ASSOCIATED_PART_SIZE));
            if (parts[i].IsNull)
            {
                while (i-- > 0)
                {
                    AssociatedFreePart(parts[i]);
                    IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), parts[i]);
                }

                ExFreePoolWithTag(parts, ASSOCIATED_TAG);
                return AssociatedComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
            }
        }

        IoMarkIrpPending(Irp);
        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = 0;
        Irp.AssociatedIrp.IrpCount = (int)count;

        // With the last part the master may be gone.
        for (int i = 0; i < count; i++)
        {
            _ = IoCallDriver(extension.LowerDevice, parts[i]);
        }

        ExFreePoolWithTag(parts, ASSOCIATED_TAG);

        return STATUS_PENDING;
    }

    // Only a plain transfer at a plain offset (negative ones stand for "end of file" and "file position"), described by one MDL.
    bool AssociatedIsDivisible(PASSOCIATED_EXTENSION Extension, PIRP Irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        return (Extension.LowerDevice.Flags & (DO_BUFFERED_IO | DO_DIRECT_IO)) == DO_DIRECT_IO
            && location.MinorFunction == IRP_MN_NORMAL && location.Parameters.Read.Length > ASSOCIATED_PART_SIZE
            && location.Parameters.Read.ByteOffset >= 0 && !Irp.MdlAddress.IsNull
            && MmGetMdlByteCount(Irp.MdlAddress) >= location.Parameters.Read.Length;
    }

    PIRP AssociatedCreatePart(PASSOCIATED_EXTENSION Extension, PIRP Irp, uint Offset, uint Length)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        PVOID address = new(MmGetMdlVirtualAddress(Irp.MdlAddress).Address + Offset);

        PIRP part = IoMakeAssociatedIrp(Irp, Extension.LowerDevice.StackSize);
        if (part.IsNull)
        {
            return default;
        }

        // Stores the MDL in part.MdlAddress.
        if (IoAllocateMdl(address, Length, false, false, part).IsNull)
        {
            AssociatedFreePart(part);
            return default;
        }

        IoBuildPartialMdl(Irp.MdlAddress, part.MdlAddress, address, Length);

        // The device stays until its last part is back.
        if (!IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref Extension.RemoveLock), part).IsSuccess)
        {
            AssociatedFreePart(part);
            return default;
        }

        part.RequestorMode = Irp.RequestorMode;

        PIO_STACK_LOCATION next = IoGetNextIrpStackLocation(part);
        next.MajorFunction = location.MajorFunction;
        next.MinorFunction = location.MinorFunction;
        next.Flags = location.Flags;
        next.FileObject = location.FileObject;
        next.Parameters.Read = location.Parameters.Read;
        next.Parameters.Read.Length = Length;
        next.Parameters.Read.ByteOffset += Offset;
        IoSetCompletionRoutine(part, AssociatedPartDone, Extension, true, true, true);

        return part;
    }

    // A part that was not sent.
    void AssociatedFreePart(PIRP Part)
    {
        if (!Part.MdlAddress.IsNull)
        {
            IoFreeMdl(Part.MdlAddress);
        }

        IoFreeIrp(Part);
    }

    // DeviceObject is NULL here: who makes an IRP has no stack location in it. The I/O manager does the rest.
    NTSTATUS AssociatedPartDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PASSOCIATED_EXTENSION)Context;
        PIRP master = Irp.AssociatedIrp.MasterIrp;

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.StatusLock), out KIRQL irql);
        if (Irp.IoStatus.Status.IsSuccess)
        {
            master.IoStatus.Information += Irp.IoStatus.Information;
        }
        else
        {
            IoSetMasterIrpStatus(master, Irp.IoStatus.Status);
        }

        if (!master.IoStatus.Status.IsSuccess)
        {
            master.IoStatus.Information = 0;
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.StatusLock), irql);

        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS AssociatedDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PASSOCIATED_EXTENSION)DeviceObject.DeviceExtension;
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return AssociatedComplete(Irp, status);
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

    NTSTATUS AssociatedComplete(PIRP Irp, NTSTATUS Status)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }
}

struct ASSOCIATED_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
    public IO_REMOVE_LOCK RemoveLock;
    public KSPIN_LOCK StatusLock; // of the IoStatus of every master: parts come back on any processor
}

[PointerTo(typeof(ASSOCIATED_EXTENSION))] readonly partial struct PASSOCIATED_EXTENSION;
