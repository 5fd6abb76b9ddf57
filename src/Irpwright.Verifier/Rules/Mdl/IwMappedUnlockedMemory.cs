namespace Irpwright.Verification.Rules;

/// <summary>Memory that is not locked is somebody else's as soon as the system needs the page.</summary>
sealed class IwMappedUnlockedMemory : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwMappedUnlockedMemory), RuleFamily.Mdl, Error,
        Pages.Detected, Codes.Detected(0x83),
        "A driver calls MmMapIoSpace for pages of pageable memory that nobody has locked.",
        static () => new IwMappedUnlockedMemory())
    {
        Covers = ["DV-C4-0x83"],
        Instead = "Lock the pages by MmProbeAndLockPages and map the MDL; MmMapIoSpace is for devices.",
        Wrong = """
            physical = MmGetPhysicalAddress(pagedBuffer);
            address = MmMapIoSpace(physical, PAGE_SIZE, MmCached);
            """,
        Right = """
            MmProbeAndLockPages(mdl, KernelMode, IoModifyAccess);
            physical = MmGetPhysicalAddress(pagedBuffer);
            address = MmMapIoSpace(physical, PAGE_SIZE, MmCached);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.MmMapIoSpace, KernelExports.MmMapIoSpaceEx];

    public void Called(in DdiCalled e)
    {
        ulong physical = e.Arguments[0], length = e.Arguments[1];
        if (length == 0 || physical >= GuestMemory.SliceSize || length > GuestMemory.SliceSize) return;
        for (ulong page = physical & ~(GuestMemory.PageSize - 1); page < physical + length; page += GuestMemory.PageSize)
        {
            if (!IsPageable(page) || IsLocked(page)) continue;
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} called {e.Export.SourceName} for {length} bytes at physical address 0x{physical:x}; "
                    + $"the page at 0x{page:x} is pageable memory that nobody has locked.");
            return;
        }
    }

    bool IsPageable(ulong physical)
    {
        AddressSpace memory = Machine.Memory;
        return memory.PagedPool.Contains(memory.SliceBase + physical)
            || GuestMemory.IsAccessible(memory.UserSliceBase + physical, 1, PageAccess.Read);
    }

    bool IsLocked(ulong page)
    {
        foreach (LockedBuffer buffer in Tracker.Locked.Values)
        {
            ulong first = AddressSpace.OffsetOf(buffer.Address) & ~(GuestMemory.PageSize - 1);
            if (page >= first && page < AddressSpace.OffsetOf(buffer.Address) + buffer.Length) return true;
        }
        return false;
    }
}
