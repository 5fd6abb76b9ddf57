namespace Irpwright.Verification.Rules;

/// <summary>Why nobody sets the event that the sender of an IRP waits for.</summary>
enum Unsignaled : byte
{
    /// <summary>The completion routine was called with Irp->PendingReturned set, and did not.</summary>
    ByRoutine,
    /// <summary>The routine was not called, as it was not registered for what happened to the IRP.</summary>
    NotInvoked,
    /// <summary>There is no routine.</summary>
    NoRoutine,
}

/// <summary>
/// A driver that sends an IRP and waits for its end has a completion routine that sets the event (IMP-05). Whether anybody else might
/// still set it is only sure when nothing moves any more.
/// </summary>
abstract class UnsignaledWait(Unsignaled why) : Rule, IWatchEnd
{
    public void Finished()
    {
        if (Machine.BugChecks.StopReason is null) return;
        foreach (ThreadContext thread in Tracker.Threads)
        {
            if (thread.Waiting is not { } waiting) continue;
            if (thread.SentBeforeWait is not { Result: NTSTATUS.STATUS_PENDING } sent || !Concerns(sent)) continue;
            if (thread.WaitingFor.Address == sent.UserEvent.Address || WhyOf(sent) != why) continue;
            Say(waiting, sent);
        }
    }

    /// <summary>Whether the IRP is one of the rule's.</summary>
    protected abstract bool Concerns(SentIrp sent);

    Unsignaled? WhyOf(SentIrp sent)
    {
        if (sent.Routine is not null) return sent.PendingReturned ? Unsignaled.ByRoutine : null;
        if (!IsBack(sent)) return null;
        return (sent.Control & IrpRecord.Invoke) == 0 ? Unsignaled.NoRoutine : Unsignaled.NotInvoked;
    }

    bool IsBack(SentIrp sent)
    {
        if (sent.Sender is { } sender) return sender.Irp.Use == sent.Irp.Use && sender.Passed;
        return Tracker.At(sent.Irp.Address) is not { IsInFlight: true } irp || irp.Name.Use != sent.Irp.Use;
    }

    void Say(RoutineFrame waiting, SentIrp sent)
    {
        switch (why)
        {
            case Unsignaled.ByRoutine:
                CodePlace routine = sent.Routine.GetValueOrDefault();
                Report(routine, sent.Irp,
                    $"{waiting} waits for an event since {sent.Irp} became pending below, but {routine}, which was called with PendingReturned "
                        + "set, did not set it.");
                break;
            case Unsignaled.NotInvoked:
                Report(sent.Place, sent.Irp,
                    $"{waiting} waits for an event that its completion routine is to set, but the routine is not registered for what became "
                        + $"of {sent.Irp}. Register it for success, error and cancel.");
                break;
            default:
                Report(sent.Place, sent.Irp,
                    $"{waiting} waits for an event since {sent.Irp} became pending below, but registered no completion routine that could set it.");
                break;
        }
    }
}
