using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class QueueTests : DriverTest
{
    PKQUEUE Queue()
    {
        var queue = new PKQUEUE(Memory(KQUEUE.SizeOf).Address);
        KeInitializeQueue(queue, 2);
        return queue;
    }

    PLIST_ENTRY Entry() => new(Memory(LIST_ENTRY.SizeOf).Address);

    [Fact]
    public void A_new_queue_is_empty_and_keeps_its_limit() => Run(() =>
    {
        PKQUEUE queue = Queue();
        Assert.Equal((KOBJECTS.QueueObject, 0), (queue.Header.Type, queue.Header.SignalState));
        Assert.Equal(2U, queue.MaximumCount);
        Assert.Equal((ulong)STATUS_TIMEOUT, KeRemoveQueue(queue, KernelMode, 0).Address);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Entries_come_in_order_except_those_inserted_at_the_head(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKQUEUE queue = Queue();
        PLIST_ENTRY first = Entry(), second = Entry(), head = Entry();
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.Equal(0, KeInsertQueue(queue, first));
        Assert.Equal(1, KeInsertQueue(queue, second));
        Assert.Equal(2, KeInsertHeadQueue(queue, head));
        KeLowerIrql(old);
        Assert.Equal(3, queue.Header.SignalState);
        Assert.Equal([head, first, second], [KeRemoveQueue(queue, KernelMode, null), KeRemoveQueue(queue, KernelMode, 0), KeRemoveQueue(queue, UserMode, null)]);
        Assert.Equal((ulong)STATUS_TIMEOUT, KeRemoveQueue(queue, KernelMode, -10_000).Address);
    });

    [Theory]
    [InlineData(-1)] // the free-running scheduler
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Every_entry_is_given_to_one_of_the_threads_that_wait(int seed)
    {
        const int threads = 3, entries = 30;
        Strategy = seed < 0 ? null : new SeededStrategy(seed);
        Run(seed < 0 ? Scheduling.FreeRunning : Scheduling.Controlled, () =>
        {
            PKQUEUE queue = Queue();
            PKEVENT over = Event();
            PLIST_ENTRY stop = Entry();
            List<PLIST_ENTRY> taken = [];
            int ended = 0;
            for (int t = 0; t < threads; t++)
            {
                Start(() =>
                {
                    while (KeRemoveQueue(queue, KernelMode, null) is var entry && entry != stop)
                    {
                        lock (taken) taken.Add(entry);
                    }
                    if (Interlocked.Increment(ref ended) == threads) KeSetEvent(over, 0, false);
                    else KeInsertQueue(queue, stop);
                });
            }
            PLIST_ENTRY[] inserted = [.. Enumerable.Range(0, entries).Select(_ => Entry())];
            foreach (PLIST_ENTRY entry in inserted) KeInsertQueue(queue, entry);
            KeInsertQueue(queue, stop);
            Wait(over);
            Assert.Equal(inserted.Select(e => e.Address).Order(), taken.Select(e => e.Address).Order());
            Assert.Equal(0, queue.Header.SignalState);
        });
    }
}
