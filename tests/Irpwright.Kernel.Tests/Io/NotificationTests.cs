using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>How a program learns that a request is over, other than by its event: ports, and what can be left out.</summary>
public class NotificationTests : DriverTest
{
    const string Name = @"\Device\Notifying";

    /// <summary>A device that answers every read in this way, and all else with success.</summary>
    PDEVICE_OBJECT Answering(Completing how, NTSTATUS status = STATUS_SUCCESS, ulong information = 3) => Device(
        (_, irp) => IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_READ ? CompleteSomehow(irp, how, status, information) : Complete(irp, STATUS_SUCCESS),
        name: Name);

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("COMPLETE-FINAL-16")]
    public void A_port_receives_key_context_status_and_count_of_each_request(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        Answering(how);
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle, 77);
        IoOperation first = handle.StartRead(new byte[8]), second = handle.StartRead(new byte[8]);
        Assert.NotEqual(first.Context, second.Context);
        PortEntry[] entries = [port.Take()!.Value, port.Take()!.Value];
        Assert.Equal([first.Context, second.Context], entries.Select(e => e.Context).Order());
        Assert.All(entries, e => Assert.Equal((77UL, new IoResult(STATUS_SUCCESS, 3)), (e.Key, e.Result)));
        Assert.Null(port.Take(TimeSpan.FromMilliseconds(1)));
        first.Wait();
        second.Wait();
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("COMPLETE-FINAL-16")]
    public void A_thread_that_waits_at_the_port_is_given_the_request(Scheduling scheduling) => Run(scheduling, () =>
    {
        PIRP held = default;
        Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_READ) return Complete(irp, STATUS_SUCCESS);
            IoMarkIrpPending(irp);
            held = irp;
            return STATUS_PENDING;
        }, name: Name);
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle);
        IoOperation operation = handle.StartRead(new byte[8]);
        PKEVENT taken = Event();
        Start(() =>
        {
            Step($"took {port.Take()!.Value.Result.Status.Name}");
            KeSetEvent(taken, 0, false);
        });
        KeWaitForSingleObject(Event(), Executive, KernelMode, false, -10_000);
        Assert.Empty(Steps);
        Complete(held, STATUS_DEVICE_NOT_READY);
        Wait(taken);
        Assert.Equal(["took STATUS_DEVICE_NOT_READY"], Steps);
        operation.Wait();
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("COMPLETE-FINAL-16")]
    public void A_request_without_a_context_is_not_reported_to_the_port(Scheduling scheduling) => Run(scheduling, () =>
    {
        Answering(Completing.FromADpc);
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle);
        int before = Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag);
        PIO_STATUS_BLOCK block = StatusBlock();
        var over = new Completion(this);
        Machine.Requests.Send(handle.FileObject, new IoRequest(IRP_MJ_READ, Length: 0), block, over, out _);
        Wait(over.Event);
        Assert.Null(port.Take(TimeSpan.Zero));
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag));
    });

    const uint IrpTag = 0x20707249; // "Irp "

    sealed class Completion(NotificationTests test) : IRequestCompletion
    {
        internal readonly PKEVENT Event = test.Event();

        public void Finished(NTSTATUS status, ulong information) => test.KeSetEvent(Event, 0, false);
    }

    [Theory]
    [InlineData(Completing.Inline, STATUS_SUCCESS, false)]
    [InlineData(Completing.Inline, STATUS_BUFFER_OVERFLOW, false)]
    [InlineData(Completing.InlineAfterMarking, STATUS_SUCCESS, true)]
    [InlineData(Completing.FromAnotherThread, STATUS_SUCCESS, true)]
    [InlineData(Completing.FromAnotherThread, STATUS_DEVICE_NOT_READY, true)]
    [Spec("COMPLETE-FINAL-17")]
    public void A_handle_can_leave_out_the_port_for_requests_that_are_over_at_once(Completing how, NTSTATUS status, bool reported)
    {
        foreach (Scheduling scheduling in Enum.GetValues<Scheduling>())
        {
            using var test = new Skipping();
            test.Check(scheduling, how, status, reported);
        }
    }

    sealed class Skipping : NotificationTests
    {
        internal void Check(Scheduling scheduling, Completing how, NTSTATUS status, bool reported) => Run(scheduling, () =>
        {
            Answering(how, status);
            using var port = new CompletionPort(Machine);
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            port.Bind(handle);
            handle.Skip(portOnSuccess: true);
            handle.StartRead(new byte[8]).Wait();
            Assert.Equal(reported, port.Take(TimeSpan.FromMilliseconds(1)) is not null);
        });
    }

    [Theory]
    [InlineData(Completing.Inline)]
    [InlineData(Completing.FromAnotherThread)]
    [Spec("COMPLETE-FINAL-18")]
    public void An_error_that_the_call_returned_is_not_reported_to_the_port(Completing how) => Run(() =>
    {
        Answering(how, STATUS_DEVICE_NOT_READY);
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle);
        IoOperation operation = handle.StartRead(new byte[8]);
        operation.Wait();
        Assert.Equal(how == Completing.Inline ? STATUS_DEVICE_NOT_READY : STATUS_PENDING, operation.InitialStatus);
        Assert.Equal(how != Completing.Inline, port.Take(TimeSpan.Zero) is not null);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("COMPLETE-FINAL-17")]
    public void A_handle_can_leave_its_event_alone(Scheduling scheduling) => Run(scheduling, () =>
    {
        Answering(Completing.FromADpc);
        foreach (bool skips in (bool[])[false, true])
        {
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            if (skips) handle.Skip(fileEvent: true);
            handle.StartRead(new byte[8]).Wait();
            Assert.Equal(!skips, IsSet(new PKEVENT(handle.FileObject.Address + 0x98)));
            Assert.Equal(STATUS_SUCCESS, handle.FileObject.FinalStatus);
        }
    });

    [Fact]
    public void Only_an_asynchronous_file_without_a_port_takes_one() => Run(() =>
    {
        Answering(Completing.Inline);
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle);
        Assert.Throws<InvalidOperationException>(() => port.Bind(handle));
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, FILE_SYNCHRONOUS_IO_NONALERT, UserMode, out PFILE_OBJECT synchronous));
        PKQUEUE other = Machine.Ports.Create();
        Assert.Equal(STATUS_INVALID_PARAMETER, Machine.Ports.Associate(synchronous, other, 0));
        Assert.Equal(STATUS_INVALID_PARAMETER, Machine.Ports.SetNotificationModes(synchronous, FILE_SKIP_SET_EVENT_ON_HANDLE));
        Assert.Equal(STATUS_INVALID_PARAMETER, Machine.Ports.SetNotificationModes(handle.FileObject, 8));
        ObDereferenceObject(other);
        Machine.Files.Close(synchronous);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Posted_entries_and_requests_come_in_order_and_a_closed_port_frees_what_is_left(Scheduling scheduling) => Run(scheduling, () =>
    {
        Answering(Completing.Inline);
        int before = Machine.Pool.LiveBlocks.Count;
        using (var port = new CompletionPort(Machine))
        {
            port.Post(1, 2, new IoResult(STATUS_CANCELLED, 5));
            DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            port.Bind(handle, 9);
            handle.StartRead(new byte[8]).Wait();
            port.Post(3);
            handle.StartRead(new byte[8]).Wait();
            Assert.Equal(new PortEntry(1, 2, new IoResult(STATUS_CANCELLED, 5)), port.Take());
            Assert.Equal(9UL, port.Take()!.Value.Key);
            handle.Dispose(); // what it reported stays
        }
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
    });

    /// <summary>An APC of a request is delivered when its thread waits alertably, in that thread, at PASSIVE_LEVEL.</summary>
    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("COMPLETE-FINAL-16")]
    public void An_APC_routine_is_called_in_an_alertable_wait_of_the_requesting_thread(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        Answering(how);
        KernelThread requestor = Machine.CurrentThread;
        int before = Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        handle.Apc = operation =>
        {
            Assert.Equal((requestor, PASSIVE_LEVEL), (Machine.CurrentThread, KeGetCurrentIrql()));
            Step($"{operation.Context} {operation.Result}");
        };
        IoOperation first = handle.StartRead(new byte[8]), second = handle.StartRead(new byte[8]);
        first.Wait();
        second.Wait(); // which is not alertable
        Assert.Empty(Steps);
        Assert.Equal(before + 2, Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag));
        Assert.True(Machine.SleepAlertable(TimeSpan.FromSeconds(10)));
        Assert.Equal([$"{first.Context} STATUS_SUCCESS  3 bytes", $"{second.Context} STATUS_SUCCESS  3 bytes"], Steps.Order());
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag));
        Assert.False(Machine.SleepAlertable(TimeSpan.FromMilliseconds(1)));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("COMPLETE-FINAL-16")]
    public void An_APC_ends_a_sleep_that_began_before_the_request_was_over_and_one_that_nobody_waits_for_is_run_down(Scheduling scheduling) => Run(scheduling, () =>
    {
        Answering(Completing.FromADpc);
        int before = Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        handle.Apc = _ => Step("called");
        handle.StartRead(new byte[8]);
        Assert.True(Machine.SleepAlertable(TimeSpan.FromSeconds(100)));
        Assert.Equal(["called"], Steps);
        PKEVENT over = Event();
        Machine.Scheduler.Start("careless", ThreadKind.User, () =>
        {
            handle.StartRead(new byte[8]).Wait();
            KeSetEvent(over, 0, false);
        });
        Wait(over);
        Eventually(() => Machine.Pool.LiveBlocks.Count(b => b.Tag == IrpTag) == before);
        Assert.Equal(["called"], Steps);
    });

    [Theory]
    [InlineData(Completing.Inline)]
    [InlineData(Completing.FromAnotherThread)]
    [Spec("COMPLETE-FINAL-18")]
    public void An_error_that_the_call_returned_queues_no_APC(Completing how) => Run(() =>
    {
        Answering(how, STATUS_DEVICE_NOT_READY);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        handle.Apc = _ => Step("called");
        handle.StartRead(new byte[8]).Wait();
        Assert.Equal(how != Completing.Inline, Machine.SleepAlertable(TimeSpan.FromMilliseconds(1)));
        Assert.Equal(how != Completing.Inline ? ["called"] : [], Steps);
    });

    [Fact]
    public void A_file_with_a_port_takes_no_APC_routine() => Run(() =>
    {
        Answering(Completing.Inline);
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle);
        handle.Apc = _ => Step("called");
        Assert.Equal(STATUS_INVALID_PARAMETER, handle.StartRead(new byte[8]).Wait().Status);
    });
}
