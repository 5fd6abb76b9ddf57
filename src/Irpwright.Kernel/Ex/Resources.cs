using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Executive resources: locks that one thread owns exclusively or several share, each any number of times.</summary>
/// <remarks>
/// Owners are in the ERESOURCE: the first in OwnerEntry, others in a table behind OwnerTable whose first entry says how large it is.
/// A lock that becomes free goes to who waits at once; after an exclusive owner to all that want to share it, else to one exclusively.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/eresource-structures"/>
public sealed class Resources
{
    const uint Tag = 0x5461_5245; // "ERaT"
    const ushort OwnedExclusive = 0x80;
    const int CountShift = 3; // OWNER_ENTRY: three flags, then the number of acquisitions
    const uint SmallestTable = 4;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly LinkedList<Waiter> waiters = [];

    internal Resources(Machine machine) => this.machine = machine;

    enum Access : byte
    {
        Exclusive,
        Shared,
        SharedStarvingExclusive,
        SharedWaitingForExclusive,
    }

    sealed class Waiter(PERESOURCE resource, KernelThread thread, bool exclusive)
    {
        internal readonly PERESOURCE Resource = resource;
        internal readonly KernelThread Thread = thread;
        internal readonly bool Exclusive = exclusive;
        internal bool Granted;
    }

