using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Ranges of system addresses that drivers keep, so that mapping an MDL there later needs nothing that could be short.</summary>
/// <remarks>
/// A range has pages without access and without memory; while an MDL is mapped there, <see cref="GuestMemory"/> is led on to the system
/// mapping of its pages.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-mmallocatemappingaddress"/>
public sealed class ReservedMappings : IAddressAliases
{
    const ulong PageMask = GuestMemory.PageSize - 1;

    readonly Machine machine;
    readonly Lock gate = new();
    // Replaced as a whole, so that accesses need no lock.
    Range[] ranges = [];

    internal ReservedMappings(Machine machine) => this.machine = machine;

    /// <param name="Target">System address of the first page that is mapped there; 0 for none.</param>
    /// <param name="Mapped">Pages that are mapped there, from the first on.</param>
    readonly record struct Range(ulong Address, ulong Pages, uint Tag, ulong Target, ulong Mapped)
    {
        /// <summary>One page behind each range is never accessible, so that running past its end is noticed.</summary>
        internal ulong Size => (Pages + 1) << GuestMemory.PageShift;
    }

    /// <summary>Reserves system addresses. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="NumberOfBytes">What a mapping may span: bytes from the start of its first page.</param>
    /// <returns>NULL when there is no room.</returns>
    /// <exception cref="BugCheckException">SYSTEM_PTE_MISUSE/0x100: nothing is asked for.</exception>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmAllocateMappingAddress(ulong NumberOfBytes, uint PoolTag, [Caller] ulong caller = 0)
    {
        if (NumberOfBytes == 0)
            throw machine.BugChecks.Stop(BugCheckCode.SYSTEM_PTE_MISUSE, 0x100, 0, PoolTag, caller, "MmAllocateMappingAddress was asked for 0 bytes.");
        if (NumberOfBytes > GuestMemory.SliceSize || machine.Pool.FailAllocation is { } fail && fail(NumberOfBytes, PoolTag)) return default;
        var range = new Range(0, (NumberOfBytes + PageMask) >> GuestMemory.PageShift, PoolTag, 0, 0);
        ulong address = machine.Memory.NonPagedPool.Allocate(range.Size, PageAccess.None);
        if (address == 0) return default;
        lock (gate)
        {
            if (ranges.Length == 0) GuestMemory.SetAliases(GuestMemory.SliceOf(address), this);
            ranges = [.. ranges, range with { Address = address }];
        }
        return new PVOID(address);
    }

    /// <summary>The same with flags, none of which is supported: MM_MAPPING_ADDRESS_DIVISIBLE is the only one. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="MmAllocateMappingAddress"/>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmAllocateMappingAddressEx(ulong NumberOfBytes, uint PoolTag, uint Flags, [Caller] ulong caller = 0)
    {
        if (Flags != 0) throw machine.BugChecks.StopUnsupported($"MmAllocateMappingAddressEx was called with flags 0x{Flags:x}, which are not supported.");
        return MmAllocateMappingAddress(NumberOfBytes, PoolTag, caller);
    }

    /// <summary>Gives reserved addresses back. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">
    /// SYSTEM_PTE_MISUSE: 0x101 another tag than they were reserved with, 0x102 nothing is reserved there, 0x103 an MDL is mapped there.
    /// </exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void MmFreeMappingAddress(PVOID BaseAddress, uint PoolTag)
    {
        Range range;
        lock (gate)
        {
            range = Find(BaseAddress.Address, PoolTag, "MmFreeMappingAddress", empty: 0x102, notOwned: 0x101);
            if (range.Mapped > 0)
            {
                throw Misuse(0x103, BaseAddress, PoolTag, range.Pages,
                    $"MmFreeMappingAddress was called for {BaseAddress}, where an MDL is mapped; MmUnmapReservedMapping comes first.");
            }
            ranges = [.. ranges.Where(r => r.Address != range.Address)];
        }
        machine.Memory.NonPagedPool.Free(range.Address, range.Size);
    }

