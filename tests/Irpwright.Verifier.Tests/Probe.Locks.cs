namespace Irpwright.Verification.Tests;

/// <remarks>DDIs about IRQLs, locks and remove locks.</remarks>
public sealed partial class Probe
{
    const uint ExtensionSize = 0x100;
    const uint OwnTag = 0x626F7250;

    Action? threadBody;

    // ---- Locks

    public PFAST_MUTEX NewFastMutex()
    {
        PFAST_MUTEX created = new(Allocate(FAST_MUTEX.SizeOf).Address);
        ExInitializeFastMutex(created);
        return created;
    }

    public PERESOURCE NewResource()
    {
        PERESOURCE created = new(Allocate(ERESOURCE.SizeOf).Address);
        ExInitializeResourceLite(created);
        return created;
    }

    public PKMUTANT NewMutex()
    {
        PKMUTANT created = new(Allocate(KMUTANT.SizeOf).Address);
        KeInitializeMutex(created, 0);
        return created;
    }

    public PVOID AllocatePaged(ulong size) => ExAllocatePoolWithTag(POOL_TYPE.PagedPool, size, OwnTag);

    public void Free(PVOID block) => ExFreePoolWithTag(block, OwnTag);

    public new void KeInitializeEvent(PKEVENT Event, EVENT_TYPE Type, BOOLEAN State) => base.KeInitializeEvent(Event, Type, State);

    public new NTSTATUS ExInitializeResourceLite(PERESOURCE Resource) => base.ExInitializeResourceLite(Resource);

    public new NTSTATUS ExReinitializeResourceLite(PERESOURCE Resource) => base.ExReinitializeResourceLite(Resource);

    public new NTSTATUS ExDeleteResourceLite(PERESOURCE Resource) => base.ExDeleteResourceLite(Resource);

    public new BOOLEAN ExAcquireResourceExclusiveLite(PERESOURCE Resource, BOOLEAN Wait) => base.ExAcquireResourceExclusiveLite(Resource, Wait);

    public new BOOLEAN ExAcquireResourceSharedLite(PERESOURCE Resource, BOOLEAN Wait) => base.ExAcquireResourceSharedLite(Resource, Wait);

    public new void ExReleaseResourceLite(PERESOURCE Resource) => base.ExReleaseResourceLite(Resource);

    public new void ExAcquireFastMutex(PFAST_MUTEX FastMutex) => base.ExAcquireFastMutex(FastMutex);

    public new BOOLEAN ExTryToAcquireFastMutex(PFAST_MUTEX FastMutex) => base.ExTryToAcquireFastMutex(FastMutex);

    public new void ExReleaseFastMutex(PFAST_MUTEX FastMutex) => base.ExReleaseFastMutex(FastMutex);

    public PEX_PUSH_LOCK NewPushLock()
    {
        PEX_PUSH_LOCK created = new(AllocatePaged(EX_PUSH_LOCK.SizeOf).Address);
        ExInitializePushLock(created);
        return created;
    }

    public new void ExInitializePushLock(PEX_PUSH_LOCK PushLock) => base.ExInitializePushLock(PushLock);

    public new void ExAcquirePushLockExclusive(PEX_PUSH_LOCK Lock) => base.ExAcquirePushLockExclusive(Lock);

    public new void ExReleasePushLockExclusive(PEX_PUSH_LOCK Lock) => base.ExReleasePushLockExclusive(Lock);

    public new void ExAcquirePushLockShared(PEX_PUSH_LOCK Lock) => base.ExAcquirePushLockShared(Lock);

    public new void ExReleasePushLockShared(PEX_PUSH_LOCK Lock) => base.ExReleasePushLockShared(Lock);

