using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>A filter that forwards everything with a completion routine and changes nothing.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine"/>
public sealed class PassThrough : WdmDriver
{
    PIO_COMPLETION_ROUTINE forwardDone;

    struct DEVICE_EXTENSION
    {
        public PDEVICE_OBJECT LowerDevice;
    }

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        forwardDone = Routine(ForwardDone);
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Forward);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(DispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        DriverObject.DriverUnload = Routine(Unload);
        return STATUS_SUCCESS;
    }

    unsafe NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(
            DriverObject, (uint)sizeof(DEVICE_EXTENSION), default, PhysicalDeviceObject.DeviceType, PhysicalDeviceObject.Characteristics, false, out PDEVICE_OBJECT device);
        if (!status.IsSuccess) return status;
        PDEVICE_OBJECT lower = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
        if (lower.IsNull)
        {
            IoDeleteDevice(device);
            return STATUS_NO_SUCH_DEVICE;
        }
        DeviceExtension<DEVICE_EXTENSION>(device).LowerDevice = lower;
        device.Flags |= lower.Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return STATUS_SUCCESS;
    }

    NTSTATUS Forward(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, forwardDone, default, true, true, true);
        return IoCallDriver(DeviceExtension<DEVICE_EXTENSION>(DeviceObject).LowerDevice, Irp);
    }

    NTSTATUS ForwardDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        if (Irp.PendingReturned) IoMarkIrpPending(Irp);
        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS DispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        if (IoGetCurrentIrpStackLocation(Irp).MinorFunction != IRP_MN_REMOVE_DEVICE) return Forward(DeviceObject, Irp);
        PDEVICE_OBJECT lower = DeviceExtension<DEVICE_EXTENSION>(DeviceObject).LowerDevice;
        IoSkipCurrentIrpStackLocation(Irp);
        NTSTATUS status = IoCallDriver(lower, Irp);
        IoDetachDevice(lower);
        IoDeleteDevice(DeviceObject);
        return status;
    }

    void Unload(PDRIVER_OBJECT DriverObject)
    {
    }
}
