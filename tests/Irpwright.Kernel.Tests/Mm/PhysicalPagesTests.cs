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
    public void Contiguous_memory_comes_in_pieces_of_64_MiB_at_most() => Run(() =>
    {
        Assert.True(MmAllocateContiguousMemory((64 << 20) + 1, -1).IsNull);
        Assert.True(MmAllocateContiguousMemorySpecifyCache(0x5A5A5A5A, 0, -1, 0, MmCached).IsNull);
        PVOID memory = MmAllocateContiguousMemory(64 << 20, -1);
        Assert.False(memory.IsNull);
        MmFreeContiguousMemory(memory);
    });

    [Fact]
    public void All_physical_memory_is_one_range_of_as_many_pages_as_the_system_has() => Run(() =>
    {
        PVOID ranges = MmGetPhysicalMemoryRanges();
        Assert.Equal([0, (ulong)new PKUSER_SHARED_DATA(Machine.Memory.SharedUserData).NumberOfPhysicalPages << PAGE_SHIFT, 0, 0], new ulong[] { 0, 8, 16, 24 }.Select(o => GuestMemory.Ref<ulong>(ranges.Address + o)));
        ExFreePool(ranges);
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.True(MmGetPhysicalMemoryRanges().IsNull);
    });

    [Fact]
    public void Physical_addresses_lead_back_to_where_the_kernel_sees_them() => Run(() =>
    {
        PVOID memory = Memory(64);
        Assert.Equal(memory, MmGetVirtualForPhysical(MmGetPhysicalAddress(memory)));
        Assert.True(MmGetVirtualForPhysical(0).IsNull);
        Assert.True(MmGetVirtualForPhysical(1L << 40).IsNull);
    });

    /// <summary>The page of MmCopyMemory.</summary>
    [Fact]
    public void Memory_is_copied_from_addresses_that_may_be_wrong() => Run(() =>
    {
        const uint physical = 1, isVirtual = 2;
        PVOID target = Memory(64), page = MmAllocateContiguousMemory(PAGE_SIZE, -1);
        ulong end = page.Address + PAGE_SIZE;
        Fill(page, (int)PAGE_SIZE);
        Assert.Equal(STATUS_SUCCESS, MmCopyMemory(target, end - 32, 32, isVirtual, out ulong copied));
        Assert.Equal(32ul, copied);
        Assert.Equal(Bytes(new PVOID(end - 32), 32), Bytes(target, 32));
        Assert.Equal(STATUS_SUCCESS, MmCopyMemory(target, (ulong)MmGetPhysicalAddress(page), 16, physical, out copied));
        Assert.Equal(16ul, copied);
        Assert.Equal(STATUS_INVALID_ADDRESS, MmCopyMemory(target, 0, 16, isVirtual, out copied));
        Assert.Equal(0ul, copied);
        Assert.Equal(STATUS_INVALID_ADDRESS, MmCopyMemory(target, 0xFEE0_0000, 16, physical, out copied));
        Assert.Equal(STATUS_INVALID_PARAMETER_4, MmCopyMemory(target, end - 32, 32, physical | isVirtual, out copied));
        Assert.Equal(STATUS_INVALID_PARAMETER_4, MmCopyMemory(target, end - 32, 32, 0, out copied));
        MmFreeContiguousMemory(page);
        Assert.Equal(STATUS_INVALID_ADDRESS, MmCopyMemory(target, end - 32, 32, isVirtual, out copied));
    });

    [Fact] // DV-LRS-UninitPages
    public void Memory_that_nobody_zeroes_holds_something() => Run(() =>
    {
        PMDL mdl = MmAllocatePagesForMdlEx(0, -1, 0, PAGE_SIZE, MmCached, MM_DONT_ZERO_ALLOCATION);
        PVOID pages = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, default, 0, NormalPagePriority);
        PVOID contiguous = MmAllocateContiguousMemory(PAGE_SIZE, -1), noncached = MmAllocateNonCachedMemory(PAGE_SIZE);
        foreach (PVOID memory in (PVOID[])[pages, contiguous, noncached]) Assert.DoesNotContain((byte)0, Bytes(memory, (int)PAGE_SIZE));
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
