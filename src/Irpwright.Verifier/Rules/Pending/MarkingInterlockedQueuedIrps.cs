namespace Irpwright.Verification.Rules;

/// <summary>Once the IRP is in the queue it may be completed and freed at any time (PEND-05).</summary>
sealed class MarkingInterlockedQueuedIrps : Rule, IWatchCalls, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(MarkingInterlockedQueuedIrps), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(MarkingInterlockedQueuedIrps)), null,
        "A dispatch routine puts an IRP into an interlocked list, marks it pending only then, and returns STATUS_PENDING.",
        static () => new MarkingInterlockedQueuedIrps())
    {
        Instead = "Mark the IRP pending before it goes into the list.",
        Wrong = """
            ExInterlockedInsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry, &extension->Lock);
            IoMarkIrpPending(Irp);
            return STATUS_PENDING;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            ExInterlockedInsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry, &extension->Lock);
            return STATUS_PENDING;
            """,
    };

    // Tail.Overlay.ListEntry of an IRP.
    internal const ulong ListEntryOffset = 0xA8;

    public IReadOnlyList<KernelExport> Calls { get; } =
        [KernelExports.ExInterlockedInsertHeadList, KernelExports.ExInterlockedInsertTailList, KernelExports.ExInterlockedPushEntryList];

    Situation IWatch<DispatchReturned>.When => Situation.Pending | Situation.Marked;

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { Passed: false } visit }) return;
        if (e.Arguments[1] != visit.Irp.Address + ListEntryOffset || Tracker.IsMarked(visit)) return;
        visit.InterlockedUnmarked = true;
    }

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (!visit.InterlockedUnmarked || !visit.Marked || e.Status != NTSTATUS.STATUS_PENDING) return;
        Report(visit.Place, visit.Irp,
            $"{visit} put {visit.Irp} into an interlocked list before it marked it pending: in between the IRP may be completed and freed.");
    }
}