    /// <summary>Prepares a resource that nobody owns. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS ExInitializeResourceLite(PERESOURCE Resource)
    {
        Resource.Value = default;
        Lists.Initialize(new PLIST_ENTRY(Resource.Address));
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Makes a resource as it was after ExInitializeResourceLite, keeping its memory. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS ExReinitializeResourceLite(PERESOURCE Resource)
    {
        POWNER_ENTRY table = Resource.OwnerTable;
        ExInitializeResourceLite(Resource);
        if (table.IsNull) return NTSTATUS.STATUS_SUCCESS;
        Resource.OwnerTable = table;
        for (uint i = 1; i < table.TableSize; i++) table[(int)i] = default;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Ends the use of a resource; its memory may be freed then. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS ExDeleteResourceLite(PERESOURCE Resource)
    {
        if (!Resource.OwnerTable.IsNull) machine.Pool.Free(Resource.OwnerTable.Address, Tag);
        Resource.OwnerTable = default;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Acquires a resource exclusively. Normal kernel APCs must be disabled. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Wait">FALSE returns FALSE instead of waiting.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN ExAcquireResourceExclusiveLite(PERESOURCE Resource, BOOLEAN Wait) => Acquire(Resource, Wait, Access.Exclusive);

    /// <summary>Acquires a resource to share it: not before those who wait for it exclusively, unless it is shared by the caller already.</summary>
    /// <inheritdoc cref="ExAcquireResourceExclusiveLite"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN ExAcquireResourceSharedLite(PERESOURCE Resource, BOOLEAN Wait) => Acquire(Resource, Wait, Access.Shared);

    /// <summary>Acquires a resource to share it, also before those who wait for it exclusively.</summary>
    /// <inheritdoc cref="ExAcquireResourceExclusiveLite"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN ExAcquireSharedStarveExclusive(PERESOURCE Resource, BOOLEAN Wait) => Acquire(Resource, Wait, Access.SharedStarvingExclusive);

    /// <summary>Acquires a resource to share it, in any case not before those who wait for it exclusively.</summary>
    /// <inheritdoc cref="ExAcquireResourceExclusiveLite"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN ExAcquireSharedWaitForExclusive(PERESOURCE Resource, BOOLEAN Wait) => Acquire(Resource, Wait, Access.SharedWaitingForExclusive);

    /// <summary>KeEnterCriticalRegion and ExAcquireResourceExclusiveLite, waiting. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>Nothing for drivers.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID ExEnterCriticalRegionAndAcquireResourceExclusive(PERESOURCE Resource) => EnterAndAcquire(Resource, Access.Exclusive);

    /// <summary>KeEnterCriticalRegion and ExAcquireResourceSharedLite, waiting. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExEnterCriticalRegionAndAcquireResourceExclusive"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID ExEnterCriticalRegionAndAcquireResourceShared(PERESOURCE Resource) => EnterAndAcquire(Resource, Access.Shared);

    /// <summary>KeEnterCriticalRegion and ExAcquireSharedWaitForExclusive, waiting. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExEnterCriticalRegionAndAcquireResourceExclusive"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(PERESOURCE Resource) => EnterAndAcquire(Resource, Access.SharedWaitingForExclusive);

    PVOID EnterAndAcquire(PERESOURCE resource, Access access)
    {
        machine.Apcs.KeEnterCriticalRegion();
        Acquire(resource, wait: true, access);
        return default;
    }

    /// <summary>ExReleaseResourceLite and KeLeaveCriticalRegion. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExReleaseResourceLite"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExReleaseResourceAndLeaveCriticalRegion(PERESOURCE Resource)
    {
        ExReleaseResourceLite(Resource);
        machine.Apcs.KeLeaveCriticalRegion();
    }

    /// <summary>Gives up one acquisition of the calling thread. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">RESOURCE_NOT_OWNED.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseResourceLite(PERESOURCE Resource) => Release(Resource, Self);

    /// <summary>Gives up one acquisition of a thread, or of an owner pointer. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="ResourceThreadId">From ExGetCurrentResourceThread, or given to ExSetResourceOwnerPointer.</param>
    /// <inheritdoc cref="ExReleaseResourceLite"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseResourceForThreadLite(PERESOURCE Resource, ulong ResourceThreadId) => Release(Resource, ResourceThreadId);

    /// <summary>Turns the caller's exclusive ownership into a shared one; others that want to share get it too. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">RESOURCE_NOT_OWNED.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExConvertExclusiveToSharedLite(PERESOURCE Resource)
    {
        lock (gate)
        {
            if (!IsExclusive(Resource) || Find(Resource, Self).IsNull) NotOwned(Resource, Self);
            Resource.Flag &= unchecked((ushort)~OwnedExclusive);
            GrantShared(Resource);
        }
        machine.Dispatcher.AfterSignal(wait: false);
    }

    /// <summary>Names the calling thread as an owner of resources.</summary>
    [WdkInline]
    public ulong ExGetCurrentResourceThread() => Self;

    /// <summary>TRUE if the calling thread owns the resource exclusively. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExIsResourceAcquiredExclusiveLite(PERESOURCE Resource)
    {
        lock (gate) return IsExclusive(Resource) && !Find(Resource, Self).IsNull;
    }

    /// <summary>How often the calling thread has acquired the resource, in whatever way. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint ExIsResourceAcquiredSharedLite(PERESOURCE Resource)
    {
        lock (gate) return Find(Resource, Self) is { IsNull: false } owner ? owner.TableSize >> CountShift : 0;
    }

    /// <summary>Another name of ExIsResourceAcquiredSharedLite.</summary>
    [WdkInline]
    public uint ExIsResourceAcquiredLite(PERESOURCE Resource) => ExIsResourceAcquiredSharedLite(Resource);

    /// <summary>How many wait to own the resource exclusively. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint ExGetExclusiveWaiterCount(PERESOURCE Resource) => Resource.NumberOfExclusiveWaiters;

    /// <summary>How many wait to share the resource. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint ExGetSharedWaiterCount(PERESOURCE Resource) => Resource.NumberOfSharedWaiters;

    /// <summary>Makes an owner pointer the owner in place of the calling thread. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="OwnerPointer">A system address with its two low bits set; only ExReleaseResourceForThreadLite takes it.</param>
    /// <exception cref="BugCheckException">RESOURCE_OWNER_POINTER_INVALID, or RESOURCE_NOT_OWNED.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExSetResourceOwnerPointer(PERESOURCE Resource, PVOID OwnerPointer) => ExSetResourceOwnerPointerEx(Resource, OwnerPointer, 0);

    /// <param name="Flags">0, or FLAG_OWNER_POINTER_IS_THREAD.</param>
    /// <inheritdoc cref="ExSetResourceOwnerPointer"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExSetResourceOwnerPointerEx(PERESOURCE Resource, PVOID OwnerPointer, uint Flags)
    {
        if ((OwnerPointer.Address & 3) != 3)
        {
            throw machine.BugChecks.Stop(BugCheckCode.RESOURCE_OWNER_POINTER_INVALID, Resource.Address, Resource.OwnerTable.Address, Self, OwnerPointer.Address,
                $"The owner pointer {OwnerPointer} has not its two low bits set.");
        }
        lock (gate)
        {
            POWNER_ENTRY entry = Find(Resource, Self);
            if (entry.IsNull) NotOwned(Resource, Self);
            if (Find(Resource, OwnerPointer.Address) is { IsNull: false } other)
            {
                other.TableSize += entry.TableSize;
                entry.Value = default;
                Resource.ActiveCount--;
                Resource.ActiveEntries--;
            }
            else
            {
                entry.OwnerThread = OwnerPointer.Address;
            }
        }
    }

    ulong Self => machine.CurrentThread.Object.Address;

    static bool IsExclusive(PERESOURCE resource) => (resource.Flag & OwnedExclusive) != 0;

    bool Acquire(PERESOURCE resource, bool wait, Access access)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        Waiter waiter;
        lock (gate)
        {
            if (TryGrant(resource, thread, access)) return true;
            if (!wait) return false;
            resource.ContentionCount++;
            waiter = new Waiter(resource, thread, access == Access.Exclusive);
            waiters.AddLast(waiter);
            if (waiter.Exclusive) resource.NumberOfExclusiveWaiters++;
            else resource.NumberOfSharedWaiters++;
        }
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref waiter.Granted), () => Describe(waiter));
        return true;
    }

