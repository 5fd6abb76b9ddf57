using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

/// <summary>Goal: a device with I/O outstanding can be removed in the documented order. Method: a driver with a remove lock, and a request that another thread ends.</summary>
public sealed class RemoveLockOrderTests : PnpTest
{
    [Theory, MemberData(nameof(EverySchedule)), Spec("RMLOCK-07")]
    public void Removal_forwards_then_waits_for_the_users_then_detaches_and_deletes(Scheduling scheduling) => Run(scheduling, () =>
    {
        PIO_REMOVE_LOCK removeLock = new(Memory(IO_REMOVE_LOCK.SizeOf).Address);
        PDEVICE_OBJECT physical = default, functional = default;
        IoInitializeRemoveLock(removeLock, 0x6B636F4C, 0, 0);
        Answer = (minor, irp) =>
        {
            if (minor != IRP_MN_REMOVE_DEVICE) return null;
            PDEVICE_OBJECT lower = functional.DeviceObjectExtension.AttachedTo;
            Assert.Equal(STATUS_SUCCESS, IoAcquireRemoveLock(removeLock, irp));
            irp.IoStatus.Status = STATUS_SUCCESS;
            IoSkipCurrentIrpStackLocation(irp);
            NTSTATUS status = IoCallDriver(lower, irp);
            Step("forwarded");
            Start(() =>
            {
                while (IoAcquireRemoveLock(removeLock, new PVOID(2)) >= 0)
                {
                    IoReleaseRemoveLock(removeLock, new PVOID(2));
                    KeDelayExecutionThread(KernelMode, false, -10_000);
                }
                Step("the last user leaves");
                IoReleaseRemoveLock(removeLock, new PVOID(1));
            });
            IoReleaseRemoveLockAndWait(removeLock, irp);
            Step("nobody uses the device");
            IoDetachDevice(lower);
            IoDeleteDevice(functional);
            return STATUS_PENDING; // the packet is gone; the caller returns what it was told
        };
        DeviceNode node = Started();
        physical = node.PhysicalDevice;
        functional = IoGetAttachedDevice(physical);
        Assert.Equal(STATUS_SUCCESS, IoAcquireRemoveLock(removeLock, new PVOID(1)));
        Noted();

        Pnp.Unplug(node);

        Assert.Equal(["SURPRISE_REMOVAL", "REMOVE", "forwarded", "the last user leaves", "nobody uses the device", "unload"], Noted());
        Assert.Empty(Pnp.Nodes);
    });
}
