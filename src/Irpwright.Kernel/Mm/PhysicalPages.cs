using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Whole pages of physical memory: for MDLs, for devices that need them one behind another, and not cached.</summary>
/// <remarks>
/// A physical address is the offset in the machine's memory. Free pages lie from 512 MiB on: below that there are none to be had.
/// What is allocated at once is always contiguous.
/// </remarks>
public sealed class PhysicalPages
{
    const uint Tag = 0x6D43_6D4D; // "MmCm"
    const uint RangesTag = 0x6850_6D4D; // "MmPh"
    const uint MM_COPY_MEMORY_PHYSICAL = 1, MM_COPY_MEMORY_VIRTUAL = 2;
    const ulong PageMask = GuestMemory.PageSize - 1;
    // After a while no system has more in one piece, and a driver that asks for what it was told by anybody is not to take all memory of the host.
    const ulong LargestContiguous = 64 << 20;
    const uint KnownFlags = MM_DONT_ZERO_ALLOCATION | MM_ALLOCATE_FROM_LOCAL_NODE_ONLY | MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_NO_WAIT |
        MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, ulong> sizes = [];

    internal PhysicalPages(Machine machine) => this.machine = machine;

    /// <summary>Bytes that were allocated here and not freed yet.</summary>
    public ulong AllocatedBytes
    {
        get { lock (gate) return sizes.Values.Aggregate(0ul, (sum, size) => sum + size); }
    }

    // ---- All of it

