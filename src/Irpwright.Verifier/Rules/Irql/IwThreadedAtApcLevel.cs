namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager finishes threaded IRPs by an APC, which does not come while its thread stays at APC_LEVEL (SYNC-08).</summary>
sealed class IwThreadedAtApcLevel : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwThreadedAtApcLevel), RuleFamily.Irql, Warning,
        Pages.IoVerification, Codes.Io(0x302),
        "An IRP from IoBuildDeviceIoControlRequest or IoBuildSynchronousFsdRequest is sent at APC_LEVEL.",
        static () => new IwThreadedAtApcLevel())
    {
        Covers = ["DV-C9-0x302"],
        Instead = "Build and send threaded requests at PASSIVE_LEVEL, or use IoAllocateIrp and a completion routine.",
        Wrong = """
            ExAcquireFastMutex(&Extension->Mutex); // raises to APC_LEVEL
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &done, &iosb);
            if (IoCallDriver(lower, irp) == STATUS_PENDING)
                KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &done, &iosb);
            if (IoCallDriver(lower, irp) == STATUS_PENDING)
                KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
            ExAcquireFastMutex(&Extension->Mutex);
            """,
    };

    public Situation When => Situation.Raised;

    public void On(in IrpForwarded e)
    {
        IrpRecord irp = Tracker.Irp;
        if (irp.Forwards != 1 || irp.Origin != IrpOrigin.Threaded || Tracker.Thread.Thread.Irql != APC_LEVEL) return;
        Report(Tracker.Caller, irp.Name,
            $"{Tracker.Caller} sent {irp}, a threaded IRP, at APC_LEVEL: the APC that finishes it cannot come, and a wait for it never "
                + "ends.");
    }
}
