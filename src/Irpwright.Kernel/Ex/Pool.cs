using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A pool allocation that was not freed yet.</summary>
/// <param name="Address">Guest address of its first byte.</param>
/// <param name="Size">Bytes, as requested.</param>
/// <param name="Tag">Its four characters, the first one in the low byte.</param>
/// <param name="Owner">Address in the code that allocated it; 0 for the kernel itself.</param>
public readonly record struct PoolBlock(ulong Address, ulong Size, uint Tag, POOL_TYPE Type, ulong Owner);

/// <summary>Pool memory: what kernel and drivers allocate.</summary>
/// <remarks>
/// Misuse ends in the bug check that its documentation names for it. Windows notices some of it only under Driver
/// Verifier; here it is always noticed.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0xc2--bad-pool-caller"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x19--bad-pool-header"/>
public sealed class Pool
{
    const int PagedBit = 1;
    const int MustSucceedBit = 2;
    const uint AnonymousTag = 0x656E6F4E; // "None", as Windows tags what has no tag

    const POOL_FLAGS MemoryFlags = POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED;
    const POOL_FLAGS KnownFlags = MemoryFlags | POOL_FLAG_USE_QUOTA | POOL_FLAG_UNINITIALIZED |
        POOL_FLAG_CACHE_ALIGNED | POOL_FLAG_RAISE_ON_FAILURE;
    const ulong RequiredFlags = 0xFFFF_FFFF;

    readonly Machine machine;
    readonly PoolRegion nonPaged;
    readonly PoolRegion paged;

    internal Pool(Machine machine)
    {
        this.machine = machine;
        if (machine.Shadow is not null) History = new PoolHistory();
        nonPaged = new PoolRegion(machine, machine.Memory.NonPagedPool,
            [(POOL_TYPE.NonPagedPoolNx, PageAccess.ReadWrite), (POOL_TYPE.NonPagedPool, PageAccess.ReadWrite | PageAccess.Execute)]);
        paged = new PoolRegion(machine, machine.Memory.PagedPool, [(POOL_TYPE.PagedPool, PageAccess.ReadWrite | PageAccess.Pageable)]);
    }

    /// <summary>Who allocated and freed what, if the machine checks memory.</summary>
    public PoolHistory? History { get; }

    /// <summary>
    /// Asked before each allocation, the kernel's own included, with its size and tag; true makes it fail as if memory
    /// were short.
    /// </summary>
    public Func<ulong, uint, bool>? FailAllocation { get; set; }

    /// <summary>Every allocation that was not freed yet, by address.</summary>
    public IReadOnlyList<PoolBlock> LiveBlocks
    {
        get
        {
            List<PoolBlock> blocks = [];
            nonPaged.CollectLiveBlocks(blocks);
            paged.CollectLiveBlocks(blocks);
            blocks.Sort((a, b) => a.Address.CompareTo(b.Address));
            return blocks;
        }
    }

    /// <summary>The live block that begins at an address, if one does.</summary>
    public bool TryFind(ulong address, out PoolBlock block)
    {
        block = default;
        return RegionOf(address) is { } region && region.TryFind(address, out block);
    }

    /// <summary>A tag as tools show it: <c>'Irp '</c>.</summary>
    public static string TagText(uint tag)
    {
        Span<char> text = ['\'', Character(tag), Character(tag >> 8), Character(tag >> 16), Character(tag >> 24 & 0x7F), '\''];
        return new string(text);

        static char Character(uint value) => (byte)value is >= 0x20 and < 0x7F and var printable ? (char)printable : '.';
    }

