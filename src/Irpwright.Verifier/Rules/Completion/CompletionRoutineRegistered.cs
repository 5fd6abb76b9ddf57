namespace Irpwright.Verification.Rules;

/// <summary>Only the call of the routine frees what IoSetCompletionRoutineEx allocated (REG-12).</summary>
sealed class CompletionRoutineRegistered : RegistrationRule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(CompletionRoutineRegistered), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(CompletionRoutineRegistered)), null,
        "A driver registers a completion routine with IoSetCompletionRoutineEx and completes the IRP instead of sending it on.",
        static () => new CompletionRoutineRegistered())
    {
        Instead = "Register the routine when it is sure that the IRP is sent on.",
        Wrong = """
            IoSetCompletionRoutineEx(DeviceObject, Irp, Done, NULL, TRUE, TRUE, TRUE);
            if (extension->Removed) {
                Irp->IoStatus.Status = STATUS_DELETE_PENDING;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_DELETE_PENDING;
            }
            """,
        Right = """
            if (extension->Removed) {
                Irp->IoStatus.Status = STATUS_DELETE_PENDING;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_DELETE_PENDING;
            }
            IoSetCompletionRoutineEx(DeviceObject, Irp, Done, NULL, TRUE, TRUE, TRUE);
            """,
    };

    public Situation When => Situation.Registered;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not { Registration: >= 0, Forwarded: false } owner) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} completed {owner.Irp}, in which {owner} had registered a routine with IoSetCompletionRoutineEx: what that allocated is never freed.");
    }
}
