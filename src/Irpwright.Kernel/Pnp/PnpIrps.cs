using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The answer to a PnP, power or WMI request: what the drivers left in the status block.</summary>
public readonly record struct RequestAnswer(NTSTATUS Status, ulong Information);

/// <summary>Sends the requests of the PnP manager and its relatives, and waits for them.</summary>
sealed class PnpIrps(Machine machine)
{
    /// <summary>Fills in the parameters of a request.</summary>
    internal delegate void Parameters(PIO_STACK_LOCATION location);

    /// <summary>
    /// Sends a request to the top of a device's stack at PASSIVE_LEVEL and waits until the drivers have completed it (PNP-01).
    /// </summary>
    internal RequestAnswer Send(PDEVICE_OBJECT device, byte major, byte minor, Parameters? parameters = null, ulong information = 0)
    {
        KernelThread thread = machine.CurrentThread;
        PDEVICE_OBJECT top = machine.Devices.IoGetAttachedDeviceReference(device);
        PIRP irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.PlugAndPlay);
        if (irp.IsNull)
        {
            machine.Objects.ObfDereferenceObject(top);
            return new RequestAnswer(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, 0);
        }
        irp.IoStatus.Status = NTSTATUS.STATUS_NOT_SUPPORTED;
        irp.IoStatus.Information = information;
        irp.Tail.Overlay.Thread = thread.Object;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = major;
        location.MinorFunction = minor;
        parameters?.Invoke(location);

        bool isCompleted = false;
        machine.Completion.TakeBack(irp, _ =>
        {
            Volatile.Write(ref isCompleted, true);
            machine.Scheduler.Unblock(thread);
        });
        machine.Dispatch.IoCallDriver(top, irp);
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref isCompleted), $"waits for the completion of minor function 0x{minor:X2} of major function 0x{major:X2}");
        var answer = new RequestAnswer(irp.IoStatus.Status, irp.IoStatus.Information);
        machine.Irps.IoFreeIrp(irp);
        machine.Objects.ObfDereferenceObject(top);
        return answer;
    }
}
