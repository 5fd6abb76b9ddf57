namespace Irpwright.Verification.Rules;

/// <summary>The lock that protects the queue protects the mark, too (PEND-05).</summary>
sealed class MarkingQueuedIrps : Rule, IWatch<SpinLockReleased>, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(MarkingQueuedIrps), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(MarkingQueuedIrps)), null,
        "A dispatch routine queues an IRP under a spin lock, releases the lock, marks the IRP pending only then, and returns STATUS_PENDING.",
        static () => new MarkingQueuedIrps())
    {
        Instead = "Mark the IRP pending before it goes into the queue, or at least before the lock is released.",
        Wrong = """
            KeAcquireSpinLock(&extension->Lock, &irql);
            InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
            KeReleaseSpinLock(&extension->Lock, irql);
            IoMarkIrpPending(Irp);
            return STATUS_PENDING;
            """,
        Right = """
            KeAcquireSpinLock(&extension->Lock, &irql);
            IoMarkIrpPending(Irp);
            InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
            KeReleaseSpinLock(&extension->Lock, irql);
            return STATUS_PENDING;
            """,
    };

    // Tail.Overlay.DeviceQueueEntry of an IRP, and how long that is.
    const ulong DeviceQueueEntryOffset = 0x78;

    Situation IWatch<DispatchReturned>.When => Situation.Pending | Situation.Marked;

    // InsertTailList is inline: what is seen is the IRP's place in a list when the lock is released.
    public void On(in SpinLockReleased e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { Passed: false, QueuedUnmarked: false } visit }) return;
        if (Tracker.At(visit.Irp.Address)?.Owner != visit || !IsQueued(visit.Irp.Address) || Tracker.IsMarked(visit)) return;
        visit.QueuedUnmarked = true;
    }

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (!visit.QueuedUnmarked || visit.InterlockedUnmarked || !visit.Marked || e.Status != NTSTATUS.STATUS_PENDING) return;
        Report(visit.Place, visit.Irp,
            $"{visit} queued {visit.Irp} and released the spin lock before it marked the IRP pending: in between the IRP may be completed "
                + "and freed.");
    }

    static bool IsQueued(ulong irp)
    {
        ulong entry = irp + MarkingInterlockedQueuedIrps.ListEntryOffset;
        ulong next = GuestMemory.Ref<ulong>(entry);
        if (next != 0 && next != entry && GuestMemory.IsAccessible(next, 16, PageAccess.Read) && GuestMemory.Ref<ulong>(next + 8) == entry) return true;
        return new PKDEVICE_QUEUE_ENTRY(irp + DeviceQueueEntryOffset).Inserted;
    }
}
