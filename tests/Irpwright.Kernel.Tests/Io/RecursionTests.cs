using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>Goal: C# drivers that nest without end are reported, and the process lives. Method: drivers that send in circles.</summary>
public class RecursionTests : DriverTest
{
    [Fact]
    public void A_routine_that_sends_its_packet_again_without_end_overflows_the_kernel_stack()
    {
        BugCheckReport report = Stops(UNEXPECTED_KERNEL_MODE_TRAP, () =>
        {
            PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_UNSUCCESSFUL));
            IO_COMPLETION_ROUTINE again = null!;
            again = (_, irp, _) =>
            {
                Send(device, irp, again);
                return STATUS_MORE_PROCESSING_REQUIRED;
            };
            Send(device, Packet(device), again);
        });
        Assert.Equal(8UL, report.Parameter1);
        Assert.InRange(report.CallStack.Count, 1, 100);
    }

    void Send(PDEVICE_OBJECT device, PIRP irp, IO_COMPLETION_ROUTINE routine)
    {
        IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
        OnCompletion(irp, routine);
        IoCallDriver(device, irp);
    }

    [Fact]
    public void A_dispatch_routine_that_sends_ever_new_packets_to_itself_overflows_the_kernel_stack() =>
        Stops(UNEXPECTED_KERNEL_MODE_TRAP, () =>
        {
            PDEVICE_OBJECT device = default;
            device = Device((d, _) => IoCallDriver(d, Packet(d)));
            IoCallDriver(device, Packet(device));
        });

    [Fact]
    public void A_completion_routine_that_completes_ever_new_packets_overflows_the_kernel_stack() =>
        Stops(UNEXPECTED_KERNEL_MODE_TRAP, () =>
        {
            void CompleteNew()
            {
                PIRP irp = IoAllocateIrp(1, false);
                OnCompletion(irp, (_, _, _) =>
                {
                    CompleteNew();
                    return STATUS_MORE_PROCESSING_REQUIRED;
                });
                IoSetNextIrpStackLocation(irp);
                Complete(irp, STATUS_SUCCESS);
            }
            CompleteNew();
        });
}
