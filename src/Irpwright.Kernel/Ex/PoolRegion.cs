using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Nonpaged or paged pool. Blocks up to 4064 bytes lie in pages that hold one block size each, behind a 16-byte header
/// as Windows has it; larger ones have whole pages.
/// </summary>
/// <remarks>
/// What a driver may do wrong is meant to show: fresh memory is 0xCD, the unused end of a block 0xFD, a freed block 0xFE,
/// and a freed block is handed out again as late as possible. Freed pages are not accessible.
/// </remarks>
sealed unsafe class PoolRegion
{
    internal const byte FreshFill = MemoryShadow.FreshFill;
    internal const byte EndFill = 0xFD;
    internal const byte FreedFill = 0xFE;
    internal const uint ProtectedTag = 0x8000_0000;

    const uint Unit = 16;
    const uint UnitsPerPage = (uint)(GuestMemory.PageSize / Unit);
    const uint HeaderSize = Unit;

    // 255 units is what the header's size byte holds.
    const ulong LargestSmallSize = (UnitsPerPage - 1) * Unit - HeaderSize;

    // Freed page blocks up to this size stay out of use until as many more of their size were freed.
    const int LargestKeptPages = 16;
    const int KeptBlocks = 4;

    // With memory checked, a freed small block stays out of use until so many blocks of its size are free.
    const int QuarantinedBlocks = 64;

    /// <summary>Block sizes in units: every one up to 512 bytes, then equal parts of a page.</summary>
    static readonly byte[] ClassUnits = [.. Enumerable.Range(1, 32).Select(n => (byte)n), 36, 42, 51, 64, 85, 128, 255];

    /// <summary>Index into <see cref="ClassUnits"/> by the units a block needs.</summary>
    static readonly byte[] ClassOfUnits =
        [.. Enumerable.Range(0, (int)UnitsPerPage).Select(n => (byte)Array.FindIndex(ClassUnits, u => u >= n))];

    readonly Machine machine;
    readonly PageRange range;
    readonly MemoryShadow? shadow;
    readonly ByteState pageable;
    readonly SizeClass[] classes;
    readonly Lock gate = new();
    readonly Dictionary<ulong, LargeBlock> largeBlocks = [];
    readonly Dictionary<(int Pages, PageAccess Access), Queue<ulong>> keptBlocks = [];

    // For each page of the range: 1 + index into classes when it holds small blocks.
    byte[] pageClasses = new byte[64];

    internal PoolRegion(Machine machine, PageRange range, ReadOnlySpan<(POOL_TYPE Type, PageAccess Access)> kinds)
    {
        this.machine = machine;
        this.range = range;
        shadow = machine.Shadow;
        pageable = kinds[0].Access.HasFlag(PageAccess.Pageable) ? ByteState.Pageable : ByteState.None;
        classes = new SizeClass[kinds.Length * ClassUnits.Length];
        for (int i = 0; i < classes.Length; i++)
        {
            (POOL_TYPE type, PageAccess access) = kinds[i / ClassUnits.Length];
            classes[i] = new SizeClass(i, type, access, ClassUnits[i % ClassUnits.Length]);
        }
    }

    /// <summary>Blocks of one size and kind, and the free ones among them, longest free first.</summary>
    sealed class SizeClass(int index, POOL_TYPE type, PageAccess access, byte units)
    {
        internal readonly Lock Gate = new();
        internal readonly byte Index = (byte)index;
        internal readonly POOL_TYPE Type = type;
        internal readonly PageAccess Access = access;
        internal readonly byte Units = units;
        // Slice offsets of block headers; 0 for none.
        internal uint FirstFree;
        internal uint LastFree;
        internal int FreeCount;

        internal uint Size => Units * Unit;
        internal uint BlocksPerPage => UnitsPerPage / Units;
    }

