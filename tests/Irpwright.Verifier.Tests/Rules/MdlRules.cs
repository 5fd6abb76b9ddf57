namespace Irpwright.Verification.Tests;

sealed class MdlRules : IRuleCases
{
    const uint TwoPages = 0x2000;
    const long Registers = 0xFEB0_0000;

    /// <summary>Does something with an MDL whose pages are locked, and unlocks them.</summary>
    static void Uses(Bench bench, Action<PMDL> use, POOL_TYPE type = POOL_TYPE.NonPagedPoolNx) => bench.Act = () =>
    {
        PVOID buffer = bench.Upper.ExAllocatePoolWithTag(type, TwoPages, Probe.Tag);
        PMDL mdl = bench.Upper.Locked(buffer, TwoPages);
        use(mdl);
        bench.Upper.UnlockAndFree(mdl);
        bench.Upper.ExFreePool(buffer);
    };

    static void MapsUserSpace(Bench bench, bool atDispatchLevel) => Uses(bench, mdl =>
    {
        byte irql = atDispatchLevel ? bench.Upper.KeRaiseIrqlToDpcLevel() : (byte)0;
        PVOID address = bench.Upper.Map(mdl, MODE.UserMode);
        if (atDispatchLevel) bench.Upper.KeLowerIrql(irql);
        bench.Upper.MmUnmapLockedPages(address, mdl);
    });

    static void MapsPhysicalMemory(Bench bench, bool locked) => bench.Act = () =>
    {
        PVOID buffer = bench.Upper.ExAllocatePoolWithTag(POOL_TYPE.PagedPool, TwoPages, Probe.Tag);
        PMDL mdl = locked ? bench.Upper.Locked(buffer, TwoPages) : default;
        PVOID address = bench.Upper.MmMapIoSpace(bench.Upper.MmGetPhysicalAddress(buffer), TwoPages, MEMORY_CACHING_TYPE.MmCached);
        bench.Upper.MmUnmapIoSpace(address, TwoPages);
        if (locked) bench.Upper.UnlockAndFree(mdl);
        bench.Upper.ExFreePool(buffer);
    };

    static void FreesPages(Bench bench, bool unmap) => bench.Act = () =>
    {
        PMDL mdl = bench.Upper.MmAllocatePagesForMdl(TwoPages);
        PVOID address = bench.Upper.Map(mdl);
        if (unmap) bench.Upper.MmUnmapLockedPages(address, mdl);
        bench.Upper.MmFreePagesFromMdl(mdl);
        bench.Upper.ExFreePool(mdl);
    };

    /// <summary>Leaves a buffer of the requestor's locked, or not.</summary>
    static void LocksUserMemory(Bench bench, bool unlock) => bench.Act = () =>
    {
        PMDL mdl = bench.Upper.Locked(new PVOID(bench.Machine.Memory.AllocateUser(TwoPages)), TwoPages, MODE.UserMode);
        if (unlock) bench.Upper.UnlockAndFree(mdl);
    };

    static void LeavesLockedAtUnload(Bench bench, bool unlock) => bench.Act = () =>
    {
        PVOID buffer = bench.Upper.Allocate(TwoPages);
        PMDL mdl = bench.Upper.Locked(buffer, TwoPages);
        bench.Upper.Unload(() =>
        {
            if (unlock) bench.Upper.UnlockAndFree(mdl);
            bench.Upper.ExFreePool(buffer);
        });
    };

