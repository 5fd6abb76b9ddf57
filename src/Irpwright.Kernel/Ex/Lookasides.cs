using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Lookaside lists: blocks of one size that are kept for the next allocation instead of going back to the pool.</summary>
/// <remarks>
/// Compiled drivers carry the code that allocates and frees; it counts in the list and calls the routines that the list names.
/// A list keeps as many blocks as Windows lets a new one keep; Windows would change that number with the use of the list.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-lookaside-lists"/>
public sealed class Lookasides
{
    const ushort InitialDepth = 4;
    const ushort MaximumDepth = 256;
    const uint SmallestBlock = SLIST_ENTRY.SizeOf;

    readonly Machine machine;

    internal Lookasides(Machine machine) => this.machine = machine;

    /// <summary>Prepares an empty list of nonpaged blocks. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Allocate">Used when the list is empty; null means ExAllocatePoolWithTag.</param>
    /// <param name="Free">Used when the list is full; null means ExFreePool.</param>
    /// <param name="Flags">POOL_NX_ALLOCATION, POOL_RAISE_IF_ALLOCATION_FAILURE.</param>
    /// <param name="Size">Bytes of a block.</param>
    /// <param name="Depth">Reserved, 0.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free, uint Flags,
        ulong Size, uint Tag, ushort Depth) =>
        Initialize(Lookaside, NPAGED_LOOKASIDE_LIST.SizeOf, Allocate.Address, Free.Address, POOL_TYPE.NonPagedPool | (POOL_TYPE)Flags, Size, Tag);

    /// <summary>Prepares an empty list of paged blocks. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExInitializeNPagedLookasideList"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free, uint Flags,
        ulong Size, uint Tag, ushort Depth) =>
        Initialize(Lookaside, PAGED_LOOKASIDE_LIST.SizeOf, Allocate.Address, Free.Address, POOL_TYPE.PagedPool | (POOL_TYPE)Flags, Size, Tag);

    /// <summary>Frees the blocks that a list keeps. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExDeleteNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside) => Delete(Lookaside, extended: false);

    /// <summary>Frees the blocks that a list keeps. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExDeletePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside) => Delete(Lookaside, extended: false);

    /// <summary>Takes a block from a list; NULL when there is no memory. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [WdkInline]
    public PVOID ExAllocateFromNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside) => Allocate(new PGENERAL_LOOKASIDE_POOL(Lookaside.Address));

    /// <summary>Gives a block back. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [WdkInline]
    public void ExFreeToNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry) => Free(new PGENERAL_LOOKASIDE_POOL(Lookaside.Address), Entry);

    /// <summary>Takes a block from a list; NULL when there is no memory. IRQL &lt;= APC_LEVEL.</summary>
    [WdkInline]
    public PVOID ExAllocateFromPagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside) => Allocate(new PGENERAL_LOOKASIDE_POOL(Lookaside.Address));

    /// <summary>Gives a block back. IRQL &lt;= APC_LEVEL.</summary>
    [WdkInline]
    public void ExFreeToPagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry) => Free(new PGENERAL_LOOKASIDE_POOL(Lookaside.Address), Entry);

    /// <summary>Prepares an empty list whose routines are told which list they work for. IRQL &lt;= DISPATCH_LEVEL, for paged blocks &lt;= APC_LEVEL.</summary>
    /// <param name="Flags">0, EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL or EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE.</param>
    /// <returns>STATUS_SUCCESS; STATUS_INVALID_PARAMETER_4 or _5 for an invalid pool type or flags.</returns>
    /// <inheritdoc cref="ExInitializeNPagedLookasideList"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PALLOCATE_FUNCTION_EX Allocate, PFREE_FUNCTION_EX Free, POOL_TYPE PoolType,
        uint Flags, ulong Size, uint Tag, ushort Depth)
    {
        if (!IsPool(PoolType)) return NTSTATUS.STATUS_INVALID_PARAMETER_4;
        if (Flags > EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE) return NTSTATUS.STATUS_INVALID_PARAMETER_5;
        POOL_TYPE type = PoolType | (POOL_TYPE)(Flags switch
        {
            EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL => POOL_RAISE_IF_ALLOCATION_FAILURE,
            EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE => POOL_QUOTA_FAIL_INSTEAD_OF_RAISE,
            _ => 0,
        });
        Initialize(Lookaside, LOOKASIDE_LIST_EX.SizeOf, Allocate.Address, Free.Address, type, Size, Tag);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Frees the blocks that a list keeps, and ends its use. IRQL &lt;= DISPATCH_LEVEL, for paged blocks &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside) => Delete(Lookaside, extended: true);

    /// <summary>Frees the blocks that a list keeps. IRQL &lt;= DISPATCH_LEVEL, for paged blocks &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExFlushLookasideListEx(PLOOKASIDE_LIST_EX Lookaside) => Flush(new PGENERAL_LOOKASIDE_POOL(Lookaside.Address), extended: true);

    /// <summary>Takes a block from a list; NULL when there is no memory. IRQL &lt;= DISPATCH_LEVEL, for paged blocks &lt;= APC_LEVEL.</summary>
    [WdkInline]
    public PVOID ExAllocateFromLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
    {
        var list = new PGENERAL_LOOKASIDE_POOL(Lookaside.Address);
        PVOID entry = TryTake(list);
        return entry.IsNull ? machine.Code.Call(list.AllocateEx, list.Type, list.Size, list.Tag, Lookaside) : entry;
    }

    /// <summary>Gives a block back. IRQL &lt;= DISPATCH_LEVEL, for paged blocks &lt;= APC_LEVEL.</summary>
    [WdkInline]
    public void ExFreeToLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PVOID Entry)
    {
        var list = new PGENERAL_LOOKASIDE_POOL(Lookaside.Address);
        if (!TryKeep(list, Entry)) machine.Code.Call(list.FreeEx, Entry, Lookaside);
    }

    static bool IsPool(POOL_TYPE type) => type is POOL_TYPE.NonPagedPool or POOL_TYPE.NonPagedPoolNx or POOL_TYPE.PagedPool
        or POOL_TYPE.NonPagedPoolCacheAligned or POOL_TYPE.NonPagedPoolNxCacheAligned or POOL_TYPE.PagedPoolCacheAligned;

    // The pool's routines take the arguments of the extended routines too: they come behind their own.
    void Initialize(PVOID lookaside, ulong listSize, ulong allocate, ulong free, POOL_TYPE type, ulong size, uint tag)
    {
        var list = new PGENERAL_LOOKASIDE_POOL(lookaside.Address);
        list.Value = default;
        machine.InterlockedLists.InitializeSListHead(new PSLIST_HEADER(list.Address));
        list.Depth = InitialDepth;
        list.MaximumDepth = MaximumDepth;
        list.Type = type;
        list.Tag = tag;
        list.Size = Math.Max((uint)size, SmallestBlock);
        list.Allocate = new PALLOCATE_FUNCTION(allocate != 0 ? allocate : machine.Code.AddressOf(KernelExports.ExAllocatePoolWithTag));
        list.Free = new PFREE_FUNCTION(free != 0 ? free : machine.Code.AddressOf(KernelExports.ExFreePool));
        Lists.Initialize(new PLIST_ENTRY(list.Address + 0x40));
        machine.Events.Emit(new LookasideInitialized(lookaside, listSize, size));
    }

    void Delete(PVOID lookaside, bool extended)
    {
        machine.Events.Emit(new LookasideDeleted(lookaside));
        Flush(new PGENERAL_LOOKASIDE_POOL(lookaside.Address), extended);
    }

    PVOID Allocate(PGENERAL_LOOKASIDE_POOL list)
    {
        PVOID entry = TryTake(list);
        return entry.IsNull ? machine.Code.Call(list.Allocate, list.Type, list.Size, list.Tag) : entry;
    }

    void Free(PGENERAL_LOOKASIDE_POOL list, PVOID entry)
    {
        if (!TryKeep(list, entry)) machine.Code.Call(list.Free, entry);
    }

    PVOID TryTake(PGENERAL_LOOKASIDE_POOL list)
    {
        list.TotalAllocates++;
        PVOID entry = machine.InterlockedLists.InterlockedPopEntrySList(new PSLIST_HEADER(list.Address));
        if (entry.IsNull) list.AllocateMisses++;
        return entry;
    }

    bool TryKeep(PGENERAL_LOOKASIDE_POOL list, PVOID entry)
    {
        list.TotalFrees++;
        PSLIST_HEADER head = new(list.Address);
        if (machine.InterlockedLists.ExQueryDepthSList(head) >= list.Depth)
        {
            list.FreeMisses++;
            return false;
        }
        machine.InterlockedLists.InterlockedPushEntrySList(head, new PSLIST_ENTRY(entry.Address));
        return true;
    }

    void Flush(PGENERAL_LOOKASIDE_POOL list, bool extended)
    {
        PSLIST_ENTRY entry = machine.InterlockedLists.InterlockedFlushSList(new PSLIST_HEADER(list.Address));
        while (!entry.IsNull)
        {
            PSLIST_ENTRY next = entry.Next;
            if (extended) machine.Code.Call(list.FreeEx, entry, new PLOOKASIDE_LIST_EX(list.Address));
            else machine.Code.Call(list.Free, entry);
            entry = next;
        }
    }
}