    /// <summary>What lies before a small block. The check detects that somebody wrote over it.</summary>
    [StructLayout(LayoutKind.Explicit, Size = (int)HeaderSize)]
    struct Header
    {
        [FieldOffset(0x0)] internal byte PreviousSize; // units; 0 at the start of a page
        [FieldOffset(0x1)] internal byte PoolIndex;
        [FieldOffset(0x2)] internal byte BlockSize; // units, with header
        [FieldOffset(0x3)] internal byte PoolType; // 0 while free
        [FieldOffset(0x4)] internal uint PoolTag;
        [FieldOffset(0x8)] internal uint Owner; // slice offset; of the next free block while free
        [FieldOffset(0xC)] internal ushort RequestedSize; // bytes
        [FieldOffset(0xE)] internal ushort Check;
        [FieldOffset(0x0)] internal ulong FirstHalf;
        [FieldOffset(0x8)] internal ulong SecondHalf;

        internal readonly bool IsFree => PoolType == 0;

        internal readonly bool IsIntact(ulong address) => Check == Checksum(address);

        internal void Seal(ulong address) => Check = Checksum(address);

        readonly ushort Checksum(ulong address)
        {
            ulong mix = (FirstHalf ^ address) * 0x9E3779B97F4A7C15;
            return (ushort)(((SecondHalf << 16 ^ mix) * 0xC2B2AE3D27D4EB4F) >> 48);
        }
    }

    readonly record struct LargeBlock(ulong Size, uint Tag, ulong Owner, POOL_TYPE Type, PageAccess Access, bool IsFree)
    {
        internal int Pages => PagesOf(Size);
    }

    static int PagesOf(ulong size) => (int)((size + GuestMemory.PageSize - 1) >> GuestMemory.PageShift);

    internal bool Contains(ulong address) => range.Contains(address);

    /// <param name="kind">Index into the kinds that the region was made with.</param>
    internal ulong Allocate(int kind, ulong size, uint tag, ulong owner, byte fill)
    {
        if (size > LargestSmallSize) return AllocateLarge(classes[kind * ClassUnits.Length], size, tag, owner, fill);
        uint units = ((uint)size + HeaderSize + Unit - 1) / Unit;
        // A block always has at least one byte, for which Windows rounds a size of zero up.
        if (size == 0) units = 2;
        SizeClass sizes = classes[kind * ClassUnits.Length + ClassOfUnits[units]];
        ulong block;
        lock (sizes.Gate)
        {
            if ((sizes.FirstFree == 0 || shadow is not null && sizes.FreeCount <= QuarantinedBlocks) && !AddPage(sizes) && sizes.FirstFree == 0) return 0;
            ulong entry = machine.Memory.SliceBase + sizes.FirstFree;
            ref Header header = ref HeaderAt(entry);
            block = entry + HeaderSize;
            RequireUntouched(sizes, entry, ref header);
            sizes.FirstFree = header.Owner;
            sizes.FreeCount--;
            if (sizes.FirstFree == 0) sizes.LastFree = 0;
            header.PoolType = (byte)((int)sizes.Type & 1 | 2);
            header.PoolTag = tag;
            header.Owner = owner == 0 ? 0 : (uint)AddressSpace.OffsetOf(owner);
            header.RequestedSize = (ushort)size;
            header.Seal(entry);
        }
        Span<byte> bytes = Bytes(block, sizes.Size - HeaderSize);
        int used = Math.Max((int)size, 1);
        bytes[..used].Fill(fill);
        bytes[used..].Fill(EndFill);
        if (shadow is not null) Mark(block, (ulong)used, sizes.Size - HeaderSize, owner, fill);
        return block;
    }

    bool AddPage(SizeClass sizes)
    {
        ulong page = range.Allocate(GuestMemory.PageSize, sizes.Access);
        if (page == 0) return false;
        lock (gate)
        {
            int index = PageIndex(page);
            if (index >= pageClasses.Length) Array.Resize(ref pageClasses, Math.Max(index + 1, pageClasses.Length * 2));
            pageClasses[index] = (byte)(sizes.Index + 1);
        }
        Bytes(page, (uint)GuestMemory.PageSize).Fill(FreedFill);
        shadow?.Set(page, GuestMemory.PageSize, ByteState.Outside | pageable);
        for (uint i = 0; i < sizes.BlocksPerPage; i++)
        {
            ulong entry = page + i * sizes.Size;
            byte previousSize = i == 0 ? (byte)0 : sizes.Units;
            HeaderAt(entry) = new Header { PreviousSize = previousSize, PoolIndex = sizes.Index, BlockSize = sizes.Units };
            AppendFree(sizes, entry);
        }
        return true;
    }