    public new void ExAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex) => base.ExAcquireFastMutexUnsafe(FastMutex);

    public new void ExReleaseFastMutexUnsafe(PFAST_MUTEX FastMutex) => base.ExReleaseFastMutexUnsafe(FastMutex);

    public new void KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex) => base.KeInitializeGuardedMutex(Mutex);

    public new void KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock) => base.KeAcquireSpinLockAtDpcLevel(SpinLock);

    public new void KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock) => base.KeReleaseSpinLockFromDpcLevel(SpinLock);

    public new void KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle) =>
        base.KeAcquireInStackQueuedSpinLock(SpinLock, LockHandle);

    public new void KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle) => base.KeReleaseInStackQueuedSpinLock(LockHandle);

    public new void KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle) =>
        base.KeAcquireInStackQueuedSpinLockAtDpcLevel(SpinLock, LockHandle);

    public new void KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle) =>
        base.KeReleaseInStackQueuedSpinLockFromDpcLevel(LockHandle);

    public PKLOCK_QUEUE_HANDLE NewQueueHandle() => new(Allocate(KLOCK_QUEUE_HANDLE.SizeOf).Address);

    public new void KeEnterGuardedRegion() => base.KeEnterGuardedRegion();

    public new void KeLeaveGuardedRegion() => base.KeLeaveGuardedRegion();

    public new NTSTATUS KeWaitForMutexObject(PKMUTANT Mutex, KWAIT_REASON WaitReason, MODE WaitMode, BOOLEAN Alertable, long? Timeout) =>
        base.KeWaitForMutexObject(Mutex, WaitReason, WaitMode, Alertable, Timeout);

    public new int KeReleaseMutex(PKMUTANT Mutex, BOOLEAN Wait) => base.KeReleaseMutex(Mutex, Wait);

    /// <summary>KeWaitForMultipleObjects for one object, as a compiled driver calls it.</summary>
    public NTSTATUS WaitForMultiple(PKEVENT target, long? timeout)
    {
        PPVOID objects = new(Allocate(8).Address);
        objects[0] = target;
        return KeWaitForMultipleObjects(1, objects, WAIT_TYPE.WaitAny, Executive, KernelMode, false, timeout, default);
    }

    /// <summary>Does something in a system thread, and waits for its end.</summary>
    public void InThread(Action body)
    {
        threadBody = body;
        PsCreateSystemThread(out HANDLE handle, 0, default, default, default, OnThread, default);
        ObReferenceObjectByHandle(handle, 0, default, KernelMode, out PVOID thread, default);
        KeWaitForSingleObject(thread, Executive, KernelMode, false, null);
        ObfDereferenceObject(thread);
        ZwClose(handle);
    }

    void OnThread(PVOID StartContext) => threadBody!();

    // ---- Routines with a limit of IRQL, called so that nothing comes of it

    public void ReleaseNoSecurity() => ObReleaseObjectSecurity(default, false);

    public void ProbeNothing() => ProbeForRead(default, 0, 1);

    public void MakeUuid() => ExUuidCreate(out _);

    public void AskForStack() => IoGetInitialStack();

    public void SetNothingToVerify() => IoSetDeviceToVerify(default, default);

    public void DisableNoInterface() => IoSetDeviceInterfaceState(RTL_CONSTANT_STRING(@"\??\nothing"), false);

    public PFILE_OBJECT NewFileObject()
    {
        PFILE_OBJECT created = new(Allocate(FILE_OBJECT.SizeOf).Address);
        created.Value = default;
        return created;
    }

    public void CheckNoAccess(PFILE_OBJECT file)
    {
        SHARE_ACCESS share = default;
        IoCheckShareAccess(default, 0, file, ref share, false);
    }

    public PDEVICE_OBJECT AttachAnother()
    {
        IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
        return IoAttachDeviceToDeviceStack(device, Device);
    }

    public void DeleteNoLink() => IoDeleteSymbolicLink(RTL_CONSTANT_STRING(@"\DosDevices\nothing"));

    public void AskForConfiguration() => IoGetConfigurationInformation();

    public void MakeKey() => RtlCreateRegistryKey(0, RTL_CONSTANT_STRING(@"\Registry\Machine\Software\Probe").Buffer);

    public void DeleteNoValue() =>
        RtlDeleteRegistryValue(0, RTL_CONSTANT_STRING(@"\Registry\Machine\Software").Buffer, RTL_CONSTANT_STRING("nothing").Buffer);

    public void AskForProcessors() => KeQueryActiveProcessors();

    public void ReadState(PKEVENT target) => KeReadStateEvent(target);

    public void AllocateNonCached() => MmAllocateNonCachedMemory(4096);

    public PVOID AllocateContiguous() => MmAllocateContiguousMemory(4096, long.MaxValue);

    public void FreeContiguous(PVOID memory) => MmFreeContiguousMemory(memory);

    public HANDLE NewEventHandle() => CreateEvent(OBJ_KERNEL_HANDLE);

    public void WriteTo(HANDLE handle) =>
        ZwWriteFile(handle, default, default(PIO_APC_ROUTINE), default, new PIO_STATUS_BLOCK(Allocate(16).Address), default, 0, null, null);

    public void Reference(HANDLE handle) => Reference(handle, KernelMode);

    public void AskForVersion() => PsGetVersion(default, default, default, default);

    public new void KeRaiseIrql(byte NewIrql, out byte OldIrql) => base.KeRaiseIrql(NewIrql, out OldIrql);

    // ---- Remove locks

    /// <summary>The n-th remove lock of the device extension.</summary>
    public PIO_REMOVE_LOCK RemoveLock(int index = 0) => new(Device.DeviceExtension.Address + (ulong)(index * 0x40));

    public void InitializeRemoveLock(int index = 0) => IoInitializeRemoveLock(RemoveLock(index), OwnTag, 0, 0);

    public NTSTATUS AcquireRemoveLock(PVOID tag, int index = 0) => IoAcquireRemoveLock(RemoveLock(index), tag);

    public void ReleaseRemoveLock(PVOID tag, int index = 0) => IoReleaseRemoveLock(RemoveLock(index), tag);

    public void ReleaseRemoveLockAndWait(PVOID tag) => IoReleaseRemoveLockAndWait(RemoveLock(), tag);

    /// <summary>Sends an IRP down while it holds the remove lock, unless the device is being removed.</summary>
    public NTSTATUS SkipDownLocked(PIRP irp)
    {
        PVOID tag = irp;
        if (AcquireRemoveLock(tag) < 0) return SkipDown(irp);
        NTSTATUS status = SkipDown(irp);
        ReleaseRemoveLock(tag);
        return status;
    }
}
