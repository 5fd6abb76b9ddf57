using System.Collections.Concurrent;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class ProcessorCallTests : DriverTest
{
    [Fact]
    public void Every_processor_executes_an_interprocessor_call_at_IPI_LEVEL() => Run(() =>
    {
        ConcurrentDictionary<uint, byte> irqls = new();
        ulong result = KeIpiGenericCall(Routine((KIPI_BROADCAST_WORKER)(argument =>
        {
            irqls[KeGetCurrentProcessorNumber()] = KeGetCurrentIrql();
            return argument + KeGetCurrentProcessorNumber();
        })), 1000);
        Assert.Equal(KeQueryActiveProcessorCount(default), (uint)irqls.Count);
        Assert.All(irqls.Values, irql => Assert.Equal(14, irql));
        Assert.Equal(1000 + KeGetCurrentProcessorNumber(), result);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Fact]
    public void Processors_of_an_interprocessor_call_run_at_the_same_time() => Run(() =>
    {
        int waiting = (int)KeQueryActiveProcessorCount(default);
        KeIpiGenericCall(Routine((KIPI_BROADCAST_WORKER)(_ =>
        {
            Interlocked.Decrement(ref waiting);
            while (Volatile.Read(ref waiting) > 0) Machine.Scheduler.Yield(Machine.CurrentThread, SchedulingPoint.Spin);
            return 0;
        })), 0);
        Assert.Equal(0, waiting);
    });

    [Fact]
    public void Every_processor_calls_a_generic_DPC_and_one_of_them_is_chosen_at_each_meeting() => Run(() =>
    {
        int first = 0, chosen = 0, early = 0;
        uint count = KeQueryActiveProcessorCount(default);
        ConcurrentDictionary<uint, PVOID> contexts = new();
        KeGenericCallDpc((_, context, done, meeting) =>
        {
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            contexts[KeGetCurrentProcessorNumber()] = context;
            for (int round = 0; round < 2; round++)
            {
                Interlocked.Increment(ref first);
                if (KeSignalCallDpcSynchronize(meeting) != 0) Interlocked.Increment(ref chosen);
                if (Volatile.Read(ref first) < (round + 1) * count) Interlocked.Increment(ref early);
            }
            KeSignalCallDpcDone(done);
        }, new PVOID(0x1234));
        Assert.Equal((count, 2, 0), ((uint)contexts.Count, chosen, early));
        Assert.All(contexts.Values, context => Assert.Equal(0x1234ul, context.Address));
    });

    [Fact]
    public void A_generic_DPC_that_is_never_done_hangs()
    {
        var hang = Assert.Throws<MachineHungException>(() => Run(() => KeGenericCallDpc((_, _, _, _) => { }, default)));
        Assert.Contains("did not call KeSignalCallDpcDone", hang.Message);
    }
}