    void AppendFree(SizeClass sizes, ulong entry)
    {
        uint offset = (uint)AddressSpace.OffsetOf(entry);
        ref Header header = ref HeaderAt(entry);
        header.PoolType = 0;
        header.Owner = 0;
        header.Seal(entry);
        if (sizes.LastFree == 0)
        {
            sizes.FirstFree = offset;
        }
        else
        {
            ulong last = machine.Memory.SliceBase + sizes.LastFree;
            ref Header lastHeader = ref HeaderAt(last);
            // A last block that was written over must not look intact again.
            if (!lastHeader.IsIntact(last)) HeaderCorrupt(sizes, last);
            lastHeader.Owner = offset;
            lastHeader.Seal(last);
        }
        sizes.LastFree = offset;
        sizes.FreeCount++;
    }

    /// <summary>
    /// Says of a new block what belongs to it. Whether memory was written is watched for compiled drivers, which show their writes.
    /// </summary>
    void Mark(ulong address, ulong size, ulong room, ulong owner, byte fill)
    {
        bool isFresh = fill == FreshFill && owner != 0 && GuestMemory.IsAccessible(owner, 1, PageAccess.Execute);
        shadow!.Set(address, size, (isFresh ? ByteState.Uninitialized : ByteState.None) | pageable);
        shadow.Set(address + size, room - size, ByteState.Outside | pageable);
    }

    /// <summary>Frees a block, after every check that Windows makes and some that it does not.</summary>
    internal void Free(ulong address, uint tag, ulong caller)
    {
        if (SizesAt(address) is not { } sizes)
        {
            FreeLarge(address, tag, caller);
            return;
        }
        if (!IsBlockStart(sizes, address)) Misaligned(address);
        ulong entry = address - HeaderSize;
        ref Header header = ref HeaderAt(entry);
        if (!header.IsIntact(entry)) HeaderCorrupt(sizes, entry);
        if (header.IsFree) DoubleFree(address, header.FirstHalf);
        RequireTag(address, header.PoolTag, tag);
        RequireIntactEnd(address, header.RequestedSize, sizes.Size - HeaderSize, header.PoolTag);
        machine.Pool.Freeing(address, header.PoolTag, caller);
        lock (sizes.Gate)
        {
            if (header.IsFree) DoubleFree(address, header.FirstHalf);
            RequireIntactNext(sizes, entry);
            shadow?.Set(address, Math.Max(header.RequestedSize, (ushort)1), ByteState.Freed | pageable);
            Bytes(address, sizes.Size - HeaderSize).Fill(FreedFill);
            AppendFree(sizes, entry);
        }
    }

    /// <summary>The live block that begins at an address.</summary>
    internal bool TryFind(ulong address, out PoolBlock block)
    {
        block = default;
        if (SizesAt(address) is { } sizes)
        {
            if (!IsBlockStart(sizes, address)) return false;
            lock (sizes.Gate) return IsLive(sizes, address - HeaderSize, out block);
        }
        lock (gate)
        {
            if (!largeBlocks.TryGetValue(address, out LargeBlock large) || large.IsFree) return false;
            block = Describe(address, large);
            return true;
        }
    }

    internal void CollectLiveBlocks(List<PoolBlock> blocks)
    {
        byte[] pages;
        lock (gate)
        {
            pages = [.. pageClasses];
            blocks.AddRange(largeBlocks.Where(b => !b.Value.IsFree).Select(b => Describe(b.Key, b.Value)));
        }
        for (int i = 0; i < pages.Length; i++)
        {
            if (pages[i] == 0) continue;
            SizeClass sizes = classes[pages[i] - 1];
            ulong page = range.Start + ((ulong)i << GuestMemory.PageShift);
            lock (sizes.Gate)
            {
                for (uint k = 0; k < sizes.BlocksPerPage; k++)
                {
                    if (IsLive(sizes, page + k * sizes.Size, out PoolBlock block)) blocks.Add(block);
                }
            }
        }
    }

