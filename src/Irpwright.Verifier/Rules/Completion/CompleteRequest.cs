namespace Irpwright.Verification.Rules;

/// <summary>An IRP is completed by the driver that has it, and by that driver it is (CMP-01, CMP-27).</summary>
sealed class CompleteRequest : Rule, IWatch<IrpCompleting>, IWatch<DeviceDeleted>, IWatchEnd
{
    public static RuleInfo Definition { get; } = new(nameof(CompleteRequest), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(CompleteRequest)), null,
        "A driver completes an IRP that a lower driver has, from a routine that is not the IRP's; or it keeps an IRP and never completes it.",
        static () => new CompleteRequest())
    {
        Instead = "Complete an IRP when it is with the driver, and then always: before its device is deleted at the latest.",
        Wrong = """
            IoMarkIrpPending(Irp);
            extension->Kept = Irp;
            return STATUS_PENDING;    /* and nobody looks at Kept again */
            """,
        Right = """
            IoMarkIrpPending(Irp);
            extension->Kept = Irp;
            KeInsertQueueDpc(&extension->CompleteKept, NULL, NULL);
            return STATUS_PENDING;
            """,
    };

    Situation IWatch<IrpCompleting>.When => Situation.Elsewhere;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not { } owner || Tracker.Overtaken is not null || !Tracker.IsCompletedByDriver) return;
        if (owner.Above is null || Tracker.CallingDriver is not { } caller || caller.Object == owner.Driver) return;
        // A driver may complete for another one that calls it. Only who has sent the IRP on is certainly wrong.
        for (Visit? above = owner.Above; above is not null; above = above.Above)
        {
            if (above.Driver != caller.Object) continue;
            Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} completed {Tracker.Irp}, which {owner} has.");
            return;
        }
    }

    public void On(in DeviceDeleted e)
    {
        foreach (IrpRecord irp in Tracker.Irps)
        {
            if (irp.Owner is { Keeps: true } owner && owner.Device == e.DeviceObject) Say(irp, owner, "its device was deleted");
        }
    }

    public void Finished()
    {
        if (Machine.BugChecks.StopReason is not MachineHungException) return;
        // A routine that waits may be why the request is not completed.
        foreach (ThreadContext thread in Tracker.Threads)
        {
            if (thread.Waiting is not null) return;
        }
        foreach (IrpRecord irp in Tracker.Irps)
        {
            // What was cancelled is IwCancelIgnored's.
            if (irp is { Origin: IrpOrigin.Request, Owner: { Keeps: true } owner } && !irp.Irp.Cancel)
                Say(irp, owner, "nothing moves any more");
        }
    }

    void Say(IrpRecord irp, Visit owner, string when) =>
        Report(owner.Place, irp.Name, $"{owner} kept {irp}, and had not completed it when {when}.");
}
