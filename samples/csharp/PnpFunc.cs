namespace Irpwright.Samples;

/// <summary>The function driver of a Plug and Play device, and its power policy owner. Twin of <c>pnpfunc.c</c>.</summary>
/// <remarks>
/// The device is a 4 KiB store. READ and WRITE work while it is started and in D0. IOCTL_PNPFUNC_WAIT (0x0022E000, no data) waits in a
/// cancel-safe queue until IOCTL_PNPFUNC_WAKE (0x0022E004) completes all that wait, until it is cancelled, or until the device goes
/// away.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/postponing-pnp-irp-processing-until-lower-drivers-finish"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-a-device-in-a-function-driver"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-a-system-set-power-irp-in-a-device-power-policy-owner"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-power-irps"/>
public sealed class PnpFunc : WdmDriver
{
    const uint FUNC_TAG = 0x636E7546; // 'cnuF'
    const uint FUNC_STORE_SIZE = 0x1000;
    public static readonly uint IOCTL_PNPFUNC_WAIT = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS);
    public static readonly uint IOCTL_PNPFUNC_WAKE = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS);

    public static readonly Guid FUNC_INTERFACE = new("5b6c3a52-2d3e-4c7b-9a0e-1f0d2c3b4a59");

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(FuncDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(FuncDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(FuncDispatchCleanup);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(FuncDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(FuncDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(FuncDispatchDeviceControl);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(FuncDispatchPnp);
        DriverObject.MajorFunction[IRP_MJ_POWER] = Routine(FuncDispatchPower);
        DriverObject.MajorFunction[IRP_MJ_SYSTEM_CONTROL] = Routine(FuncDispatchSystemControl);
        DriverObject.DriverExtension.AddDevice = Routine(FuncAddDevice);
        DriverObject.DriverUnload = Routine(FuncUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS FuncAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<FUNC_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PFUNC_EXTENSION)deviceObject.DeviceExtension;
        extension.Self = deviceObject;
        extension.PhysicalDevice = PhysicalDeviceObject;
        extension.PowerState = DEVICE_POWER_STATE.PowerDeviceD3;
        IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), FUNC_TAG, 0, 0);
        InitializeListHead(PLIST_ENTRY.To(ref extension.WaitingList));
        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.WaitingLock));
        IoCsqInitialize(PIO_CSQ.To(ref extension.Waiting), FuncInsertIrp, FuncRemoveIrp, FuncPeekNextIrp, FuncAcquireLock, FuncReleaseLock,
            FuncCompleteCanceledIrp);

        extension.Store = (PUCHAR)ExAllocatePoolZero(NonPagedPoolNx, FUNC_STORE_SIZE, FUNC_TAG);
        if (extension.Store.IsNull)
        {
            IoDeleteDevice(deviceObject);
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        status = IoRegisterDeviceInterface(PhysicalDeviceObject, FUNC_INTERFACE, default, PUNICODE_STRING.To(ref extension.Interface));
        if (!status.IsSuccess)
        {
            ExFreePoolWithTag(extension.Store, FUNC_TAG);
            IoDeleteDevice(deviceObject);
            return status;
        }

        extension.LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
        if (extension.LowerDevice.IsNull)
        {
            RtlFreeUnicodeString(PUNICODE_STRING.To(ref extension.Interface));
            ExFreePoolWithTag(extension.Store, FUNC_TAG);
            IoDeleteDevice(deviceObject);
            return STATUS_NO_SUCH_DEVICE;
        }

        deviceObject.Flags |= DO_BUFFERED_IO | (extension.LowerDevice.Flags & DO_POWER_PAGABLE);
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void FuncUnload(PDRIVER_OBJECT DriverObject)
    {
        // REMOVE_DEVICE has deleted every device by now, and DriverEntry acquired nothing.
    }

    NTSTATUS FuncComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }

    /// <summary>What the device answers to a request that it cannot carry out now; STATUS_SUCCESS if it can.</summary>
    static NTSTATUS FuncCheckState(PFUNC_EXTENSION Extension)
    {
        switch (Extension.State)
        {
            case FUNC_STATE.FuncStarted:
            case FUNC_STATE.FuncRemovePending:
                return Extension.PowerState == DEVICE_POWER_STATE.PowerDeviceD0 ? STATUS_SUCCESS : STATUS_DEVICE_POWERED_OFF;
            case FUNC_STATE.FuncSurpriseRemoved:
                return STATUS_DEVICE_REMOVED;
            default:
                return STATUS_DEVICE_NOT_READY;
        }
    }

    NTSTATUS FuncDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        bool refused = IoGetCurrentIrpStackLocation(Irp).MajorFunction == IRP_MJ_CREATE && extension.State != FUNC_STATE.FuncStarted;

        return FuncComplete(Irp, refused ? STATUS_NO_SUCH_DEVICE : STATUS_SUCCESS, 0);
    }

    NTSTATUS FuncDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        long offset = stack.Parameters.Read.ByteOffset;
        uint length = stack.Parameters.Read.Length;

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return FuncComplete(Irp, status, 0);
        }

        status = FuncCheckState(extension);
        if (status.IsSuccess && (offset < 0 || offset > FUNC_STORE_SIZE || length > FUNC_STORE_SIZE - offset))
        {
            status = STATUS_INVALID_PARAMETER;
        }

        if (status.IsSuccess && length > 0)
        {
            var store = new PVOID(extension.Store.Address + (ulong)offset);
            if (stack.MajorFunction == IRP_MJ_READ)
            {
                RtlCopyMemory(Irp.AssociatedIrp.SystemBuffer, store, length);
            }
            else
            {
                RtlCopyMemory(store, Irp.AssociatedIrp.SystemBuffer, length);
            }
        }

        status = FuncComplete(Irp, status, status.IsSuccess ? length : 0);
        IoReleaseRemoveLock(removeLock, Irp);

        return status;
    }

    /// <summary>Completes every request that waits. Each holds the remove lock.</summary>
    void FuncEmptyQueue(PFUNC_EXTENSION Extension, PFILE_OBJECT FileObject, NTSTATUS Status)
    {
        PIRP irp;

        while (!(irp = IoCsqRemoveNextIrp(PIO_CSQ.To(ref Extension.Waiting), FileObject)).IsNull)
        {
            FuncComplete(irp, Status, 0);
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref Extension.RemoveLock), irp);
        }
    }

    NTSTATUS FuncDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);
        uint code = IoGetCurrentIrpStackLocation(Irp).Parameters.DeviceIoControl.IoControlCode;

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return FuncComplete(Irp, status, 0);
        }

        status = FuncCheckState(extension);
        if (status.IsSuccess && code == IOCTL_PNPFUNC_WAIT)
        {
            // Held twice: by the request, until it leaves the queue, and by this routine, which uses the device after that may have
            // happened.
            status = IoAcquireRemoveLock(removeLock, Irp);
        }

        if (status.IsSuccess && code == IOCTL_PNPFUNC_WAIT)
        {
            IoCsqInsertIrp(PIO_CSQ.To(ref extension.Waiting), Irp, default);

            // The device may have gone while the request was on its way into the queue.
            if (extension.State == FUNC_STATE.FuncSurpriseRemoved)
            {
                FuncEmptyQueue(extension, default, STATUS_DEVICE_REMOVED);
            }

            IoReleaseRemoveLock(removeLock, Irp);

            return STATUS_PENDING;
        }

        if (status.IsSuccess && code == IOCTL_PNPFUNC_WAKE)
        {
            FuncEmptyQueue(extension, default, STATUS_SUCCESS);
        }
        else if (status.IsSuccess)
        {
            status = STATUS_INVALID_DEVICE_REQUEST;
        }

        status = FuncComplete(Irp, status, 0);
        IoReleaseRemoveLock(removeLock, Irp);

        return status;
    }

    NTSTATUS FuncDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        FuncEmptyQueue((PFUNC_EXTENSION)DeviceObject.DeviceExtension, IoGetCurrentIrpStackLocation(Irp).FileObject, STATUS_CANCELLED);

        return FuncComplete(Irp, STATUS_SUCCESS, 0);
    }

    // ---- The queue of waiting requests

    static PFUNC_EXTENSION ExtensionOf(PIO_CSQ Csq) =>
        (PFUNC_EXTENSION)CONTAINING_RECORD(Csq, (ref FUNC_EXTENSION record) => ref record.Waiting);

    void FuncInsertIrp(PIO_CSQ Csq, PIRP Irp) =>
        InsertTailList(PLIST_ENTRY.To(ref ExtensionOf(Csq).WaitingList), PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));

    void FuncRemoveIrp(PIO_CSQ Csq, PIRP Irp) => RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));

    PIRP FuncPeekNextIrp(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
    {
        PLIST_ENTRY head = PLIST_ENTRY.To(ref ExtensionOf(Csq).WaitingList);
        PLIST_ENTRY entry = Irp.IsNull ? head.Flink : Irp.Tail.Overlay.ListEntry.Flink;

        for (; entry != head; entry = entry.Flink)
        {
            var next = (PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            // The context is the file whose requests are wanted, or NULL for all.
            if (PeekContext.IsNull || IoGetCurrentIrpStackLocation(next).FileObject == PeekContext)
            {
                return next;
            }
        }

        return default;
    }

    void FuncAcquireLock(PIO_CSQ Csq, PUCHAR Irql) =>
        KeAcquireSpinLock(PKSPIN_LOCK.To(ref ExtensionOf(Csq).WaitingLock), out Irql.Value);

    void FuncReleaseLock(PIO_CSQ Csq, KIRQL Irql) => KeReleaseSpinLock(PKSPIN_LOCK.To(ref ExtensionOf(Csq).WaitingLock), Irql);

    void FuncCompleteCanceledIrp(PIO_CSQ Csq, PIRP Irp)
    {
        PFUNC_EXTENSION extension = ExtensionOf(Csq);

        FuncComplete(Irp, STATUS_CANCELLED, 0);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
    }

    // ---- Plug and Play

    void FuncDisableInterface(PFUNC_EXTENSION Extension)
    {
        if (Extension.InterfaceEnabled)
        {
            Extension.InterfaceEnabled = false;
            IoSetDeviceInterfaceState(PUNICODE_STRING.To(ref Extension.Interface), false);
        }
    }

    NTSTATUS FuncStart(PFUNC_EXTENSION Extension, PIRP Irp)
    {
        if (!IoForwardIrpSynchronously(Extension.LowerDevice, Irp))
        {
            return STATUS_UNSUCCESSFUL;
        }

        NTSTATUS status = Irp.IoStatus.Status;
        if (!status.IsSuccess)
        {
            return status;
        }

        POWER_STATE powerState = default;
        powerState.DeviceState = DEVICE_POWER_STATE.PowerDeviceD0;
        PoSetPowerState(Extension.Self, POWER_STATE_TYPE.DevicePowerState, powerState);
        Extension.PowerState = DEVICE_POWER_STATE.PowerDeviceD0;
        Extension.State = FUNC_STATE.FuncStarted;
        if (!Extension.InterfaceEnabled)
        {
            Extension.InterfaceEnabled = IoSetDeviceInterfaceState(PUNICODE_STRING.To(ref Extension.Interface), true).IsSuccess;
        }

        return status;
    }

    NTSTATUS FuncQueryCapabilities(PFUNC_EXTENSION Extension, PIRP Irp)
    {
        PDEVICE_CAPABILITIES capabilities = IoGetCurrentIrpStackLocation(Irp).Parameters.DeviceCapabilities.Capabilities;

        if (!IoForwardIrpSynchronously(Extension.LowerDevice, Irp))
        {
            return STATUS_UNSUCCESSFUL;
        }

        if (Irp.IoStatus.Status.IsSuccess && capabilities.Value.Version == 1 && capabilities.Value.Size >= SizeOf<DEVICE_CAPABILITIES>())
        {
            Extension.SleepState = capabilities.Value.DeviceState;
        }

        return Irp.IoStatus.Status;
    }

    NTSTATUS FuncRemove(PFUNC_EXTENSION Extension, PIRP Irp)
    {
        Extension.State = FUNC_STATE.FuncSurpriseRemoved;
        FuncDisableInterface(Extension);
        FuncEmptyQueue(Extension, default, STATUS_DEVICE_REMOVED);

        Irp.IoStatus.Status = STATUS_SUCCESS;
        IoSkipCurrentIrpStackLocation(Irp);
        NTSTATUS status = IoCallDriver(Extension.LowerDevice, Irp);

        IoReleaseRemoveLockAndWait(PIO_REMOVE_LOCK.To(ref Extension.RemoveLock), Irp);
        IoDetachDevice(Extension.LowerDevice);
        RtlFreeUnicodeString(PUNICODE_STRING.To(ref Extension.Interface));
        ExFreePoolWithTag(Extension.Store, FUNC_TAG);
        IoDeleteDevice(Extension.Self);

        return status;
    }

    NTSTATUS FuncDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return FuncComplete(Irp, status, 0);
        }

        switch (IoGetCurrentIrpStackLocation(Irp).MinorFunction)
        {
            case IRP_MN_START_DEVICE:
                status = FuncComplete(Irp, FuncStart(extension, Irp), 0);
                IoReleaseRemoveLock(removeLock, Irp);
                return status;

            case IRP_MN_QUERY_CAPABILITIES:
                status = FuncComplete(Irp, FuncQueryCapabilities(extension, Irp), 0);
                IoReleaseRemoveLock(removeLock, Irp);
                return status;

            case IRP_MN_QUERY_STOP_DEVICE:
                // A wait could last for ever, and the device is not there for it while it is stopped.
                if (!IsListEmpty(PLIST_ENTRY.To(ref extension.WaitingList)))
                {
                    status = FuncComplete(Irp, STATUS_DEVICE_BUSY, 0);
                    IoReleaseRemoveLock(removeLock, Irp);
                    return status;
                }
                Irp.IoStatus.Status = STATUS_SUCCESS;
                break;

            case IRP_MN_STOP_DEVICE:
                extension.State = FUNC_STATE.FuncStopped;
                Irp.IoStatus.Status = STATUS_SUCCESS;
                break;

            case IRP_MN_QUERY_REMOVE_DEVICE:
                extension.State = FUNC_STATE.FuncRemovePending;
                Irp.IoStatus.Status = STATUS_SUCCESS;
                break;

            case IRP_MN_CANCEL_REMOVE_DEVICE:
                if (extension.State == FUNC_STATE.FuncRemovePending)
                {
                    extension.State = FUNC_STATE.FuncStarted;
                }
                Irp.IoStatus.Status = STATUS_SUCCESS;
                break;

            case IRP_MN_CANCEL_STOP_DEVICE:
                Irp.IoStatus.Status = STATUS_SUCCESS;
                break;

            case IRP_MN_SURPRISE_REMOVAL:
                extension.State = FUNC_STATE.FuncSurpriseRemoved;
                FuncDisableInterface(extension);
                FuncEmptyQueue(extension, default, STATUS_DEVICE_REMOVED);
                Irp.IoStatus.Status = STATUS_SUCCESS;
                break;

            case IRP_MN_REMOVE_DEVICE:
                return FuncRemove(extension, Irp);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(removeLock, Irp);

        return status;
    }

    // ---- Power

    NTSTATUS FuncDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        bool isState = stack.MinorFunction is IRP_MN_SET_POWER or IRP_MN_QUERY_POWER;

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return FuncComplete(Irp, status, 0);
        }

        // The policy owner answers the system with a request for its device, once the drivers below have agreed.
        if (isState && stack.Parameters.Power.Type == POWER_STATE_TYPE.SystemPowerState)
        {
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, FuncSystemPowerDone, default, true, true, true);
            PoCallDriver(extension.LowerDevice, Irp);
            return STATUS_PENDING;
        }

        bool isPowerUp = stack.MinorFunction == IRP_MN_SET_POWER && stack.Parameters.Power.State.DeviceState == DEVICE_POWER_STATE.PowerDeviceD0;
        if (isPowerUp)
        {
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, FuncPowerUpDone, default, true, true, true);
            PoCallDriver(extension.LowerDevice, Irp);
            return STATUS_PENDING;
        }

        if (stack.MinorFunction == IRP_MN_SET_POWER)
        {
            PoSetPowerState(DeviceObject, POWER_STATE_TYPE.DevicePowerState, stack.Parameters.Power.State);
            extension.PowerState = stack.Parameters.Power.State.DeviceState;
        }

        if (isState)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = PoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(removeLock, Irp);

        return status;
    }

    /// <summary>A system power request has been through the drivers below.</summary>
    NTSTATUS FuncSystemPowerDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        SYSTEM_POWER_STATE systemState = stack.Parameters.Power.State.SystemState;

        if (!Irp.IoStatus.Status.IsSuccess)
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            return STATUS_CONTINUE_COMPLETION;
        }

        POWER_STATE deviceState = default;
        deviceState.DeviceState = systemState == SYSTEM_POWER_STATE.PowerSystemWorking
            ? DEVICE_POWER_STATE.PowerDeviceD0
            : extension.SleepState[(int)systemState];
        if (deviceState.DeviceState == DEVICE_POWER_STATE.PowerDeviceUnspecified)
        {
            deviceState.DeviceState = DEVICE_POWER_STATE.PowerDeviceD3;
        }

        NTSTATUS status = PoRequestPowerIrp(DeviceObject, stack.MinorFunction, deviceState, FuncDevicePowerDone, Irp, default(PVOID));
        if (!status.IsSuccess)
        {
            Irp.IoStatus.Status = status;
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            return STATUS_CONTINUE_COMPLETION;
        }

        return STATUS_MORE_PROCESSING_REQUIRED;
    }

    /// <summary>The device has followed: the system's request is over.</summary>
    void FuncDevicePowerDone(PDEVICE_OBJECT DeviceObject, byte MinorFunction, POWER_STATE PowerState, PVOID Context, PIO_STATUS_BLOCK IoStatus)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        var systemIrp = (PIRP)Context;

        FuncComplete(systemIrp, IoStatus.Status, 0);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), systemIrp);
    }

    /// <summary>The drivers below have powered the device up.</summary>
    NTSTATUS FuncPowerUpDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;

        if (Irp.IoStatus.Status.IsSuccess)
        {
            PoSetPowerState(DeviceObject, POWER_STATE_TYPE.DevicePowerState, IoGetCurrentIrpStackLocation(Irp).Parameters.Power.State);
            extension.PowerState = DEVICE_POWER_STATE.PowerDeviceD0;
        }

        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS FuncDispatchSystemControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFUNC_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return FuncComplete(Irp, status, 0);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(removeLock, Irp);

        return status;
    }
}

enum FUNC_STATE
{
    FuncAdded,
    FuncStarted,
    FuncStopped,
    FuncRemovePending,
    FuncSurpriseRemoved,
}

struct FUNC_EXTENSION
{
    public PDEVICE_OBJECT Self;
    public PDEVICE_OBJECT LowerDevice;
    public PDEVICE_OBJECT PhysicalDevice;
    public IO_REMOVE_LOCK RemoveLock;
    public FUNC_STATE State;
    public DEVICE_POWER_STATE PowerState;
    public DEVICE_CAPABILITIES.DeviceStateArray SleepState;
    public UNICODE_STRING Interface;
    public BOOLEAN InterfaceEnabled;
    public IO_CSQ Waiting;
    public LIST_ENTRY WaitingList;
    public KSPIN_LOCK WaitingLock;
    public PUCHAR Store;
}

[PointerTo(typeof(FUNC_EXTENSION))] readonly partial struct PFUNC_EXTENSION;
