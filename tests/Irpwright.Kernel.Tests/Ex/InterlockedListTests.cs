using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class InterlockedListTests : SynchronizationTest
{
    PKSPIN_LOCK NewLock() => new(Memory(KSPIN_LOCK.SizeOf).Address);

    [Fact]
    public void Entries_are_inserted_at_both_ends_and_removed_at_the_head() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        PLIST_ENTRY head = Entry(), first = Entry(), second = Entry(), third = Entry();
        InitializeListHead(head);
        Assert.True(ExInterlockedRemoveHeadList(head, spinLock).IsNull);
        Assert.True(ExInterlockedInsertHeadList(head, second, spinLock).IsNull);
        Assert.Equal(second, ExInterlockedInsertHeadList(head, first, spinLock));
        Assert.Equal(second, ExInterlockedInsertTailList(head, third, spinLock));
        Assert.Equal(first, ExInterlockedRemoveHeadList(head, spinLock));
        Assert.Equal(second, ExInterlockedRemoveHeadList(head, spinLock));
        Assert.Equal(third, ExInterlockedRemoveHeadList(head, spinLock));
        Assert.True(IsListEmpty(head));
        Assert.True(ExInterlockedInsertTailList(head, first, spinLock).IsNull);
        Assert.True(KeTestSpinLock(spinLock));

        PLIST_ENTRY Entry() => new(Memory(LIST_ENTRY.SizeOf).Address);
    });

    [Fact]
    public void Singly_linked_lists_are_stacks() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        PSINGLE_LIST_ENTRY head = Entry(), first = Entry(), second = Entry();
        Assert.True(ExInterlockedPopEntryList(head, spinLock).IsNull);
        Assert.True(ExInterlockedPushEntryList(head, first, spinLock).IsNull);
        Assert.Equal(first, ExInterlockedPushEntryList(head, second, spinLock));
        Assert.Equal(second, ExInterlockedPopEntryList(head, spinLock));
        Assert.Equal(first, ExInterlockedPopEntryList(head, spinLock));
        Assert.True(head.Next.IsNull);

        PSINGLE_LIST_ENTRY Entry() => new(Memory(8).Address);
    });

    [Fact]
    public void Adding_returns_the_value_before() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        var large = new PLARGE_INTEGER(Memory(8).Address);
        large.Value = long.MaxValue;
        Assert.Equal(long.MaxValue, ExInterlockedAddLargeInteger(large, 1, spinLock));
        Assert.Equal(long.MinValue, large.Value);
        var small = new PULONG(Memory(4).Address);
        small.Value = 7;
        Assert.Equal(7u, ExInterlockedAddUlong(small, uint.MaxValue, spinLock));
        Assert.Equal(6u, small.Value);
    });

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(CLOCK_LEVEL)]
    public void They_may_be_called_at_any_level_and_keep_it(byte irql) => Run(() =>
    {
        var number = new PULONG(Memory(4).Address);
        PKSPIN_LOCK spinLock = NewLock();
        KeRaiseIrql(irql, out KIRQL old);
        ExInterlockedAddUlong(number, 1, spinLock);
        Assert.Equal(irql, KeGetCurrentIrql());
        KeLowerIrql(old);
    });

    [Fact]
    public void A_lock_that_the_caller_holds_already_stops_the_machine() => Stops(SPIN_LOCK_ALREADY_OWNED, () =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        KeAcquireSpinLock(spinLock, out _);
        ExInterlockedAddUlong(new PULONG(Memory(4).Address), 1, spinLock);
    });

    // ---- Sequenced lists

    PSLIST_ENTRY SEntry() => new(Memory(SLIST_ENTRY.SizeOf).Address);

    PSLIST_HEADER SList()
    {
        var head = new PSLIST_HEADER(Memory(SLIST_HEADER.SizeOf).Address);
        Fill(head, SLIST_HEADER.SizeOf);
        ExInitializeSListHead(head);
        return head;
    }

    [Fact]
    public void The_head_of_a_sequenced_list_has_depth_sequence_and_first_entry() => Run(() =>
    {
        PSLIST_HEADER head = SList();
        Assert.Equal((0UL, 0UL), (head.Alignment, head.Region));
        PSLIST_ENTRY first = SEntry(), second = SEntry();
        Assert.True(InterlockedPopEntrySList(head).IsNull);
        Assert.True(InterlockedPushEntrySList(head, first).IsNull);
        Assert.Equal(first, ExInterlockedPushEntrySList(head, second, NewLock()));
        Assert.Equal(second.Address, head.Region);
        Assert.Equal(0x20002UL, head.Alignment);
        Assert.Equal(2, ExQueryDepthSList(head));
        Assert.Equal(second, ExInterlockedPopEntrySList(head, NewLock()));
        Assert.Equal(1, ExQueryDepthSList(head));
        InterlockedPushEntrySList(head, second);
        Assert.Equal(second, ExInterlockedFlushSList(head));
        Assert.Equal(first, second.Next);
        Assert.True(first.Next.IsNull);
        Assert.Equal(0, ExQueryDepthSList(head));
        Assert.True(InterlockedFlushSList(head).IsNull);
        Assert.Equal(5UL << 16, head.Alignment);
    });

    [Fact]
    public void Heads_and_entries_are_aligned_to_16_bytes() => Run(() =>
    {
        Raises(STATUS_DATATYPE_MISALIGNMENT, () => InitializeSListHead(new PSLIST_HEADER(Memory(64).Address + 8)));
        PSLIST_HEADER head = SList();
        Raises(STATUS_DATATYPE_MISALIGNMENT, () => InterlockedPushEntrySList(head, new PSLIST_ENTRY(Memory(64).Address + 8)));
        Assert.Equal(0, ExQueryDepthSList(head));
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void No_entry_is_lost_or_doubled(int order) => RunInOrder(order, () =>
    {
        const int threads = 4, rounds = 40;
        PSLIST_HEADER head = SList();
        PLIST_ENTRY queue = new(Memory(LIST_ENTRY.SizeOf).Address);
        InitializeListHead(queue);
        PKSPIN_LOCK spinLock = NewLock();
        for (int i = 0; i < threads; i++) InterlockedPushEntrySList(head, SEntry());
        for (int i = 0; i < threads; i++)
        {
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    PSLIST_ENTRY entry = InterlockedPopEntrySList(head);
                    if (entry.IsNull) continue;
                    ExInterlockedInsertTailList(queue, new PLIST_ENTRY(entry.Address), spinLock);
                    PLIST_ENTRY taken = ExInterlockedRemoveHeadList(queue, spinLock);
                    if (!taken.IsNull) InterlockedPushEntrySList(head, new PSLIST_ENTRY(taken.Address));
                }
            });
        }
        Join();
        int left = ExQueryDepthSList(head);
        while (!ExInterlockedRemoveHeadList(queue, spinLock).IsNull) left++;
        Assert.Equal(threads, left);
    });
}
