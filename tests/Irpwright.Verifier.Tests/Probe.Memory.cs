namespace Irpwright.Verification.Tests;

/// <summary>What tests do with memory, timers and work items, and how the driver is unloaded.</summary>
public sealed partial class Probe
{
    public const uint Tag = 0x31546167; // "gaT1"

    const int Workers = 7; // as many as there are at once

    readonly Queue<Action> work = new();
    Action? unloading;

    /// <summary>Unloads the driver. Its own objects go; what else there is to give back is up to the test.</summary>
    /// <param name="before">What DriverUnload does first.</param>
    public void Unload(Action? before = null)
    {
        unloading = before;
        DriverObject.DriverUnload = Routine(OnUnload);
        Assert.True(Machine.Drivers.Unload(Machine.Drivers.All.Single(driver => driver.Managed == this)));
    }

    void OnUnload(PDRIVER_OBJECT DriverObject)
    {
        unloading?.Invoke();
        if (!Lower.IsNull) IoDetachDevice(Lower);
        IoDeleteDevice(Device);
        ExFreePool(dpc);
    }

    /// <summary>Does something in a worker thread.</summary>
    /// <param name="item">Queued for it.</param>
    public void QueueWork(PWORK_QUEUE_ITEM item, Action action)
    {
        lock (work) work.Enqueue(action);
        ExInitializeWorkItem(item, OnWork, default);
        ExQueueWorkItem(item, WORK_QUEUE_TYPE.DelayedWorkQueue);
    }

    void OnWork(PVOID Parameter)
    {
        Action? action;
        lock (work) work.TryDequeue(out action);
        action?.Invoke();
    }

    /// <summary>Does something in a worker thread, and waits until it is done.</summary>
    public void DoInWorker(Action action)
    {
        PKEVENT done = NewEvent();
        PWORK_QUEUE_ITEM item = new(Allocate(WORK_QUEUE_ITEM.SizeOf).Address);
        QueueWork(item, () =>
        {
            action();
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        ExFreePool(item);
        ExFreePool(done);
    }

    /// <summary>Does something while no worker thread is free, so that a work item that is queued stays queued.</summary>
    public void WithBusyWorkers(Action action)
    {
        PKEVENT go = NewEvent();
        for (int i = 0; i < Workers; i++)
        {
            PKEVENT busy = NewEvent();
            QueueWork(new PWORK_QUEUE_ITEM(Allocate(WORK_QUEUE_ITEM.SizeOf).Address), () =>
            {
                KeSetEvent(busy, 0, false);
                Wait(go);
            });
            Wait(busy);
        }
        action();
        KeSetEvent(go, 0, false);
    }

    /// <summary>Makes a DPC object that does what <see cref="Later"/> was last given.</summary>
    public void InitializeDpc(PKDPC Dpc, bool threaded = false)
    {
        if (threaded) KeInitializeThreadedDpc(Dpc, OnDpc, default);
        else KeInitializeDpc(Dpc, OnDpc, default);
    }

    /// <summary>Does something in a given DPC.</summary>
    public void Later(PKDPC queued, Action action)
    {
        deferred.Enqueue(action);
        KeInsertQueueDpc(queued, default, default);
    }

    /// <summary>An MDL for a buffer, whose pages are locked.</summary>
    public PMDL Locked(PVOID buffer, uint length, MODE mode = MODE.KernelMode)
    {
        PMDL mdl = IoAllocateMdl(buffer, length, false, false, default);
        MmProbeAndLockPages(mdl, mode, LOCK_OPERATION.IoModifyAccess);
        return mdl;
    }

    public void UnlockAndFree(PMDL mdl)
    {
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }

    // ---- The DDIs

    public PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag) => base.ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag);

    public PVOID ExAllocatePool2(ulong Flags, ulong NumberOfBytes) => ExAllocatePool2(Flags, NumberOfBytes, Tag);

    public PVOID ExAllocatePoolWithQuotaTag(POOL_TYPE PoolType, ulong NumberOfBytes) => ExAllocatePoolWithQuotaTag(PoolType, NumberOfBytes, Tag);

    public new void ExFreePool(PVOID P) => base.ExFreePool(P);

    public new void ExFreePoolWithTag(PVOID P, uint Tag) => base.ExFreePoolWithTag(P, Tag);

    public new void KeInitializeTimer(PKTIMER Timer) => base.KeInitializeTimer(Timer);

    public new BOOLEAN KeSetTimer(PKTIMER Timer, long DueTime, PKDPC Dpc) => base.KeSetTimer(Timer, DueTime, Dpc);

    public new BOOLEAN KeCancelTimer(PKTIMER Timer) => base.KeCancelTimer(Timer);