    /// <summary>Which physical addresses are memory: a list that ends with an empty range. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>PHYSICAL_MEMORY_RANGE (two 64-bit numbers: address and bytes), to be freed with ExFreePool; NULL when there is no pool.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmGetPhysicalMemoryRanges()
    {
        ulong ranges = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, 4 * sizeof(ulong), RangesTag, 0, zero: true);
        if (ranges != 0) GuestMemory.Ref<ulong>(ranges + sizeof(ulong)) = GuestMemory.SliceSize;
        return new PVOID(ranges);
    }

    /// <summary>Where the kernel sees a physical address; NULL where it sees it nowhere. Any IRQL.</summary>
    [KernelExport]
    public PVOID MmGetVirtualForPhysical(PHYSICAL_ADDRESS PhysicalAddress)
    {
        ulong physical = (ulong)PhysicalAddress, address = machine.Memory.SliceBase + physical;
        return new PVOID(physical < GuestMemory.SliceSize && GuestMemory.IsAccessible(address, 1, PageAccess.Read) ? address : 0);
    }

    /// <summary>Copies from a physical or virtual address that may be wrong. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="SourceAddress">An MM_COPY_ADDRESS.</param>
    /// <param name="NumberOfBytesTransferred">Up to the first page that cannot be read.</param>
    /// <returns>STATUS_INVALID_PARAMETER_4 for flags that are not exactly one of the two, STATUS_INVALID_ADDRESS.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS MmCopyMemory(PVOID TargetAddress, ulong SourceAddress, ulong NumberOfBytes, uint Flags, out ulong NumberOfBytesTransferred)
    {
        NumberOfBytesTransferred = 0;
        if (Flags is not (MM_COPY_MEMORY_PHYSICAL or MM_COPY_MEMORY_VIRTUAL)) return STATUS_INVALID_PARAMETER_4;
        while (NumberOfBytesTransferred < NumberOfBytes)
        {
            ulong from = SourceAddress + NumberOfBytesTransferred;
            ulong length = Math.Min(NumberOfBytes - NumberOfBytesTransferred, GuestMemory.PageSize - (from & PageMask));
            if (Flags == MM_COPY_MEMORY_PHYSICAL) from = MmGetVirtualForPhysical((long)from).Address;
            if (from == 0 || !GuestMemory.IsAccessible(from, length, PageAccess.Read)) return STATUS_INVALID_ADDRESS;
            GuestMemory.Read(from, (int)length).CopyTo(GuestMemory.Write(TargetAddress.Address + NumberOfBytesTransferred, (int)length));
            NumberOfBytesTransferred += length;
        }
        return STATUS_SUCCESS;
    }

    // ---- Pages for an MDL

    /// <summary>Allocates zeroed pages that are mapped nowhere, and an MDL that describes them. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="LowAddress">First physical address that is acceptable.</param>
    /// <param name="HighAddress">Last one.</param>
    /// <param name="SkipBytes">Without effect: one range is enough.</param>
    /// <returns>NULL when there are none. After MmFreePagesFromMdl the driver frees the MDL with ExFreePool.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PMDL MmAllocatePagesForMdl(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes, ulong TotalBytes, [Caller] ulong caller = 0) =>
        MmAllocatePagesForMdlEx(LowAddress, HighAddress, SkipBytes, TotalBytes, MEMORY_CACHING_TYPE.MmCached, 0, caller);

    /// <summary>The same with a way of caching, which has no effect, and flags. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Flags">MM_DONT_ZERO_ALLOCATION and the like.</param>
    /// <inheritdoc cref="MmAllocatePagesForMdl"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PMDL MmAllocatePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes, ulong TotalBytes,
        MEMORY_CACHING_TYPE CacheType, uint Flags, [Caller] ulong caller = 0)
    {
        if ((Flags & ~KnownFlags) != 0)
            throw machine.BugChecks.StopUnsupported($"MmAllocatePagesForMdlEx was called with flags 0x{Flags:x}; 0x{Flags & ~KnownFlags:x} are not supported.");
        if (TotalBytes == 0 || TotalBytes > uint.MaxValue - PageMask) return default;
        ulong size = (TotalBytes + PageMask) & ~PageMask;
        ulong address = Allocate(size, (ulong)LowAddress, (ulong)HighAddress, 0);
        if (address == 0) return default;
        if ((Flags & MM_DONT_ZERO_ALLOCATION) != 0) LeaveUnwritten(address, size, caller);
        PMDL mdl = machine.Mdls.IoAllocateMdl(default, (uint)size, false, false, default, caller);
        if (mdl.IsNull)
        {
            Free(address, size);
            return default;
        }
        PVOID frames = machine.Mdls.MmGetMdlPfnArray(mdl);
        for (ulong i = 0; i < size >> PAGE_SHIFT; i++)
            GuestMemory.Ref<ulong>(frames.Address + 8 * i) = (AddressSpace.OffsetOf(address) >> PAGE_SHIFT) + i;
        mdl.MdlFlags |= MDL_FLAGS.MDL_PAGES_LOCKED;
        return mdl;
    }

    /// <summary>Frees the pages that an MDL of MmAllocatePagesForMdl describes; the MDL itself stays. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">PFN_LIST_CORRUPT: they were not allocated so, or are free already.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmFreePagesFromMdl(PMDL MemoryDescriptorList)
    {
        ulong frame = GuestMemory.Ref<ulong>(machine.Mdls.MmGetMdlPfnArray(MemoryDescriptorList).Address);
        ulong address = machine.Memory.SliceBase + (frame << PAGE_SHIFT);
        ulong size = MemoryDescriptorList.ByteCount;
        lock (gate)
        {
            if (!sizes.TryGetValue(address, out ulong allocated) || allocated != size)
            {
                throw machine.BugChecks.Stop(BugCheckCode.PFN_LIST_CORRUPT, 7, frame, 0, 0,
                    $"MmFreePagesFromMdl was called for the MDL at {Format.Address(MemoryDescriptorList.Address)}, whose pages were not allocated by MmAllocatePagesForMdl, or are free already.");
            }
        }
        Free(address, size);
        MemoryDescriptorList.MdlFlags &= ~MDL_FLAGS.MDL_PAGES_LOCKED;
        MemoryDescriptorList.ByteCount = 0;
    }

    // ---- Contiguous memory

    /// <summary>Allocates physically contiguous memory. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="HighestAcceptableAddress">Last physical address that it may have.</param>
    /// <returns>Page-aligned memory, not initialised; NULL when there is none, as of more than 64 MiB.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmAllocateContiguousMemory(ulong NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress, [Caller] ulong caller = 0) =>
        AllocateContiguous(NumberOfBytes, 0, HighestAcceptableAddress, 0, caller);

    /// <summary>Allocates physically contiguous memory in a range of addresses. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="BoundaryAddressMultiple">The memory crosses no multiple of it; 0 for no such limit.</param>
    /// <param name="CacheType">Without effect.</param>
    /// <inheritdoc cref="MmAllocateContiguousMemory"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmAllocateContiguousMemorySpecifyCache(ulong NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
        PHYSICAL_ADDRESS HighestAcceptableAddress, PHYSICAL_ADDRESS BoundaryAddressMultiple, MEMORY_CACHING_TYPE CacheType, [Caller] ulong caller = 0) =>
        AllocateContiguous(NumberOfBytes, LowestAcceptableAddress, HighestAcceptableAddress, BoundaryAddressMultiple, caller);

    /// <summary>The same near a node of memory, of which there is one. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="MmAllocateContiguousMemorySpecifyCache"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID MmAllocateContiguousMemorySpecifyCacheNode(ulong NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
        PHYSICAL_ADDRESS HighestAcceptableAddress, PHYSICAL_ADDRESS BoundaryAddressMultiple, MEMORY_CACHING_TYPE CacheType, uint PreferredNode,
        [Caller] ulong caller = 0) =>
        MmAllocateContiguousMemorySpecifyCache(NumberOfBytes, LowestAcceptableAddress, HighestAcceptableAddress, BoundaryAddressMultiple, CacheType, caller);

    PVOID AllocateContiguous(ulong bytes, PHYSICAL_ADDRESS lowest, PHYSICAL_ADDRESS highest, PHYSICAL_ADDRESS boundary, ulong caller) =>
        LeaveUnwritten(bytes > LargestContiguous ? 0 : Allocate(bytes, (ulong)lowest, (ulong)highest, (ulong)boundary), bytes, caller);

    /// <summary>Frees contiguous memory. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">BAD_POOL_CALLER: there is none at that address.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmFreeContiguousMemory(PVOID BaseAddress)
    {
        ulong size;
        lock (gate)
        {
            if (!sizes.TryGetValue(BaseAddress.Address, out size))
            {
                throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0x60, BaseAddress.Address, 0, 0,
                    $"{BaseAddress} was freed as contiguous or noncached memory, but does not begin such memory.");
            }
        }
        Free(BaseAddress.Address, size);
    }

    /// <summary>Frees contiguous memory. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="MmFreeContiguousMemory"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmFreeContiguousMemorySpecifyCache(PVOID BaseAddress, ulong NumberOfBytes, MEMORY_CACHING_TYPE CacheType) => MmFreeContiguousMemory(BaseAddress);

    // ---- Memory that is not cached

    /// <summary>Allocates whole pages that are not cached, which makes no difference here. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>Page-aligned memory, not initialised; NULL when there is none.</returns>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmAllocateNonCachedMemory(ulong NumberOfBytes, [Caller] ulong caller = 0) =>
        LeaveUnwritten(Allocate(NumberOfBytes, 0, ulong.MaxValue, 0), NumberOfBytes, caller);

    /// <summary>Frees memory of <see cref="MmAllocateNonCachedMemory"/>. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="MmFreeContiguousMemory"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void MmFreeNonCachedMemory(PVOID BaseAddress, ulong NumberOfBytes) => MmFreeContiguousMemory(BaseAddress);

    ulong Allocate(ulong bytes, ulong lowest, ulong highest, ulong boundary)
    {
        PageRange range = machine.Memory.NonPagedPool;
        if (bytes == 0 || bytes > range.End - range.Start || (boundary != 0 && bytes > boundary)) return 0;
        if (machine.Pool.FailAllocation is { } fail && fail(bytes, Tag)) return 0;
        ulong size = (bytes + PageMask) & ~PageMask;
        ulong address = range.Allocate(size, PageAccess.ReadWrite);
        if (address == 0) return 0;
        if (boundary != 0 && Crosses(address, bytes, boundary)) address = Move(range, address, size, boundary);
        ulong physical = AddressSpace.OffsetOf(address);
        if (address != 0 && (physical < lowest || physical + bytes - 1 > highest))
        {
            range.Free(address, size);
            address = 0;
        }
        if (address == 0) return 0;
        lock (gate) sizes.Add(address, size);
        return address;
    }

    /// <summary>Fresh memory holds anything. Whether it was written is watched for compiled drivers, which show their writes.</summary>
    PVOID LeaveUnwritten(ulong address, ulong bytes, ulong caller)
    {
        if (address == 0) return default;
        ulong size = (bytes + PageMask) & ~PageMask;
        GuestMemory.Write(address, checked((int)size)).Fill(MemoryShadow.FreshFill);
        if (caller != 0 && GuestMemory.IsAccessible(caller, 1, PageAccess.Execute)) machine.Shadow?.Set(address, size, ByteState.Uninitialized);
        return new PVOID(address);
    }

    static bool Crosses(ulong address, ulong bytes, ulong boundary) => AddressSpace.OffsetOf(address) / boundary != (AddressSpace.OffsetOf(address) + bytes - 1) / boundary;

    // Enough to begin at a multiple of the boundary; what is not needed goes back.
    static ulong Move(PageRange range, ulong address, ulong size, ulong boundary)
    {
        range.Free(address, size);
        ulong whole = size + ((boundary + PageMask) & ~PageMask);
        ulong start = range.Allocate(whole, PageAccess.ReadWrite);
        if (start == 0) return 0;
        ulong offset = AddressSpace.OffsetOf(start);
        ulong moved = start + ((offset + boundary - 1) / boundary * boundary - offset);
        if (moved > start) range.Free(start, moved - start);
        if (moved + size < start + whole) range.Free(moved + size, start + whole - moved - size);
        return moved;
    }

    void Free(ulong address, ulong size)
    {
        lock (gate) sizes.Remove(address);
        machine.Shadow?.Set(address, size, ByteState.None);
        machine.Memory.NonPagedPool.Free(address, size);
    }
}