    static bool CanGrant(PERESOURCE resource, bool owned, Access access)
    {
        if (resource.ActiveCount == 0) return true;
        if (IsExclusive(resource)) return owned;
        return access switch
        {
            Access.Exclusive => false,
            Access.SharedStarvingExclusive => true,
            Access.Shared => owned || resource.NumberOfExclusiveWaiters == 0,
            _ => resource.NumberOfExclusiveWaiters == 0,
        };
    }

    bool TryGrant(PERESOURCE resource, KernelThread thread, Access access)
    {
        ulong owner = thread.Object.Address;
        POWNER_ENTRY entry = Find(resource, owner);
        if (!CanGrant(resource, !entry.IsNull, access)) return false;
        if (entry.IsNull) Add(resource, owner, access == Access.Exclusive);
        else entry.TableSize += 1 << CountShift;
        return true;
    }

    void Add(PERESOURCE resource, ulong owner, bool exclusive)
    {
        POWNER_ENTRY entry = Find(resource, 0);
        if (entry.IsNull) entry = Grow(resource);
        entry.OwnerThread = owner;
        entry.TableSize = 1 << CountShift;
        resource.ActiveCount++;
        resource.ActiveEntries++;
        if (exclusive) resource.Flag |= OwnedExclusive;
    }

    /// <summary>The entry of an owner; of owner 0, a free one. Null if there is none.</summary>
    static POWNER_ENTRY Find(PERESOURCE resource, ulong owner)
    {
        if (resource.OwnerEntry.OwnerThread == owner) return new POWNER_ENTRY(resource.Address + 0x30);
        POWNER_ENTRY table = resource.OwnerTable;
        for (uint i = 1; !table.IsNull && i < table.TableSize; i++)
        {
            if (table[(int)i].OwnerThread == owner) return EntryOf(table, i);
        }
        return default;
    }

    static POWNER_ENTRY EntryOf(POWNER_ENTRY table, uint index) => new(table.Address + index * OWNER_ENTRY.SizeOf);

