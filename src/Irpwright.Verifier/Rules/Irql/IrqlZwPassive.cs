namespace Irpwright.Verification.Rules;

/// <summary>Handle tables and the registry are paged.</summary>
sealed class IrqlZwPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "ZwClose", "ZwCreateKey", "ZwOpenKey", "ZwDeleteKey", "ZwEnumerateKey", "ZwEnumerateValueKey", "ZwFlushKey",
        "ZwQueryKey", "ZwQueryValueKey", "ZwSetValueKey");

    public static RuleInfo Definition { get; } = new(nameof(IrqlZwPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlZwPassive)), Codes.Detected(0x0002001F),
        "ZwClose, ZwCreateKey, ZwOpenKey or another of 10 routines is called above PASSIVE_LEVEL.",
        static () => new IrqlZwPassive())
    {
        Instead = "Call it after the lock has been released; from a DPC, queue a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            ZwClose(Extension->Key);
            Extension->Key = NULL;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            key = Extension->Key;
            Extension->Key = NULL;
            KeReleaseSpinLock(&Extension->Lock, irql);
            ZwClose(key);
            """,
    };
}
