using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Sends IRPs down: one stack location, one dispatch routine.</summary>
public sealed class IrpDispatch
{
    readonly Machine machine;
    // What every packet needs.
    readonly CodeMap code;
    readonly KernelEvents events;
    readonly Scheduler scheduler;

    internal IrpDispatch(Machine machine)
    {
        this.machine = machine;
        code = machine.Code;
        events = machine.Events;
        scheduler = machine.Scheduler;
    }

    /// <summary>Sends an IRP to a driver. IRQL &lt;= DISPATCH_LEVEL. (CALL-01 to CALL-07, CALL-14)</summary>
    /// <returns>What the dispatch routine returned.</returns>
    /// <exception cref="BugCheckException">
    /// 0x35 when the IRP has no stack location left (CALL-02); 0x7F when calls are nested without end.
    /// </exception>
    [KernelExport("IofCallDriver", Alias = "IoCallDriver", MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS IoCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        // Drivers that send in circles pass here; in .NET an overflow of the stack would end the process.
        KernelThread? thread = KernelThread.Current;
        if (thread is { IsStackSpent: true }) throw machine.BugChecks.KernelStackOverflow(0);
        if (events.Observer is not null || scheduler.SwitchesAtIrps) return CallObserved(thread, DeviceObject, Irp);
        PDRIVER_DISPATCH routine = EnterLocation(DeviceObject, Irp, out bool isPower);
        if (isPower && machine.PowerIrps.Defers(DeviceObject, Irp)) return NTSTATUS.STATUS_PENDING;
        return code.Call(routine, DeviceObject, Irp);
    }

    /// <summary>Calls the dispatch routine for a location that was entered before.</summary>
    internal NTSTATUS CallEntered(PDEVICE_OBJECT device, PIRP irp)
    {
        PDRIVER_DISPATCH routine = Drivers.DispatchEntry(device.DriverObject, irp.Tail.Overlay.CurrentStackLocation.MajorFunction);
        NTSTATUS status = code.Call(routine, device, irp);
        events.Emit(new DispatchReturned(irp, device, routine, status, machine.TryGetCurrentThread()));
        return status;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    PDRIVER_DISPATCH EnterLocation(PDEVICE_OBJECT device, PIRP irpHandle, out bool isPower)
    {
        ref IRP irp = ref irpHandle.Value;
        if (--irp.CurrentLocation <= 0) NoMoreLocations(irpHandle, device);
        PIO_STACK_LOCATION location = new(irp.Tail.Overlay.CurrentStackLocation.Address - IO_STACK_LOCATION.SizeOf);
        irp.Tail.Overlay.CurrentStackLocation = location;
        ref IO_STACK_LOCATION current = ref location.Value;
        current.DeviceObject = device;
        if (current.MajorFunction > IRP_MJ_MAXIMUM_FUNCTION) NoSuchMajorFunction(irpHandle, device);
        isPower = current.MajorFunction == IRP_MJ_POWER;
        return Drivers.DispatchEntry(device.DriverObject, current.MajorFunction);
    }

    /// <summary>The same as IoCallDriver since Windows Vista (CALL-13).</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS PoCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp) => IoCallDriver(DeviceObject, Irp);

    /// <summary>Has no effect since Windows Vista (POWER-07).</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoStartNextPowerIrp(PIRP Irp)
    {
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    NTSTATUS CallObserved(KernelThread? thread, PDEVICE_OBJECT device, PIRP irp)
    {
        if (scheduler.SwitchesAtIrps) machine.Scheduler.Yield(machine.CurrentThread, SchedulingPoint.Irp);
        KernelThread? by = machine.Own(thread);
        events.Emit(new IrpForwarding(irp, device, by));
        PDRIVER_DISPATCH routine = EnterLocation(device, irp, out bool isPower);
        events.Emit(new IrpForwarded(irp, device, routine, by));
        if (isPower && machine.PowerIrps.Defers(device, irp)) return NTSTATUS.STATUS_PENDING;
        NTSTATUS status = code.Call(routine, device, irp);
        events.Emit(new DispatchReturned(irp, device, routine, status, by));
        return status;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    void NoMoreLocations(PIRP irp, PDEVICE_OBJECT device) =>
        throw machine.BugChecks.Stop(BugCheckCode.NO_MORE_IRP_STACK_LOCATIONS, irp.Address, 0, 0, 0,
            $"IoCallDriver was to send an IRP to {machine.Objects.NameOf(device)}, but all {irp.StackCount} stack locations of the IRP are in use. Allocate it with at least the StackSize of the target device.");

    // Windows would call whatever lies behind the table of the driver object.
    [MethodImpl(MethodImplOptions.NoInlining)]
    void NoSuchMajorFunction(PIRP irp, PDEVICE_OBJECT device) =>
        throw machine.BugChecks.Unhandled(NTSTATUS.STATUS_ACCESS_VIOLATION, 0, 0, 0,
            $"IoCallDriver was to send an IRP to {machine.Objects.NameOf(device)}, but the major function code in its next location is 0x{IrpStackLocations.IoGetCurrentIrpStackLocation(irp).MajorFunction:X}; the highest is 0x{IRP_MJ_MAXIMUM_FUNCTION:X}. The location was overwritten, or never filled in.");
}