    /// <summary>Allocates memory; 0 when there is none.</summary>
    /// <param name="size">Bytes. The block is 16-byte aligned, page aligned from PAGE_SIZE on.</param>
    /// <param name="owner">Address in the code that the memory is for; 0 for the kernel itself.</param>
    /// <param name="zero">Whether the memory is zeroed; otherwise it holds 0xCD.</param>
    internal ulong Allocate(POOL_TYPE type, ulong size, uint tag, ulong owner, bool zero = false)
    {
        if (FailAllocation is { } fail && fail(size, tag)) return 0;
        byte fill = zero ? (byte)0 : PoolRegion.FreshFill;
        ulong address = ((int)type & PagedBit) != 0 ? paged.Allocate(0, size, tag, owner, fill)
            : nonPaged.Allocate(((int)type & POOL_NX_ALLOCATION) != 0 ? 0 : 1, size, tag, owner, fill);
        if (address == 0) return 0;
        History?.Allocated(new PoolBlock(address, size, tag, type, owner));
        machine.Events.Emit(new PoolAllocated(address, size, tag, type, owner));
        return address;
    }

    /// <summary>Frees a block.</summary>
    /// <param name="tag">The block's tag, or 0 to free it whatever its tag.</param>
    /// <param name="caller">Address in the code that frees it; 0 for the kernel itself.</param>
    internal void Free(ulong address, uint tag, ulong caller = 0)
    {
        if (RegionOf(address) is { } region) region.Free(address, tag, caller);
        else NotPool(address);
    }

    /// <summary>Nothing is wrong with a block that is being freed, and nobody else can have it yet.</summary>
    internal void Freeing(ulong address, uint tag, ulong caller)
    {
        machine.Events.Emit(new PoolFreed(address, tag));
        History?.Freed(address, caller, machine.TryGetCurrentThread()?.ToString() ?? "host");
    }

    PoolRegion? RegionOf(ulong address) => nonPaged.Contains(address) ? nonPaged : paged.Contains(address) ? paged : null;

    /// <summary>Allocates memory that is not initialised. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.</summary>
    /// <returns>NULL when there is none, unless POOL_RAISE_IF_ALLOCATION_FAILURE is set in <paramref name="PoolType"/>.</returns>
    /// <exception cref="NtStatusException">STATUS_INSUFFICIENT_RESOURCES, in that case.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag, [Caller] ulong caller = 0) =>
        AllocateForDriver(PoolType, NumberOfBytes, Tag, caller, zero: false, ((int)PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE) != 0);

    /// <summary>The same without a tag; obsolete. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID ExAllocatePool(POOL_TYPE PoolType, ulong NumberOfBytes, [Caller] ulong caller = 0) =>
        ExAllocatePoolWithTag(PoolType, NumberOfBytes, AnonymousTag, caller);

