using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>A driver with a StartIo routine whose device answers when the test says so.</summary>
public class StartIoTests : DriverTest
{
    readonly List<PIRP> started = [];

    PDEVICE_OBJECT device;

    /// <summary>A device whose dispatch routine starts packets; StartIo notes them, then does what it is told.</summary>
    void NewDevice(PDRIVER_CANCEL cancel = default, Action<PIRP>? startIo = null, bool byKey = false)
    {
        device = Device((d, irp) =>
        {
            IoMarkIrpPending(irp);
            uint key = IoGetCurrentIrpStackLocation(irp).Parameters.Read.Key;
            using LocalVariable<uint> local = Local<uint>();
            local.Value = key;
            IoStartPacket(d, irp, byKey ? new PULONG(local.Address.Address) : default, cancel);
            return STATUS_PENDING;
        });
        DriverObject.DriverStartIo = StartIoRoutine((d, irp) =>
        {
            Assert.Equal(device, d);
            Assert.Equal(irp, d.CurrentIrp);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            lock (started) started.Add(irp);
            startIo?.Invoke(irp);
        });
    }

    PIRP NewPacket(uint key = 0)
    {
        PIRP irp = Packet(device);
        IoGetNextIrpStackLocation(irp).Parameters.Read.Key = key;
        OnCompletion(irp, Keep("completed"));
        return irp;
    }

    PIRP Send(uint key = 0)
    {
        PIRP irp = NewPacket(key);
        Assert.Equal(STATUS_PENDING, IoCallDriver(device, irp));
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        return irp;
    }

    /// <summary>Runs code at DISPATCH_LEVEL, as a DpcForIsr routine is.</summary>
    void AtDispatch(Action body)
    {
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        body();
        KeLowerIrql(old);
    }

    /// <summary>What a DpcForIsr routine does.</summary>
    void FinishCurrent(bool cancelable = false) => AtDispatch(() =>
    {
        PIRP irp = device.CurrentIrp;
        IoStartNextPacket(device, cancelable);
        Complete(irp, STATUS_SUCCESS);
    });

    PKDEVICE_QUEUE_ENTRY EntryOf(PIRP irp) => new(irp.Address + 0x78);

    /// <summary>STARTIO-14, as the documentation has it.</summary>
    void Cancel(PDEVICE_OBJECT d, PIRP irp)
    {
        if (irp == d.CurrentIrp)
        {
            IoReleaseCancelSpinLock(irp.CancelIrql);
            Step("current");
            return;
        }
        bool removed = KeRemoveEntryDeviceQueue(new PKDEVICE_QUEUE(d.Address + 0xA0), EntryOf(irp));
        IoReleaseCancelSpinLock(irp.CancelIrql);
        Step(removed ? "removed" : "gone");
        if (removed) Complete(irp, STATUS_CANCELLED);
    }