    /// <summary>Has the requestor's buffer described by an MDL.</summary>
    static void UsesDirectIo(Bench bench, Action<DeviceHandle> act)
    {
        foreach (PDEVICE_OBJECT device in (PDEVICE_OBJECT[])[bench.Lower.Device, bench.Upper.Device])
            device.Flags = (device.Flags & ~DO_BUFFERED_IO) | DO_DIRECT_IO;
        bench.Act = () =>
        {
            DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName);
            act(handle);
            handle.Dispose();
        };
    }

    static PVOID Data(Bench bench, PIRP irp) => bench.Upper.MmGetSystemAddressForMdlSafe(irp.MdlAddress, MM_PAGE_PRIORITY.NormalPagePriority);

    static void Writes(Bench bench, Action<PIRP> with)
    {
        UsesDirectIo(bench, handle => handle.Write(new byte[5000]));
        bench.Upper.Other = irp =>
        {
            if (bench.Upper.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_WRITE) with(irp);
            return bench.Upper.SkipDown(irp);
        };
    }

    public static IEnumerable<RuleCase> Cases =>
    [
        new("IwLockedDeviceMemory",
            Wrong: bench => bench.Act = () =>
            {
                PVOID registers = bench.Upper.MmMapIoSpace(Registers, TwoPages, MEMORY_CACHING_TYPE.MmNonCached);
                PMDL mdl = bench.Upper.IoAllocateMdl(registers, TwoPages);
                try
                {
                    bench.Upper.MmProbeAndLockPages(mdl, MODE.KernelMode, LOCK_OPERATION.IoModifyAccess);
                }
                catch (NtStatusException)
                {
                    bench.Upper.IoFreeMdl(mdl);
                }
                bench.Upper.MmUnmapIoSpace(registers, TwoPages);
            },
            Right: bench => Uses(bench, _ => { })),
        new("IwMappedOrBugCheck",
            Wrong: bench => Uses(bench, mdl => bench.Upper.MmMapLockedPages(mdl, MODE.KernelMode)),
            Right: bench => Uses(bench, mdl => bench.Upper.Map(mdl))),
        new("IwMappedOrBugCheck",
            Wrong: bench => Uses(bench, mdl => bench.Upper.Map(mdl, bugCheckOnFailure: 1)),
            Right: bench => Uses(bench, mdl => bench.Upper.MmUnmapLockedPages(bench.Upper.Map(mdl, MODE.UserMode, bugCheckOnFailure: 1), mdl)))
            { Name = "BugCheckOnFailure" },
        new("IwExecutableMapping",
            Wrong: bench => Uses(bench, mdl => bench.Upper.Map(mdl, flags: 0)),
            Right: bench => Uses(bench, mdl => bench.Upper.Map(mdl))),
        new("IwUserMappingAboveApcLevel",
            Wrong: bench => MapsUserSpace(bench, atDispatchLevel: true),
            Right: bench => MapsUserSpace(bench, atDispatchLevel: false)),
        new("IwMappedUnlockedMemory",
            Wrong: bench => MapsPhysicalMemory(bench, locked: false),
            Right: bench => MapsPhysicalMemory(bench, locked: true)),
        new("IwFreedMappedMdl",
            Wrong: bench => FreesPages(bench, unmap: false),
            Right: bench => FreesPages(bench, unmap: true)),
        new("IwFreedMappedMdl",
            Wrong: bench => Uses(bench, mdl => bench.Upper.Map(mdl, MODE.UserMode)),
            Right: bench => Uses(bench, mdl => bench.Upper.MmUnmapLockedPages(bench.Upper.Map(mdl, MODE.UserMode), mdl))) { Name = "user space" },
        new("IwMdlWritten",
            Wrong: bench => Uses(bench, mdl => mdl.ByteCount = 512),
            Right: bench => Uses(bench, mdl =>
            {
                PMDL part = bench.Upper.IoAllocateMdl(mdl.StartVa, TwoPages);
                for (ulong offset = 0; offset < TwoPages; offset += 512)
                {
                    bench.Upper.IoBuildPartialMdl(mdl, part, new PVOID(mdl.StartVa.Address + offset), 512);
                    bench.Upper.MmGetSystemAddressForMdlSafe(part, MM_PAGE_PRIORITY.NormalPagePriority);
                    bench.Upper.MmPrepareMdlForReuse(part);
                }
                bench.Upper.IoFreeMdl(part);
            })),
        new("IwMdlWritten",
            Wrong: bench => Uses(bench, mdl =>
            {
                bench.Upper.Map(mdl);
                mdl.StartVa = new PVOID(mdl.StartVa.Address + 0x1000);
            }),
            Right: bench => Uses(bench, mdl =>
            {
                bench.Upper.Map(mdl);
                mdl.Next = mdl;
                mdl.Next = default;
            })) { Name = "while mapped" },
        new("IwPagesLeftLocked",
            Wrong: bench => LocksUserMemory(bench, unlock: false),
            Right: bench => LocksUserMemory(bench, unlock: true)),
        new("IwPagesLeftLocked",
            Wrong: bench => LeavesLockedAtUnload(bench, unlock: false),
            Right: bench => LeavesLockedAtUnload(bench, unlock: true)) { Name = "at unload", Also = ["IwPoolLeakedAtUnload"] },
        new("IwWriteBufferChanged",
            Wrong: bench => Writes(bench, irp => GuestMemory.Ref<byte>(Data(bench, irp).Address + 4999) = 1),
            Right: bench => Writes(bench, irp => _ = GuestMemory.Ref<byte>(Data(bench, irp).Address + 4999))),
        new("IwReadBufferChanged",
            Wrong: bench =>
            {
                UsesDirectIo(bench, handle => handle.Read(new byte[5000]));
                bench.Upper.Read = irp =>
                {
                    GuestMemory.Ref<byte>(Data(bench, irp).Address) = 1;
                    return bench.Upper.SkipDown(irp);
                };
            },
            Right: bench =>
            {
                UsesDirectIo(bench, handle => handle.Read(new byte[5000]));
                bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
                bench.Upper.Done = irp =>
                {
                    GuestMemory.Ref<byte>(Data(bench, irp).Address) = 1;
                    if (irp.PendingReturned) bench.Upper.IoMarkIrpPending(irp);
                    return STATUS_CONTINUE_COMPLETION;
                };
            }),
    ];
}
