using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class DeviceQueueTests : DriverTest
{
    PKDEVICE_QUEUE NewQueue()
    {
        var queue = (PKDEVICE_QUEUE)Memory(KDEVICE_QUEUE.SizeOf);
        Fill(queue, KDEVICE_QUEUE.SizeOf);
        KeInitializeDeviceQueue(queue);
        return queue;
    }

    PKDEVICE_QUEUE_ENTRY NewEntry()
    {
        var entry = (PKDEVICE_QUEUE_ENTRY)Memory(KDEVICE_QUEUE_ENTRY.SizeOf);
        Fill(entry, KDEVICE_QUEUE_ENTRY.SizeOf);
        return entry;
    }

    /// <summary>The IRQL that these routines ask for.</summary>
    void Dispatch(Scheduling scheduling, Action body) => Run(scheduling, () =>
    {
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        body();
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(old);
    });

    /// <summary>A busy queue with entries of these keys, inserted in this order.</summary>
    PKDEVICE_QUEUE Sorted(out PKDEVICE_QUEUE_ENTRY[] entries, params uint[] keys)
    {
        PKDEVICE_QUEUE queue = NewQueue();
        Assert.False(KeInsertDeviceQueue(queue, NewEntry()));
        entries = [.. keys.Select(_ => NewEntry())];
        for (int i = 0; i < keys.Length; i++) Assert.True(KeInsertByKeyDeviceQueue(queue, entries[i], keys[i]));
        return queue;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-01")]
    public void A_new_queue_is_not_busy_and_empty(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKDEVICE_QUEUE queue = NewQueue();
        Assert.Equal((short)DeviceQueueObject, queue.Type);
        Assert.Equal(KDEVICE_QUEUE.SizeOf, queue.Size);
        Assert.False(queue.Busy);
        Assert.True(IsListEmpty(new PLIST_ENTRY(queue.Address + 8)));
        Assert.True(KeTestSpinLock(new PKSPIN_LOCK(queue.Address + 0x18)));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-01"), Spec("STARTIO-03")]
    public void The_first_insertion_makes_busy_and_inserts_nothing_later_ones_append(Scheduling scheduling) => Dispatch(scheduling, () =>
    {
        PKDEVICE_QUEUE queue = NewQueue();
        PKDEVICE_QUEUE_ENTRY first = NewEntry(), second = NewEntry(), third = NewEntry();
        Assert.False(KeInsertDeviceQueue(queue, first));
        Assert.True(queue.Busy);
        Assert.False(first.Inserted);
        Assert.True(KeInsertDeviceQueue(queue, second));
        Assert.True(KeInsertDeviceQueue(queue, third));
        Assert.True(second.Inserted);
        Assert.Equal(second, KeRemoveDeviceQueue(queue));
        Assert.False(second.Inserted);
        Assert.Equal(third, KeRemoveDeviceQueue(queue));
        Assert.True(queue.Busy); // empty, but the third request is being worked on
        Assert.True(KeRemoveDeviceQueue(queue).IsNull);
        Assert.False(queue.Busy);
        Assert.False(KeInsertByKeyDeviceQueue(queue, first, 5));
        Assert.True(queue.Busy);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-03")]
    public void A_queue_that_is_not_busy_has_nothing_to_give(Scheduling scheduling) => Dispatch(scheduling, () =>
    {
        PKDEVICE_QUEUE queue = NewQueue();
        byte[] before = Bytes(queue, KDEVICE_QUEUE.SizeOf);
        Assert.True(KeRemoveDeviceQueue(queue).IsNull);
        Assert.True(KeRemoveByKeyDeviceQueueIfBusy(queue, 3).IsNull);
        Assert.Equal(before, Bytes(queue, KDEVICE_QUEUE.SizeOf));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-02")]
    public void Sorted_insertion_goes_behind_equal_keys(Scheduling scheduling) => Dispatch(scheduling, () =>
    {
        PKDEVICE_QUEUE queue = Sorted(out PKDEVICE_QUEUE_ENTRY[] entries, 5, 3, 5, uint.MaxValue, 3, 4, 0);
        int[] order = [6, 1, 4, 5, 0, 2, 3];
        foreach (int i in order) Assert.Equal(entries[i], KeRemoveDeviceQueue(queue));
        Assert.Equal(4U, entries[5].SortKey);
        Assert.True(KeRemoveDeviceQueue(queue).IsNull);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-04")]
    public void Removal_by_key_takes_the_first_not_below_it_else_the_first(Scheduling scheduling) => Dispatch(scheduling, () =>
    {
        PKDEVICE_QUEUE queue = Sorted(out PKDEVICE_QUEUE_ENTRY[] entries, 10, 20, 20, 30);
        Assert.Equal(entries[1], KeRemoveByKeyDeviceQueue(queue, 20));
        Assert.Equal(entries[2], KeRemoveByKeyDeviceQueue(queue, 11));
        Assert.Equal(entries[0], KeRemoveByKeyDeviceQueueIfBusy(queue, 31));
        Assert.Equal(entries[3], KeRemoveByKeyDeviceQueue(queue, 0));
        Assert.True(queue.Busy);
        Assert.True(KeRemoveByKeyDeviceQueue(queue, 0).IsNull);
        Assert.False(queue.Busy);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("STARTIO-05")]
    public void A_certain_entry_is_removed_if_it_is_in_the_queue_which_stays_busy(Scheduling scheduling) => Dispatch(scheduling, () =>
    {
        PKDEVICE_QUEUE queue = NewQueue();
        PKDEVICE_QUEUE_ENTRY first = NewEntry(), second = NewEntry(), third = NewEntry();
        KeInsertDeviceQueue(queue, first);
        KeInsertDeviceQueue(queue, second);
        KeInsertDeviceQueue(queue, third);
        Assert.False(KeRemoveEntryDeviceQueue(queue, first)); // being worked on
        KeLowerIrql(PASSIVE_LEVEL);
        Assert.True(KeRemoveEntryDeviceQueue(queue, second));
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        KeRaiseIrql(DISPATCH_LEVEL, out _);
        Assert.False(second.Inserted);
        Assert.False(KeRemoveEntryDeviceQueue(queue, second));
        Assert.True(KeRemoveEntryDeviceQueue(queue, third));
        Assert.True(queue.Busy);
        Assert.True(KeRemoveDeviceQueue(queue).IsNull);
        Assert.False(queue.Busy);
    });

    public static TheoryData<Scheduling, int> Contention => new()
    {
        { Scheduling.Controlled, 1 }, { Scheduling.Controlled, 2 }, { Scheduling.Controlled, 3 }, { Scheduling.FreeRunning, 0 },
    };

    [Theory, MemberData(nameof(Contention))]
    [Spec("STARTIO-01"), Spec("STARTIO-03"), Spec("STARTIO-10")]
    public void The_device_always_has_exactly_one_owner(Scheduling scheduling, int seed)
    {
        Strategy = new SeededStrategy(seed);
        int rounds = scheduling == Scheduling.Controlled ? 20 : 2000;
        Run(scheduling, () =>
        {
            PKDEVICE_QUEUE queue = NewQueue();
            PKEVENT over = Event();
            int owners = 0, done = 0, running = 4;
            void Work()
            {
                // Owns the device until the queue says that nobody waits.
                do
                {
                    Assert.Equal(1, Interlocked.Increment(ref owners));
                    done++;
                    KeStallExecutionProcessor(1);
                    Interlocked.Decrement(ref owners);
                }
                while (!KeRemoveDeviceQueue(queue).IsNull);
            }
            for (int t = 0; t < 4; t++)
            {
                Start(() =>
                {
                    for (int i = 0; i < rounds; i++)
                    {
                        PKDEVICE_QUEUE_ENTRY entry = NewEntry();
                        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
                        if (!KeInsertDeviceQueue(queue, entry)) Work();
                        KeLowerIrql(old);
                    }
                    if (Interlocked.Decrement(ref running) == 0) KeSetEvent(over, 0, false);
                });
            }
            Wait(over);
            Assert.Equal(4 * rounds, done);
            Assert.False(queue.Busy);
        });
    }
}