    bool IsLive(SizeClass sizes, ulong entry, out PoolBlock block)
    {
        ref Header header = ref HeaderAt(entry);
        block = default;
        if (header.IsFree || !header.IsIntact(entry)) return false;
        ulong owner = header.Owner == 0 ? 0 : machine.Memory.SliceBase + header.Owner;
        block = new PoolBlock(entry + HeaderSize, header.RequestedSize, header.PoolTag, sizes.Type, owner);
        return true;
    }

    static PoolBlock Describe(ulong address, LargeBlock block) => new(address, block.Size, block.Tag, block.Type, block.Owner);

    ulong AllocateLarge(SizeClass kind, ulong size, uint tag, ulong owner, byte fill)
    {
        if (size > range.End - range.Start) return 0;
        int pages = PagesOf(size);
        ulong bytes = (ulong)pages << GuestMemory.PageShift;
        // A page that nobody may touch: what lies behind a block that fills its pages is no other block.
        ulong guard = shadow is null ? 0 : GuestMemory.PageSize;
        ulong address = 0;
        bool isZero = false;
        lock (gate)
        {
            if (keptBlocks.TryGetValue((pages, kind.Access), out Queue<ulong>? kept) && kept.Count >= KeptBlocks)
            {
                address = kept.Dequeue();
                machine.Memory.Protect(address, bytes, kind.Access);
            }
            else
            {
                address = range.Allocate(bytes + guard, kind.Access);
                isZero = true;
                if (address != 0 && guard != 0) machine.Memory.Protect(address + bytes, guard, PageAccess.None);
            }
            if (address == 0) return 0;
            if (shadow is not null) Mark(address, size, bytes + guard, owner, fill);
            largeBlocks[address] = new LargeBlock(size, tag, owner, kind.Type, kind.Access, IsFree: false);
        }
        if (!isZero || fill != 0) Bytes(address, size).Fill(fill);
        Bytes(address + size, bytes - size).Fill(EndFill);
        return address;
    }

    void FreeLarge(ulong address, uint tag, ulong caller)
    {
        LargeBlock block;
        lock (gate)
        {
            if (!largeBlocks.TryGetValue(address, out block)) NotAllocated(address);
        }
        if (block.IsFree) DoubleFree(address, 0);
        RequireTag(address, block.Tag, tag);
        ulong bytes = (ulong)block.Pages << GuestMemory.PageShift;
        RequireIntactEnd(address, block.Size, bytes, block.Tag);
        machine.Pool.Freeing(address, block.Tag, caller);
        lock (gate)
        {
            if (!largeBlocks.TryGetValue(address, out block) || block.IsFree) DoubleFree(address, 0);
            shadow?.Set(address, block.Size, ByteState.Freed | pageable);
            if (block.Pages > LargestKeptPages)
            {
                largeBlocks.Remove(address);
                range.Free(address, bytes + (shadow is null ? 0 : GuestMemory.PageSize));
                return;
            }
            largeBlocks[address] = block with { IsFree = true };
            machine.Memory.Protect(address, bytes, PageAccess.None);
            ref Queue<ulong>? kept = ref CollectionsMarshal.GetValueRefOrAddDefault(keptBlocks, (block.Pages, block.Access), out _);
            kept ??= new Queue<ulong>();
            kept.Enqueue(address);
        }
    }

    int PageIndex(ulong address) => (int)((address - range.Start) >> GuestMemory.PageShift);

    SizeClass? SizesAt(ulong address)
    {
        byte[] pages = Volatile.Read(ref pageClasses);
        int index = PageIndex(address);
        return index < pages.Length && pages[index] != 0 ? classes[pages[index] - 1] : null;
    }

    static bool IsBlockStart(SizeClass sizes, ulong address)
    {
        uint offset = (uint)(address & (GuestMemory.PageSize - 1)) - HeaderSize;
        return offset % sizes.Size == 0 && offset / sizes.Size < sizes.BlocksPerPage;
    }

    // The pages of the pool's own blocks are always there: no checks, and no fault for pages just withdrawn.
    static byte* Host(ulong address) => GuestMemory.HostBase + (address - GuestMemory.KernelBase);

    static ref Header HeaderAt(ulong entry) => ref Unsafe.AsRef<Header>(Host(entry));

