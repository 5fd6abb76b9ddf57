using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class LookasideTests : SynchronizationTest
{
    const uint Tag = 0x6B6F6F4C; // "Look"

    PNPAGED_LOOKASIDE_LIST NonPaged(ALLOCATE_FUNCTION? allocate = null, FREE_FUNCTION? free = null, uint flags = 0, ulong size = 100)
    {
        var list = new PNPAGED_LOOKASIDE_LIST(Memory(NPAGED_LOOKASIDE_LIST.SizeOf).Address);
        Fill(list, NPAGED_LOOKASIDE_LIST.SizeOf);
        ExInitializeNPagedLookasideList(list, allocate, free, flags, size, Tag, 0);
        return list;
    }

    [Fact]
    public void A_new_list_is_empty_and_names_the_pools_routines() => Run(() =>
    {
        PNPAGED_LOOKASIDE_LIST list = NonPaged(flags: POOL_NX_ALLOCATION);
        Assert.Equal(0, ExQueryDepthSList(new PSLIST_HEADER(list.Address)));
        Assert.Equal(4, list.L.Depth);
        Assert.Equal(100u, list.L.Size);
        Assert.Equal(Tag, list.L.Tag);
        Assert.Equal(NonPagedPoolNx, list.L.Type);
        Assert.Equal("ExAllocatePoolWithTag", Machine.Code.ExportAt(list.L.Allocate.Address)?.Name);
        Assert.Equal("ExFreePool", Machine.Code.ExportAt(list.L.Free.Address)?.Name);
        ExDeleteNPagedLookasideList(list);
    });

    [Fact]
    public void Blocks_come_from_the_pool_and_are_kept_up_to_the_depth() => Run(() =>
    {
        PNPAGED_LOOKASIDE_LIST list = NonPaged();
        PVOID[] blocks = [.. Enumerable.Range(0, 6).Select(_ => ExAllocateFromNPagedLookasideList(list))];
        Assert.All(blocks, b =>
        {
            Assert.True(Machine.Pool.TryFind(b.Address, out PoolBlock block));
            Assert.Equal((100UL, Tag), (block.Size, block.Tag));
        });
        foreach (PVOID block in blocks) ExFreeToNPagedLookasideList(list, block);
        Assert.Equal((6u, 6u, 6u, 2u), (list.L.TotalAllocates, list.L.AllocateMisses, list.L.TotalFrees, list.L.FreeMisses));
        Assert.Equal(4, ExQueryDepthSList(new PSLIST_HEADER(list.Address)));
        Assert.False(Machine.Pool.TryFind(blocks[5].Address, out _));
        Assert.Equal(blocks[3], ExAllocateFromNPagedLookasideList(list));
        Assert.Equal(6u, list.L.AllocateMisses);
        ExFreeToNPagedLookasideList(list, blocks[3]);
        ExDeleteNPagedLookasideList(list);
        Assert.DoesNotContain(Machine.Pool.LiveBlocks, b => b.Tag == Tag);
    });

    [Fact]
    public void Paged_lists_have_paged_blocks() => Run(() =>
    {
        var list = new PPAGED_LOOKASIDE_LIST(Memory(PAGED_LOOKASIDE_LIST.SizeOf).Address);
        ExInitializePagedLookasideList(list, (PALLOCATE_FUNCTION)default, default, 0, 3, Tag, 0);
        PVOID block = ExAllocateFromPagedLookasideList(list);
        Assert.True(Machine.Memory.PagedPool.Contains(block.Address));
        Assert.True(Machine.Pool.TryFind(block.Address, out PoolBlock found));
        Assert.Equal((ulong)SLIST_ENTRY.SizeOf, found.Size); // room for the link
        ExFreeToPagedLookasideList(list, block);
        Assert.Equal(1, ExQueryDepthSList(new PSLIST_HEADER(list.Address)));
        ExDeletePagedLookasideList(list);
        Assert.False(Machine.Pool.TryFind(block.Address, out _));
    });

    [Fact]
    public void Routines_of_the_driver_are_called_when_the_list_is_empty_or_full() => Run(() =>
    {
        PNPAGED_LOOKASIDE_LIST list = NonPaged(
            (type, size, tag) =>
            {
                Step($"allocate {type} {size} {tag:X}");
                return ExAllocatePoolWithTag(type, size, tag);
            },
            block =>
            {
                Step("free");
                ExFreePoolWithTag(block, Tag);
            });
        PVOID[] blocks = [.. Enumerable.Range(0, 5).Select(_ => ExAllocateFromNPagedLookasideList(list))];
        Assert.Equal(Enumerable.Repeat($"allocate NonPagedPool 100 {Tag:X}", 5), Steps);
        foreach (PVOID block in blocks) ExFreeToNPagedLookasideList(list, block);
        Assert.Equal(1, Steps.Count(s => s == "free"));
        ExDeleteNPagedLookasideList(list);
        Assert.Equal(5, Steps.Count(s => s == "free"));
    });

    [Fact]
    public void The_extended_form_tells_its_routines_the_list() => Run(() =>
    {
        var list = new PLOOKASIDE_LIST_EX(Memory(LOOKASIDE_LIST_EX.SizeOf).Address);
        ALLOCATE_FUNCTION_EX allocate = (type, size, tag, of) =>
        {
            Assert.Equal(list, of);
            Step("allocate");
            return ExAllocatePoolWithTag(type, size, tag);
        };
        FREE_FUNCTION_EX free = (block, of) =>
        {
            Assert.Equal(list, of);
            Step("free");
            ExFreePoolWithTag(block, Tag);
        };
        Assert.Equal(STATUS_SUCCESS, ExInitializeLookasideListEx(list, allocate, free, PagedPool, 0, 64, Tag, 0));
        PVOID first = ExAllocateFromLookasideListEx(list), second = ExAllocateFromLookasideListEx(list);
        ExFreeToLookasideListEx(list, first);
        ExFreeToLookasideListEx(list, second);
        Assert.Equal(second, ExAllocateFromLookasideListEx(list));
        Assert.Equal(["allocate", "allocate"], Steps);
        ExFlushLookasideListEx(list);
        Assert.Equal(["allocate", "allocate", "free"], Steps);
        ExFreeToLookasideListEx(list, second);
        ExDeleteLookasideListEx(list);
        Assert.Equal(["allocate", "allocate", "free", "free"], Steps);
    });

    [Fact]
    public void The_extended_form_works_with_the_pools_routines_too() => Run(() =>
    {
        var list = new PLOOKASIDE_LIST_EX(Memory(LOOKASIDE_LIST_EX.SizeOf).Address);
        Assert.Equal(STATUS_SUCCESS, ExInitializeLookasideListEx(list, default(PALLOCATE_FUNCTION_EX), default, NonPagedPoolNx, EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL, 64, Tag, 0));
        PVOID[] blocks = [.. Enumerable.Range(0, 5).Select(_ => ExAllocateFromLookasideListEx(list))];
        foreach (PVOID block in blocks) ExFreeToLookasideListEx(list, block);
        ExDeleteLookasideListEx(list);
        Assert.DoesNotContain(Machine.Pool.LiveBlocks, b => b.Tag == Tag);
        Machine.Pool.FailAllocation = (_, tag) => tag == Tag;
        Raises(STATUS_INSUFFICIENT_RESOURCES, () => ExAllocateFromLookasideListEx(list));
    });

    [Fact]
    public void Invalid_pool_types_and_flags_are_refused() => Run(() =>
    {
        var list = new PLOOKASIDE_LIST_EX(Memory(LOOKASIDE_LIST_EX.SizeOf).Address);
        Assert.Equal(STATUS_INVALID_PARAMETER_4, ExInitializeLookasideListEx(list, default(PALLOCATE_FUNCTION_EX), default, NonPagedPoolMustSucceed, 0, 64, Tag, 0));
        Assert.Equal(STATUS_INVALID_PARAMETER_5, ExInitializeLookasideListEx(list, default(PALLOCATE_FUNCTION_EX), default, PagedPool, 3, 64, Tag, 0));
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void No_two_threads_get_the_same_block(int order) => RunInOrder(order, () =>
    {
        PNPAGED_LOOKASIDE_LIST list = NonPaged();
        for (int i = 0; i < 4; i++)
        {
            ulong mark = (ulong)i;
            Fork(() =>
            {
                for (int n = 0; n < 20; n++)
                {
                    PVOID block = ExAllocateFromNPagedLookasideList(list);
                    new PPVOID(block.Address).Value = new PVOID(mark);
                    KeSetEvent(Event(), 0, false);
                    Assert.Equal(mark, new PPVOID(block.Address).Value.Address);
                    ExFreeToNPagedLookasideList(list, block);
                }
            });
        }
        Join();
        ExDeleteNPagedLookasideList(list);
        Assert.DoesNotContain(Machine.Pool.LiveBlocks, b => b.Tag == Tag);
    });
}
