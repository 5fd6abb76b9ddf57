using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class DpcTests : DriverTest
{
    PKDPC NewDpc(KDEFERRED_ROUTINE routine, PVOID context = default)
    {
        var dpc = new PKDPC(Memory(KDPC.SizeOf).Address);
        Fill(dpc, KDPC.SizeOf);
        KeInitializeDpc(dpc, routine, context);
        return dpc;
    }

    KDEFERRED_ROUTINE Note(string name) => (_, _, _, _) => Step(name);

    /// <summary>Runs code at DISPATCH_LEVEL, where DPCs of this processor have to wait.</summary>
    void AtDispatch(Action body)
    {
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        body();
        KeLowerIrql(old);
    }

    [Fact]
    [Spec("DPC-01")]
    public void A_new_DPC_has_routine_and_context_medium_importance_and_is_not_queued() => Run(() =>
    {
        KDEFERRED_ROUTINE routine = Note("dpc");
        PKDPC dpc = NewDpc(routine, new PVOID(0x77));
        Assert.Equal(DpcObject, dpc.Type);
        Assert.Equal((byte)MediumImportance, dpc.Importance);
        Assert.Equal(Routine(routine), dpc.DeferredRoutine);
        Assert.Equal(0x77UL, dpc.DeferredContext.Address);
        Assert.True(dpc.DpcData.IsNull);
        Assert.False(KeRemoveQueueDpc(dpc));
    });

    [Fact]
    [Spec("DPC-01"), Spec("DPC-03")]
    public void Queueing_again_changes_nothing_and_it_runs_once_with_the_first_arguments() => Run(() =>
    {
        PKDPC dpc = NewDpc((_, _, first, second) => Step($"{first.Address} {second.Address}"));
        AtDispatch(() =>
        {
            Assert.True(KeInsertQueueDpc(dpc, new PVOID(1), new PVOID(2)));
            byte[] queued = Bytes(dpc, KDPC.SizeOf);
            Assert.False(KeInsertQueueDpc(dpc, new PVOID(3), new PVOID(4)));
            Assert.False(KeInsertQueueDpc(dpc, new PVOID(5), new PVOID(6)));
            Assert.Equal(queued, Bytes(dpc, KDPC.SizeOf));
        });
        Assert.Equal(["1 2"], Steps);
    });

    [Fact]
    [Spec("DPC-02")]
    public void The_routine_gets_its_object_and_arguments_at_DISPATCH_LEVEL_off_the_queue() => Run(() =>
    {
        PKDPC dpc = default;
        dpc = NewDpc((d, context, first, second) =>
        {
            Assert.Equal(dpc, d);
            Assert.Equal(0x77UL, context.Address);
            Assert.Equal(0x88UL, first.Address);
            Assert.Equal(0x99UL, second.Address);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Assert.True(d.DpcData.IsNull);
            Assert.False(KeRemoveQueueDpc(d));
            Step("dpc");
        }, new PVOID(0x77));
        KeInsertQueueDpc(dpc, new PVOID(0x88), new PVOID(0x99));
        Assert.Equal(["dpc"], Steps);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Fact]
    [Spec("DPC-02")]
    public void A_routine_may_queue_its_own_object_again() => Run(() =>
    {
        int left = 3;
        PKDPC dpc = NewDpc((d, _, _, _) =>
        {
            Step($"run {left}");
            if (--left > 0) Assert.True(KeInsertQueueDpc(d, default, default));
            Step("queued");
        });
        KeInsertQueueDpc(dpc, default, default);
        Assert.Equal(["run 3", "queued", "run 2", "queued", "run 1", "queued"], Steps);
    });

    [Fact]
    [Spec("DPC-02")]
    public void A_routine_may_free_its_own_object() => Run(() =>
    {
        PKDPC dpc = NewDpc((d, _, _, _) =>
        {
            Free(d);
            Step("freed");
        });
        KeInsertQueueDpc(dpc, default, default);
        Assert.Equal(["freed"], Steps);
    });

    [Fact]
    [Spec("DPC-04")]
    public void A_DPC_taken_back_does_not_run() => Run(() =>
    {
        PKDPC dpc = NewDpc(Note("never"));
        AtDispatch(() =>
        {
            KeInsertQueueDpc(dpc, default, default);
            Assert.True(KeRemoveQueueDpc(dpc));
            Assert.False(KeRemoveQueueDpc(dpc));
        });
        Assert.Empty(Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("DPC-04")]
    public void Flushing_waits_for_what_was_queued_before(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKDPC dpc = NewDpc(Note("dpc"));
        PKEVENT queued = Event();
        Start(() => AtDispatch(() =>
        {
            KeInsertQueueDpc(dpc, default, default);
            KeSetEvent(queued, 0, false);
        }));
        Wait(queued);
        KeFlushQueuedDpcs();
        Assert.Equal(["dpc"], Steps);
    });

    [Fact]
    [Spec("DPC-04")]
    public void Flushing_misses_no_DPC_between_its_queue_and_its_routine() => Run(Scheduling.FreeRunning, () =>
    {
        const int count = 20_000;
        int queued = 0;
        int ran = 0;
        PKDPC dpc = NewDpc((_, _, _, _) => Volatile.Write(ref ran, ran + 1));
        PKEVENT over = Event();
        Start(() =>
        {
            for (int i = 1; i <= count; i++)
            {
                AtDispatch(() =>
                {
                    KeInsertQueueDpc(dpc, default, default);
                    Volatile.Write(ref queued, i);
                });
            }
            KeSetEvent(over, 0, false);
        });
        while (Volatile.Read(ref queued) < count)
        {
            int before = Volatile.Read(ref queued);
            KeFlushQueuedDpcs();
            Assert.True(Volatile.Read(ref ran) >= before);
        }
        Wait(over);
    });

    [Fact]
    [Spec("DPC-05")]
    public void At_DISPATCH_LEVEL_a_DPC_waits_until_the_level_falls() => Run(() =>
    {
        PKDPC dpc = NewDpc(Note("dpc"));
        AtDispatch(() =>
        {
            KeInsertQueueDpc(dpc, default, default);
            Step("still at DISPATCH_LEVEL");
        });
        Step("lowered");
        Assert.Equal(["still at DISPATCH_LEVEL", "dpc", "lowered"], Steps);
    });

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(APC_LEVEL)]
    [Spec("DPC-05")]
    public void Below_DISPATCH_LEVEL_it_runs_before_queueing_returns(byte irql) => Run(() =>
    {
        PKDPC dpc = NewDpc(Note("dpc"));
        KeRaiseIrql(irql, out KIRQL old);
        KeInsertQueueDpc(dpc, default, default);
        Step("returned");
        Assert.Equal(irql, KeGetCurrentIrql());
        KeLowerIrql(old);
        Assert.Equal(["dpc", "returned"], Steps);
    });

    [Fact]
    [Spec("DPC-05")]
    public void High_importance_goes_first_the_others_in_order() => Run(() =>
    {
        AtDispatch(() =>
        {
            KeInsertQueueDpc(NewDpc(Note("first")), default, default);
            PKDPC low = NewDpc(Note("low"));
            KeSetImportanceDpc(low, LowImportance);
            KeInsertQueueDpc(low, default, default);
            PKDPC high = NewDpc(Note("high"));
            KeSetImportanceDpc(high, HighImportance);
            KeInsertQueueDpc(high, default, default);
            KeInsertQueueDpc(NewDpc(Note("last")), default, default);
        });
        Assert.Equal(["high", "first", "low", "last"], Steps);
    });

    [Fact]
    [Spec("DPC-06")]
    public void The_device_objects_DPC_calls_the_drivers_routine_with_device_packet_and_context() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PIRP irp = Packet(device);
        IoInitializeDpcRequest(device, (dpc, d, i, context) =>
        {
            Assert.Equal(device.Address + 0xC8, dpc.Address);
            Assert.Equal(device, d);
            Assert.Equal(irp, i);
            Assert.Equal(0x77UL, context.Address);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Step("DpcForIsr");
        });
        Assert.Equal(device.Address, device.Dpc.DeferredContext.Address);
        IoRequestDpc(device, irp, new PVOID(0x77));
        Assert.Equal(["DpcForIsr"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("DPC-01"), Spec("DPC-02")]
    public void Each_successful_insertion_runs_once_whoever_queues(Scheduling scheduling) => Run(scheduling, () =>
    {
        int runs = 0, inserted = 0;
        PKDPC dpc = NewDpc((_, _, _, _) => Interlocked.Increment(ref runs));
        PKEVENT done = Event(SynchronizationEvent);
        for (int t = 0; t < 2; t++)
        {
            Start(() =>
            {
                for (int i = 0; i < 200; i++)
                {
                    if (KeInsertQueueDpc(dpc, default, default)) Interlocked.Increment(ref inserted);
                }
                KeSetEvent(done, 0, false);
            });
        }
        Wait(done);
        if (Volatile.Read(ref inserted) == 0) Wait(done);
        KeWaitForSingleObject(Event(), Executive, KernelMode, false, -200_000);
        KeFlushQueuedDpcs();
        Assert.Equal(inserted, runs);
        Assert.NotEqual(0, runs);
    });

    [Fact]
    public void One_that_fails_when_its_thread_has_ended_stops_the_machine()
    {
        BugCheckException stop = Assert.Throws<BugCheckException>(() => Run(Scheduling.FreeRunning, () =>
        {
            PKDPC dpc = NewDpc((_, _, _, _) => GuestMemory.Ref<ulong>(8)++);
            Start(() =>
            {
                KeRaiseIrql(DISPATCH_LEVEL, out _);
                KeInsertQueueDpc(dpc, default, default);
            });
            Wait(Event());
        }));
        Assert.Equal(DRIVER_IRQL_NOT_LESS_OR_EQUAL, stop.Report.Code);
    }
}
