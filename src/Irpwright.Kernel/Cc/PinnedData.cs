using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A range of a cached file that a file system works on in place.</summary>
sealed class PinnedRange(PPUBLIC_BCB block, CachedFile file, PSECTION_OBJECT_POINTERS pointers)
{
    internal PPUBLIC_BCB Block { get; } = block;

    internal CachedFile File { get; } = file;

    internal PSECTION_OBJECT_POINTERS Pointers { get; } = pointers;

    internal long Offset => Block.MappedFileOffset;

    internal uint Length => Block.MappedLength;

    /// <summary>Whether it may be changed; a range that is only mapped may not.</summary>
    internal bool IsPinned { get; init; }

    internal int References { get; set; } = 1;
}

/// <summary>Cached data in place: mapped for reading, or pinned for changes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ccpinread"/>
public sealed class PinnedData
{
    const uint Tag = 0x63426343; // "CcBc"
    const short PinnedType = 0x2FD;
    // Behind what is public lies the resource that pinning acquires: shared, or exclusively.
    const ulong ResourceOffset = 0x10;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<PVOID, PinnedRange> ranges = [];

    internal PinnedData(Machine machine) => this.machine = machine;

    /// <summary>Maps a range of a cached file for reading. IRQL &lt; DISPATCH_LEVEL.</summary>
    /// <param name="Length">The range lies inside one view of 256 KiB.</param>
    /// <param name="Flags">MAP_WAIT, MAP_NO_READ.</param>
    /// <param name="Bcb">For CcUnpinData.</param>
    /// <returns>FALSE: the caller would have had to wait.</returns>
    /// <exception cref="NtStatusException">What the file's device answered; STATUS_INSUFFICIENT_RESOURCES.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcMapData(PFILE_OBJECT FileObject, in long FileOffset, uint Length, uint Flags, out PVOID Bcb, out PVOID Buffer)
    {
        Bcb = Buffer = default;
        bool wait = (Flags & (MAP_WAIT | MAP_NO_READ)) == MAP_WAIT;
        if (!Prepare(FileObject, nameof(CcMapData), FileOffset, Length, wait, overwrites: false, out CachedFile file)) return false;
        PinnedRange range = NewRange(FileObject, file, FileOffset, Length, isPinned: false);
        Bcb = range.Block;
        Buffer = new PVOID(file.AddressOf(FileOffset));
        return true;
    }

    /// <summary>Pins a range of a cached file, to change it perhaps. IRQL &lt; DISPATCH_LEVEL.</summary>
    /// <param name="Flags">PIN_WAIT, PIN_EXCLUSIVE, PIN_NO_READ, PIN_IF_BCB.</param>
    /// <inheritdoc cref="CcMapData"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcPinRead(PFILE_OBJECT FileObject, in long FileOffset, uint Length, uint Flags, out PVOID Bcb, out PVOID Buffer)
    {
        Buffer = default;
        bool wait = (Flags & (PIN_WAIT | PIN_NO_READ)) == PIN_WAIT;
        if (!Pin(FileObject, nameof(CcPinRead), FileOffset, Length, Flags, wait, overwrites: false, out Bcb, out CachedFile? file)) return false;
        Buffer = new PVOID(file!.AddressOf(FileOffset));
        return true;
    }

    /// <summary>Pins a range of a cached file that is about to be written, and counts as dirty. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Zero">Whether the buffer is to be zeroed.</param>
    /// <inheritdoc cref="CcPinRead"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN CcPreparePinWrite(PFILE_OBJECT FileObject, in long FileOffset, uint Length, BOOLEAN Zero, uint Flags, out PVOID Bcb, out PVOID Buffer)
    {
        Buffer = default;
        if (!Pin(FileObject, nameof(CcPreparePinWrite), FileOffset, Length, Flags, (Flags & PIN_WAIT) != 0, overwrites: true, out Bcb, out CachedFile? file)) return false;
        Buffer = new PVOID(file!.AddressOf(FileOffset));
        if (Zero) GuestMemory.Write(Buffer.Address, (int)Length).Clear();
        file.SetDirty(FileOffset, Length);
        return true;
    }

    /// <summary>Pins a range that CcMapData mapped; CcUnpinData is called once for both. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Bcb">From CcMapData; what CcUnpinData is called with from now on.</param>
    /// <inheritdoc cref="CcPinRead"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN CcPinMappedData(PFILE_OBJECT FileObject, in long FileOffset, uint Length, uint Flags, ref PVOID Bcb)
    {
        PinnedRange mapped = Require(Bcb, nameof(CcPinMappedData));
        if (mapped.IsPinned) return true;
        bool wait = (Flags & (PIN_WAIT | PIN_NO_READ)) == PIN_WAIT;
        if (!Pin(FileObject, nameof(CcPinMappedData), FileOffset, Length, Flags, wait, overwrites: false, out PVOID pinned, out _)) return false;
        Forget(mapped);
        Bcb = pinned;
        return true;
    }

