using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The 4 GiB of guest memory that one machine owns, and how it is divided.</summary>
/// <remarks>
/// Offsets inside the slice; "physical" addresses are these offsets, a page frame number is offset >> 12.
/// Pages cost host memory only when touched.
/// </remarks>
public sealed unsafe class AddressSpace : IDisposable
{
    const ulong FirmwareSize = 0x0010_0000;
    public const ulong ExportThunkOffset = 0x0010_0000;
    public const ulong RoutineOffset = 0x0020_0000;
    public const ulong TrapEndOffset = 0x0040_0000;
    const ulong KernelDataOffset = 0x0040_0000;
    const ulong SharedUserDataOffset = 0x0080_0000;
    const ulong DriverDataOffset = 0x0090_0000;

    // A machine that used more gives it back to the host.
    const ulong LargestKept = 4 << 20;

    static readonly Lock SliceLock = new();
    static readonly bool[] UsedSlices = new bool[GuestMemory.SliceCount];
    // By slice: up to where each of its ranges has host memory that nobody uses and that reads as zero. The next machine finds it so.
    static readonly ulong[]?[] KeptEnds = new ulong[]?[GuestMemory.SliceCount];

    readonly int slice;
    readonly Lock withdrawing = new();
    readonly PageRange[] ranges;
    bool disposed;
    bool usesFirmware;

    /// <exception cref="InsufficientMemoryException">All slices of the process are in use, or the host has no memory left.</exception>
    public AddressSpace()
    {
        lock (SliceLock)
        {
            slice = UsedSlices.AsSpan().IndexOf(false);
            if (slice < 0)
                throw new InsufficientMemoryException($"{GuestMemory.SliceCount} machines exist already in this process; dispose some before making more.");
            UsedSlices[slice] = true;
        }
        SliceBase = GuestMemory.KernelBase + (ulong)slice * GuestMemory.SliceSize;
        Map(SharedUserDataOffset, GuestMemory.PageSize, PageAccess.ReadWrite);
        ulong[]? kept = KeptEnds[slice];
        ranges =
        [
            Images = new PageRange(this, 0x0100_0000, 0x1000_0000, kept?[0]),
            ThreadAreas = new PageRange(this, 0x1000_0000, 0x2000_0000, kept?[1]),
            NonPagedPool = new PageRange(this, 0x2000_0000, 0x8000_0000, kept?[2]),
            PagedPool = new PageRange(this, 0x8000_0000, 0xC000_0000, kept?[3]),
            User = new PageRange(this, 0xC000_0000, 0xFFFF_0000, kept?[4]),
            DriverData = new PageRange(this, DriverDataOffset, 0x0100_0000, kept?[5]),
            KernelData = new PageRange(this, KernelDataOffset, SharedUserDataOffset, kept?[6]),
        ];
    }

    /// <summary>Kernel-window address of offset 0.</summary>
    public ulong SliceBase { get; }

    /// <summary>User-window address of offset 0.</summary>
    public ulong UserSliceBase => GuestMemory.UserBase + (ulong)slice * GuestMemory.SliceSize;

    /// <summary>First address of the range in which every address is a kernel export or a routine of a C# driver.</summary>
    public ulong TrapBase => SliceBase + ExportThunkOffset;

    public ulong TrapEnd => SliceBase + TrapEndOffset;

    /// <summary>Where this machine keeps KUSER_SHARED_DATA; drivers see the page at 0xFFFFF780`00000000.</summary>
    public ulong SharedUserData => SliceBase + SharedUserDataOffset;

    /// <summary>Images of .sys files.</summary>
    public PageRange Images { get; }

    /// <summary>Kernel stacks, KPCRs and thread objects.</summary>
    public PageRange ThreadAreas { get; }

    public PageRange NonPagedPool { get; }

    public PageRange PagedPool { get; }

    /// <summary>Memory of the user process; addressed through the user window.</summary>
    public PageRange User { get; }

    /// <summary>Constant data of C# drivers (their counterpart of .rdata).</summary>
    public PageRange DriverData { get; }

    /// <summary>Variables that the kernel exports, and the little code of its own that guest code runs.</summary>
    public PageRange KernelData { get; }

    public bool Contains(ulong address) => GuestMemory.SliceOf(address) == slice;

    /// <summary>The window-independent offset of an address of this machine.</summary>
    public static ulong OffsetOf(ulong address) => address & (GuestMemory.SliceSize - 1);

    /// <summary>The user-window view of a kernel-window address.</summary>
    public ulong ToUser(ulong kernelAddress) => UserSliceBase + OffsetOf(kernelAddress);

    /// <summary>The system-mapping view of an address.</summary>
    public ulong ToSystemMapping(ulong address) => SliceBase - GuestMemory.KernelBase + GuestMemory.SystemMappingBase + OffsetOf(address);

    /// <summary>Allocates zeroed memory of the user process; 0 when there is none left.</summary>
    /// <param name="size">Bytes; rounded up to whole pages.</param>
    /// <returns>User-window address. The kernel reaches these pages through it, or through an MDL.</returns>
    public ulong AllocateUser(ulong size)
    {
        ulong address = User.Allocate(size, PageAccess.ReadWrite);
        if (address == 0) return 0;
        Protect(address, size, PageAccess.None);
        Protect(ToUser(address), size, PageAccess.ReadWrite);
        return ToUser(address);
    }

