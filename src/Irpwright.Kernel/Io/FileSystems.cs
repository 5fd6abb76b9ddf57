using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>File systems that are registered, who wants to know of them, and the volumes that they mount.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ioregisterfilesystem"/>
public sealed class FileSystems
{
    const uint Tag = 0x20627056; // "Vpb "

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<PDEVICE_OBJECT> registered = [];
    readonly List<Listener> listeners = [];

    readonly PKSPIN_LOCK vpbLock;

    internal FileSystems(Machine machine)
    {
        this.machine = machine;
        vpbLock = new PKSPIN_LOCK(machine.Variables.Room(KSPIN_LOCK.SizeOf));
        machine.Objects.Types.Device.Deleting = device => DeleteVpb((PDEVICE_OBJECT)device);
    }

    readonly record struct Listener(PDRIVER_OBJECT Driver, PDRIVER_FS_NOTIFICATION Routine);

    /// <summary>Control device objects, in the order in which they are asked to mount a volume.</summary>
    public IReadOnlyList<PDEVICE_OBJECT> Registered
    {
        get { lock (gate) return [.. registered]; }
    }

    /// <summary>
    /// Puts a file system's control device object before the others, with DO_LOW_PRIORITY_FILESYSTEM behind them. IRQL &lt; DISPATCH_LEVEL.
    /// </summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void IoRegisterFileSystem(PDEVICE_OBJECT DeviceObject)
    {
        if (DeviceObject.DeviceType is not (FILE_DEVICE_NETWORK_FILE_SYSTEM or FILE_DEVICE_CD_ROM_FILE_SYSTEM or FILE_DEVICE_DISK_FILE_SYSTEM)) return;
        lock (gate) registered.Insert((DeviceObject.Flags & DO_LOW_PRIORITY_FILESYSTEM) != 0 ? registered.Count : 0, DeviceObject);
        Interlocked.Increment(ref DeviceObject.ReferenceCount);
        Notify(DeviceObject, true);
    }

    /// <summary>Takes it away again. IRQL &lt; DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void IoUnregisterFileSystem(PDEVICE_OBJECT DeviceObject)
    {
        lock (gate)
        {
            if (!registered.Remove(DeviceObject)) return;
        }
        Notify(DeviceObject, false);
        machine.Files.ReleaseDevice(DeviceObject);
    }

    void Notify(PDEVICE_OBJECT device, bool active)
    {
        Listener[] told;
        lock (gate) told = [.. listeners];
        foreach (Listener listener in told) machine.Code.Call(listener.Routine, device, active);
    }

