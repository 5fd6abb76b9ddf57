namespace Irpwright.Verification.Rules;

/// <summary>File system requests wait. What goes into the cache may at APC_LEVEL too.</summary>
sealed class IrqlNtifsApcPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "NtCreateFile", "NtWriteFile", "NtSetInformationFile", "ZwWriteFile", "CcCopyWrite", "CcCopyWriteEx", "CcDeferWrite", "CcFastCopyWrite");

    public static RuleInfo Definition { get; } = new(nameof(IrqlNtifsApcPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlNtifsApcPassive)), Codes.Detected(0x00020024),
        "NtCreateFile, NtWriteFile, NtSetInformationFile or ZwWriteFile is called above PASSIVE_LEVEL, or a routine that writes into the "
            + "cache above APC_LEVEL.",
        static () => new IrqlNtifsApcPassive())
    {
        Instead = "Write from a work item or a system thread, without a lock held that raises the IRQL.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = ZwWriteFile(Extension->Log, NULL, NULL, NULL, &iosb, Extension->Line, length, NULL, NULL);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            RtlCopyMemory(line, Extension->Line, length);
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = ZwWriteFile(Extension->Log, NULL, NULL, NULL, &iosb, line, length, NULL, NULL);
            """,
    };

    internal override bool Allows(in DdiCalled e) =>
        e.Irql <= (e.Export.Name.StartsWith("Cc", StringComparison.Ordinal) ? APC_LEVEL : PASSIVE_LEVEL);
}