    static Span<byte> Bytes(ulong address, ulong size) => new(Host(address), checked((int)size));

    void RequireUntouched(SizeClass sizes, ulong entry, ref Header header)
    {
        if (!header.IsIntact(entry) || !header.IsFree) HeaderCorrupt(sizes, entry);
        Span<byte> bytes = Bytes(entry + HeaderSize, sizes.Size - HeaderSize);
        int offset = bytes.IndexOfAnyExcept(FreedFill);
        if (offset >= 0) ModifiedAfterFree(entry, header.PoolTag, (uint)offset);
    }

    // An overrun that jumped over this block's end shows in the header behind it.
    void RequireIntactNext(SizeClass sizes, ulong entry)
    {
        ulong next = entry + sizes.Size;
        ulong offset = next & (GuestMemory.PageSize - 1);
        if (offset != 0 && offset + sizes.Size <= GuestMemory.PageSize && !HeaderAt(next).IsIntact(next)) HeaderCorrupt(sizes, next);
    }

    void RequireTag(ulong address, uint allocated, uint used)
    {
        bool matches = used == 0 ? (allocated & ProtectedTag) == 0 : ((allocated ^ used) & ~ProtectedTag) == 0;
        if (matches) return;
        throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0xA, address, allocated, used, used == 0
            ? $"The pool block at {Format.Address(address)}, protected tag {Pool.TagText(allocated)}, was freed without naming its tag."
            : $"The pool block at {Format.Address(address)}, tag {Pool.TagText(allocated)}, was freed with tag {Pool.TagText(used)}.");
    }

    void RequireIntactEnd(ulong address, ulong size, ulong room, uint tag)
    {
        ulong used = Math.Max(size, 1);
        Span<byte> end = Bytes(address + used, room - used);
        int offset = end.IndexOfAnyExcept(EndFill);
        if (offset < 0) return;
        throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_HEADER, 0x21, address, size, end[offset],
            $"A pool block was overrun: {size} bytes at {Format.Address(address)}, tag {Pool.TagText(tag)}; " +
            $"byte {used + (ulong)offset} was written.");
    }

    [DoesNotReturn]
    void HeaderCorrupt(SizeClass sizes, ulong entry)
    {
        ref Header header = ref HeaderAt(entry);
        ulong previous = entry - sizes.Size;
        string suspect = (entry & (GuestMemory.PageSize - 1)) != 0 && IsLive(sizes, previous, out PoolBlock block)
            ? $" The block before it was overrun: {block.Size} bytes at {Format.Address(block.Address)}, tag {Pool.TagText(block.Tag)}."
            : "";
        throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_HEADER, 0x20, entry, entry + sizes.Size, header.FirstHalf,
            $"The header of the pool block at {Format.Address(entry + HeaderSize)} was written over.{suspect}");
    }

    [DoesNotReturn]
    void ModifiedAfterFree(ulong entry, uint tag, uint offset)
    {
        ulong address = entry + HeaderSize + offset;
        ulong value = Unsafe.ReadUnaligned<ulong>(Host(address & ~7ul));
        throw machine.BugChecks.Stop(BugCheckCode.DRIVER_CAUGHT_MODIFYING_FREED_POOL, address, 1, 0, 0,
            $"Memory was written after it was freed: offset {offset} of the pool block at {Format.Address(entry + HeaderSize)}, " +
            $"which had tag {Pool.TagText(tag)}, now holds {value:x16}.");
    }

    [DoesNotReturn]
    void DoubleFree(ulong address, ulong header) =>
        throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 7, 0, header, address,
            $"The pool block at {Format.Address(address)} was freed already.");

    [DoesNotReturn]
    void Misaligned(ulong address) =>
        throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0x99, address, 0, 0,
            $"{Format.Address(address)} lies in the pool, but no block begins there.");

    [DoesNotReturn]
    void NotAllocated(ulong address)
    {
        if ((address & (GuestMemory.PageSize - 1)) != 0) Misaligned(address);
        throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, range == machine.Memory.PagedPool ? 0x48ul : 0x44ul, address, 0, 0,
            $"No pool block begins at {Format.Address(address)}: it was never allocated, or was freed already.");
    }
}
