namespace Irpwright.Verification.Tests;

/// <summary>What tests do with device objects, timers of devices and StartIo.</summary>
public sealed partial class Probe
{
    /// <summary>Adds the device instead of what is usually done.</summary>
    public Action<Probe, PDEVICE_OBJECT>? Adding { get; init; }

    /// <summary>The last major function that the driver has a dispatch routine for.</summary>
    public int HighestMajor { get; init; } = IRP_MJ_MAXIMUM_FUNCTION;

    /// <summary>What StartIo does.</summary>
    public Action<PIRP> Started { get; set; } = static _ => { };

    public static byte Minor(PIRP irp) => WdmDriver.IoGetCurrentIrpStackLocation(irp).MinorFunction;

    public PDEVICE_OBJECT NewDevice(uint type = FILE_DEVICE_UNKNOWN)
    {
        Assert.Equal(STATUS_SUCCESS, IoCreateDevice(DriverObject, 0, default, type, 0, false, out PDEVICE_OBJECT device));
        return device;
    }

    /// <summary>Attaches the device that is the driver's from then on.</summary>
    public void Attach(PDEVICE_OBJECT device, PDEVICE_OBJECT target)
    {
        Device = device;
        Lower = IoAttachDeviceToDeviceStack(device, target);
    }

    /// <summary>Passes a removal down and ends the device.</summary>
    public NTSTATUS Remove(PIRP irp)
    {
        NTSTATUS status = SkipDown(irp);
        IoDetachDevice(Lower);
        IoDeleteDevice(Device);
        return status;
    }

    public new void IoDetachDevice(PDEVICE_OBJECT TargetDevice) => base.IoDetachDevice(TargetDevice);

    public new void IoDeleteDevice(PDEVICE_OBJECT DeviceObject) => base.IoDeleteDevice(DeviceObject);

    public void AddReference(PVOID target) => ObReferenceObject(target);

    public void InitializeTimer() => IoInitializeTimer(Device, static (_, _) => { }, default);

    /// <summary>Gives an IRP to StartIo, as soon as that is free.</summary>
    public NTSTATUS Start(PIRP irp)
    {
        DriverObject.DriverStartIo = StartIoRoutine(OnStartIo);
        IoMarkIrpPending(irp);
        IoStartPacket(Device, irp, default, default(PDRIVER_CANCEL));
        return STATUS_PENDING;
    }

    void OnStartIo(PDEVICE_OBJECT DeviceObject, PIRP Irp) => Started(Irp);

    public void StartNext() => IoStartNextPacket(Device, false);

    /// <summary>A list of relations with one device.</summary>
    public ulong Relations(PDEVICE_OBJECT device)
    {
        PDEVICE_RELATIONS relations = new(Allocate(DEVICE_RELATIONS.SizeOf).Address);
        relations.Count = 1;
        GuestMemory.Ref<PDEVICE_OBJECT>(relations.Address + 8) = device;
        return relations.Address;
    }

    public void Copy(PVOID to, PVOID from, ulong length) => memcpy(to, from, length);

    public void Move(PVOID to, PVOID from, ulong length) => memmove(to, from, length);

    public void CopyText(PUCHAR to, PUCHAR from) => strcpy(to, from);

    public void Break()
    {
        try
        {
            DbgBreakPoint();
        }
        catch (NtStatusException)
        {
            // No debugger.
        }
    }
}
