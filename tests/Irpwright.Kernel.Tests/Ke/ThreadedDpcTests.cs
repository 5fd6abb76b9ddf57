using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class ThreadedDpcTests : DriverTest
{
    PKDPC NewDpc(KDEFERRED_ROUTINE routine, PVOID context = default)
    {
        var dpc = (PKDPC)Memory(KDPC.SizeOf);
        Fill(dpc, KDPC.SizeOf);
        KeInitializeThreadedDpc(dpc, routine, context);
        return dpc;
    }

    [Fact]
    [Spec("DPC-07")]
    public void A_threaded_DPC_runs_at_PASSIVE_LEVEL_in_a_thread_of_the_system() => Run(() =>
    {
        KernelThread caller = Machine.CurrentThread;
        PKEVENT ran = Event(SynchronizationEvent);
        PKDPC dpc = default;
        dpc = NewDpc((d, context, first, second) =>
        {
            Assert.Equal(dpc, d);
            Assert.Equal((0x77UL, 0x88UL, 0x99UL), (context.Address, first.Address, second.Address));
            Assert.True(d.DpcData.IsNull);
            Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
            Assert.NotEqual(caller, Machine.CurrentThread);
            Assert.Equal(ThreadKind.System, Machine.CurrentThread.Kind);
            KeSetEvent(ran, 0, false);
        }, new PVOID(0x77));
        Assert.Equal(ThreadedDpcObject, dpc.Type);
        for (int i = 0; i < 3; i++)
        {
            Assert.True(KeInsertQueueDpc(dpc, new PVOID(0x88), new PVOID(0x99)));
            Wait(ran);
        }
    });

    [Fact]
    [Spec("DPC-07")]
    public void Switched_off_it_runs_as_an_ordinary_DPC() => Run(() =>
    {
        Machine.Dpcs.AreThreadedDpcsEnabled = false;
        KernelThread caller = Machine.CurrentThread;
        PKDPC dpc = NewDpc((_, _, _, _) =>
        {
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Assert.Equal(caller, Machine.CurrentThread);
            Step("dpc");
        });
        KeInsertQueueDpc(dpc, default, default);
        Step("returned");
        Assert.Equal(["dpc", "returned"], Steps);
    });

    [Fact]
    [Spec("DPC-07"), Spec("DPC-04")]
    public void Flushing_waits_for_threaded_DPCs_and_keeps_their_order() => Run(() =>
    {
        PKEVENT first = Event(), go = Event();
        KeInsertQueueDpc(NewDpc((_, _, _, _) =>
        {
            KeSetEvent(first, 0, false);
            while (!IsSet(go)) KeStallExecutionProcessor(10);
            Step("first");
        }), default, default);
        Wait(first);
        KeInsertQueueDpc(NewDpc((_, _, _, _) => Step("second")), default, default);
        PKDPC high = NewDpc((_, _, _, _) => Step("high")), removed = NewDpc((_, _, _, _) => Step("never"));
        KeSetImportanceDpc(high, HighImportance);
        KeInsertQueueDpc(high, default, default);
        Assert.True(KeInsertQueueDpc(removed, default, default));
        Assert.False(KeInsertQueueDpc(removed, default, default));
        Assert.True(KeRemoveQueueDpc(removed));
        Assert.False(KeRemoveQueueDpc(removed));
        KeSetEvent(go, 0, false);
        KeFlushQueuedDpcs();
        Assert.Equal(["first", "high", "second"], Steps);
    });

    [Fact]
    public void The_target_processor_must_exist() => Run(() =>
    {
        PKDPC dpc = NewDpc((_, _, _, _) => Step("dpc"));
        var number = new PROCESSOR_NUMBER();
        Assert.Equal(STATUS_SUCCESS, KeSetTargetProcessorDpcEx(dpc, in number));
        number.Number = 200;
        Assert.Equal(STATUS_INVALID_PARAMETER, KeSetTargetProcessorDpcEx(dpc, in number));
        number = new PROCESSOR_NUMBER { Group = 1 };
        Assert.Equal(STATUS_INVALID_PARAMETER, KeSetTargetProcessorDpcEx(dpc, in number));
        number = new PROCESSOR_NUMBER { Reserved = 1 };
        Assert.Equal(STATUS_INVALID_PARAMETER, KeSetTargetProcessorDpcEx(dpc, in number));
        KeSetTargetProcessorDpc(dpc, 0);
        Assert.NotEqual(0, dpc.Number);
        KeInsertQueueDpc(dpc, default, default);
        KeFlushQueuedDpcs();
        Assert.Equal(["dpc"], Steps);
    });
}
