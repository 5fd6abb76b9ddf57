namespace Irpwright.Verification.Rules;

/// <summary>Memory is managed at APC_LEVEL or below.</summary>
sealed class IrqlMmApcLte() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "MmAllocateNonCachedMemory", "MmFreeNonCachedMemory", "MmAllocatePagesForMdl", "MmAllocatePagesForMdlEx",
        "MmFreePagesFromMdl", "MmLockPagableDataSection", "MmLockPagableSectionByHandle", "MmPageEntireDriver",
        "MmResetDriverPaging", "MmSecureVirtualMemory", "MmUnlockPagableImageSection", "MmUnsecureVirtualMemory");

    public static RuleInfo Definition { get; } = new(nameof(IrqlMmApcLte), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlMmApcLte)), Codes.Detected(0x00020019),
        "MmAllocateNonCachedMemory, MmFreeNonCachedMemory, MmAllocatePagesForMdl or another of 12 routines is called above APC_LEVEL.",
        static () => new IrqlMmApcLte())
    {
        Instead = "Allocate when the device starts and free when it is removed, without a spin lock held.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            buffer = MmAllocateNonCachedMemory(PAGE_SIZE);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            buffer = MmAllocateNonCachedMemory(PAGE_SIZE);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->Buffer = buffer;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
    };
}
