using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Benchmarks;

/// <summary>A machine with a device stack: filters that only pass on, above a device that completes at once.</summary>
sealed class Stack : IDisposable
{
    readonly Bottom bottom = new();
    PDEVICE_OBJECT top;
    PIRP irp;
    readonly Verifier? verifier;

    /// <param name="layers">Number of filters.</param>
    /// <param name="filter">File of a compiled filter; null for the C# one.</param>
    /// <param name="rules">Whether all rules are on.</param>
    public Stack(int layers, string? filter = null, KernelObserver? observer = null, bool checksMemory = false, bool rules = false)
    {
        Machine = new Machine(new MachineOptions { ChecksMemory = checksMemory });
        if (observer is not null) Machine.Events.Add(observer);
        if (rules) verifier = Verifier.Attach(Machine);
        GuestDrivers? guest = filter is null ? null : new GuestDrivers(Machine);
        Machine.Run(() =>
        {
            Load(Machine, bottom, "bottom");
            PDEVICE_OBJECT device = bottom.CreateDevice();
            Driver driver = guest is null ? Load(Machine, new PassThrough(), "filter") : Start(guest, filter!);
            for (int i = 0; i < layers; i++) Check(Machine.Drivers.AddDevice(driver, device));
            top = Machine.Devices.IoGetAttachedDevice(device);
            irp = Machine.Irps.IoAllocateIrp((sbyte)(layers + 1), false);
        });
    }

    public Machine Machine { get; }

    public Workload Workload => new(Machine, count => bottom.Send(irp, top, count));

    internal static Driver Load(Machine machine, WdmDriver driver, string name)
    {
        Check(machine.Drivers.Load(driver, name, out Driver? loaded));
        return loaded!;
    }

    internal static Driver Start(GuestDrivers guest, string file)
    {
        if (!guest.TryRead(file, out var image, out var error)) throw new InvalidOperationException(error.ToString());
        Check(guest.Start(image, out Driver? driver));
        return driver!;
    }

    internal static void Check(NTSTATUS status)
    {
        if (!status.IsSuccess) throw new InvalidOperationException($"Setting up the stack failed with {status}.");
    }

    public void Dispose()
    {
        if (verifier is { Violations: [var first, ..] }) throw new InvalidOperationException($"A rule was broken: {first}");
        Machine.Dispose();
    }

    /// <summary>The lowest driver, and the originator of the packets.</summary>
    sealed class Bottom : WdmDriver
    {
        PIO_COMPLETION_ROUTINE keep;

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            keep = Routine(Keep);
            DriverObject.MajorFunction[IRP_MJ_READ] = Routine(Complete);
            // Without one a driver may be unloaded while its completion routine runs, which a rule says.
            DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
            return STATUS_SUCCESS;
        }

        NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) => STATUS_SUCCESS;

        public PDEVICE_OBJECT CreateDevice()
        {
            Check(IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device));
            device.Flags &= ~DO_DEVICE_INITIALIZING;
            return device;
        }

        public void Send(PIRP irp, PDEVICE_OBJECT device, int count)
        {
            for (int i = 0; i < count; i++)
            {
                IoReuseIrp(irp, STATUS_SUCCESS);
                IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
                IoSetCompletionRoutine(irp, keep, default, true, true, true);
                IoCallDriver(device, irp);
            }
        }

        NTSTATUS Complete(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
            Irp.IoStatus.Information = 0;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
        }

        NTSTATUS Keep(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => STATUS_MORE_PROCESSING_REQUIRED;
    }
}

/// <summary>Looks at nothing: what remains is the cost of being attached.</summary>
sealed class SilentObserver : KernelObserver;
