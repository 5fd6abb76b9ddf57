namespace Irpwright.Verification.Rules;

/// <summary>Nobody tells a driver without AddDevice before it is unloaded (REG-13).</summary>
sealed class IoSetCompletionRoutineNonPnpDriver : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IoSetCompletionRoutineNonPnpDriver), RuleFamily.Completion, Warning,
        Pages.Wdm(nameof(IoSetCompletionRoutineNonPnpDriver)), null,
        "A driver without an AddDevice routine sends an IRP with a completion routine of IoSetCompletionRoutine instead of IoSetCompletionRoutineEx.",
        static () => new IoSetCompletionRoutineNonPnpDriver())
    {
        Instead = "Use IoSetCompletionRoutineEx, which keeps the driver loaded while the routine runs.",
        Wrong = """
            IoSetCompletionRoutine(irp, Done, NULL, TRUE, TRUE, TRUE);
            IoCallDriver(target, irp);
            """,
        Right = """
            status = IoSetCompletionRoutineEx(DeviceObject, irp, Done, NULL, TRUE, TRUE, TRUE);
            if (NT_SUCCESS(status)) IoCallDriver(target, irp);
            """,
    };

    public Situation When => Situation.NewRoutine;

    public void On(in IrpForwarded e)
    {
        PIO_COMPLETION_ROUTINE routine = e.Irp.Tail.Overlay.CurrentStackLocation.CompletionRoutine;
        if (CodePlace.Find(Machine, routine.Address) is not { } driver || !driver.Object.DriverExtension.AddDevice.IsNull) return;
        if (Tracker.CallingDriver != driver) return;
        Tracker.ForgetRoutine(routine);
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with a routine of IoSetCompletionRoutine; {driver.Name} has no AddDevice routine and may be "
                + "unloaded while the routine runs.");
    }
}
