namespace Irpwright.Verification.Tests;

sealed class PoolRules : IRuleCases
{
    const long Long = -600 * 10_000_000L;
    const ulong ListSize = NPAGED_LOOKASIDE_LIST.SizeOf;
    const ulong NonPaged = (ulong)POOL_FLAGS.POOL_FLAG_NON_PAGED;
    const ulong Quota = (ulong)POOL_FLAGS.POOL_FLAG_USE_QUOTA;

    static void Free(Bench bench, PVOID memory) => bench.Upper.ExFreePoolWithTag(memory, Probe.Tag);

    static PVOID NonPagedPool(Bench bench, ulong size, uint tag = Probe.Tag) => bench.Upper.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPoolNx, size, tag);

    // What is allocated by the one rule for allocations is freed.
    static void Allocates(Bench bench, Func<PVOID> allocate) => bench.Act = () => bench.Upper.ExFreePool(allocate());

    static void UsesLookaside(Bench bench, ulong blockSize, Action<PVOID> use) => bench.Act = () =>
    {
        PVOID list = NonPagedPool(bench, ListSize);
        bench.Upper.InitializeLookaside(list, blockSize);
        use(list);
        Free(bench, list);
    };

    static void Timer(Bench bench, bool cancel) => bench.Act = () =>
    {
        PVOID block = NonPagedPool(bench, 3 * KTIMER.SizeOf);
        PKTIMER timer = new(block.Address + KTIMER.SizeOf);
        bench.Upper.KeInitializeTimer(timer);
        bench.Upper.KeSetTimer(timer, Long, default);
        if (cancel) bench.Upper.KeCancelTimer(timer);
        Free(bench, block);
    };

    public static IEnumerable<RuleCase> Cases =>
    [
        new("IwFreedActiveTimer",
            Wrong: bench => Timer(bench, cancel: false),
            Right: bench => Timer(bench, cancel: true)),
        new("IwFreedActiveTimer",
            Wrong: bench => bench.Act = () =>
            {
                PKTIMER expired = new(NonPagedPool(bench, KTIMER.SizeOf).Address);
                bench.Upper.KeInitializeTimer(expired);
                bench.Upper.KeSetTimer(expired, 0, default);
                bench.Upper.KeWaitForSingleObject(expired, Executive, KernelMode, false, null);
                bench.Upper.KeSetTimer(expired, Long, default);
                Free(bench, expired);
            },
            Right: bench => bench.Act = () =>
            {
                PKTIMER expired = new(NonPagedPool(bench, KTIMER.SizeOf).Address);
                bench.Upper.KeInitializeTimer(expired);
                bench.Upper.KeSetTimer(expired, 0, default);
                bench.Upper.KeWaitForSingleObject(expired, Executive, KernelMode, false, null);
                Free(bench, expired);
            }) { Name = "expired" },
        new("IwFreedLookaside",
            Wrong: bench => UsesLookaside(bench, 64, _ => { }),
            Right: bench => UsesLookaside(bench, 64, bench.Upper.DeleteLookaside)),
        new("IwLookasideInitializedTwice",
            Wrong: bench => UsesLookaside(bench, 64, list =>
            {
                bench.Upper.InitializeLookaside(list, 128);
                bench.Upper.DeleteLookaside(list);
            }),
            Right: bench => UsesLookaside(bench, 64, list =>
            {
                bench.Upper.DeleteLookaside(list);
                bench.Upper.InitializeLookaside(list, 128);
                bench.Upper.DeleteLookaside(list);
            })),
        new("IwLookasideNotInitialized",
            Wrong: bench => UsesLookaside(bench, 64, list =>
            {
                bench.Upper.DeleteLookaside(list);
                bench.Upper.DeleteLookaside(list);
            }),
            Right: bench => UsesLookaside(bench, 64, bench.Upper.DeleteLookaside)),
        new("IwLookasideTooSmall",
            Wrong: bench => UsesLookaside(bench, 4, bench.Upper.DeleteLookaside),
            Right: bench => UsesLookaside(bench, 8, bench.Upper.DeleteLookaside)),
        new("IwZeroBytesAllocated",
            Wrong: bench => Allocates(bench, () => NonPagedPool(bench, 0)),
            Right: bench => Allocates(bench, () => NonPagedPool(bench, 1))),
        new("IwInvalidPoolTag",
            Wrong: bench => Allocates(bench, () => NonPagedPool(bench, 16, tag: 0)),
            Right: bench => Allocates(bench, () => NonPagedPool(bench, 16, tag: 0x00000061))) { Name = "0" },
        new("IwInvalidPoolTag",
            Wrong: bench => Allocates(bench, () => NonPagedPool(bench, 16, tag: 0x20474942)), // "BIG "
            Right: bench => Allocates(bench, () => NonPagedPool(bench, 16, tag: 0x31474942))) { Name = "BIG" },
        new("IwInvalidPoolTag",
            Wrong: bench => Allocates(bench, () => NonPagedPool(bench, 16, tag: 0x2B2D2A20)), // " *-+"
            Right: bench => Allocates(bench, () => NonPagedPool(bench, 16, tag: 0x2B2D2A7A))) { Name = "no letter" },
        new("UnSafeAllocatePool",
            Wrong: bench => Allocates(bench, () => NonPagedPool(bench, 16)),
            Right: bench => Allocates(bench, () => bench.Upper.ExAllocatePool2(NonPaged, 16))),
        new("IwExecutablePool",
            Wrong: bench => Allocates(bench, () => bench.Upper.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 16, Probe.Tag)),
            Right: bench => Allocates(bench, () => NonPagedPool(bench, 16))),
        new("IwExecutablePool",
            Wrong: bench => Allocates(bench, () => bench.Upper.ExAllocatePool2((ulong)POOL_FLAGS.POOL_FLAG_NON_PAGED_EXECUTE, 16)),
            Right: bench => Allocates(bench, () => bench.Upper.ExAllocatePool2(NonPaged, 16))) { Name = "ExAllocatePool2" },
        new("IwPhysicalMemoryBelow4GB",
            Wrong: bench => bench.Act = () => bench.Upper.MmFreeContiguousMemory(bench.Upper.MmAllocateContiguousMemory(4096, uint.MaxValue)),
            Right: bench => bench.Act = () => bench.Upper.MmFreeContiguousMemory(bench.Upper.MmAllocateContiguousMemory(4096, long.MaxValue))),
        new("IwQuotaFromDpc",
            Wrong: bench => bench.Act = () => bench.Upper.Later(() => bench.Upper.ExFreePool(bench.Upper.ExAllocatePool2(NonPaged | Quota, 16))),
            Right: bench => bench.Act = () =>
            {
                bench.Upper.ExFreePool(bench.Upper.ExAllocatePool2(NonPaged | Quota, 16));
                bench.Upper.Later(() => bench.Upper.ExFreePool(bench.Upper.ExAllocatePool2(NonPaged, 16)));
            }),
        new("IwQuotaFromDpc",
            Wrong: bench => bench.Act = () => bench.Upper.Later(() => bench.Upper.ExFreePool(bench.Upper.ExAllocatePoolWithQuotaTag(POOL_TYPE.NonPagedPoolNx, 16))),
            Right: bench => bench.Act = () => bench.Upper.ExFreePool(bench.Upper.ExAllocatePoolWithQuotaTag(POOL_TYPE.NonPagedPoolNx, 16)))
            { Name = "ExAllocatePoolWithQuotaTag", Also = ["IrqlExApcLte2"] },
        new("IwPoolLeakedAtUnload",
            Wrong: bench => bench.Act = () =>
            {
                NonPagedPool(bench, 100);
                bench.Upper.Unload();
            },
            Right: bench => bench.Act = () =>
            {
                PVOID block = NonPagedPool(bench, 100);
                bench.Upper.Unload(() => Free(bench, block));
            }),
        new("IwPoolLeakedAtUnload",
            Wrong: bench => bench.Act = () =>
            {
                bench.Upper.IoAllocateMdl(bench.Upper.Device, 100);
                bench.Upper.Unload();
            },
            Right: bench => bench.Act = () =>
            {
                bench.Upper.IoFreeMdl(bench.Upper.IoAllocateMdl(bench.Upper.Device, 100));
                bench.Upper.Unload();
            }) { Name = "MDL" },
        new("IwAllocatedWhileUnloading",
            Wrong: bench => bench.Act = () => bench.Upper.Unload(() => bench.Upper.DoInWorker(() => Free(bench, NonPagedPool(bench, 16)))),
            Right: bench => bench.Act = () =>
            {
                bench.Upper.DoInWorker(() => Free(bench, NonPagedPool(bench, 16)));
                bench.Upper.Unload(() => Free(bench, NonPagedPool(bench, 16)));
            }),
    ];
}
