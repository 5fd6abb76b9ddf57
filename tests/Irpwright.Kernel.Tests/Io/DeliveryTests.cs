using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>What the originator gets to see, once the walk is over.</summary>
public class DeliveryTests : DriverTest
{
    /// <summary>Where and at which level the last stages ran.</summary>
    sealed class StageObserver : KernelObserver
    {
        internal readonly List<(string Stage, KernelThread? Thread, byte Irql)> Stages = [];
        internal readonly List<InformationTooLarge> TooLarge = [];
        internal PKEVENT Watched;

        void Add(string stage)
        {
            lock (Stages) Stages.Add((stage, KernelThread.Current, KernelThread.Current!.Irql));
        }

        public override void On(in IrpCompleted e) => Add("walk over");

        public override void On(in EventSet e)
        {
            if (e.Event == Watched) Add("delivered");
        }

        public override void On(in InformationTooLarge e) => TooLarge.Add(e);
    }

    readonly StageObserver observer = new();

    public DeliveryTests() => Observer = observer;

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("COMPLETE-FINAL-01"), Spec("COMPLETE-FINAL-09")]
    public void Delivery_happens_once_in_the_originating_thread_at_APC_LEVEL(Scheduling scheduling) => Run(scheduling, () =>
    {
        KernelThread originator = Machine.CurrentThread;
        KernelThread? completer = null;
        PDEVICE_OBJECT target = Device((_, irp) => Pend(irp, () =>
        {
            completer = Machine.CurrentThread;
            KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
            Complete(irp, STATUS_SUCCESS);
            KeLowerIrql(old);
        }));
        observer.Watched = Event();
        IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, observer.Watched, StatusBlock()));
        Wait(observer.Watched);
        Assert.Equal([("walk over", completer, DISPATCH_LEVEL), ("delivered", originator, APC_LEVEL)], observer.Stages);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Fact]
    [Spec("COMPLETE-FINAL-09")]
    public void In_the_originating_thread_at_PASSIVE_LEVEL_it_is_over_when_completion_returns() => Run(() =>
    {
        PKEVENT done = Event();
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            Complete(irp, STATUS_SUCCESS);
            Assert.True(IsSet(done));
            Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
            Step("completed");
            return STATUS_SUCCESS;
        });
        IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, StatusBlock()));
        Assert.Equal(["completed"], Steps);
    });

    [Theory]
    [InlineData(APC_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("COMPLETE-FINAL-09")]
    public void Above_PASSIVE_LEVEL_it_waits_until_the_level_falls(byte irql) => Run(() =>
    {
        PKEVENT done = Event();
        PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, StatusBlock());
        KeRaiseIrql(irql, out KIRQL old);
        IoCallDriver(target, irp);
        Assert.False(IsSet(done));
        Assert.Equal(irql, KeGetCurrentIrql());
        KeLowerIrql(old);
        Assert.True(IsSet(done));
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("COMPLETE-FINAL-04")]
    public void Close_and_synchronous_paging_requests_finish_in_the_completing_context(bool paging) => Run(() =>
    {
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS, 9));
        PIRP irp = Packet(target);
        irp.Flags = paging ? IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO : IRP_CLOSE_OPERATION;
        irp.UserIosb = block;
        irp.UserEvent = done;
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        IoCallDriver(target, irp);
        Assert.True(IsSet(done));
        KeLowerIrql(old);
        Assert.Equal(STATUS_SUCCESS, block.Status);
        Assert.Equal(9UL, block.Information);
        Assert.Equal(paging, irp.Type != IO_TYPE_IRP);
        if (!paging) IoFreeIrp(irp); // its sender does
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("COMPLETE-FINAL-05")]
    public void Asynchronous_paging_requests_call_their_sender_in_its_thread_and_leave_the_rest_to_it(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        KernelThread sender = Machine.CurrentThread;
        PIO_STATUS_BLOCK block = StatusBlock();
        PKEVENT done = Event();
        PVOID page = Memory(4096);
        PMDL pages = IoAllocateMdl(page, 4096, false, false, default);
        MmProbeAndLockPages(pages, KernelMode, IoReadAccess);
        PIO_APC_ROUTINE written = Machine.Code.Routine(new IO_APC_ROUTINE((context, status, reserved) =>
        {
            Assert.Equal((sender, APC_LEVEL), (Machine.CurrentThread, KeGetCurrentIrql()));
            Assert.Equal((0x77UL, block, 0U), (context.Address, status, reserved));
            Assert.Equal((STATUS_DEVICE_NOT_READY, 5UL), (block.Status, block.Information));
            Step("written");
            KeSetEvent(done, 0, false);
        }));
        PDEVICE_OBJECT target = Lowest(how, STATUS_DEVICE_NOT_READY, 5);
        PIRP irp = Packet(target, IRP_MJ_WRITE);
        irp.Flags = IRP_PAGING_IO | IRP_NOCACHE;
        irp.MdlAddress = pages;
        irp.UserIosb = block;
        irp.Tail.Overlay.Thread = sender.Object;
        irp.Overlay.AsynchronousParameters.UserApcRoutine = written;
        irp.Overlay.AsynchronousParameters.UserApcContext = new PVOID(0x77);
        IoCallDriver(target, irp);
        Wait(done);
        Assert.Equal(["written"], Steps);
        Assert.NotEqual(IO_TYPE_IRP, irp.Type);
        Assert.NotEqual((MDL_FLAGS)0, pages.MdlFlags & MDL_PAGES_LOCKED);
        MmUnlockPages(pages);
        IoFreeMdl(pages);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CMP-29")]
    public void The_boost_of_the_completing_driver_reaches_the_thread_that_waits(Scheduling scheduling) => Run(scheduling, () =>
    {
        foreach (sbyte boost in (sbyte[])[IO_SOUND_INCREMENT, IO_NO_INCREMENT])
        {
            PKEVENT done = Event();
            KernelThread originator = Machine.CurrentThread;
            PDEVICE_OBJECT target = Device((_, irp) => Pend(irp, () =>
            {
                Eventually(() => originator.Wait.IsActive);
                irp.IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(irp, boost);
            }));
            IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, StatusBlock()));
            Wait(done);
            Assert.Equal(boost, Machine.CurrentThread.PriorityIncrement);
        }
    });

    [Theory]
    [InlineData(STATUS_REPARSE, IO_REPARSE, STATUS_REPARSE)]
    [InlineData(STATUS_REPARSE, IO_REMOUNT, STATUS_REPARSE)]
    [InlineData(STATUS_REPARSE, IO_REPARSE_TAG_MOUNT_POINT, STATUS_REPARSE)]
    [InlineData(STATUS_REPARSE, IO_REPARSE_TAG_SYMLINK, STATUS_IO_REPARSE_TAG_NOT_HANDLED)]
    [InlineData(STATUS_SUCCESS, IO_REPARSE_TAG_SYMLINK, STATUS_SUCCESS)]
    [Spec("COMPLETE-FINAL-03")]
    public void A_reparse_tag_that_nobody_handled_becomes_an_error_and_the_auxiliary_buffer_is_freed(NTSTATUS status, uint information, NTSTATUS delivered) => Run(() =>
    {
        PIO_STATUS_BLOCK block = StatusBlock();
        PKEVENT done = Event();
        int before = Machine.Pool.LiveBlocks.Count;
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            irp.Tail.Overlay.AuxiliaryBuffer = Memory(64);
            return CompleteSomehow(irp, Completing.InlineAfterMarking, status, information);
        });
        before = Machine.Pool.LiveBlocks.Count;
        IoCallDriver(target, IoBuildDeviceIoControlRequest(0x222000, target, default, 0, default, 0, false, done, block));
        Wait(done);
        Assert.Equal((delivered, (ulong)information), (block.Status, block.Information));
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
    });

    [Fact]
    [Spec("COMPLETE-FINAL-06"), Spec("COMPLETE-FINAL-07"), Spec("COMPLETE-FINAL-13")]
    public void Page_lists_are_unlocked_before_and_freed_in_delivery_with_the_system_buffer() => Run(() =>
    {
        PVOID buffer = Memory(64);
        PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        int before = Machine.Pool.LiveBlocks.Count;
        PIRP irp = IoBuildDeviceIoControlRequest(
            0x222000 | METHOD_OUT_DIRECT, target, buffer, 64, buffer, 64, false, default, new PIO_STATUS_BLOCK(buffer.Address));
        PMDL first = irp.MdlAddress;
        PMDL second = IoAllocateMdl(buffer, 8, true, false, irp);
        MmProbeAndLockPages(second, KernelMode, IoReadAccess);
        Assert.Equal(second, first.Next);
        Assert.Equal(before + 4, Machine.Pool.LiveBlocks.Count);

        KeRaiseIrql(APC_LEVEL, out KIRQL old); // which holds delivery back
        IoCallDriver(target, irp);
        Assert.Equal(first, irp.MdlAddress);
        Assert.Equal((MDL_FLAGS)0, (first.MdlFlags | second.MdlFlags) & MDL_PAGES_LOCKED);
        Assert.Equal(before + 4, Machine.Pool.LiveBlocks.Count);
        KeLowerIrql(old);
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
        Assert.Equal(0, Machine.Mdls.LockedPages);
    });

    [Fact]
    [Spec("COMPLETE-FINAL-07")]
    public void A_page_list_that_was_never_locked_must_not_stay_on_the_packet() => Stops(PFN_LIST_CORRUPT, () =>
    {
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            IoAllocateMdl(Memory(64), 64, false, false, irp);
            return Complete(irp, STATUS_SUCCESS);
        });
        IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, Event(), StatusBlock()));
    });

    [Theory]
    [InlineData(IRP_MJ_READ, true)]
    [InlineData(IRP_MJ_WRITE, true)]
    [InlineData(IRP_MJ_CREATE, true)]
    [InlineData(IRP_MJ_DEVICE_CONTROL, false)]
    [Spec("COMPLETE-FINAL-08")]
    public void Only_some_requests_are_finished_by_their_sender_after_the_dispatch_routine(byte major, bool deferred) => Run(() =>
    {
        Device((_, irp) =>
        {
            bool watched = IoGetCurrentIrpStackLocation(irp).MajorFunction == major;
            Complete(irp, STATUS_SUCCESS);
            if (watched) Step(irp.Type == IO_TYPE_IRP ? "still a packet" : "gone");
            return STATUS_SUCCESS;
        }, flags: DO_BUFFERED_IO, name: @"\Device\Deferring");
        using DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Deferring");
        if (major == IRP_MJ_READ) handle.Read(new byte[1]);
        else if (major == IRP_MJ_WRITE) handle.Write(new byte[1]);
        else if (major == IRP_MJ_DEVICE_CONTROL) handle.Control(0x222000);
        Assert.Equal([deferred ? "still a packet" : "gone"], Steps);
    });

    [Theory]
    [InlineData(STATUS_SUCCESS, true, true)]
    [InlineData(STATUS_BUFFER_OVERFLOW, true, true)]
    [InlineData(STATUS_VERIFY_REQUIRED, true, false)]
    [InlineData(STATUS_UNSUCCESSFUL, true, false)]
    [InlineData(STATUS_SUCCESS, false, false)]
    [Spec("COMPLETE-FINAL-10")]
    public void Buffered_data_is_copied_unless_the_request_failed_or_is_no_input(NTSTATUS status, bool input, bool copied) => Run(() =>
    {
        PVOID output = Memory(8);
        PKEVENT done = Event();
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, 8).Fill(0xEE);
            if (!input) irp.Flags &= ~IRP_INPUT_OPERATION;
            return CompleteSomehow(irp, Completing.InlineAfterMarking, status, 5);
        });
        IoCallDriver(target, IoBuildDeviceIoControlRequest(0x222000, target, default, 0, output, 8, false, done, StatusBlock()));
        Wait(done);
        Assert.Equal(copied ? [0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0, 0, 0] : new byte[8], Bytes(output, 8));
    });

    [Theory]
    [InlineData(9UL)]
    [InlineData(0x1_0000UL)]
    [InlineData(ulong.MaxValue)]
    [Spec("COMPLETE-FINAL-11")]
    public void More_information_than_the_output_takes_is_bounded_and_reported(ulong information) => Run(() =>
    {
        PVOID output = Memory(16);
        PIO_STATUS_BLOCK block = StatusBlock();
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, 8).Fill(0xEE);
            return Complete(irp, STATUS_SUCCESS, information);
        });
        IoCallDriver(target, IoBuildDeviceIoControlRequest(0x222000, target, default, 0, output, 8, false, Event(), block));
        Assert.Equal([.. Enumerable.Repeat((byte)0xEE, 8), .. new byte[8]], Bytes(output, 16));
        Assert.Equal(information, block.Information);
        InformationTooLarge report = Assert.Single(observer.TooLarge);
        Assert.Equal(information, report.Information);
        Assert.Equal(8UL, report.BufferLength);
    });

    [Fact]
    [Spec("COMPLETE-FINAL-12")]
    public void A_user_buffer_that_went_away_becomes_the_status() => Run(() =>
    {
        ulong user = Machine.Memory.AllocateUser(4096);
        PIO_STATUS_BLOCK block = StatusBlock();
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            Machine.Memory.FreeUser(user, 4096);
            return CompleteSomehow(irp, Completing.InlineAfterMarking, STATUS_SUCCESS, 8);
        });
        PKEVENT done = Event();
        IoCallDriver(target, IoBuildDeviceIoControlRequest(0x222000, target, default, 0, new PVOID(user), 8, false, done, block));
        Wait(done);
        Assert.Equal(STATUS_ACCESS_VIOLATION, block.Status);
    });

    [Fact]
    [Spec("COMPLETE-FINAL-12")]
    public void A_drivers_buffer_that_went_away_is_a_fault() => Stops(PAGE_FAULT_IN_NONPAGED_AREA, () =>
    {
        PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS, 8));
        var unmapped = new PVOID(Machine.Memory.NonPagedPool.End + 0x1000);
        IoCallDriver(target, IoBuildDeviceIoControlRequest(0x222000, target, default, 0, unmapped, 8, false, Event(), StatusBlock()));
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("COMPLETE-FINAL-15")]
    public void A_status_block_that_went_away_is_not_written_and_all_else_is_done(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        ulong user = Machine.Memory.AllocateUser(4096);
        PKEVENT done = Event();
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            Machine.Memory.FreeUser(user, 4096);
            return CompleteSomehow(irp, how, STATUS_SUCCESS);
        });
        PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, new PIO_STATUS_BLOCK(user));
        IoCallDriver(target, irp);
        Wait(done);
        Eventually(() => irp.Type != IO_TYPE_IRP);
        Assert.True(Lists.IsEmpty(Machine.CurrentThread.IrpList));
    });

    /// <summary>Looks at the thread's list when a request's event is set.</summary>
    sealed class ListObserver(Func<PKEVENT, bool> isWatched, Action<bool> seen) : KernelObserver
    {
        public override void On(in EventSet e)
        {
            if (isWatched(e.Event)) seen(Lists.IsEmpty(KernelThread.Current!.IrpList));
        }
    }

    [Fact]
    [Spec("COMPLETE-FINAL-16")]
    public void A_request_leaves_the_list_of_its_thread_when_its_requestor_has_been_told() => Run(() =>
    {
        PKEVENT done = Event();
        bool? wasEmpty = null;
        Machine.Events.Add(new ListObserver(e => e == done, isEmpty => wasEmpty = isEmpty));
        PDEVICE_OBJECT target = Lowest(Completing.InlineAfterMarking, STATUS_SUCCESS);
        IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, StatusBlock()));
        Assert.False(wasEmpty);
        Assert.True(Lists.IsEmpty(Machine.CurrentThread.IrpList));
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("COMPLETE-FINAL-19")]
    public void A_late_error_of_a_synchronous_request_without_a_file_reaches_its_status_block_and_event(bool ownEvent) => Run(() =>
    {
        PKEVENT own = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PDEVICE_OBJECT target = Lowest(Completing.InlineAfterMarking, STATUS_DEVICE_NOT_READY);
        PIRP irp = IoBuildDeviceIoControlRequest(0x222000, target, default, 0, default, 0, false, ownEvent ? own : default, block);
        irp.Flags |= IRP_SYNCHRONOUS_API;
        Assert.Equal(STATUS_PENDING, IoCallDriver(target, irp));
        Assert.Equal((STATUS_DEVICE_NOT_READY, ownEvent), (block.Status, IsSet(own)));
        Assert.NotEqual(IO_TYPE_IRP, irp.Type);
    });

    [Theory]
    [InlineData(IRP_CLOSE_OPERATION)]
    [InlineData(IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO)]
    [Spec("CMP-29"), Spec("COMPLETE-FINAL-04")]
    public void The_boost_also_reaches_who_waits_without_an_APC(IRP_FLAGS flags) => Run(() =>
    {
        PKEVENT done = Event();
        KernelThread originator = Machine.CurrentThread;
        PDEVICE_OBJECT target = Device((_, i) => Pend(i, () =>
        {
            Eventually(() => originator.Wait.IsActive);
            i.IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(i, IO_SOUND_INCREMENT);
        }));
        PIRP irp = Packet(target);
        irp.Flags = flags;
        irp.UserIosb = StatusBlock();
        irp.UserEvent = done;
        IoCallDriver(target, irp);
        Wait(done);
        Assert.Equal(IO_SOUND_INCREMENT, Machine.CurrentThread.PriorityIncrement);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("COMPLETE-FINAL-05"), Spec("COMPLETE-FINAL-09")]
    public void A_request_whose_thread_has_ended_is_dropped(bool paging) => Run(() =>
    {
        PIRP held = default;
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_WRITE) return Complete(irp, STATUS_SUCCESS);
            IoMarkIrpPending(irp);
            held = irp;
            return STATUS_PENDING;
        }, flags: DO_DIRECT_IO, name: @"\Device\Orphaned");
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Orphaned", GENERIC_WRITE, 0, UserMode, out PFILE_OBJECT file));
        PMDL pages = default;
        KernelThread sender = Start(() =>
        {
            PIRP irp = IoBuildAsynchronousFsdRequest(IRP_MJ_WRITE, target, Memory(64), 64, 0, StatusBlock());
            pages = irp.MdlAddress;
            if (paging)
            {
                irp.Flags |= IRP_PAGING_IO | IRP_NOCACHE;
            }
            else
            {
                irp.Tail.Overlay.OriginalFileObject = file;
                ObReferenceObject(file);
            }
            IoCallDriver(target, irp);
        });
        Eventually(() => sender.State == SchedulerState.Exited);
        Complete(held, STATUS_SUCCESS);
        Assert.NotEqual(IO_TYPE_IRP, held.Type);
        Machine.Files.Close(file);
        Assert.Equal((0, paging ? 1 : 0), (target.ReferenceCount, Machine.Mdls.LockedPages));
        if (!paging) return;
        MmUnlockPages(pages); // which stay its sender's
        IoFreeMdl(pages);
    });

    [Fact]
    [Spec("COMPLETE-FINAL-16")]
    public void An_APC_routine_needs_no_file() => Run(() =>
    {
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PDEVICE_OBJECT target = Lowest(Completing.FromADpc, STATUS_SUCCESS, 4);
        PIRP irp = IoBuildDeviceIoControlRequest(0x222000, target, default, 0, default, 0, false, default, block);
        irp.Overlay.AsynchronousParameters.UserApcContext = new PVOID(0x66);
        irp.Overlay.AsynchronousParameters.UserApcRoutine = Machine.Code.Routine(new IO_APC_ROUTINE((context, iosb, _) =>
        {
            Step($"{context.Address:X} {iosb.Status.Name} {iosb.Information} {iosb == block}");
            KeSetEvent(done, 0, false);
        }));
        IoCallDriver(target, irp);
        Wait(done);
        Assert.Equal(["66 STATUS_SUCCESS 4 True"], Steps);
        Assert.NotEqual(IO_TYPE_IRP, irp.Type);
    });

    public enum Outcome
    {
        Success,
        InlineError,
        LateError,
    }

    /// <summary>
    /// Who is told what. Columns: synchronous file, SYNCHRONOUS_API, has an event of its own, outcome; then: status block written,
    /// own event set, file object's event set, its final status set.
    /// </summary>
    public static TheoryData<bool, bool, bool, Outcome, bool, bool, bool, bool> Deliveries => new()
    {
        { false, false, true, Outcome.Success, true, true, false, false },
        { false, false, false, Outcome.Success, true, false, true, true },
        { false, false, true, Outcome.InlineError, false, false, false, false },
        { false, false, false, Outcome.InlineError, false, false, false, false },
        { false, false, true, Outcome.LateError, true, true, false, false },
        { false, false, false, Outcome.LateError, true, false, true, true },
        { true, false, true, Outcome.Success, true, true, true, true },
        { true, false, false, Outcome.Success, true, false, true, true },
        { true, false, false, Outcome.InlineError, false, false, false, false },
        { true, false, true, Outcome.LateError, false, false, true, true },
        { true, false, false, Outcome.LateError, false, false, true, true },
        { false, true, true, Outcome.Success, true, true, false, false },
        { false, true, true, Outcome.InlineError, false, false, false, false },
        { false, true, true, Outcome.LateError, true, true, false, false },
        { false, true, false, Outcome.LateError, true, false, true, false },
    };

    [Theory, MemberData(nameof(Deliveries))]
    [Spec("COMPLETE-FINAL-14"), Spec("COMPLETE-FINAL-15"), Spec("COMPLETE-FINAL-18"), Spec("COMPLETE-FINAL-19")]
    public void A_request_with_a_file_object(
        bool synchronousFile, bool synchronousApi, bool ownEvent, Outcome outcome, bool statusBlock, bool userEvent, bool fileEvent, bool finalStatus) => Run(() =>
    {
        NTSTATUS status = outcome == Outcome.Success ? STATUS_SUCCESS : STATUS_DEVICE_NOT_READY;
        Completing how = outcome == Outcome.LateError ? Completing.FromAnotherThread : Completing.Inline;
        PDEVICE_OBJECT target = Device(
            (_, i) => IoGetCurrentIrpStackLocation(i).MajorFunction == IRP_MJ_DEVICE_CONTROL ? CompleteSomehow(i, how, status, 3) : Complete(i, STATUS_SUCCESS),
            name: @"\Device\Files");
        uint options = synchronousFile ? FILE_SYNCHRONOUS_IO_NONALERT : 0U;
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Files", GENERIC_READ, options, KernelMode, out PFILE_OBJECT file));
        var eventOfFile = new PKEVENT(file.Address + 0x98);
        KeClearEvent(eventOfFile);
        file.FinalStatus = Untouched;
        ObReferenceObject(file); // what a request holds until it is over

        PKEVENT own = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PIRP irp = IoBuildDeviceIoControlRequest(0x222000, target, default, 0, default, 0, false, ownEvent ? own : default, block);
        irp.Tail.Overlay.OriginalFileObject = file;
        if (synchronousApi) irp.Flags |= IRP_SYNCHRONOUS_API;
        IoCallDriver(target, irp);
        // Lets the other thread and the APC run.
        PKEVENT never = Event();
        for (int i = 0; irp.Type == IO_TYPE_IRP && i < 10_000; i++) KeWaitForSingleObject(never, Executive, KernelMode, false, -10_000);

        Assert.Equal(statusBlock ? status : Untouched, block.Status);
        Assert.Equal(statusBlock ? 3UL : 0, block.Information);
        Assert.Equal(userEvent, IsSet(own));
        Assert.Equal(fileEvent, IsSet(eventOfFile));
        Assert.Equal(finalStatus ? status : Untouched, file.FinalStatus);
        Assert.NotEqual(IO_TYPE_IRP, irp.Type);
        Machine.Files.Close(file);
        Assert.Equal(0, target.ReferenceCount); // the request's reference to the file object was given back
    });

    [Fact]
    [Spec("COMPLETE-FINAL-15")]
    public void The_byte_count_is_written_before_the_status() => Run(() =>
    {
        // A status block whose second half cannot be written: the status must then be untouched.
        ulong pages = Machine.Memory.AllocateUser(8192);
        Machine.Memory.Protect(pages + 4096, 4096, PageAccess.None);
        var block = new PIO_STATUS_BLOCK(pages + 4096 - 8);
        block.Status = Untouched;
        PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS, 1));
        PIRP irp = Packet(target);
        irp.Flags = IRP_CLOSE_OPERATION;
        irp.UserIosb = block;
        Assert.Throws<NtStatusException>(() => IoCallDriver(target, irp));
        Assert.Equal(Untouched, block.Status);
    });

    [Theory]
    [InlineData(Completing.Inline, STATUS_SUCCESS)]
    [InlineData(Completing.Inline, STATUS_UNSUCCESSFUL)]
    [InlineData(Completing.FromAnotherThread, STATUS_UNSUCCESSFUL)]
    [Spec("COMPLETE-FINAL-13"), Spec("COMPLETE-FINAL-18")]
    public void In_every_variant_the_packet_its_buffers_and_its_list_entry_are_gone(Completing how, NTSTATUS status) => Run(() =>
    {
        PVOID buffer = Memory(64);
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PDEVICE_OBJECT target = Device((_, irp) => how == Completing.Inline ? Complete(irp, status) : Held(irp));
        PIRP held = default;
        NTSTATUS Held(PIRP irp)
        {
            IoMarkIrpPending(irp);
            held = irp;
            return STATUS_PENDING;
        }
        int before = Machine.Pool.LiveBlocks.Count;
        IoCallDriver(target, IoBuildDeviceIoControlRequest(0x222000, target, buffer, 64, buffer, 64, false, done, block));
        if (!held.IsNull) Complete(held, status);
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
        var head = new PLIST_ENTRY(Machine.CurrentThread.IrpList.Address);
        Assert.Equal(head, head.Flink);
    });
}
