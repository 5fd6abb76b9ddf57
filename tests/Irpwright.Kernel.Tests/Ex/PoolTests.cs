using CsCheck;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public sealed class PoolTests : IDisposable
{
    const uint Tag = 0x74736554; // "Test"

    readonly Machine machine = new();

    Pool Pool => machine.Pool;

    public void Dispose() => machine.Dispose();

    ulong Allocate(ulong size, POOL_TYPE type = NonPagedPoolNx) => Pool.Allocate(type, size, Tag, 0);

    [Theory]
    [InlineData(1), InlineData(16), InlineData(17), InlineData(496), InlineData(497), InlineData(4064)]
    public void A_small_block_is_16_byte_aligned_and_does_not_cross_a_page(int size)
    {
        for (int i = 0; i < 300; i++)
        {
            ulong address = Allocate((ulong)size);
            Assert.Equal(0u, address & 15);
            Assert.Equal(address >> 12, (address + (ulong)size - 1) >> 12);
            GuestMemory.Write(address, size).Fill(1);
        }
        foreach (PoolBlock block in Pool.LiveBlocks.Where(b => b.Tag == Tag)) Pool.Free(block.Address, Tag);
    }

    [Theory]
    [InlineData(4096), InlineData(4097), InlineData(100_000)]
    public void A_block_of_a_page_or_more_is_page_aligned(int size)
    {
        ulong address = Allocate((ulong)size);
        Assert.Equal(0u, address & 4095);
        GuestMemory.Write(address, size).Fill(1);
        Pool.Free(address, Tag);
    }

    [Fact]
    public void Blocks_never_overlap_whatever_is_allocated_and_freed_in_between()
    {
        Gen.Select(Gen.Int[0, 9000], Gen.Bool, Gen.Int[0, 40]).Array[1, 200].Sample(steps =>
        {
            using var sample = new Machine();
            List<(ulong Address, int Size, byte Fill)> live = [];
            byte fill = 0;
            foreach ((int size, bool paged, int index) in steps)
            {
                if (index < live.Count)
                {
                    (ulong address, int length, byte value) = live[index];
                    if (GuestMemory.Read(address, length).ContainsAnyExcept(value)) return false;
                    sample.Pool.Free(address, Tag);
                    live.RemoveAt(index);
                }
                ulong block = sample.Pool.Allocate(paged ? PagedPool : NonPagedPoolNx, (ulong)size, Tag, 0);
                GuestMemory.Write(block, size).Fill(++fill);
                live.Add((block, size, fill));
            }
            return live.All(b => !GuestMemory.Read(b.Address, b.Size).ContainsAnyExcept(b.Fill)) &&
                sample.Pool.LiveBlocks.Where(b => b.Tag == Tag).Select(b => (b.Address, (int)b.Size))
                    .SequenceEqual(live.Select(b => (b.Address, b.Size)).Order());
        }, iter: 60);
    }

    [Fact]
    public void Fresh_memory_is_garbage_and_always_the_same()
    {
        Assert.All(GuestMemory.Read(Allocate(100), 100).ToArray(), b => Assert.Equal(0xCD, b));
        Assert.All(GuestMemory.Read(Allocate(5000), 5000).ToArray(), b => Assert.Equal(0xCD, b));
    }

    [Fact]
    public void ExAllocatePool2_gives_zeroed_memory_unless_told_otherwise()
    {
        machine.Run(() =>
        {
            foreach (ulong size in (ulong[])[100, 5000])
            {
                PVOID reused = Pool.ExAllocatePool2(POOL_FLAG_NON_PAGED, size, Tag);
                GuestMemory.Write(reused.Address, (int)size).Fill(7);
                Pool.ExFreePoolWithTag(reused, Tag);
                for (int i = 0; i < 300; i++)
                {
                    PVOID block = Pool.ExAllocatePool2(POOL_FLAG_NON_PAGED, size, Tag);
                    Assert.False(GuestMemory.Read(block.Address, (int)size).ContainsAnyExcept((byte)0));
                    Pool.ExFreePool(block);
                }
                PVOID uninitialized = Pool.ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, size, Tag);
                Assert.Equal(0xCD, GuestMemory.Ref<byte>(uninitialized.Address));
            }
        });
    }

    [Fact]
    public void ExAllocatePool2_refuses_a_zero_tag_unknown_required_flags_and_no_or_two_kinds_of_memory()
    {
        machine.Run(() =>
        {
            Assert.True(Pool.ExAllocatePool2(POOL_FLAG_PAGED, 16, 0).IsNull);
            Assert.True(Pool.ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_RESERVED1, 16, Tag).IsNull);
            Assert.True(Pool.ExAllocatePool2(0ul, 16, Tag).IsNull);
            Assert.True(Pool.ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_NON_PAGED, 16, Tag).IsNull);
            Assert.False(Pool.ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_SPECIAL_POOL, 16, Tag).IsNull);
            Assert.Equal(STATUS_INVALID_PARAMETER,
                Assert.Throws<NtStatusException>(() => Pool.ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 16, 0)).Status);
        });
    }

    [Fact]
    public void Each_kind_of_pool_has_its_access()
    {
        Assert.Equal(PageAccess.ReadWrite, AccessOf(Allocate(16)));
        Assert.Equal(PageAccess.ReadWrite | PageAccess.Execute, AccessOf(Allocate(16, NonPagedPool)));
        Assert.Equal(PageAccess.ReadWrite | PageAccess.Pageable, AccessOf(Allocate(16, PagedPool)));
        Assert.Equal(PageAccess.ReadWrite | PageAccess.Pageable, AccessOf(Allocate(8192, PagedPool)));

        static PageAccess AccessOf(ulong address)
        {
            PageAccess all = PageAccess.None;
            foreach (PageAccess access in (PageAccess[])[PageAccess.Read, PageAccess.Write, PageAccess.Execute, PageAccess.Pageable])
            {
                unsafe
                {
                    if (GuestMemory.TryTranslate(address, 1, access, out _, out _)) all |= access;
                }
            }
            return all;
        }
    }

    [Fact]
    public void Live_blocks_tell_size_tag_type_and_owner()
    {
        ulong owner = machine.Memory.SliceBase + 0x0123_4560;
        ulong small = Pool.Allocate(PagedPool, 33, Tag, owner);
        ulong large = Pool.Allocate(NonPagedPool, 70_000, Tag, owner);
        PoolBlock[] expected = [new(large, 70_000, Tag, NonPagedPool, owner), new(small, 33, Tag, PagedPool, owner)];
        Assert.Equal(expected, Pool.LiveBlocks.Where(b => b.Tag == Tag));
        Assert.True(Pool.TryFind(large, out PoolBlock found));
        Assert.Equal(expected[0], found);
        Assert.False(Pool.TryFind(large + 4096, out _));
        Assert.False(Pool.TryFind(small + 16, out _));
        Pool.Free(small, Tag);
        Pool.Free(large, 0);
        Assert.DoesNotContain(Pool.LiveBlocks, b => b.Tag == Tag);
    }

    [Fact]
    public void Observers_see_allocations_and_frees()
    {
        var observer = new Observer();
        machine.Events.Add(observer);
        ulong address = Pool.Allocate(PagedPool, 33, Tag, 0);
        Pool.Free(address, 0);
        Assert.Equal([new PoolAllocated(address, 33, Tag, PagedPool, 0)], observer.Allocated);
        Assert.Equal([new PoolFreed(address, Tag)], observer.Freed);
    }

    sealed class Observer : KernelObserver
    {
        public List<PoolAllocated> Allocated { get; } = [];

        public List<PoolFreed> Freed { get; } = [];

        public override void On(in PoolAllocated e) => Allocated.Add(e);

        public override void On(in PoolFreed e) => Freed.Add(e);
    }

    [Fact]
    public void Allocations_fail_on_demand()
    {
        Pool.FailAllocation = (size, tag) => tag == Tag && size > 100;
        Assert.NotEqual(0u, Allocate(100));
        Assert.Equal(0u, Allocate(101));
        machine.Run(() =>
        {
            Assert.True(Pool.ExAllocatePoolWithTag(PagedPool, 101, Tag).IsNull);
            Assert.Equal(STATUS_INSUFFICIENT_RESOURCES,
                Assert.Throws<NtStatusException>(() =>
                    Pool.ExAllocatePoolWithTag(PagedPool + POOL_RAISE_IF_ALLOCATION_FAILURE, 101, Tag)).Status);
            Assert.Throws<NtStatusException>(() => Pool.ExAllocatePoolWithQuotaTag(PagedPool, 101, Tag));
            Assert.True(Pool.ExAllocatePoolWithQuotaTag(PagedPool + POOL_QUOTA_FAIL_INSTEAD_OF_RAISE, 101, Tag).IsNull);
        });
    }

    [Fact]
    public void A_size_that_no_pool_has_is_refused() => Assert.Equal(0u, Allocate(1UL << 33));

    [Fact]
    public void Steady_allocation_does_not_touch_the_managed_heap()
    {
        for (int i = 0; i < 100; i++) Cycle();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++) Cycle();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Cycle()
        {
            Pool.Free(Allocate(200), Tag);
            Pool.Free(Allocate(4096), Tag);
        }
    }

    [Fact]
    public void Threads_allocate_and_free_at_the_same_time()
    {
        Parallel.For(0, 4, worker =>
        {
            var random = new Random(worker);
            Queue<(ulong Address, int Size)> live = new();
            for (int i = 0; i < 5000; i++)
            {
                int size = random.Next(1, 600);
                ulong address = Allocate((ulong)size);
                GuestMemory.Write(address, size).Fill((byte)worker);
                live.Enqueue((address, size));
                if (live.Count < 50) continue;
                (address, size) = live.Dequeue();
                Assert.False(GuestMemory.Read(address, size).ContainsAnyExcept((byte)worker));
                Pool.Free(address, Tag);
            }
        });
    }

    public class When_a_driver_is_wrong
    {
        [Theory]
        [InlineData(64u), InlineData(4096u)]
        public void Freeing_twice_is_BAD_POOL_CALLER_7(uint size)
        {
            ulong address = 0;
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID block = machine.Pool.ExAllocatePoolWithTag(NonPagedPoolNx, size, Tag);
                address = block.Address;
                machine.Pool.ExFreePoolWithTag(block, Tag);
                machine.Pool.ExFreePoolWithTag(block, Tag);
            });
            Assert.Equal((BAD_POOL_CALLER, 7ul, address), (report.Code, report.Parameter1, report.Parameter4));
        }

        [Fact]
        public void Freeing_with_another_tag_is_BAD_POOL_CALLER_A()
        {
            BugCheckReport report = Crash.Of(machine =>
                machine.Pool.ExFreePoolWithTag(machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, Tag), 0x31323334));
            Assert.Equal((BAD_POOL_CALLER, 0xAul, (ulong)Tag, 0x31323334ul),
                (report.Code, report.Parameter1, report.Parameter3, report.Parameter4));
            Assert.Contains("'Test'", report.Explanation);
            Assert.Contains("'4321'", report.Explanation);
        }

        [Fact]
        public void A_protected_tag_must_be_named_to_free_the_block()
        {
            const uint protectedTag = Tag | 0x8000_0000;
            using var machine = new Machine();
            machine.Run(() => machine.Pool.ExFreePoolWithTag(machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, protectedTag),
                protectedTag));
            BugCheckReport report = Crash.Of(machine, () =>
                machine.Pool.ExFreePool(machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, protectedTag)));
            Assert.Equal((BAD_POOL_CALLER, 0xAul), (report.Code, report.Parameter1));
        }

        [Theory]
        [InlineData(20, 20), InlineData(20, 31), InlineData(4000, 4000), InlineData(5000, 5000), InlineData(5000, 8191), InlineData(0, 1)]
        public void Writing_past_the_end_is_found_when_the_block_is_freed(int size, int offset)
        {
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID block = machine.Pool.ExAllocatePoolWithTag(PagedPool, (ulong)size, Tag);
                GuestMemory.Ref<byte>(block.Address + (ulong)offset) = 0x41;
                machine.Pool.ExFreePoolWithTag(block, Tag);
            });
            Assert.Equal((BAD_POOL_HEADER, 0x21ul, (ulong)size, 0x41ul),
                (report.Code, report.Parameter1, report.Parameter3, report.Parameter4));
        }

        [Theory]
        [InlineData(false), InlineData(true)]
        public void Writing_into_the_next_header_is_found_when_either_block_is_freed(bool freeNext)
        {
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID block = machine.Pool.ExAllocatePoolWithTag(PagedPool, 32, Tag);
                PVOID next = machine.Pool.ExAllocatePoolWithTag(PagedPool, 32, Tag);
                Assert.Equal(block.Address + 48, next.Address);
                GuestMemory.Ref<byte>(block.Address + 36) = 0x41;
                machine.Pool.ExFreePoolWithTag(freeNext ? next : block, Tag);
            });
            Assert.Equal((BAD_POOL_HEADER, 0x20ul), (report.Code, report.Parameter1));
            Assert.Contains("overrun: 32 bytes", report.Explanation);
        }

        [Fact]
        public void Writing_after_free_is_found_when_the_memory_is_handed_out_again()
        {
            ulong address = 0;
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID block = machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, Tag);
                address = block.Address + 8;
                machine.Pool.ExFreePoolWithTag(block, Tag);
                Assert.Equal(0xFEFEFEFE_FEFEFEFE, GuestMemory.Ref<ulong>(address));
                GuestMemory.Ref<ulong>(address) = 1;
                for (int i = 0; i < 100; i++) machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, Tag);
            });
            Assert.Equal((DRIVER_CAUGHT_MODIFYING_FREED_POOL, address), (report.Code, report.Parameter1));
        }

        [Fact]
        public void A_large_block_cannot_be_touched_after_free()
        {
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID block = machine.Pool.ExAllocatePoolWithTag(PagedPool, 4096, Tag);
                machine.Pool.ExFreePoolWithTag(block, Tag);
                _ = GuestMemory.Ref<byte>(block.Address);
            });
            Assert.Equal(PAGE_FAULT_IN_NONPAGED_AREA, report.Code);
        }

        [Fact]
        public void Freeing_what_was_never_pool_says_what_it_was()
        {
            Assert.Equal(0x46ul, ParameterOfFreeing(_ => 0));
            Assert.Equal(0x40ul, ParameterOfFreeing(_ => 0x1000));
            Assert.Equal(0x42ul, ParameterOfFreeing(m => m.Memory.SharedUserData));
            Assert.Equal(0x99ul, ParameterOfFreeing(m => m.Pool.Allocate(NonPagedPool, 64, Tag, 0) + 16));
            Assert.Equal(0x99ul, ParameterOfFreeing(m => m.Pool.Allocate(NonPagedPool, 8192, Tag, 0) + 16));
            Assert.Equal(0x44ul, ParameterOfFreeing(m => m.Pool.Allocate(NonPagedPool, 8192, Tag, 0) + 4096));
            Assert.Equal(0x48ul, ParameterOfFreeing(m => m.Pool.Allocate(PagedPool, 8192, Tag, 0) + 4096));

            static ulong ParameterOfFreeing(Func<Machine, ulong> address)
            {
                BugCheckReport report = Crash.Of(machine => machine.Pool.ExFreePool(new PVOID(address(machine))));
                Assert.Equal(BAD_POOL_CALLER, report.Code);
                return report.Parameter1;
            }
        }

        [Fact]
        public void Paged_pool_is_refused_at_DISPATCH_LEVEL()
        {
            BugCheckReport allocated = Crash.Of(machine =>
            {
                machine.Irqls.KeRaiseIrqlToDpcLevel();
                Assert.False(machine.Pool.ExAllocatePoolWithTag(NonPagedPool, 64, Tag).IsNull);
                machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, Tag);
            });
            Assert.Equal((BAD_POOL_CALLER, 8ul, 2ul, 1ul, 64ul),
                (allocated.Code, allocated.Parameter1, allocated.Parameter2, allocated.Parameter3, allocated.Parameter4));
            BugCheckReport freed = Crash.Of(machine =>
            {
                PVOID block = machine.Pool.ExAllocatePoolWithTag(PagedPool, 64, Tag);
                machine.Irqls.KeRaiseIrqlToDpcLevel();
                machine.Pool.ExFreePool(block);
            });
            Assert.Equal((BAD_POOL_CALLER, 9ul), (freed.Code, freed.Parameter1));
        }

        [Fact]
        public void Must_succeed_pool_is_refused() =>
            Assert.Equal(0x9Aul, Crash.Of(machine => machine.Pool.ExAllocatePoolWithTag(NonPagedPoolMustSucceed, 64, Tag)).Parameter1);
    }

    [Fact]
    public void The_old_routines_allocate_with_the_tag_None_and_with_a_priority()
    {
        PVOID untagged = Pool.ExAllocatePool(NonPagedPoolNx, 32);
        PVOID prioritised = Pool.ExAllocatePoolWithTagPriority(PagedPool, 32, Tag, 0);
        Assert.Equal(0x656E6F4Eu, Pool.LiveBlocks.Single(b => b.Address == untagged.Address).Tag);
        Assert.Equal(Tag, Pool.LiveBlocks.Single(b => b.Address == prioritised.Address).Tag);
        Pool.ExFreePool(untagged);
        Pool.ExFreePool(prioritised);
    }

    [Fact]
    public void The_history_of_a_block_does_not_end_after_it_began_anew()
    {
        using var checking = new Machine(new MachineOptions { Strategy = null, ChecksMemory = true });
        const ulong size = 2 * GuestMemory.PageSize;
        Parallel.For(0, 4, _ => checking.Run(() =>
        {
            for (int i = 0; i < 10_000; i++)
            {
                ulong address = checking.Pool.Allocate(NonPagedPoolNx, size, Tag, 0);
                Assert.False(checking.Pool.History!.Find(address)!.Value.IsFreed);
                Assert.False(checking.Pool.History.Find(address)!.Value.IsFreed);
                checking.Pool.Free(address, Tag);
            }
        }));
    }
}
