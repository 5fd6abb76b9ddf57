namespace Irpwright.Verification.Rules;

/// <summary>Each acquisition is released, or removal waits for ever (RMLOCK-03).</summary>
sealed class RemoveLockRelease2 : RemoveLockHeldRule
{
    public static RuleInfo Definition { get; } = new(nameof(RemoveLockRelease2), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(RemoveLockRelease2)), null,
        "A dispatch routine returns with the remove lock that it acquired for an IRP which is over.",
        static () => new RemoveLockRelease2())
    {
        Covers =
        [
            "RemoveLockReleaseCleanup", "RemoveLockReleaseClose", "RemoveLockReleaseCreate", "RemoveLockReleaseDeviceControl",
            "RemoveLockReleaseInternalDeviceControl", "RemoveLockReleaseRead", "RemoveLockReleaseShutdown",
            "RemoveLockReleaseSystemControl", "RemoveLockReleaseWrite",
        ],
        Instead = "Release the remove lock on every path on which the IRP ends.",
        Wrong = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (!NT_SUCCESS(status)) return Complete(Irp, status);
            if (length == 0) return Complete(Irp, STATUS_SUCCESS);
            """,
        Right = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (!NT_SUCCESS(status)) return Complete(Irp, status);
            if (length == 0) {
                status = Complete(Irp, STATUS_SUCCESS);
                IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
                return status;
            }
            """,
    };

    private protected override bool Includes(byte majorFunction) => majorFunction is not (IRP_MJ_PNP or IRP_MJ_POWER);
}
