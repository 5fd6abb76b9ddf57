using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

public class PhysicalPagesTests : DriverTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void Pages_for_an_MDL_are_zeroed_and_can_be_mapped(Scheduling scheduling) => Run(scheduling, () =>
    {
        PMDL mdl = MmAllocatePagesForMdl(0, -1, 0, 3 * PAGE_SIZE - 100);
        Assert.Equal(3 * PAGE_SIZE, MmGetMdlByteCount(mdl));
        Assert.Equal(0u, MmGetMdlByteOffset(mdl));
        PVOID mapped = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, default, 0, NormalPagePriority);
        Assert.Equal(new byte[3 * PAGE_SIZE], Bytes(mapped, 3 * (int)PAGE_SIZE));
        Fill(mapped, 64);
        Assert.Equal((long)(GuestMemory.Ref<ulong>(MmGetMdlPfnArray(mdl).Address) << PAGE_SHIFT), MmGetPhysicalAddress(mapped));
        MmUnmapLockedPages(mapped, mdl);
        Assert.Equal(3 * PAGE_SIZE, Machine.PhysicalPages.AllocatedBytes);
        MmFreePagesFromMdl(mdl);
        Assert.Equal(0ul, Machine.PhysicalPages.AllocatedBytes);
        ExFreePool(mdl);
    });

    [Fact]
    public void There_are_no_pages_in_low_memory_nor_without_memory() => Run(() =>
    {
        Assert.True(MmAllocatePagesForMdl(0, 0xFF_FFFF, 0, PAGE_SIZE).IsNull);
        Assert.True(MmAllocatePagesForMdl(0, -1, 0, 0).IsNull);
        Assert.True(MmAllocatePagesForMdlEx(0, -1, 0, 0xF000_0000, MmCached, MM_ALLOCATE_FULLY_REQUIRED).IsNull);
        PMDL mdl = MmAllocatePagesForMdlEx(0, 0xFFFF_FFFF, 0, PAGE_SIZE, MmNonCached, MM_DONT_ZERO_ALLOCATION);
        MmFreePagesFromMdl(mdl);
        ExFreePool(mdl);
        Machine.Pool.FailAllocation = (size, _) => size < PAGE_SIZE; // the MDL
        Assert.True(MmAllocatePagesForMdl(0, -1, 0, PAGE_SIZE).IsNull);
        Assert.Equal(0ul, Machine.PhysicalPages.AllocatedBytes);
    });

    [Fact]
    public void Freeing_pages_twice_stops_the_machine() => Stops(PFN_LIST_CORRUPT, () =>
    {
        PMDL mdl = MmAllocatePagesForMdl(0, -1, 0, PAGE_SIZE);
        MmFreePagesFromMdl(mdl);
        MmFreePagesFromMdl(mdl);
    });

    [Fact]
    public void Flags_that_are_not_modelled_stop_by_name() => Assert.Contains("0x40",
        Assert.Throws<MachineUnsupportedException>(() => Run(() => MmAllocatePagesForMdlEx(0, -1, 0, PAGE_SIZE, MmCached, 0x40))).Message);

    [Theory, MemberData(nameof(EverySchedule))]
    public void Contiguous_memory_lies_where_it_was_asked_for(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID any = MmAllocateContiguousMemory(5000, 0xFFFF_FFFF);
        Assert.Equal(0ul, any.Address % PAGE_SIZE);
        Fill(any, 5000);
        PVOID aligned = MmAllocateContiguousMemorySpecifyCache(0x1_0000, 0, -1, 0x1_0000, MmNonCached);
        Assert.Equal(0, MmGetPhysicalAddress(aligned) % 0x1_0000);
        PVOID high = MmAllocateContiguousMemorySpecifyCacheNode(PAGE_SIZE, 0x1000_0000, -1, 0, MmCached, 0);
        Assert.InRange(MmGetPhysicalAddress(high), 0x1000_0000, 0xFFFF_FFFF);
        Assert.True(MmAllocateContiguousMemory(PAGE_SIZE, 0xFF_FFFF).IsNull);
        Assert.True(MmAllocateContiguousMemorySpecifyCache(0x2_0000, 0, -1, 0x1_0000, MmCached).IsNull);
        Assert.True(MmAllocateContiguousMemory(0, -1).IsNull);
        MmFreeContiguousMemory(any);
        MmFreeContiguousMemorySpecifyCache(aligned, 0x1_0000, MmNonCached);
        MmFreeContiguousMemory(high);
        Assert.Equal(0ul, Machine.PhysicalPages.AllocatedBytes);
        Assert.False(MmIsAddressValid(any));
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.True(MmAllocateContiguousMemory(PAGE_SIZE, -1).IsNull);
    });

    [Fact]
    public void Memory_that_is_not_cached_is_ordinary_memory() => Run(() =>
    {
        PVOID memory = MmAllocateNonCachedMemory(100);
        Fill(memory, 100);
        MmFreeNonCachedMemory(memory, 100);
        Assert.False(MmIsAddressValid(memory));
    });

    [Fact]
    public void Freeing_what_was_not_allocated_so_stops_the_machine()
    {
        PVOID pool = default;
        BugCheckReport report = Stops(BAD_POOL_CALLER, () => MmFreeContiguousMemory(pool = Memory(4096)));
        Assert.Equal((0x60ul, pool.Address), (report.Parameter1, report.Parameter2));
    }
}