    /// <summary>Says that a pinned range was changed, so that it is written. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Lsn">Without effect: no log file is kept here.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcSetDirtyPinnedData(PVOID BcbVoid, PLARGE_INTEGER Lsn)
    {
        PinnedRange range = Require(BcbVoid, nameof(CcSetDirtyPinnedData));
        if (!range.IsPinned) throw machine.Cache.Stop(BcbVoid.Address, $"CcSetDirtyPinnedData was called for {BcbVoid}, a range that is mapped but not pinned.");
        range.File.SetDirty(range.Offset, range.Length);
    }

    /// <summary>Gives back a range that was mapped or pinned by this thread. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcUnpinData(PVOID Bcb)
    {
        PinnedRange range = Require(Bcb, nameof(CcUnpinData));
        if (range.IsPinned) machine.Resources.ExReleaseResourceLite(ResourceOf(range));
        Release(range);
    }

    /// <summary>Gives back a range that another thread pinned. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcUnpinDataForThread(PVOID Bcb, ulong ResourceThreadId)
    {
        PinnedRange range = Require(Bcb, nameof(CcUnpinDataForThread));
        if (range.IsPinned) machine.Resources.ExReleaseResourceForThreadLite(ResourceOf(range), ResourceThreadId);
        Release(range);
    }

    /// <summary>Makes something else than the thread that pinned a range its owner, for CcUnpinDataForThread. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcSetBcbOwnerPointer(PVOID Bcb, PVOID OwnerPointer) =>
        machine.Resources.ExSetResourceOwnerPointer(ResourceOf(Require(Bcb, nameof(CcSetBcbOwnerPointer))), OwnerPointer);

    /// <summary>The file object by which the file of a pinned range is read and written. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PFILE_OBJECT CcGetFileObjectFromBcb(PVOID Bcb) => Require(Bcb, nameof(CcGetFileObjectFromBcb)).File.File;

    PinnedRange Require(PVOID bcb, string routine)
    {
        lock (gate) if (ranges.TryGetValue(bcb, out PinnedRange? range)) return range;
        throw machine.Cache.Stop(bcb.Address, $"{routine} was called with {bcb}, which is no range that is mapped or pinned, or was given back already.");
    }

    static PERESOURCE ResourceOf(PinnedRange range) => new(range.Block.Address + ResourceOffset);

    bool Prepare(PFILE_OBJECT fileObject, string routine, long offset, uint length, bool wait, bool overwrites, out CachedFile file)
    {
        file = machine.Cache.Require(fileObject, routine);
        if (offset < 0 || length == 0 || offset + length > file.SectionSize)
            throw machine.Cache.Stop((ulong)offset, $"{routine} was called for {length} bytes at offset {offset} of a file of {file.FileSize} bytes.");
        if (CachedFile.InView(offset, length) != length)
            throw machine.Cache.Stop((ulong)offset, $"{routine} was called for {length} bytes at offset {offset}, which cross a multiple of 256 KiB.");
        return file.MakeResident(offset, length, wait, overwrites);
    }

    PinnedRange NewRange(PFILE_OBJECT fileObject, CachedFile file, long offset, uint length, bool isPinned)
    {
        PPUBLIC_BCB block = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, ResourceOffset + ERESOURCE.SizeOf, Tag, 0, zero: true));
        if (block.IsNull) throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES);
        block.NodeTypeCode = PinnedType;
        block.NodeByteSize = PUBLIC_BCB.SizeOf;
        block.MappedFileOffset = offset;
        block.MappedLength = length;
        var range = new PinnedRange(block, file, CacheManager.PointersOf(fileObject)) { IsPinned = isPinned };
        machine.Resources.ExInitializeResourceLite(ResourceOf(range));
        lock (gate) ranges.Add(block, range);
        file.Add(range);
        return range;
    }

    bool Pin(PFILE_OBJECT fileObject, string routine, long offset, uint length, uint flags, bool wait, bool overwrites, out PVOID bcb, out CachedFile? file)
    {
        bcb = default;
        if (!Prepare(fileObject, routine, offset, length, wait, overwrites, out file)) return false;
        PinnedRange? range;
        lock (gate)
        {
            range = file.FindPinned(offset, length);
            if (range is not null) range.References++;
        }
        if (range is null)
        {
            if ((flags & PIN_IF_BCB) != 0) return false;
            range = NewRange(fileObject, file, offset, length, isPinned: true);
        }
        bool mayWait = (flags & PIN_WAIT) != 0;
        PERESOURCE resource = ResourceOf(range);
        bool acquired = (flags & PIN_EXCLUSIVE) != 0 ? machine.Resources.ExAcquireResourceExclusiveLite(resource, mayWait)
            : machine.Resources.ExAcquireResourceSharedLite(resource, mayWait);
        if (!acquired)
        {
            Release(range);
            return false;
        }
        bcb = range.Block;
        return true;
    }

    void Release(PinnedRange range)
    {
        lock (gate)
        {
            if (--range.References > 0) return;
            range.File.Remove(range);
        }
        Forget(range);
        machine.Cache.TryRemove(range.File, range.Pointers);
    }

    void Forget(PinnedRange range)
    {
        lock (gate) ranges.Remove(range.Block);
        range.File.Remove(range);
        machine.Resources.ExDeleteResourceLite(ResourceOf(range));
        machine.Pool.Free(range.Block.Address, Tag);
    }
}
