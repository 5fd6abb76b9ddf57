using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The data of one file in memory: views of 256 KiB, whose pages are read and written by paging requests to the file's device.</summary>
sealed class CachedFile
{
    internal const uint Tag = 0x63536343; // "CcSc"
    const uint ViewSize = VACB_MAPPING_GRANULARITY;
    const uint PageSize = (uint)GuestMemory.PageSize;
    const int PagesPerView = (int)(ViewSize / PageSize);
    const short SharedCacheMapType = 0x2FF;
    const ulong BlockSize = 0x40, FillLockOffset = 0x10, FlushLockOffset = 0x28;

    enum PageState : byte
    {
        Absent,
        Clean,
        Dirty,
    }

    sealed class View(ulong address)
    {
        internal ulong Address { get; } = address;

        internal PageState[] Pages { get; } = new PageState[PagesPerView];
    }

    readonly Machine machine;
    readonly Lock gate = new();
    readonly SortedDictionary<long, View> views = [];
    // That somebody has mapped or pinned.
    readonly List<PinnedRange> ranges = [];
    readonly ulong block;

    /// <exception cref="NtStatusException">STATUS_INSUFFICIENT_RESOURCES.</exception>
    internal CachedFile(Machine machine, PFILE_OBJECT file, PCACHE_MANAGER_CALLBACKS callbacks, PVOID context)
    {
        this.machine = machine;
        File = file;
        Callbacks = callbacks;
        Context = context;
        block = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, BlockSize, Tag, 0, zero: true);
        if (block == 0) throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES);
        GuestMemory.Ref<short>(block) = SharedCacheMapType;
        machine.Dispatcher.KeInitializeEvent(FillLock, EVENT_TYPE.SynchronizationEvent, true);
        machine.Dispatcher.KeInitializeEvent(FlushLock, EVENT_TYPE.SynchronizationEvent, true);
    }

    /// <summary>Whose paging requests these are; referenced as long as the file is cached.</summary>
    internal PFILE_OBJECT File { get; }

    internal PCACHE_MANAGER_CALLBACKS Callbacks { get; }

    internal PVOID Context { get; }

    /// <summary>What drivers know as SharedCacheMap.</summary>
    internal PVOID SharedCacheMap => new(block);

    /// <summary>File objects that cache the file, each with its PrivateCacheMap.</summary>
    internal HashSet<PFILE_OBJECT> Openers { get; } = [];

    /// <summary>Set when the file is no longer cached.</summary>
    internal List<PCACHE_UNINITIALIZE_EVENT> WhenGone { get; } = [];

    internal long FileSize { get; set; }

    /// <summary>How far the file can be cached: its allocation, in whole pages.</summary>
    internal long SectionSize { get; private set; }

    internal long ValidDataLength { get; set; }

    /// <summary>Valid data that the file system has not been told of; 0 for none.</summary>
    internal long NewValidDataLength { get; set; }

    internal bool WriteBehindDisabled { get; set; }

    // Only one thread reads pages at a time, so that nobody reads a page twice; only one writes, so that a flush that returns has written.
    PKEVENT FillLock => new(block + FillLockOffset);

    PKEVENT FlushLock => new(block + FlushLockOffset);

    internal bool IsDirty
    {
        get { lock (gate) return views.Values.Any(v => v.Pages.Contains(PageState.Dirty)); }
    }

    internal void SetSizes(in CC_FILE_SIZES sizes)
    {
        long allocation = Math.Max(sizes.AllocationSize, sizes.FileSize);
        SectionSize = Math.Max(SectionSize, (allocation + PageSize - 1) & -(long)PageSize);
        FileSize = sizes.FileSize;
        ValidDataLength = sizes.ValidDataLength;
        NewValidDataLength = Math.Min(NewValidDataLength, FileSize);
    }

    internal void Free()
    {
        foreach (View view in views.Values)
        {
            // Accessible, so that it is cleared.
            machine.Memory.Protect(view.Address, ViewSize, PageAccess.ReadWrite);
            machine.Memory.PagedPool.Free(view.Address, ViewSize);
        }
        views.Clear();
        machine.Pool.Free(block, Tag);
    }

    // ---- Ranges

    internal void Add(PinnedRange range)
    {
        lock (gate) ranges.Add(range);
    }

    internal void Remove(PinnedRange range)
    {
        lock (gate) ranges.Remove(range);
    }

    /// <summary>Whether some of a part of the file is mapped or pinned.</summary>
    internal bool IsInUse(long from, long end)
    {
        lock (gate) return ranges.Exists(r => r.Offset < end && r.Offset + r.Length > from);
    }

    internal PinnedRange? FindPinned(long offset, uint length)
    {
        lock (gate) return ranges.Find(r => r.IsPinned && r.Offset <= offset && r.Offset + r.Length >= offset + length);
    }

    // ---- Pages

    /// <summary>The address of a byte, whose page must be resident.</summary>
    internal ulong AddressOf(long offset)
    {
        lock (gate) return views[offset / ViewSize].Address + (ulong)(offset % ViewSize);
    }

    /// <summary>Bytes from an offset on that follow each other in memory, at most as many as asked for.</summary>
    internal static uint InView(long offset, uint length) => (uint)Math.Min(length, ViewSize - offset % ViewSize);

    /// <summary>Makes the pages of a range resident.</summary>
    /// <param name="wait">False: only if no request is needed.</param>
    /// <param name="overwrites">Pages that lie wholly in the range are about to be written, so they need not be read.</param>
    /// <exception cref="NtStatusException">What the file's device answered; STATUS_INSUFFICIENT_RESOURCES.</exception>
    internal bool MakeResident(long offset, uint length, bool wait, bool overwrites)
    {
        if (length == 0) return true;
        long first = offset / PageSize, end = (offset + length + PageSize - 1) / PageSize;
        if (!Needs(first, end, offset, length, overwrites)) return true;
        if (!wait) return false;
        Take(FillLock);
        try
        {
            for (long page = first; page < end;)
            {
                View view = ViewAt(page);
                int index = (int)(page % PagesPerView);
                int count = 1;
                lock (gate)
                {
                    if (view.Pages[index] != PageState.Absent)
                    {
                        page++;
                        continue;
                    }
                    while (page + count < end && index + count < PagesPerView && view.Pages[index + count] == PageState.Absent
                        && IsFresh(page + count, offset, length, overwrites) == IsFresh(page, offset, length, overwrites)) count++;
                }
                Fill(view, page, index, count, IsFresh(page, offset, length, overwrites));
                page += count;
            }
        }
        finally
        {
            Release(FillLock);
        }
        return true;
    }

    /// <summary>Whether some page of a range must be read.</summary>
    bool Needs(long first, long end, long offset, uint length, bool overwrites)
    {
        bool absent = false;
        lock (gate)
        {
            for (long page = first; page < end; page++)
            {
                if (views.TryGetValue(page / PagesPerView, out View? view) && view.Pages[page % PagesPerView] != PageState.Absent) continue;
                absent = true;
                if (!IsFresh(page, offset, length, overwrites)) return true;
            }
        }
        if (absent)
        {
            for (long page = first; page < end; page++)
            {
                View view = ViewAt(page);
                lock (gate)
                {
                    if (view.Pages[page % PagesPerView] != PageState.Absent) continue;
                    machine.Memory.Protect(view.Address + (ulong)(page % PagesPerView) * PageSize, PageSize, PageAccess.ReadWrite | PageAccess.Pageable);
                    view.Pages[page % PagesPerView] = PageState.Clean;
                }
            }
        }
        return false;
    }

    /// <summary>Whether a page begins as zeros: nothing was ever written there, or all of it is about to be.</summary>
    bool IsFresh(long page, long offset, uint length, bool overwrites) => overwrites &&
        (page * PageSize >= Math.Max(ValidDataLength, NewValidDataLength) || (page * PageSize >= offset && (page + 1) * PageSize <= offset + length));

    View ViewAt(long page)
    {
        lock (gate)
        {
            long number = page / PagesPerView;
            if (views.TryGetValue(number, out View? view)) return view;
            if (machine.Pool.FailAllocation is { } fail && fail(ViewSize, Tag)) throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES);
            ulong address = machine.Memory.PagedPool.Allocate(ViewSize, PageAccess.ReadWrite);
            if (address == 0) throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES);
            machine.Memory.Protect(address, ViewSize, PageAccess.None);
            views.Add(number, view = new View(address));
            return view;
        }
    }

    void Fill(View view, long page, int index, int count, bool isFresh)
    {
        ulong address = view.Address + (ulong)index * PageSize;
        uint length = (uint)count * PageSize;
        machine.Memory.Protect(address, length, PageAccess.ReadWrite | PageAccess.Pageable);
        if (!isFresh)
        {
            NTSTATUS status = PagingRequests.Transfer(machine, File, IRP_MJ_READ, page * PageSize, address, length, out ulong read);
            // Behind the end of the file are zeros.
            if (status == STATUS_END_OF_FILE) (status, read) = (STATUS_SUCCESS, 0);
            if (status < 0)
            {
                Withdraw(address, length);
                throw new NtStatusException(status);
            }
            if (read < length) GuestMemory.Write(address + read, (int)(length - read)).Clear();
        }
        lock (gate) view.Pages.AsSpan(index, count).Fill(PageState.Clean);
    }

    void Withdraw(ulong address, uint length)
    {
        GuestMemory.Write(address, (int)length).Clear();
        machine.Memory.Protect(address, length, PageAccess.None);
    }

    /// <summary>Notes that resident pages of a range differ from the file.</summary>
    internal void SetDirty(long offset, uint length)
    {
        lock (gate)
        {
            for (long page = offset / PageSize; page * PageSize < offset + length; page++) views[page / PagesPerView].Pages[page % PagesPerView] = PageState.Dirty;
            if (offset + length > ValidDataLength) NewValidDataLength = Math.Max(NewValidDataLength, Math.Min(offset + length, FileSize));
        }
        machine.Cache.Dirtied();
    }

    /// <summary>Forgets pages, whatever is in them.</summary>
    internal void Purge(long from, long end)
    {
        lock (gate)
        {
            foreach ((long number, View view) in views)
            {
                for (int i = 0; i < PagesPerView; i++)
                {
                    long start = number * ViewSize + i * PageSize;
                    if (start + PageSize <= from || start >= end || view.Pages[i] == PageState.Absent) continue;
                    view.Pages[i] = PageState.Absent;
                    Withdraw(view.Address + (ulong)i * PageSize, PageSize);
                }
            }
        }
    }

    /// <summary>The file became shorter: pages behind its end go, and what is left of the last one ends with zeros.</summary>
    internal void Truncate(long size)
    {
        long firstGone = (size + PageSize - 1) & -(long)PageSize;
        Purge(firstGone, long.MaxValue);
        lock (gate)
        {
            if (size == firstGone || !views.TryGetValue(size / ViewSize, out View? view) || view.Pages[size % ViewSize / PageSize] == PageState.Absent) return;
            GuestMemory.Write(view.Address + (ulong)(size % ViewSize), (int)(firstGone - size)).Clear();
        }
    }

    /// <summary>Writes the dirty pages of a range.</summary>
    /// <param name="written">Bytes of the pages that were written.</param>
    internal NTSTATUS Flush(long from, long end, out ulong written)
    {
        written = 0;
        Take(FlushLock);
        try
        {
            while (NextDirty(from, end) is var (offset, address, length) && length != 0)
            {
                NTSTATUS status = PagingRequests.Transfer(machine, File, IRP_MJ_WRITE, offset, address, length, out _);
                if (status < 0)
                {
                    lock (gate) foreach (ref PageState page in PagesAt(offset, length)) if (page == PageState.Clean) page = PageState.Dirty;
                    return status;
                }
                written += length;
                from = offset + length;
            }
        }
        finally
        {
            Release(FlushLock);
        }
        return STATUS_SUCCESS;
    }

    Span<PageState> PagesAt(long offset, uint length) =>
        views.TryGetValue(offset / ViewSize, out View? view) ? view.Pages.AsSpan((int)(offset % ViewSize / PageSize), (int)(length / PageSize)) : [];

    /// <summary>The next run of dirty pages, which count as clean from here on: what is written to them meanwhile is written again.</summary>
    (long Offset, ulong Address, uint Length) NextDirty(long from, long end)
    {
        lock (gate)
        {
            foreach ((long number, View view) in views)
            {
                for (int i = 0; i < PagesPerView; i++)
                {
                    long start = number * ViewSize + i * PageSize;
                    if (start + PageSize <= from || start >= end || view.Pages[i] != PageState.Dirty) continue;
                    int count = 0;
                    for (; i + count < PagesPerView && start + count * PageSize < end && view.Pages[i + count] == PageState.Dirty; count++)
                        view.Pages[i + count] = PageState.Clean;
                    return (start, view.Address + (ulong)i * PageSize, (uint)count * PageSize);
                }
            }
            return default;
        }
    }

    void Take(PKEVENT ours) => machine.Dispatcher.KeWaitForSingleObject(ours, KWAIT_REASON.Executive, MODE.KernelMode, false, null);

    void Release(PKEVENT ours) => machine.Dispatcher.Signal(new PDISPATCHER_HEADER(ours.Address));
}