    /// <summary>Maps locked pages at reserved addresses. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="MappingAddress">As MmAllocateMappingAddress returned it.</param>
    /// <param name="CacheType">Without effect: the pages have one already.</param>
    /// <returns>
    /// The buffer's address there, with the offset in its page that MappedSystemVa of the MDL does not have. NULL when the range is too
    /// small, or frames do not follow each other.
    /// </returns>
    /// <exception cref="BugCheckException">
    /// SYSTEM_PTE_MISUSE: 0x104 another tag than it was reserved with, 0x105 nothing is reserved there, 0x107 an MDL is mapped there. 0xC4
    /// for an MDL whose pages are not locked or that is mapped elsewhere.
    /// </exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID MmMapLockedPagesWithReservedMapping(PVOID MappingAddress, uint PoolTag, PMDL MemoryDescriptorList, MEMORY_CACHING_TYPE CacheType)
    {
        ulong pages = Mdls.PageCount(MemoryDescriptorList);
        lock (gate)
        {
            Range range = Find(MappingAddress.Address, PoolTag, "MmMapLockedPagesWithReservedMapping", empty: 0x105, notOwned: 0x104);
            if (range.Mapped > 0)
            {
                throw Misuse(0x107, MappingAddress, range.Address, range.Address + ((range.Pages - 1) << GuestMemory.PageShift),
                    $"MmMapLockedPagesWithReservedMapping was called for {MappingAddress}, where an MDL is mapped; MmUnmapReservedMapping comes first.");
            }
            if (pages > range.Pages) return default;
            ulong target = machine.Mdls.MapReserved(MemoryDescriptorList, range.Address);
            if (target == 0) return default;
            Replace(range with { Target = target, Mapped = pages });
        }
        return new PVOID(MappingAddress.Address + MemoryDescriptorList.ByteOffset);
    }

    /// <summary>Ends a mapping at reserved addresses. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="BaseAddress">As MmMapLockedPagesWithReservedMapping returned it, or the start of the range.</param>
    /// <exception cref="BugCheckException">
    /// SYSTEM_PTE_MISUSE: 0x108 another tag than it was reserved with, 0x109 nothing is reserved there, 0x10A the MDL has more pages than
    /// are mapped, 0x10B other pages or none are mapped, 0x10C the MDL has fewer.
    /// </exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmUnmapReservedMapping(PVOID BaseAddress, uint PoolTag, PMDL MemoryDescriptorList)
    {
        PMDL mdl = MemoryDescriptorList;
        machine.Events.Emit(new MdlUnmapping(mdl, BaseAddress));
        ulong pages = Mdls.PageCount(mdl);
        lock (gate)
        {
            Range range = Find(BaseAddress.Address & ~PageMask, PoolTag, "MmUnmapReservedMapping", empty: 0x109, notOwned: 0x108);
            string what = $"MmUnmapReservedMapping was called for {BaseAddress} and an MDL of {pages} pages, but";
            if (pages > range.Pages) throw Misuse(0x10A, BaseAddress, range.Pages, pages, $"{what} only {range.Pages} are reserved there.");
            if (pages > range.Mapped) throw Misuse(0x10B, BaseAddress, PoolTag, pages, $"{what} {(range.Mapped == 0 ? "none" : range.Mapped)} are mapped there.");
            if (pages < range.Mapped) throw Misuse(0x10C, BaseAddress, PoolTag, pages, $"{what} {range.Mapped} are mapped there.");
            if (!machine.Mdls.UnmapReserved(mdl)) throw Misuse(0x10B, BaseAddress, PoolTag, pages, $"{what} others are mapped there.");
            Replace(range with { Target = 0, Mapped = 0 });
        }
    }

    /// <summary>MmUnmapLockedPages and MmUnlockPages end no mapping at reserved addresses.</summary>
    /// <exception cref="BugCheckException">SYSTEM_PTE_MISUSE/0x304.</exception>
    internal void RequireOther(PVOID address, PMDL mdl)
    {
        foreach (Range range in ranges)
        {
            if (address.Address - range.Address >= range.Size) continue;
            throw Misuse(0x304, address, Mdls.PageCount(mdl), 0,
                $"The mapping at {address} is in a range that MmAllocateMappingAddress reserved, and only MmUnmapReservedMapping ends it; that comes before MmUnlockPages.");
        }
    }

    bool IAddressAliases.TryResolve(ulong address, out ulong target, out ulong length)
    {
        Range range = Array.Find(ranges, r => address - r.Address < r.Mapped << GuestMemory.PageShift);
        target = range.Target + (address - range.Address);
        length = (range.Mapped << GuestMemory.PageShift) - (address - range.Address);
        return range.Mapped > 0;
    }

    Range Find(ulong address, uint tag, string routine, uint empty, uint notOwned)
    {
        Range range = Array.Find(ranges, r => r.Address == address);
        if (range.Pages == 0)
            throw Misuse(empty, new PVOID(address), tag, 0, $"{routine} was called for {Format.Address(address)}, where MmAllocateMappingAddress has reserved nothing.");
        if (range.Tag != tag)
            throw Misuse(notOwned, new PVOID(address), tag, range.Tag, $"{routine} was called for {Format.Address(address)} with another tag than it was reserved with.");
        return range;
    }

    BugCheckException Misuse(uint kind, PVOID address, ulong parameter3, ulong parameter4, string explanation) =>
        machine.BugChecks.Stop(BugCheckCode.SYSTEM_PTE_MISUSE, kind, address.Address, parameter3, parameter4, explanation);

    void Replace(Range changed) => ranges = Array.ConvertAll(ranges, range => range.Address == changed.Address ? changed : range);
}