    /// <summary>
    /// The same with a priority, which only matters when memory is short. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.
    /// </summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID ExAllocatePoolWithTagPriority(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag, uint Priority,
        [Caller] ulong caller = 0) =>
        ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag, caller);

    /// <summary>
    /// The same on the quota of the current process. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.
    /// </summary>
    /// <returns>NULL when there is none and POOL_QUOTA_FAIL_INSTEAD_OF_RAISE is set in <paramref name="PoolType"/>.</returns>
    /// <exception cref="NtStatusException">STATUS_INSUFFICIENT_RESOURCES, without that flag.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID ExAllocatePoolWithQuotaTag(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag, [Caller] ulong caller = 0) =>
        AllocateForDriver(PoolType, NumberOfBytes, Tag, caller, zero: false, ((int)PoolType & POOL_QUOTA_FAIL_INSTEAD_OF_RAISE) == 0);

    /// <summary>ExAllocatePoolWithTag with zeroed memory.</summary>
    [WdkInline]
    public PVOID ExAllocatePoolZero(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag, [Caller] ulong caller = 0) =>
        AllocateForDriver(PoolType, NumberOfBytes, Tag, caller, zero: true, ((int)PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE) != 0);

    /// <summary>
    /// Allocates memory, zeroed unless POOL_FLAG_UNINITIALIZED is given. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.
    /// </summary>
    /// <param name="Flags">Exactly one kind of memory; required flags (low 32 bits) that are not known make the call fail.</param>
    /// <param name="Tag">Not 0.</param>
    /// <returns>NULL for invalid arguments or when there is no memory, unless POOL_FLAG_RAISE_ON_FAILURE is given.</returns>
    /// <exception cref="NtStatusException">STATUS_INVALID_PARAMETER or STATUS_INSUFFICIENT_RESOURCES, in that case.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID ExAllocatePool2(ulong Flags, ulong NumberOfBytes, uint Tag, [Caller] ulong caller = 0)
    {
        var flags = (POOL_FLAGS)Flags;
        bool raise = (flags & POOL_FLAG_RAISE_ON_FAILURE) != 0;
        POOL_TYPE? type = (flags & MemoryFlags) switch
        {
            POOL_FLAG_NON_PAGED => POOL_TYPE.NonPagedPoolNx,
            POOL_FLAG_NON_PAGED_EXECUTE => POOL_TYPE.NonPagedPool,
            POOL_FLAG_PAGED => POOL_TYPE.PagedPool,
            _ => null,
        };
        if (type is null || Tag == 0 || (Flags & RequiredFlags & ~(ulong)KnownFlags) != 0)
            return raise ? throw new NtStatusException(STATUS_INVALID_PARAMETER) : default;
        return AllocateForDriver(type.Value, NumberOfBytes, Tag, caller, (flags & POOL_FLAG_UNINITIALIZED) == 0, raise);
    }

    /// <inheritdoc cref="ExAllocatePool2(ulong, ulong, uint, ulong)"/>
    [WdkInline]
    public PVOID ExAllocatePool2(POOL_FLAGS Flags, ulong NumberOfBytes, uint Tag, [Caller] ulong caller = 0) =>
        ExAllocatePool2((ulong)Flags, NumberOfBytes, Tag, caller);

    /// <summary>Frees a block. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.</summary>
    /// <param name="Tag">The tag it was allocated with.</param>
    /// <exception cref="BugCheckException">BAD_POOL_CALLER or BAD_POOL_HEADER, see their pages for the parameters.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExFreePoolWithTag(PVOID P, uint Tag, [Caller] ulong caller = 0)
    {
        byte irql = machine.TryGetCurrentThread()?.Irql ?? PASSIVE_LEVEL;
        bool isPaged = paged.Contains(P.Address);
        if (irql > HighestIrql(isPaged))
        {
            throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 9, irql, isPaged ? 1ul : 0, P.Address,
                $"{(isPaged ? "Paged" : "Nonpaged")} pool was freed at IRQL {irql}.");
        }
        Free(P.Address, Tag, caller);
    }

    /// <summary>Frees a block whatever its tag. IRQL &lt;= DISPATCH_LEVEL, for paged pool &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExFreePoolWithTag"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExFreePool(PVOID P, [Caller] ulong caller = 0) => ExFreePoolWithTag(P, 0, caller);

    PVOID AllocateForDriver(POOL_TYPE type, ulong size, uint tag, ulong caller, bool zero, bool raise)
    {
        byte irql = machine.TryGetCurrentThread()?.Irql ?? PASSIVE_LEVEL;
        bool isPaged = ((int)type & PagedBit) != 0;
        if (irql > HighestIrql(isPaged))
        {
            throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 8, irql, (ulong)type, size,
                $"{(isPaged ? "Paged" : "Nonpaged")} pool, {size} bytes with tag {TagText(tag)}, was allocated at IRQL {irql}.");
        }
        if (((int)type & MustSucceedBit) != 0)
        {
            throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0x9A, (ulong)type, size, tag,
                $"{size} bytes of must-succeed pool were requested with tag {TagText(tag)}; Windows no longer has that kind.");
        }
        ulong address = Allocate(type, size, tag, caller, zero);
        return address == 0 && raise ? throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES) : new PVOID(address);
    }

    static byte HighestIrql(bool isPaged) => isPaged ? APC_LEVEL : DISPATCH_LEVEL;

    [DoesNotReturn]
    void NotPool(ulong address)
    {
        throw address switch
        {
            0 => machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0x46, 0, 0, 0, "A NULL pointer was given to ExFreePool."),
            <= Mdls.HighestUserAddress => machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0x40, address, GuestMemory.KernelBase, 0,
                $"{Format.Address(address)} is a user-mode address; pool was never there."),
            _ => machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 0x42, address, 0, 0, $"{Format.Address(address)} was never pool."),
        };
    }
}