    /// <summary>STARTIO-13, as the documentation has it. False when the packet is not to be worked on.</summary>
    bool Begin(PDEVICE_OBJECT d, PIRP irp)
    {
        IoAcquireCancelSpinLock(out KIRQL irql);
        if (irp != d.CurrentIrp)
        {
            IoReleaseCancelSpinLock(irql);
            return false;
        }
        IoSetCancelRoutine(irp, default(PDRIVER_CANCEL));
        bool cancelled = irp.Cancel;
        IoReleaseCancelSpinLock(irql);
        if (!cancelled) return true;
        IoStartNextPacket(d, true);
        Complete(irp, STATUS_CANCELLED);
        return false;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-06"), Spec("STARTIO-07")]
    public void An_idle_device_starts_a_packet_before_the_call_returns(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewDevice();
        PIRP irp = Send();
        Assert.Equal([irp], started);
        Assert.Equal(irp, device.CurrentIrp);
        Assert.True(irp.CancelRoutine.IsNull);
        Assert.True(device.DeviceQueue.Busy);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-08"), Spec("STARTIO-09"), Spec("STARTIO-10")]
    public void A_busy_device_queues_and_goes_on_in_order(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewDevice();
        PIRP first = Send(), second = Send(), third = Send();
        Assert.Equal([first], started);
        Assert.True(EntryOf(second).Value.Inserted);
        FinishCurrent();
        Assert.Equal([first, second], started);
        Assert.False(EntryOf(second).Value.Inserted);
        FinishCurrent();
        FinishCurrent();
        Assert.Equal([first, second, third], started);
        Assert.True(device.CurrentIrp.IsNull);
        Assert.False(device.DeviceQueue.Busy);
        Assert.Equal(["completed", "completed", "completed"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-06"), Spec("STARTIO-09")]
    public void Keys_sort_the_queue_and_choose_from_it(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewDevice(byKey: true);
        PIRP first = Send(50), at30 = Send(30), at10 = Send(10), at20 = Send(20), at20Too = Send(20);
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        IoStartNextPacketByKey(device, false, 15);
        IoStartNextPacketByKey(device, false, 20);
        IoStartNextPacket(device, false);
        KeLowerIrql(old);
        IoStartNextPacketByKey(device, false, 31);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        Assert.Equal([first, at20, at20Too, at10, at30], started);
        IoStartNextPacketByKey(device, false, 0);
        Assert.True(device.CurrentIrp.IsNull);
        Assert.False(device.DeviceQueue.Busy);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-06"), Spec("STARTIO-07"), Spec("CANCEL-19")]
    public void A_cancel_routine_is_set_under_the_cancel_lock_which_StartIo_does_not_hold(Scheduling scheduling)
    {
        var locks = new CancelLockWatcher();
        Observer = locks;
        Run(scheduling, () =>
        {
            PDRIVER_CANCEL cancel = CancelRoutine(Cancel);
            locks.Watch(FindCancelLock());
            NewDevice(cancel, irp =>
            {
                Assert.Equal(cancel, irp.CancelRoutine);
                locks.Note("StartIo");
            });
            PIRP first = Send();
            Assert.Equal(["acquired", "released", "StartIo"], locks.Steps);
            PIRP second = Send();
            Assert.Equal(["acquired", "released", "StartIo", "acquired", "released"], locks.Steps);
            Assert.Equal(cancel, second.CancelRoutine);
            FinishCurrent(cancelable: true);
            Assert.Equal(["acquired", "released", "StartIo", "acquired", "released", "acquired", "released", "StartIo"], locks.Steps);
            FinishCurrent(cancelable: false);
            Assert.Equal(8, locks.Steps.Count);
            Assert.Equal([first, second], started);
        });
    }

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-08")]
    public void A_packet_cancelled_before_it_is_queued_has_its_routine_called_at_once(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewDevice(CancelRoutine((d, irp) =>
        {
            Assert.Equal(device, d);
            Assert.True(irp.CancelRoutine.IsNull);
            Assert.Equal(DISPATCH_LEVEL, irp.CancelIrql);
            Assert.True(EntryOf(irp).Value.Inserted);
            Cancel(d, irp);
        }));
        PIRP first = Send();
        PIRP irp = NewPacket();
        IoCancelIrp(irp);
        Assert.Equal(STATUS_PENDING, IoCallDriver(device, irp));
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        Assert.Equal(["removed", "completed"], Steps);
        Assert.Equal(STATUS_CANCELLED, irp.IoStatus.Status);
        Assert.Equal([first], started);
        IoAcquireCancelSpinLock(out KIRQL old); // free
        IoReleaseCancelSpinLock(old);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-14"), Spec("CANCEL-19")]
    public void A_queued_packet_is_cancelled_the_current_one_is_left_alone(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewDevice(CancelRoutine(Cancel));
        PIRP current = Send(), queued = Send(), last = Send();
        Assert.True(IoCancelIrp(queued));
        Assert.True(IoCancelIrp(current));
        Assert.Equal(["removed", "completed", "current"], Steps);
        FinishCurrent(cancelable: true);
        Assert.Equal([current, last], started);
        Assert.Equal(STATUS_SUCCESS, current.IoStatus.Status);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-09")]
    public void Starting_the_next_packet_of_a_device_without_any_only_makes_it_idle(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewDevice();
        PIRP irp = Send();
        FinishCurrent();
        Assert.Equal([irp], started);
        Assert.True(device.CurrentIrp.IsNull);
        PIRP again = Send();
        Assert.Equal([irp, again], started);
    });

    [Theory]
    [InlineData(false, Scheduling.Controlled), InlineData(true, Scheduling.Controlled)]
    [InlineData(false, Scheduling.FreeRunning), InlineData(true, Scheduling.FreeRunning)]
    [Spec("STARTIO-11")]
    public void StartIo_that_asks_for_the_next_packet_recurses_unless_deferred(bool deferred, Scheduling scheduling) => Run(scheduling, () =>
    {
        int depth = 0, deepest = 0;
        bool hold = true;
        NewDevice(startIo: irp =>
        {
            if (hold) return;
            deepest = Math.Max(deepest, ++depth);
            IoStartNextPacket(device, false);
            Complete(irp, STATUS_SUCCESS);
            depth--;
        });
        IoSetStartIoAttributes(device, deferred, false);
        PIRP first = Send();
        PIRP[] queued = [Send(), Send(), Send(), Send()];
        hold = false;
        FinishCurrent();
        Assert.Equal(deferred ? 1 : 4, deepest);
        Assert.Equal([first, .. queued], started);
        Assert.False(device.DeviceQueue.Busy);
        PIRP direct = Send(); // the idle device, again from inside StartIo
        Assert.Equal(direct, started[^1]);
        Assert.Equal(6, Steps.Count);
        Assert.Equal(0, device.DeviceObjectExtension.StartIoCount);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-11")]
    public void A_deferred_request_by_key_keeps_its_key(Scheduling scheduling) => Run(scheduling, () =>
    {
        bool ask = false;
        NewDevice(byKey: true, startIo: _ =>
        {
            if (!ask) return;
            ask = false;
            IoStartNextPacketByKey(device, false, 20);
            Step("asked");
        });
        IoSetStartIoAttributes(device, true, false);
        PIRP first = Send(5), at10 = Send(10), at20 = Send(20), at1 = Send(1);
        ask = true;
        FinishCurrent();
        Assert.Equal([first, at1, at20], started);
        FinishCurrent();
        Assert.Equal([first, at1, at20, at10], started);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-12")]
    public void Noncancelable_packets_lose_their_routine_before_StartIo(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDRIVER_CANCEL cancel = CancelRoutine(Cancel);
        NewDevice(cancel, irp => Assert.True(irp.CancelRoutine.IsNull));
        IoSetStartIoAttributes(device, false, true);
        PIRP first = Send(), second = Send();
        Assert.Equal(cancel, second.CancelRoutine);
        Assert.False(IoCancelIrp(first));
        FinishCurrent(cancelable: true);
        Assert.Equal([first, second], started);
        Assert.False(IoCancelIrp(second));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-13")]
    public void StartIo_finds_a_packet_that_was_cancelled_on_its_way(Scheduling scheduling) => Run(scheduling, () =>
    {
        bool working = true;
        NewDevice(CancelRoutine(Cancel), irp => Step(Begin(device, irp) == working ? "ok" : "wrong"));
        Send();
        PIRP cancelled = NewPacket(), last = default;
        FinishCurrent(cancelable: true);
        IoCancelIrp(cancelled); // nobody could be told yet
        working = false;
        Assert.Equal(STATUS_PENDING, IoCallDriver(device, cancelled));
        Assert.Equal(STATUS_CANCELLED, cancelled.IoStatus.Status);
        working = true;
        last = Send();
        Assert.Equal(last, device.CurrentIrp);
        Assert.Equal(["ok", "completed", "completed", "ok", "ok"], Steps);
    });

    public static TheoryData<Scheduling, int> Contention
    {
        get
        {
            var data = new TheoryData<Scheduling, int> { { Scheduling.FreeRunning, 0 } };
            for (int seed = 1; seed <= 20; seed++) data.Add(Scheduling.Controlled, seed);
            return data;
        }
    }

    [Theory, MemberData(nameof(Contention))]
    [Spec("STARTIO-10"), Spec("STARTIO-13"), Spec("STARTIO-14"), Spec("CANCEL-19")]
    public void One_packet_at_a_time_and_each_is_completed_once_while_others_send_and_cancel(Scheduling scheduling, int seed)
    {
        Strategy = new SeededStrategy(seed);
        int packets = scheduling == Scheduling.Controlled ? 8 : 1000;
        Run(scheduling, () =>
        {
            int atWork = 0, left = 2 * packets;
            int[] completed = new int[2 * packets];
            PKEVENT over = Event();
            PKDPC dpc = (PKDPC)Memory(KDPC.SizeOf);
            NewDevice(CancelRoutine(Cancel), irp =>
            {
                if (!Begin(device, irp)) return;
                Assert.Equal(1, Interlocked.Increment(ref atWork));
                KeInsertQueueDpc(dpc, irp, default);
            });
            KeInitializeDpc(dpc, (_, _, irp, _) =>
            {
                Interlocked.Decrement(ref atWork);
                IoStartNextPacket(device, true);
                Complete((PIRP)irp, STATUS_SUCCESS);
            }, default);
            PIRP[] irps = [.. Enumerable.Range(0, 2 * packets).Select(_ => Packet(device))];
            for (int i = 0; i < irps.Length; i++)
            {
                int n = i;
                OnCompletion(irps[i], (_, _, _) =>
                {
                    completed[n]++;
                    if (Interlocked.Decrement(ref left) == 0) KeSetEvent(over, 0, false);
                    return STATUS_MORE_PROCESSING_REQUIRED;
                });
            }
            Start(() => { for (int i = 0; i < packets; i++) IoCallDriver(device, irps[i]); });
            Start(() => { for (int i = packets; i < 2 * packets; i++) IoCallDriver(device, irps[i]); });
            Start(() => { for (int i = 0; i < 2 * packets; i += 3) IoCancelIrp(irps[i]); });
            Wait(over);
            Assert.All(completed, times => Assert.Equal(1, times));
            Assert.False(device.DeviceQueue.Busy);
        });
    }

    /// <summary>The one lock that this call takes.</summary>
    PKSPIN_LOCK FindCancelLock()
    {
        ((CancelLockWatcher)Observer!).Watch(default);
        IoAcquireCancelSpinLock(out KIRQL irql);
        IoReleaseCancelSpinLock(irql);
        return ((CancelLockWatcher)Observer!).Last;
    }

    sealed class CancelLockWatcher : KernelObserver
    {
        readonly List<string> steps = [];
        PKSPIN_LOCK watched;

        public PKSPIN_LOCK Last { get; private set; }

        public List<string> Steps => steps;

        public void Watch(PKSPIN_LOCK spinLock) => watched = spinLock;

        public void Note(string what) => steps.Add(what);

        public override void On(in SpinLockAcquired e)
        {
            Last = e.SpinLock;
            if (!watched.IsNull && e.SpinLock == watched) steps.Add("acquired");
        }

        public override void On(in SpinLockReleased e)
        {
            if (!watched.IsNull && e.SpinLock == watched) steps.Add("released");
        }
    }
}