    /// <summary>
    /// Has a routine called for every file system that registers or unregisters, and now for those that are registered.
    /// IRQL &lt; DISPATCH_LEVEL.
    /// </summary>
    /// <returns>STATUS_DEVICE_ALREADY_ATTACHED when the latest registration was the same.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS IoRegisterFsRegistrationChange(PDRIVER_OBJECT DriverObject, PDRIVER_FS_NOTIFICATION DriverNotificationRoutine)
    {
        var listener = new Listener(DriverObject, DriverNotificationRoutine);
        PDEVICE_OBJECT[] known;
        lock (gate)
        {
            if (listeners.Count > 0 && listeners[^1] == listener) return NTSTATUS.STATUS_DEVICE_ALREADY_ATTACHED;
            listeners.Add(listener);
            known = [.. registered];
        }
        machine.Objects.ObfReferenceObject(DriverObject);
        foreach (PDEVICE_OBJECT device in known) machine.Code.Call(DriverNotificationRoutine, device, (BOOLEAN)true);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Ends that. IRQL &lt; DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void IoUnregisterFsRegistrationChange(PDRIVER_OBJECT DriverObject, PDRIVER_FS_NOTIFICATION DriverNotificationRoutine)
    {
        lock (gate)
        {
            if (!listeners.Remove(new Listener(DriverObject, DriverNotificationRoutine))) return;
        }
        machine.Objects.ObfDereferenceObject(DriverObject);
    }

    /// <summary>Gives a storage device the block that binds it to the file system that mounts it.</summary>
    /// <returns>False when memory is short.</returns>
    internal bool CreateVpb(PDEVICE_OBJECT device)
    {
        PVPB vpb = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, VPB.SizeOf, Tag, 0, zero: true));
        if (vpb.IsNull) return false;
        vpb.Type = IO_TYPE_VPB;
        vpb.Size = VPB.SizeOf;
        vpb.RealDevice = device;
        device.Vpb = vpb;
        return true;
    }

    void DeleteVpb(PDEVICE_OBJECT device)
    {
        PVPB vpb = device.Vpb;
        if (!vpb.IsNull && vpb.RealDevice == device) machine.Pool.Free(vpb.Address, Tag);
    }

    /// <summary>Binds a file that is being opened to the file system that has the volume mounted, or that mounts it now.</summary>
    /// <param name="isVolume">The device itself is opened, which needs no file system.</param>
    /// <returns>STATUS_UNRECOGNIZED_VOLUME when no file system knows what is on the volume.</returns>
    internal NTSTATUS Bind(PFILE_OBJECT file, bool isVolume)
    {
        PDEVICE_OBJECT device = file.DeviceObject;
        if (device.Vpb.IsNull || Registered.Count == 0) return NTSTATUS.STATUS_SUCCESS;
        if ((device.Vpb.Flags & VPB_FLAGS.VPB_MOUNTED) == 0)
        {
            NTSTATUS status = IoVerifyVolume(device, isVolume);
            if (status < 0) return isVolume ? NTSTATUS.STATUS_SUCCESS : status;
        }
        file.Vpb = device.Vpb;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>
    /// Asks the file system whether the volume is still the one that it mounted; if not, or if none is mounted, has one mounted.
    /// IRQL &lt; DISPATCH_LEVEL.
    /// </summary>
    /// <param name="AllowRawMount">TRUE for who opens the device itself and needs no file system.</param>
    /// <returns>The file system's answer: STATUS_WRONG_VOLUME for another volume; STATUS_SUCCESS when nothing was mounted.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS IoVerifyVolume(PDEVICE_OBJECT DeviceObject, BOOLEAN AllowRawMount)
    {
        var deviceLock = new PKEVENT(DeviceObject.Address + 0x118);
        machine.Dispatcher.KeWaitForSingleObject(deviceLock, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
        try
        {
            PVPB vpb = DeviceObject.Vpb;
            if (vpb.IsNull) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
            bool mounted = (vpb.Flags & VPB_FLAGS.VPB_MOUNTED) != 0;
            NTSTATUS status = mounted ? Send(IRP_MN_VERIFY_VOLUME, machine.Devices.IoGetAttachedDevice(vpb.DeviceObject), vpb, vpb.DeviceObject, AllowRawMount) : NTSTATUS.STATUS_SUCCESS;
            DeviceObject.Flags &= ~DO_VERIFY_VOLUME;
            if (mounted && status != NTSTATUS.STATUS_WRONG_VOLUME) return status;
            // The file system keeps the old block as long as it has files of that volume open.
            if (mounted && !CreateVpb(DeviceObject)) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
            NTSTATUS mount = Mount(DeviceObject, AllowRawMount);
            return mounted || mount >= 0 ? status : mount;
        }
        finally
        {
            machine.Dispatcher.Signal(new PDISPATCHER_HEADER(deviceLock.Address));
        }
    }

    NTSTATUS Mount(PDEVICE_OBJECT device, bool allowRawMount)
    {
        uint kind = device.DeviceType == FILE_DEVICE_CD_ROM ? FILE_DEVICE_CD_ROM_FILE_SYSTEM : FILE_DEVICE_DISK_FILE_SYSTEM;
        PVPB vpb = device.Vpb;
        PDEVICE_OBJECT top = machine.Devices.IoGetAttachedDevice(device);
        foreach (PDEVICE_OBJECT fileSystem in Registered.Where(f => f.DeviceType == kind))
        {
            NTSTATUS status = Send(IRP_MN_MOUNT_VOLUME, machine.Devices.IoGetAttachedDevice(fileSystem), vpb, top, allowRawMount);
            if (status == NTSTATUS.STATUS_UNRECOGNIZED_VOLUME) continue;
            if (status < 0) return status;
            vpb.Flags |= VPB_FLAGS.VPB_MOUNTED;
            vpb.DeviceObject.StackSize = (sbyte)(top.StackSize + 1);
            vpb.DeviceObject.DeviceObjectExtension.Vpb = vpb;
            return status;
        }
        return NTSTATUS.STATUS_UNRECOGNIZED_VOLUME;
    }

    /// <summary>Acquires the lock of all volume parameter blocks. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoAcquireVpbSpinLock(out byte Irql) => Irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(vpbLock);

    /// <summary>Releases the lock of all volume parameter blocks. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void IoReleaseVpbSpinLock(byte Irql) => machine.SpinLocks.KeReleaseSpinLock(vpbLock, Irql);

    /// <summary>What a file system noted for this thread: the request that it works on, or an FSRTL_*_TOP_LEVEL_IRP. Any IRQL.</summary>
    [KernelExport]
    public PIRP IoGetTopLevelIrp() => machine.CurrentThread.TopLevelIrp;

    /// <summary>Notes for this thread on whose behalf a file system works. Any IRQL.</summary>
    [KernelExport]
    public void IoSetTopLevelIrp(PIRP Irp) => machine.CurrentThread.TopLevelIrp = Irp;

    NTSTATUS Send(byte minor, PDEVICE_OBJECT target, PVPB vpb, PDEVICE_OBJECT device, bool allowRawMount)
    {
        PIRP irp = machine.Irps.Allocate(target.StackSize, IrpOrigin.Request);
        if (irp.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = IRP_MJ_FILE_SYSTEM_CONTROL;
        location.MinorFunction = minor;
        location.Flags = allowRawMount ? SL_FLAGS.SL_ALLOW_RAW_MOUNT : 0;
        location.Parameters.MountVolume.Vpb = vpb;
        location.Parameters.MountVolume.DeviceObject = device;
        irp.Flags = IRP_MOUNT_COMPLETION | IRP_SYNCHRONOUS_PAGING_IO;
        irp.Tail.Overlay.Thread = machine.CurrentThread.Object;
        using var block = new RequestBlock(machine);
        return block.Send(irp, target);
    }
}
