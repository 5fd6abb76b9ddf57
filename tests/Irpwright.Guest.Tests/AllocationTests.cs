using Irpwright.Guest.Tests.Images;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests;

public class AllocationTests
{
    const int Layers = 4, Packets = 100;

    [Fact]
    public void An_irp_allocates_nothing_on_the_managed_heap_in_csharp_layers() => AllocatesNothing(machine =>
    {
        Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.Load(new PassThrough(), "filter", out Driver? filter));
        return filter!;
    });

    [Fact]
    public void An_irp_allocates_nothing_on_the_managed_heap_in_compiled_layers() => AllocatesNothing(machine =>
    {
        var guest = new GuestDrivers(machine);
        Assert.True(guest.TryRead(SampleDrivers.PathOf("passthrough"), out var image, out var error), error?.ToString());
        Assert.Equal(NTSTATUS.STATUS_SUCCESS, guest.Start(image, out Driver? filter));
        return filter!;
    });

    static void AllocatesNothing(Func<Machine, Driver> loadFilter)
    {
        using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here });
        machine.Run(() =>
        {
            var sender = new Sender();
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.Load(sender, "sender", out _));
            Driver filter = loadFilter(machine);
            for (int i = 0; i < Layers; i++) Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.AddDevice(filter, sender.Device));
            // What happens once per machine and thread happens in the first, or when the packet is used again.
            sender.Send(2);
            long before = GC.GetAllocatedBytesForCurrentThread();
            sender.Send(Packets);
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
            Assert.Equal(Packets + 2, sender.Completed);
        });
    }

    /// <summary>Sends one packet again and again down the stack above its own device.</summary>
    sealed class Sender : WdmDriver
    {
        PIO_COMPLETION_ROUTINE keep;

        public PDEVICE_OBJECT Device { get; private set; }

        public int Completed { get; private set; }

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            keep = Routine(Keep);
            DriverObject.MajorFunction[IRP_MJ_READ] = Routine(Complete);
            NTSTATUS status = IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
            Device = device;
            return status;
        }

        public void Send(int count)
        {
            PDEVICE_OBJECT top = IoGetAttachedDevice(Device);
            PIRP irp = IoAllocateIrp(top.StackSize, false);
            for (int i = 0; i < count; i++)
            {
                IoReuseIrp(irp, STATUS_SUCCESS);
                IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
                IoSetCompletionRoutine(irp, keep, default, true, true, true);
                IoCallDriver(top, irp);
            }
            IoFreeIrp(irp);
        }

        NTSTATUS Complete(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
        }

        NTSTATUS Keep(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
        {
            Completed++;
            return STATUS_MORE_PROCESSING_REQUIRED;
        }
    }
}
