namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="RemoveLockRelease2"/>, for PnP and power IRPs (RMLOCK-03).</summary>
sealed class RemoveLock : RemoveLockHeldRule
{
    public static RuleInfo Definition { get; } = new(nameof(RemoveLock), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(RemoveLock)), null,
        "The dispatch routine for IRP_MJ_PNP or IRP_MJ_POWER returns with the remove lock that it acquired for an IRP which is over.",
        static () => new RemoveLock())
    {
        Covers = ["RemoveLockReleasePnp", "RemoveLockReleasePower"],
        Instead = "Release the remove lock on every path on which the IRP ends.",
        Wrong = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (!NT_SUCCESS(status)) return Fail(Irp, status);
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(Extension->LowerDevice, Irp);
            """,
        Right = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (!NT_SUCCESS(status)) return Fail(Irp, status);
            IoSkipCurrentIrpStackLocation(Irp);
            status = IoCallDriver(Extension->LowerDevice, Irp);
            IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
            return status;
            """,
    };

    private protected override bool Includes(byte majorFunction) => majorFunction is IRP_MJ_PNP or IRP_MJ_POWER;
}
