namespace Irpwright.Verification.Rules;

/// <summary>After a surprise removal there are still handles to the device (PNP-05).</summary>
sealed class PnpSurpriseRemove : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(PnpSurpriseRemove), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(PnpSurpriseRemove)), Codes.Io(0x241),
        "A driver calls IoDetachDevice or IoDeleteDevice for its device while it handles IRP_MN_SURPRISE_REMOVAL.",
        static () => new PnpSurpriseRemove())
    {
        Covers = ["DV-C9-0x241", "DV-C9-0x242"],
        Instead = "Only stop using the hardware. Detach and delete the device at IRP_MN_REMOVE_DEVICE, which comes when the last handle is closed.",
        Wrong = """
            case IRP_MN_SURPRISE_REMOVAL:
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(lower, Irp);
                IoDetachDevice(lower);
                IoDeleteDevice(DeviceObject);
                return status;
            """,
        Right = """
            case IRP_MN_SURPRISE_REMOVAL:
                extension->Gone = TRUE;
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoDetachDevice, KernelExports.IoDeleteDevice];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame?.Visit is not { } visit || !visit.Is(IRP_MJ_PNP, IRP_MN_SURPRISE_REMOVAL)) return;
        PDEVICE_OBJECT own = e.Export == KernelExports.IoDetachDevice ? visit.Below : visit.Device;
        if (own.IsNull || e.Arguments[0] != own.Address) return;
        Report(Tracker.Caller, visit.Irp,
            $"{Tracker.Caller} called {e.Export.SourceName} while it handles {visit.Irp}, IRP_MN_SURPRISE_REMOVAL. There may be open handles: wait for IRP_MN_REMOVE_DEVICE.",
            (ulong)e.Export.Index);
    }
}