    /// <returns>A free entry of the larger table.</returns>
    POWNER_ENTRY Grow(PERESOURCE resource)
    {
        POWNER_ENTRY old = resource.OwnerTable;
        uint used = old.IsNull ? 1 : old.TableSize;
        uint size = Math.Max(SmallestTable, 2 * used);
        var table = new POWNER_ENTRY(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, size * OWNER_ENTRY.SizeOf, Tag, 0, zero: true));
        if (table.IsNull) throw new NtStatusException(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES);
        for (uint i = 1; i < used; i++) table[(int)i] = old[(int)i];
        table.TableSize = size;
        resource.OwnerTable = table;
        if (!old.IsNull) machine.Pool.Free(old.Address, Tag);
        return EntryOf(table, used);
    }

    void Release(PERESOURCE resource, ulong owner)
    {
        lock (gate)
        {
            POWNER_ENTRY entry = owner == 0 ? default : Find(resource, owner);
            if (entry.IsNull) NotOwned(resource, owner);
            entry.TableSize -= 1 << CountShift;
            if (entry.TableSize >> CountShift != 0) return;
            entry.OwnerThread = 0;
            resource.ActiveEntries--;
            if (--resource.ActiveCount == 0) HandOver(resource);
        }
        machine.Dispatcher.AfterSignal(wait: false);
    }

    void HandOver(PERESOURCE resource)
    {
        bool wasExclusive = IsExclusive(resource);
        resource.Flag &= unchecked((ushort)~OwnedExclusive);
        if (wasExclusive && resource.NumberOfSharedWaiters > 0) GrantShared(resource);
        else if (!GrantFirst(resource, exclusive: true)) GrantShared(resource);
    }

    void GrantShared(PERESOURCE resource)
    {
        while (GrantFirst(resource, exclusive: false))
        {
        }
    }

    bool GrantFirst(PERESOURCE resource, bool exclusive)
    {
        LinkedListNode<Waiter>? node = waiters.First;
        while (node is not null && (node.Value.Resource != resource || node.Value.Exclusive != exclusive)) node = node.Next;
        if (node is null) return false;
        waiters.Remove(node);
        if (exclusive) resource.NumberOfExclusiveWaiters--;
        else resource.NumberOfSharedWaiters--;
        // A thread that shared it while it waited to own it otherwise may be an owner by now.
        if (Find(resource, node.Value.Thread.Object.Address) is { IsNull: false } owner) owner.TableSize += 1 << CountShift;
        else Add(resource, node.Value.Thread.Object.Address, exclusive);
        Volatile.Write(ref node.Value.Granted, true);
        machine.Scheduler.Unblock(node.Value.Thread);
        return true;
    }

    void NotOwned(PERESOURCE resource, ulong owner) =>
        throw machine.BugChecks.Stop(BugCheckCode.RESOURCE_NOT_OWNED, resource.Address, owner, resource.OwnerTable.Address, 0,
            $"The resource at {resource} is not owned by {DescribeOwner(owner)}, for whom it is released or changed; its owners: {DescribeOwners(resource)}.");

    string Describe(Waiter waiter) =>
        $"waits to {(waiter.Exclusive ? "own" : "share")} the resource at {waiter.Resource}, "
        + $"{(IsExclusive(waiter.Resource) ? "owned exclusively" : "shared")} by {DescribeOwners(waiter.Resource)}";

    string DescribeOwners(PERESOURCE resource)
    {
        List<string> owners = [];
        if (resource.OwnerEntry.OwnerThread != 0) owners.Add(DescribeOwner(resource.OwnerEntry.OwnerThread));
        for (uint i = 1; !resource.OwnerTable.IsNull && i < resource.OwnerTable.TableSize; i++)
        {
            if (resource.OwnerTable[(int)i].OwnerThread is var owner and not 0) owners.Add(DescribeOwner(owner));
        }
        return owners.Count == 0 ? "nobody" : string.Join(" and ", owners);
    }

    string DescribeOwner(ulong owner) =>
        (owner & 3) == 3 ? $"owner pointer {Format.Address(owner)}" : machine.Dispatcher.DescribeOwner(new PKTHREAD(owner));
}