    public new BOOLEAN KeRemoveQueueDpc(PKDPC Dpc) => base.KeRemoveQueueDpc(Dpc);

    public new void KeFlushQueuedDpcs() => base.KeFlushQueuedDpcs();

    public new void KeSetTargetProcessorDpc(PKDPC Dpc, sbyte Number) => base.KeSetTargetProcessorDpc(Dpc, Number);

    public new void KeEnterCriticalRegion() => base.KeEnterCriticalRegion();

    public new void KeLeaveCriticalRegion() => base.KeLeaveCriticalRegion();

    public void InitializeLookaside(PVOID list, ulong size) =>
        ExInitializeNPagedLookasideList(new PNPAGED_LOOKASIDE_LIST(list.Address), default(PALLOCATE_FUNCTION), default(PFREE_FUNCTION), (uint)POOL_NX_ALLOCATION, size, Tag, 0);

    public void DeleteLookaside(PVOID list) => ExDeleteNPagedLookasideList(new PNPAGED_LOOKASIDE_LIST(list.Address));

    public PVOID MmAllocateContiguousMemory(ulong NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress) =>
        base.MmAllocateContiguousMemory(NumberOfBytes, HighestAcceptableAddress);

    public new void MmFreeContiguousMemory(PVOID BaseAddress) => base.MmFreeContiguousMemory(BaseAddress);

    public PVOID MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, ulong NumberOfBytes, MEMORY_CACHING_TYPE CacheType) =>
        base.MmMapIoSpace(PhysicalAddress, NumberOfBytes, CacheType);

    public new void MmUnmapIoSpace(PVOID BaseAddress, ulong NumberOfBytes) => base.MmUnmapIoSpace(BaseAddress, NumberOfBytes);

    public new PHYSICAL_ADDRESS MmGetPhysicalAddress(PVOID BaseAddress) => base.MmGetPhysicalAddress(BaseAddress);

    public PMDL MmAllocatePagesForMdl(ulong bytes) => MmAllocatePagesForMdl(0, long.MaxValue, 0, bytes);

    public new void MmFreePagesFromMdl(PMDL MemoryDescriptorList) => base.MmFreePagesFromMdl(MemoryDescriptorList);

    public PMDL IoAllocateMdl(PVOID VirtualAddress, uint Length) => IoAllocateMdl(VirtualAddress, Length, false, false, default);

    public new void IoFreeMdl(PMDL Mdl) => base.IoFreeMdl(Mdl);

    public new void IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress, uint Length) =>
        base.IoBuildPartialMdl(SourceMdl, TargetMdl, VirtualAddress, Length);

    public new void MmPrepareMdlForReuse(PMDL Mdl) => base.MmPrepareMdlForReuse(Mdl);

    public new PVOID MmGetSystemAddressForMdlSafe(PMDL Mdl, MM_PAGE_PRIORITY Priority) => base.MmGetSystemAddressForMdlSafe(Mdl, Priority);

    public void MmProbeAndLockPages(PMDL MemoryDescriptorList, MODE AccessMode, LOCK_OPERATION Operation) =>
        base.MmProbeAndLockPages(MemoryDescriptorList, AccessMode, Operation);

    public void LockInProcess(PMDL mdl) => MmProbeAndLockProcessPages(mdl, IoGetCurrentProcess(), MODE.KernelMode, LOCK_OPERATION.IoReadAccess);

    public void LockSelected(PMDL mdl, PVOID segments) =>
        MmProbeAndLockSelectedPages(mdl, new PFILE_SEGMENT_ELEMENT(segments.Address), MODE.KernelMode, LOCK_OPERATION.IoReadAccess);

    public new void MmUnlockPages(PMDL MemoryDescriptorList) => base.MmUnlockPages(MemoryDescriptorList);

    public new PVOID MmMapLockedPages(PMDL MemoryDescriptorList, MODE AccessMode) => base.MmMapLockedPages(MemoryDescriptorList, AccessMode);

    public PVOID Map(PMDL mdl, MODE mode = MODE.KernelMode, uint bugCheckOnFailure = 0, MM_PAGE_PRIORITY flags = MM_PAGE_PRIORITY.MdlMappingNoExecute) =>
        MmMapLockedPagesSpecifyCache(mdl, mode, MEMORY_CACHING_TYPE.MmCached, default, bugCheckOnFailure, MM_PAGE_PRIORITY.NormalPagePriority | flags);

    public new void MmUnmapLockedPages(PVOID BaseAddress, PMDL MemoryDescriptorList) => base.MmUnmapLockedPages(BaseAddress, MemoryDescriptorList);
}
