using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>The lowest driver of a stack: it answers Plug and Play and power requests as the bus driver of its one device.</summary>
public abstract class LowestDriver : WdmDriver
{
    /// <summary>Whether the device was taken away by surprise: requests for it fail.</summary>
    protected bool IsGone { get; private set; }

    /// <summary>Fills in the dispatch routines for PnP, power and WMI.</summary>
    protected void AnswerAsBus(PDRIVER_OBJECT DriverObject)
    {
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(DispatchPnp);
        DriverObject.MajorFunction[IRP_MJ_POWER] = Routine(DispatchPower);
        DriverObject.MajorFunction[IRP_MJ_SYSTEM_CONTROL] = Routine(DispatchSystemControl);
    }

    NTSTATUS DispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        switch (stack.MinorFunction)
        {
            case IRP_MN_START_DEVICE:
                IsGone = false;
                return Complete(Irp, STATUS_SUCCESS);
            case IRP_MN_SURPRISE_REMOVAL:
                IsGone = true;
                return Complete(Irp, STATUS_SUCCESS);
            case IRP_MN_QUERY_STOP_DEVICE or IRP_MN_CANCEL_STOP_DEVICE or IRP_MN_STOP_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE or IRP_MN_CANCEL_REMOVE_DEVICE
                or IRP_MN_REMOVE_DEVICE or IRP_MN_EJECT or IRP_MN_DEVICE_USAGE_NOTIFICATION:
                return Complete(Irp, STATUS_SUCCESS);
            case IRP_MN_QUERY_CAPABILITIES:
                PDEVICE_CAPABILITIES asked = stack.Parameters.DeviceCapabilities.Capabilities;
                DEVICE_CAPABILITIES answer = DeviceDescription.DefaultCapabilities();
                answer.Size = asked.Value.Size;
                answer.Version = asked.Value.Version;
                asked.Value = answer;
                return Complete(Irp, STATUS_SUCCESS);
            default:
                return Complete(Irp, Irp.IoStatus.Status);
        }
    }

    NTSTATUS DispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        if (stack.MinorFunction is not (IRP_MN_SET_POWER or IRP_MN_QUERY_POWER)) return Complete(Irp, Irp.IoStatus.Status);
        bool isSet = stack.MinorFunction == IRP_MN_SET_POWER && stack.Parameters.Power.Type == POWER_STATE_TYPE.DevicePowerState;
        if (isSet) PoSetPowerState(DeviceObject, POWER_STATE_TYPE.DevicePowerState, stack.Parameters.Power.State);
        return Complete(Irp, STATUS_SUCCESS);
    }

    NTSTATUS DispatchSystemControl(PDEVICE_OBJECT DeviceObject, PIRP Irp) => Complete(Irp, Irp.IoStatus.Status);

    NTSTATUS Complete(PIRP Irp, NTSTATUS status)
    {
        Irp.IoStatus.Status = status;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }
}
