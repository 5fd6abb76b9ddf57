using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class CancellationTests : DriverTest
{
    /// <summary>A device that pends, and the packet it holds; its cancel routine is set by the test.</summary>
    PIRP SendPending(PDRIVER_CANCEL routine, out PDEVICE_OBJECT holder)
    {
        PDEVICE_OBJECT lower = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            IoSetCancelRoutine(irp, routine);
            return STATUS_PENDING;
        });
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            return IoCallDriver(lower, irp);
        }, above: lower);
        PIRP irp = Packet(upper);
        OnCompletion(irp, Keep("completed"));
        Assert.Equal(STATUS_PENDING, IoCallDriver(upper, irp));
        holder = lower;
        return irp;
    }

    NTSTATUS CompleteCancelled(PIRP irp)
    {
        IoReleaseCancelSpinLock(irp.CancelIrql);
        return Complete(irp, STATUS_CANCELLED);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Spec("CANCEL-01")]
    public void Setting_a_cancel_routine_returns_the_previous_one_and_looks_at_nothing_else(bool cancel) => Run(() =>
    {
        PDRIVER_CANCEL first = CancelRoutine((_, _) => { }), second = CancelRoutine((_, _) => Step("never"));
        PIRP irp = IoAllocateIrp(1, false);
        irp.Cancel = cancel;
        byte[] expected = Bytes(irp, irp.Size);
        Assert.True(IoSetCancelRoutine(irp, first).IsNull);
        Assert.Equal(first, IoSetCancelRoutine(irp, second));
        BitConverter.TryWriteBytes(expected.AsSpan(0x68), second.Address);
        Assert.Equal(expected, Bytes(irp, irp.Size));
        Assert.Equal(second, IoSetCancelRoutine(irp, default(PDRIVER_CANCEL)));
        Assert.True(irp.CancelRoutine.IsNull);
    });

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(APC_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("CANCEL-02"), Spec("CANCEL-10")]
    public void Cancelling_calls_the_routine_for_the_holding_device_at_DISPATCH_LEVEL_and_returns_TRUE(byte irql) => Run(() =>
    {
        PDEVICE_OBJECT holder = default;
        PIRP irp = default;
        irp = SendPending(CancelRoutine((device, i) =>
        {
            Assert.Equal(holder, device);
            Assert.Equal(irp, i);
            Assert.True(i.Cancel);
            Assert.True(i.CancelRoutine.IsNull);
            Assert.Equal(irql, i.CancelIrql);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            IoReleaseCancelSpinLock(i.CancelIrql);
            Assert.Equal(irql, KeGetCurrentIrql());
            Complete(i, STATUS_CANCELLED);
            Step("cancel routine");
        }), out holder);
        KeRaiseIrql(irql, out KIRQL old);
        Assert.True(IoCancelIrp(irp));
        Assert.Equal(irql, KeGetCurrentIrql());
        KeLowerIrql(old);
        Assert.Equal(["completed", "cancel routine"], Steps);
        Assert.Equal(STATUS_CANCELLED, irp.IoStatus.Status);
    });

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("CANCEL-02"), Spec("CANCEL-04")]
    public void Without_a_routine_only_the_flag_is_set_and_the_lock_released(byte irql) => Run(() =>
    {
        PIRP irp = SendPending(default, out _);
        KeRaiseIrql(irql, out KIRQL old);
        Assert.False(IoCancelIrp(irp));
        Assert.Equal(irql, KeGetCurrentIrql());
        IoAcquireCancelSpinLock(out KIRQL previous); // free
        IoReleaseCancelSpinLock(previous);
        KeLowerIrql(old);
        Assert.True(irp.Cancel);
        Assert.Empty(Steps);
    });

    [Fact]
    [Spec("CANCEL-02"), Spec("CANCEL-11")]
    public void The_routine_runs_with_the_cancel_lock_held() => Stops(SPIN_LOCK_ALREADY_OWNED, () =>
    {
        PIRP irp = SendPending(CancelRoutine((_, _) => IoAcquireCancelSpinLock(out _)), out _);
        IoCancelIrp(irp);
    });

    [Fact]
    [Spec("CANCEL-03")]
    public void A_routine_that_returns_with_the_lock_stops_the_machine()
    {
        BugCheckReport report = Stops(DRIVER_VERIFIER_IOMANAGER_VIOLATION, () =>
        {
            PIRP irp = SendPending(CancelRoutine((_, i) => { }), out _);
            IoCancelIrp(irp);
        });
        Assert.Contains("without releasing the cancel spin lock", report.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    [Spec("CANCEL-04")]
    public void The_flag_stays_set_through_completion_until_the_packet_is_initialised() => Run(() =>
    {
        PIRP irp = SendPending(CancelRoutine((_, i) => CompleteCancelled(i)), out _);
        IoCancelIrp(irp);
        Assert.True(irp.Cancel);
        Assert.False(IoCancelIrp(irp));
        Assert.True(irp.Cancel);
        IoReuseIrp(irp, STATUS_SUCCESS);
        Assert.False(irp.Cancel);
    });

    [Fact]
    [Spec("CANCEL-05"), Spec("CANCEL-07")]
    public void A_routine_set_after_the_cancellation_is_not_called() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(1, false);
        Assert.False(IoCancelIrp(irp));
        Assert.True(irp.Cancel);
        Assert.True(irp.CancelRoutine.IsNull); // it was not cancelable when it was cancelled
        IoSetCancelRoutine(irp, (_, _) => Step("cancel routine"));
        Assert.False(irp.CancelRoutine.IsNull);
        Assert.Empty(Steps);
    });

    [Fact]
    [Spec("CANCEL-07")]
    public void While_the_routine_runs_and_afterwards_the_packet_has_none() => Run(() =>
    {
        PIRP irp = SendPending(CancelRoutine((_, i) =>
        {
            Assert.True(IoSetCancelRoutine(i, default(PDRIVER_CANCEL)).IsNull); // who dequeues now has lost
            CompleteCancelled(i);
        }), out _);
        IoCancelIrp(irp);
        Assert.True(irp.Cancel);
        Assert.True(irp.CancelRoutine.IsNull);
    });

    [Theory]
    [InlineData(-1)] // the free-running scheduler
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [Spec("CANCEL-06")]
    public void Canceller_and_driver_never_both_get_the_routine(int seed)
    {
        int byCanceller = 0, byDriver = 0;
        Strategy = seed < 0 ? null : new SeededStrategy(seed);
        Run(seed < 0 ? Scheduling.FreeRunning : Scheduling.Controlled, () =>
        {
            PDRIVER_CANCEL routine = CancelRoutine((_, i) =>
            {
                Interlocked.Increment(ref byCanceller);
                IoReleaseCancelSpinLock(i.CancelIrql);
            });
            const int rounds = 200;
            PIRP irp = default;
            PKEVENT go = Event(SynchronizationEvent), ready = Event(SynchronizationEvent);
            Start(() =>
            {
                for (int i = 0; i < rounds; i++)
                {
                    Wait(go);
                    IoCancelIrp(irp);
                    KeSetEvent(ready, 0, false);
                }
            });
            for (int i = 0; i < rounds; i++)
            {
                irp = IoAllocateIrp(1, false);
                IoSetCancelRoutine(irp, routine);
                KeSetEvent(go, 0, false);
                if (!IoSetCancelRoutine(irp, default(PDRIVER_CANCEL)).IsNull) byDriver++;
                Wait(ready);
                Assert.Equal(i + 1, byCanceller + byDriver);
                IoFreeIrp(irp);
            }
        });
    }

    [Fact]
    [Spec("CANCEL-08")]
    public void Cancelling_a_completed_packet_that_kept_its_routine_stops_the_machine()
    {
        PIRP irp = default;
        PDRIVER_CANCEL routine = default;
        BugCheckReport report = Stops(CANCEL_STATE_IN_COMPLETED_IRP, () =>
        {
            routine = CancelRoutine((_, _) => Step("cancel routine"));
            PDEVICE_OBJECT device = Device((_, i) =>
            {
                IoSetCancelRoutine(i, routine);
                return Complete(i, STATUS_SUCCESS); // which is not what stops it
            });
            irp = Packet(device);
            irp.Flags = IRP_CLOSE_OPERATION;
            IoCallDriver(device, irp);
            Step("completed");
            IoCancelIrp(irp);
        });
        Assert.Equal(irp.Address, report.Parameter1);
        Assert.Equal(routine.Address, report.Parameter2);
        Assert.Equal(["completed"], Steps);
    }

    [Theory]
    [InlineData(STATUS_CANCELLED)]
    [InlineData(STATUS_SUCCESS)]
    [Spec("CANCEL-09")]
    public void Cancelling_completes_nothing_and_the_packet_may_end_in_any_way(NTSTATUS status) => Run(() =>
    {
        PIRP held = default;
        PIRP irp = SendPending(CancelRoutine((_, i) =>
        {
            held = i;
            IoReleaseCancelSpinLock(i.CancelIrql);
        }), out _);
        Assert.True(IoCancelIrp(irp));
        Assert.Empty(Steps);
        Complete(held, status);
        Assert.Equal(["completed"], Steps);
        Assert.Equal(status, irp.IoStatus.Status);
    });

    [Fact]
    [Spec("CANCEL-11")]
    public void The_cancel_lock_raises_to_DISPATCH_LEVEL_and_restores_the_level_given() => Run(() =>
    {
        KeRaiseIrql(APC_LEVEL, out KIRQL passive);
        IoAcquireCancelSpinLock(out KIRQL irql);
        Assert.Equal(APC_LEVEL, irql);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        IoReleaseCancelSpinLock(irql);
        Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(passive);
    });

    [Fact]
    [Spec("CANCEL-11")]
    public void Acquiring_the_cancel_lock_twice_stops_the_machine() => Stops(SPIN_LOCK_ALREADY_OWNED, () =>
    {
        IoAcquireCancelSpinLock(out _);
        IoAcquireCancelSpinLock(out _);
    });

    [Fact]
    [Spec("CANCEL-11")]
    public void There_is_one_cancel_lock_for_all_packets() => Run(() =>
    {
        PKEVENT cancelled = Event();
        PIRP irp = IoAllocateIrp(1, false);
        IoAcquireCancelSpinLock(out KIRQL irql);
        Start(() =>
        {
            IoCancelIrp(irp);
            Step("cancelled");
            KeSetEvent(cancelled, 0, false);
        });
        KeSetEvent(Event(), 0, false); // lets the other thread run into the lock
        Step("releasing");
        IoReleaseCancelSpinLock(irql);
        Wait(cancelled);
        Assert.Equal(["releasing", "cancelled"], Steps);
    });

    [Fact]
    [Spec("CANCEL-15")]
    public void A_request_that_ignores_its_cancellation_keeps_the_ending_thread_for_ever()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PDEVICE_OBJECT target = Device((_, irp) =>
            {
                IoMarkIrpPending(irp);
                return STATUS_PENDING;
            });
            IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, Event(), StatusBlock()));
        }));
        Assert.Contains("ends, but has requests that were cancelled and never completed", hang.Message, StringComparison.Ordinal);
    }

    /// <summary>The documented way to queue packets under a lock of the driver's own.</summary>
    public class A_queue_with_a_private_lock : DriverTest
    {
        PLIST_ENTRY queue;
        PKSPIN_LOCK queueLock;
        PDRIVER_CANCEL cancelRoutine;
        PDEVICE_OBJECT device;

        void Create()
        {
            queue = new PLIST_ENTRY(Memory(LIST_ENTRY.SizeOf).Address);
            InitializeListHead(queue);
            queueLock = new PKSPIN_LOCK(Memory(8).Address);
            KeInitializeSpinLock(queueLock);
            cancelRoutine = CancelRoutine(Cancelled);
            device = Device(
                (_, irp) => IoGetCurrentIrpStackLocation(irp).MajorFunction switch
                {
                    IRP_MJ_READ => Enqueue(irp),
                    IRP_MJ_CLEANUP => Cleanup(irp),
                    _ => Complete(irp, STATUS_SUCCESS),
                }, name: @"\Device\Queue");
        }

        static PLIST_ENTRY EntryOf(PIRP irp) => new(irp.Address + 0x78 + 0x30);

        static PIRP PacketOf(PLIST_ENTRY entry) => new(entry.Address - 0x78 - 0x30);

        NTSTATUS Enqueue(PIRP irp)
        {
            KeAcquireSpinLock(queueLock, out KIRQL old);
            IoMarkIrpPending(irp);
            InsertTailList(queue, EntryOf(irp));
            IoSetCancelRoutine(irp, cancelRoutine);
            // Cancelled before the routine was set: whoever swaps it out finishes the packet.
            if (irp.Cancel && !IoSetCancelRoutine(irp, default(PDRIVER_CANCEL)).IsNull)
            {
                RemoveEntryList(EntryOf(irp));
                KeReleaseSpinLock(queueLock, old);
                Step("cancelled while queueing");
                Complete(irp, STATUS_CANCELLED);
                return STATUS_PENDING;
            }
            KeReleaseSpinLock(queueLock, old);
            return STATUS_PENDING;
        }

        PIRP Dequeue()
        {
            KeAcquireSpinLock(queueLock, out KIRQL old);
            PIRP next = default;
            while (!IsListEmpty(queue))
            {
                PLIST_ENTRY entry = RemoveHeadList(queue);
                if (!IoSetCancelRoutine(PacketOf(entry), default(PDRIVER_CANCEL)).IsNull)
                {
                    next = PacketOf(entry);
                    break;
                }
                // The cancel routine has it, and will remove it once more.
                InitializeListHead(entry);
            }
            KeReleaseSpinLock(queueLock, old);
            return next;
        }

        void Cancelled(PDEVICE_OBJECT DeviceObject, PIRP irp)
        {
            IoReleaseCancelSpinLock(irp.CancelIrql);
            KeAcquireSpinLock(queueLock, out KIRQL old);
            RemoveEntryList(EntryOf(irp));
            KeReleaseSpinLock(queueLock, old);
            Complete(irp, STATUS_CANCELLED);
        }

        NTSTATUS Cleanup(PIRP cleanup)
        {
            PFILE_OBJECT file = IoGetCurrentIrpStackLocation(cleanup).FileObject;
            List<PIRP> removed = [];
            KeAcquireSpinLock(queueLock, out KIRQL old);
            for (PLIST_ENTRY next, entry = queue.Flink; entry != queue; entry = next)
            {
                next = entry.Flink;
                PIRP irp = PacketOf(entry);
                if (IoGetCurrentIrpStackLocation(irp).FileObject != file || IoSetCancelRoutine(irp, default(PDRIVER_CANCEL)).IsNull) continue;
                RemoveEntryList(entry);
                removed.Add(irp);
            }
            KeReleaseSpinLock(queueLock, old);
            foreach (PIRP irp in removed) Complete(irp, STATUS_CANCELLED);
            return Complete(cleanup, STATUS_SUCCESS);
        }

        [Fact]
        [Spec("CANCEL-12")]
        public void Finishes_a_packet_that_was_cancelled_before_it_was_queued() => Run(() =>
        {
            Create();
            PIRP irp = Packet(device);
            OnCompletion(irp, Keep("completed"));
            IoCancelIrp(irp);
            Assert.Equal(STATUS_PENDING, IoCallDriver(device, irp));
            Assert.Equal(["cancelled while queueing", "completed"], Steps);
            Assert.Equal(STATUS_CANCELLED, irp.IoStatus.Status);
            Assert.True(Dequeue().IsNull);
        });

        [Fact]
        [Spec("CANCEL-12"), Spec("CANCEL-13")]
        public void Gives_out_what_was_not_cancelled_in_order() => Run(() =>
        {
            Create();
            PIRP[] irps = [.. Enumerable.Range(0, 3).Select(_ => Packet(device))];
            foreach (PIRP irp in irps)
            {
                OnCompletion(irp, Keep("completed"));
                Assert.Equal(STATUS_PENDING, IoCallDriver(device, irp));
            }
            Assert.True(IoCancelIrp(irps[1]));
            Assert.Equal(["completed"], Steps);
            Assert.Equal(irps[0], Dequeue());
            Assert.Equal(irps[2], Dequeue());
            Assert.True(Dequeue().IsNull);
        });

        [Theory]
        [InlineData(-1)] // the free-running scheduler
        [InlineData(0)]
        [InlineData(1)]
        [InlineData(2)]
        [InlineData(3)]
        [InlineData(4)]
        [Spec("CANCEL-06"), Spec("CANCEL-12"), Spec("CANCEL-13")]
        public void Completes_each_packet_exactly_once_however_cancel_and_removal_race(int seed)
        {
            const int count = 60;
            int completed = 0, cancelled = 0;
            Strategy = seed < 0 ? null : new SeededStrategy(seed);
            Run(seed < 0 ? Scheduling.FreeRunning : Scheduling.Controlled, () =>
            {
                Create();
                PKEVENT over = Event();
                PIRP[] irps = [.. Enumerable.Range(0, count).Select(_ => Packet(device))];
                foreach (PIRP irp in irps)
                {
                    OnCompletion(irp, (_, i, _) =>
                    {
                        if (i.IoStatus.Status == STATUS_CANCELLED) Interlocked.Increment(ref cancelled);
                        if (Interlocked.Increment(ref completed) == count) KeSetEvent(over, 0, false);
                        return STATUS_MORE_PROCESSING_REQUIRED;
                    });
                }
                bool sent = false;
                Start(() =>
                {
                    foreach (PIRP irp in irps) IoCancelIrp(irp);
                });
                Start(() =>
                {
                    while (Volatile.Read(ref completed) < count)
                    {
                        if (Dequeue() is { IsNull: false } irp) Complete(irp, STATUS_SUCCESS);
                        else if (Volatile.Read(ref sent)) KeWaitForSingleObject(over, Executive, KernelMode, false, -1000);
                    }
                });
                foreach (PIRP irp in irps) IoCallDriver(device, irp);
                Volatile.Write(ref sent, true);
                Wait(over);
                KeWaitForSingleObject(Event(), Executive, KernelMode, false, -10_000);
                Assert.Equal(count, completed); // and none a second time
                Assert.All(irps, irp => Assert.True(irp.CancelRoutine.IsNull));
            });
        }

        [Fact]
        [Spec("CANCEL-18")]
        public void Cleanup_cancels_the_requests_of_its_own_file_object() => Run(() =>
        {
            Create();
            DeviceHandle closing = DeviceHandle.Open(Machine, @"\Device\Queue");
            using DeviceHandle other = DeviceHandle.Open(Machine, @"\Device\Queue");
            IoOperation mine = closing.StartRead(new byte[4]);
            IoOperation others = other.StartRead(new byte[4]);
            closing.Dispose();
            Assert.Equal(STATUS_CANCELLED, mine.Wait().Status);
            Assert.False(others.IsOver);
            Complete(Dequeue(), STATUS_SUCCESS);
            Assert.Equal(STATUS_SUCCESS, others.Wait().Status);
        });
    }

    /// <summary>Which requests a program cancels without naming an IRP.</summary>
    public class Of_a_programs_requests : DriverTest
    {
        const string Name = @"\Device\Cancelable";

        void Create() => Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_READ) return Complete(irp, STATUS_SUCCESS);
            IoMarkIrpPending(irp);
            IoSetCancelRoutine(irp, (_, i) =>
            {
                IoReleaseCancelSpinLock(i.CancelIrql);
                Complete(i, STATUS_CANCELLED);
            });
            return STATUS_PENDING;
        }, name: Name);

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CANCEL-16")]
        public void By_file_and_thread(Scheduling scheduling) => Run(scheduling, () =>
        {
            Create();
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name), other = DeviceHandle.Open(Machine, Name);
            IoOperation mine = handle.StartRead(new byte[1]), elsewhere = other.StartRead(new byte[1]);
            PKEVENT sent = Event(), cancelled = Event(), over = Event();
            Start(() =>
            {
                IoOperation theirs = handle.StartRead(new byte[1]);
                KeSetEvent(sent, 0, false);
                Wait(cancelled);
                Step(theirs.IsOver ? "cancelled" : "still there");
                handle.CancelOfThisThread();
                Step(theirs.Wait().Status.Name);
                KeSetEvent(over, 0, false);
            });
            Wait(sent);
            handle.CancelOfThisThread();
            Assert.Equal(STATUS_CANCELLED, mine.Wait().Status);
            Assert.False(elsewhere.IsOver);
            KeSetEvent(cancelled, 0, false);
            Wait(over);
            Assert.Equal(["still there", "STATUS_CANCELLED"], Steps);
            handle.CancelOfThisThread(); // none left, which is no error
            other.CancelOfThisThread();
            Assert.Equal(STATUS_CANCELLED, elsewhere.Wait().Status);
        });

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CANCEL-16")]
        public void By_file_whoever_sent_them(Scheduling scheduling) => Run(scheduling, () =>
        {
            Create();
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name), other = DeviceHandle.Open(Machine, Name);
            Assert.False(handle.CancelAll());
            IoOperation mine = handle.StartRead(new byte[1]), elsewhere = other.StartRead(new byte[1]);
            PKEVENT sent = Event(), over = Event();
            Start(() =>
            {
                IoOperation theirs = handle.StartRead(new byte[1]);
                KeSetEvent(sent, 0, false);
                Step(theirs.Wait().Status.Name);
                KeSetEvent(over, 0, false);
            });
            Wait(sent);
            Assert.True(handle.CancelAll());
            Assert.Equal(STATUS_CANCELLED, mine.Wait().Status);
            Wait(over);
            Assert.Equal(["STATUS_CANCELLED"], Steps);
            Assert.False(elsewhere.IsOver);
            other.CancelAll();
            elsewhere.Wait();
        });

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CANCEL-16")]
        public void By_status_block(Scheduling scheduling) => Run(scheduling, () =>
        {
            Create();
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
            PIO_STATUS_BLOCK first = StatusBlock(), second = StatusBlock();
            Machine.Requests.Send(file, new IoRequest(IRP_MJ_READ), first, null, out _);
            Machine.Requests.Send(file, new IoRequest(IRP_MJ_READ), second, null, out _);
            Assert.Equal(STATUS_NOT_FOUND, Machine.Cancellation.CancelRequests(file, StatusBlock()));
            Assert.Equal(STATUS_SUCCESS, Machine.Cancellation.CancelRequests(file, second));
            Assert.Equal((Untouched, STATUS_CANCELLED), (first.Status, second.Status));
            Assert.Equal(STATUS_SUCCESS, Machine.Cancellation.CancelRequests(file, first));
            Assert.Equal(STATUS_CANCELLED, first.Status);
            Assert.Equal(STATUS_NOT_FOUND, Machine.Cancellation.CancelRequests(file, first));
            Machine.Files.Close(file);
        });

        [Fact]
        [Spec("CANCEL-16")]
        public void While_threads_end() => Run(Scheduling.FreeRunning, () =>
        {
            Create();
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            int left = 500;
            Start(() =>
            {
                for (; left > 0; Volatile.Write(ref left, left - 1)) Start(() => { });
            });
            for (; Volatile.Read(ref left) > 0; Thread.Yield()) Assert.False(handle.CancelAll());
        });

        sealed class Nobody : IRequestCompletion
        {
            public void Finished(NTSTATUS status, ulong information)
            {
            }
        }

        [Fact]
        [Spec("CANCEL-02")]
        public void By_who_sent_it_and_not_by_who_had_its_packet_before() => Run(() =>
        {
            Create();
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
            var sender = new Nobody();
            PIO_STATUS_BLOCK block = StatusBlock();
            Machine.Requests.Send(file, new IoRequest(IRP_MJ_READ), block, sender, out PIRP irp);
            Assert.False(Machine.Requests.Cancel(irp, new Nobody()));
            Assert.Equal(Untouched, block.Status);
            Assert.True(Machine.Requests.Cancel(irp, sender));
            Assert.Equal(STATUS_CANCELLED, block.Status);
            Machine.Files.Close(file);
        });

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CANCEL-16")]
        public void That_another_thread_waits_for(Scheduling scheduling) => Run(scheduling, () =>
        {
            Create();
            KernelThread self = Machine.CurrentThread;
            using DeviceHandle asynchronous = DeviceHandle.Open(Machine, Name);
            IoOperation untouched = asynchronous.StartRead(new byte[1]);
            Assert.Equal(STATUS_NOT_FOUND, Machine.Cancellation.CancelSynchronousRequests(self));
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, FILE_SYNCHRONOUS_IO_NONALERT, UserMode, out PFILE_OBJECT file));
            Start(() =>
            {
                while (Machine.Cancellation.CancelSynchronousRequests(self) == STATUS_NOT_FOUND)
                    KeWaitForSingleObject(Event(), Executive, KernelMode, false, -10_000);
            });
            Assert.Equal(STATUS_CANCELLED, Machine.Requests.Send(file, new IoRequest(IRP_MJ_READ), StatusBlock(), null, out _));
            Assert.False(untouched.IsOver);
            Machine.Files.Close(file);
            asynchronous.CancelAll();
            untouched.Wait();
        });

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CANCEL-16"), Spec("CANCEL-17")]
        public void Of_a_file_with_a_port_by_thread(Scheduling scheduling) => Run(scheduling, () =>
        {
            Create();
            using var port = new CompletionPort(Machine);
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            port.Bind(handle);
            IoOperation mine = handle.StartRead(new byte[1]);
            PKEVENT sent = Event(), over = Event();
            IoOperation? theirs = null;
            Start(() =>
            {
                theirs = handle.StartRead(new byte[1]);
                KeSetEvent(sent, 0, false);
                theirs.Wait();
                KeSetEvent(over, 0, false);
            });
            Wait(sent);
            handle.CancelOfThisThread();
            Assert.Equal(STATUS_CANCELLED, mine.Wait().Status);
            Assert.False(theirs!.IsOver);
            Assert.True(handle.CancelAll());
            Wait(over);
            Assert.Equal(2, new[] { port.Take(), port.Take() }.Count(e => e!.Value.Result.Status == STATUS_CANCELLED));
        });

        /// <summary>A create request, and a service that waits whatever the file was opened for, port or not.</summary>
        [Theory]
        [InlineData(IRP_MJ_CREATE)]
        [InlineData(IRP_MJ_QUERY_INFORMATION)]
        [InlineData(IRP_MJ_CLEANUP)]
        [Spec("CANCEL-16"), Spec("FILE-03")]
        public void That_another_thread_waits_for_in_every_service_but_closing(byte major) => Run(() =>
        {
            byte cancelable = 0xFF;
            PIRP held = default;
            PDEVICE_OBJECT device = Device((_, irp) =>
            {
                if (IoGetCurrentIrpStackLocation(irp).MajorFunction != cancelable) return Complete(irp, STATUS_SUCCESS);
                cancelable = 0xFF;
                IoMarkIrpPending(irp);
                held = irp;
                IoSetCancelRoutine(irp, (_, i) =>
                {
                    IoReleaseCancelSpinLock(i.CancelIrql);
                    Complete(i, STATUS_CANCELLED);
                });
                return STATUS_PENDING;
            }, name: Name);
            KernelThread self = Machine.CurrentThread;
            PFILE_OBJECT file = default;
            if (major != IRP_MJ_CREATE) Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out file));
            PKQUEUE queue = Machine.Ports.Create();
            if (!file.IsNull) Machine.Ports.Associate(file, queue, 1);
            cancelable = major;
            Start(() =>
            {
                Eventually(() => !held.IsNull);
                NTSTATUS status = Machine.Cancellation.CancelSynchronousRequests(self);
                Assert.Equal(major == IRP_MJ_CLEANUP ? STATUS_NOT_FOUND : STATUS_SUCCESS, status);
                if (major != IRP_MJ_CLEANUP) return;
                IoSetCancelRoutine(held, default(PDRIVER_CANCEL));
                Complete(held, STATUS_SUCCESS);
            });
            if (major == IRP_MJ_CREATE)
            {
                Assert.Equal(STATUS_CANCELLED, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out file));
                Assert.True(file.IsNull);
            }
            else
            {
                var query = new IoRequest(IRP_MJ_QUERY_INFORMATION) { IsSynchronous = true };
                if (major == IRP_MJ_QUERY_INFORMATION) Assert.Equal(STATUS_CANCELLED, Machine.Requests.Send(file, query, StatusBlock(), null, out _));
                Machine.Files.Close(file);
            }
            Assert.False(held.IsNull);
            Assert.Equal(0, device.ReferenceCount);
            ObDereferenceObject(queue);
        });

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CANCEL-17")]
        public void Those_of_a_file_with_a_port_outlive_their_thread(Scheduling scheduling) => Run(scheduling, () =>
        {
            foreach (bool queuedToThread in (bool[])[false, true])
            {
                PIRP held = default;
                string name = $@"\Device\Port{queuedToThread}";
                Device((_, irp) =>
                {
                    if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_READ) return Complete(irp, STATUS_SUCCESS);
                    IoMarkIrpPending(irp);
                    held = irp;
                    IoSetCancelRoutine(irp, (_, i) =>
                    {
                        IoReleaseCancelSpinLock(i.CancelIrql);
                        Complete(i, STATUS_CANCELLED);
                    });
                    return STATUS_PENDING;
                }, name: name, flags: DO_BUFFERED_IO);
                using var port = new CompletionPort(Machine);
                using DeviceHandle handle = DeviceHandle.Open(Machine, name);
                port.Bind(handle);
                if (queuedToThread) handle.FileObject.Flags |= FO_QUEUE_IRP_TO_THREAD;
                byte[] buffer = new byte[2];
                IoOperation? read = null;
                KernelThread sender = Start(() => read = handle.StartRead(buffer));
                while (sender.State != SchedulerState.Exited) KeWaitForSingleObject(Event(), Executive, KernelMode, false, -10_000);
                if (queuedToThread)
                {
                    Assert.Equal(STATUS_CANCELLED, port.Take()!.Value.Result.Status);
                    continue;
                }
                Assert.Null(port.Take(TimeSpan.FromMilliseconds(1)));
                Assert.False(held.Cancel);
                Fill(held.AssociatedIrp.SystemBuffer, 2);
                IoSetCancelRoutine(held, default(PDRIVER_CANCEL));
                KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
                Complete(held, STATUS_SUCCESS, 2);
                KeLowerIrql(old);
                Assert.Equal(new IoResult(STATUS_SUCCESS, 2), port.Take()!.Value.Result);
                Assert.Equal([0x80, 0x81], buffer);
            }
        });
    }
}
