using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting.Tests;

/// <summary>A filter whose completion routine forgets the pending mark of the driver below.</summary>
sealed class Careless : WdmDriver
{
    PDEVICE_OBJECT lower;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Forward);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        return STATUS_SUCCESS;
    }

    NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_DISK, 0, false, out PDEVICE_OBJECT device);
        lower = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
        device.Flags |= DO_DIRECT_IO;
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return STATUS_SUCCESS;
    }

    NTSTATUS Forward(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, Routine(Done), default, true, true, false);
        return IoCallDriver(lower, Irp);
    }

    NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => STATUS_CONTINUE_COMPLETION;
}
