using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Tells drivers that the system goes down.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/irp-mj-shutdown"/>
public sealed class Shutdown
{
    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<PDEVICE_OBJECT> early = [];
    readonly List<PDEVICE_OBJECT> lastChance = [];

    internal Shutdown(Machine machine) => this.machine = machine;

    /// <summary>Has IRP_MJ_SHUTDOWN sent to a device before the file systems are flushed. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoRegisterShutdownNotification(PDEVICE_OBJECT DeviceObject) => Register(early, DeviceObject);

    /// <summary>Has IRP_MJ_SHUTDOWN sent to a device after the file systems are flushed. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoRegisterLastChanceShutdownNotification(PDEVICE_OBJECT DeviceObject) => Register(lastChance, DeviceObject);

    NTSTATUS Register(List<PDEVICE_OBJECT> list, PDEVICE_OBJECT device)
    {
        machine.Objects.ObfReferenceObject(device);
        // The latest first, as Windows has it; drivers must not rely on any order.
        lock (gate) list.Insert(0, device);
        device.Flags |= DO_SHUTDOWN_REGISTERED;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Takes back every registration of a device. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoUnregisterShutdownNotification(PDEVICE_OBJECT DeviceObject)
    {
        int count;
        lock (gate) count = early.RemoveAll(d => d == DeviceObject) + lastChance.RemoveAll(d => d == DeviceObject);
        DeviceObject.Flags &= ~DO_SHUTDOWN_REGISTERED;
        while (count-- > 0) machine.Objects.ObfDereferenceObject(DeviceObject);
    }

    /// <summary>
    /// Sends IRP_MJ_SHUTDOWN to the devices that are registered, then to the file systems, then to those that asked for the last
    /// chance; each is told once. What the power manager does afterwards is not part of it.
    /// </summary>
    public void Notify()
    {
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            NotifyAll(early);
            foreach (PDEVICE_OBJECT fileSystem in machine.FileSystems.Registered) Send(machine.Devices.IoGetAttachedDevice(fileSystem));
            NotifyAll(lastChance);
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }

    void NotifyAll(List<PDEVICE_OBJECT> list)
    {
        while (true)
        {
            PDEVICE_OBJECT device;
            lock (gate)
            {
                if (list.Count == 0) return;
                device = list[0];
                list.RemoveAt(0);
            }
            Send(device);
            machine.Objects.ObfDereferenceObject(device);
        }
    }

    // Nobody is interested in the status.
    void Send(PDEVICE_OBJECT device)
    {
        using var block = new RequestBlock(machine);
        PIRP irp = machine.Builders.IoBuildSynchronousFsdRequest(IRP_MJ_SHUTDOWN, device, default, 0, null, block.Event, block.Iosb);
        if (!irp.IsNull) block.Send(irp, device);
    }
}