    /// <summary>Frees memory of the user process.</summary>
    public void FreeUser(ulong userAddress, ulong size)
    {
        Protect(userAddress, size, PageAccess.None);
        Protect(SliceBase + OffsetOf(userAddress), size, PageAccess.ReadWrite);
        User.Free(SliceBase + OffsetOf(userAddress), size);
    }

    /// <summary>Prepares a part of the first MiB, where a PC has its firmware's tables: it belongs to nobody and holds zeros until somebody writes to it.</summary>
    /// <returns>False for a range that is not in it.</returns>
    internal bool TryUseFirmware(ulong offset, ulong size)
    {
        if (offset >= FirmwareSize || size > FirmwareSize - offset) return false;
        lock (withdrawing)
        {
            if (usesFirmware) return true;
            Commit(0, FirmwareSize);
            Clear(0, FirmwareSize);
            return usesFirmware = true;
        }
    }

    void Map(ulong offset, ulong size, PageAccess access)
    {
        // In a slice that was used before it is there.
        if (KeptEnds[slice] is null) Commit(offset, size);
        Protect(SliceBase + offset, size, access);
    }

    /// <summary>Gives pages host memory.</summary>
    internal void Commit(ulong offset, ulong size) => HostReservation.Commit(HostAddress(offset), size);

    /// <summary>Sets what may be done with whole pages through the window that <paramref name="address"/> lies in.</summary>
    public void Protect(ulong address, ulong size, PageAccess access)
    {
        PagesOf(address, size).Fill((byte)access);
        GuestMemory.CodeWatcherOf(slice)?.AccessSet(address, size, access);
    }

    /// <summary>Says of the pages of a range that are accessible whether they could be paged out.</summary>
    public void SetPageable(ulong address, ulong size, bool pageable)
    {
        foreach (ref byte page in PagesOf(address & ~(GuestMemory.PageSize - 1), size + (address & (GuestMemory.PageSize - 1))))
        {
            if (page != 0) page = (byte)(pageable ? page | (byte)PageAccess.Pageable : page & ~(byte)PageAccess.Pageable);
        }
    }

    /// <summary>One <see cref="PageAccess"/> for each page that begins in a range of one window.</summary>
    static Span<byte> PagesOf(ulong address, ulong size)
    {
        byte* pages = address >= GuestMemory.KernelBase
            ? GuestMemory.KernelPages + ((address - GuestMemory.KernelBase) >> GuestMemory.PageShift)
            : GuestMemory.UserPages + ((address - GuestMemory.UserBase) >> GuestMemory.PageShift);
        return new Span<byte>(pages, checked((int)((size + GuestMemory.PageSize - 1) >> GuestMemory.PageShift)));
    }

    /// <summary>Makes every access to the machine's memory a fault, until the result is disposed.</summary>
    internal Withdrawal Withdraw() => new(this);

    /// <summary>Gives the access back when disposed. Withdrawals of one machine come after each other.</summary>
    internal readonly ref struct Withdrawal : IDisposable
    {
        readonly AddressSpace memory;
        readonly byte[] kernel, systemMapping, user;

        internal Withdrawal(AddressSpace memory)
        {
            this.memory = memory;
            memory.withdrawing.Enter();
            kernel = Take(memory.SliceBase);
            systemMapping = Take(memory.ToSystemMapping(memory.SliceBase));
            user = Take(memory.UserSliceBase);
        }

        static byte[] Take(ulong window)
        {
            Span<byte> pages = PagesOf(window, GuestMemory.SliceSize);
            byte[] taken = pages.ToArray();
            pages.Clear();
            return taken;
        }

        public void Dispose()
        {
            kernel.CopyTo(PagesOf(memory.SliceBase, GuestMemory.SliceSize));
            systemMapping.CopyTo(PagesOf(memory.ToSystemMapping(memory.SliceBase), GuestMemory.SliceSize));
            user.CopyTo(PagesOf(memory.UserSliceBase, GuestMemory.SliceSize));
            memory.withdrawing.Exit();
        }
    }

    byte* HostAddress(ulong offset) => GuestMemory.HostBase + (ulong)slice * GuestMemory.SliceSize + offset;

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        GuestMemory.SetAliases(slice, null);
        if (Array.TrueForAll(ranges, range => range.CanBeKept) && ranges.Sum(range => (long)range.UsedSize) <= (long)LargestKept) Keep();
        else GiveBack();
        lock (SliceLock) UsedSlices[slice] = false;
    }

    /// <summary>Whether code of a compiled driver may have run: then stacks hold something.</summary>
    internal bool StacksAreUsed { get; set; }

    // Most machines are small and soon followed by the next one, which gets the same slice: to clear what was used costs a tenth of
    // what it costs to give it back and have it again.
    void Keep()
    {
        foreach (PageRange range in ranges)
        {
            ulong used = range.UsedSize;
            Forget(range.StartOffset, used);
            ulong stride = range == ThreadAreas && !StacksAreUsed ? KernelThread.AreaSize : 0;
            ulong clean = Math.Min(used, range.MappedEnd - range.StartOffset);
            if (stride == 0) Clear(range.StartOffset, clean);
            for (ulong area = 0; stride != 0 && area < clean; area += stride) Clear(range.StartOffset + area, KernelThread.ObjectsSize);
        }
        Forget(0, 0x0100_0000);
        Clear(SharedUserDataOffset, GuestMemory.PageSize);
        KeptEnds[slice] = Array.ConvertAll(ranges, range => range.MappedEnd);
    }

    void Clear(ulong offset, ulong size) => new Span<byte>(HostAddress(offset), checked((int)size)).Clear();

    /// <summary>Withdraws all access to pages, through every window.</summary>
    void Forget(ulong offset, ulong size)
    {
        Protect(SliceBase + offset, size, PageAccess.None);
        PagesOf(ToSystemMapping(SliceBase + offset), size).Clear();
        PagesOf(UserSliceBase + offset, size).Clear();
    }

    void GiveBack()
    {
        Forget(0, GuestMemory.SliceSize);
        HostReservation.Decommit(HostAddress(0), GuestMemory.SliceSize);
        KeptEnds[slice] = null;
    }
}

/// <summary>Hands out runs of whole pages from a part of the slice, lowest address first.</summary>
public sealed class PageRange
{
    readonly AddressSpace memory;
    readonly Lock gate = new();
    // Free runs by first offset; adjacent runs are always merged.
    readonly SortedList<ulong, ulong> free = [];
    // Everything below has memory of the host.
    ulong mappedEnd;
    ulong usedEnd;

    /// <param name="keptEnd">Up to where the range has memory already; null for nowhere.</param>
    internal PageRange(AddressSpace memory, ulong start, ulong end, ulong? keptEnd)
    {
        this.memory = memory;
        Start = memory.SliceBase + start;
        End = memory.SliceBase + end;
        free.Add(start, end - start);
        StartOffset = usedEnd = start;
        mappedEnd = keptEnd ?? start;
    }

    internal ulong StartOffset { get; }

    /// <summary>Up to where the range has memory of the host.</summary>
    internal ulong MappedEnd => mappedEnd;

    /// <summary>From the start to the end of the highest page that was ever handed out, bytes.</summary>
    internal ulong UsedSize => usedEnd - StartOffset;

    /// <summary>Whether all memory of the host is at the start.</summary>
    internal bool CanBeKept { get; private set; } = true;

    public ulong Start { get; }

    public ulong End { get; }

    public bool Contains(ulong address) => address - Start < End - Start;

    /// <summary>Allocates pages; 0 when the range has no run that long.</summary>
    /// <param name="size">Bytes; rounded up to whole pages.</param>
    /// <returns>Kernel-window address of zeroed pages.</returns>
    public ulong Allocate(ulong size, PageAccess access)
    {
        if (size == 0 || size > End - Start) return 0;
        size = RoundUp(size);
        ulong offset = 0;
        lock (gate)
        {
            for (int i = 0; i < free.Count; i++)
            {
                ulong length = free.Values[i];
                if (length < size) continue;
                offset = free.Keys[i];
                free.RemoveAt(i);
                if (length > size) free.Add(offset + size, length - size);
                usedEnd = Math.Max(usedEnd, offset + size);
                break;
            }
        }
        if (offset == 0) return 0;
        if (access != PageAccess.None) Map(offset, size, access);
        return memory.SliceBase + offset;
    }

    // Pages that were given memory keep it when they are freed, and the lowest are handed out first: few allocations ask the host.
    void Map(ulong offset, ulong size, PageAccess access)
    {
        lock (gate)
        {
            if (offset > mappedEnd)
            {
                memory.Commit(offset, size);
                CanBeKept = false;
            }
            else if (offset + size > mappedEnd)
            {
                memory.Commit(mappedEnd, offset + size - mappedEnd);
                mappedEnd = offset + size;
            }
        }
        memory.Protect(memory.SliceBase + offset, size, access);
    }

    /// <summary>Withdraws pages handed out by <see cref="Allocate"/>; they read as zero when handed out again.</summary>
    public void Free(ulong address, ulong size)
    {
        size = RoundUp(size);
        ulong offset = address - memory.SliceBase;
        if (GuestMemory.IsAccessible(address, size, PageAccess.Write)) GuestMemory.Write(address, checked((int)size)).Clear();
        memory.Protect(address, size, PageAccess.None);
        lock (gate)
        {
            free.Add(offset, size);
            int i = free.IndexOfKey(offset);
            if (i + 1 < free.Count && free.Keys[i + 1] == offset + size)
            {
                free[offset] = size += free.Values[i + 1];
                free.RemoveAt(i + 1);
            }
            if (i > 0 && free.Keys[i - 1] + free.Values[i - 1] == offset)
            {
                free[free.Keys[i - 1]] += size;
                free.RemoveAt(i);
            }
        }
    }

    static ulong RoundUp(ulong size) => (size + GuestMemory.PageSize - 1) & ~(GuestMemory.PageSize - 1);
}
