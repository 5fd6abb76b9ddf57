namespace Irpwright.Verification.Tests;

sealed class RemoveLockRules : IRuleCases
{
    public static IEnumerable<RuleCase> Cases =>
    [
        new("RemoveLockForward",
            Wrong: bench => Locked(bench).Upper.Read = bench.Upper.SkipDown,
            Right: bench => Locked(bench)),
        Pnp("RemoveLockMnRemove2", IRP_MN_REMOVE_DEVICE,
            (probe, irp) => Delete(probe, probe.SkipDown(irp)),
            (probe, irp) => Delete(probe, RemoveLocked(probe, irp))) with { Also = ["RemoveLockMnRemove"] },
        Pnp("RemoveLockMnSurpriseRemove", IRP_MN_SURPRISE_REMOVAL,
            (probe, irp) => probe.SkipDown(irp),
            (probe, irp) => probe.SkipDownLocked(irp)),
        Pnp("RemoveLockQueryMnRemove", IRP_MN_QUERY_REMOVE_DEVICE,
            (probe, irp) => probe.SkipDown(irp),
            (probe, irp) => probe.SkipDownLocked(irp)),
        Pnp("RemoveLockMnRemove", IRP_MN_REMOVE_DEVICE,
            (probe, irp) => Delete(probe, probe.SkipDownLocked(irp)),
            (probe, irp) => Delete(probe, RemoveLocked(probe, irp))),
        Pnp("RemoveLock", IRP_MN_QUERY_CAPABILITIES,
            (probe, irp) =>
            {
                probe.AcquireRemoveLock(irp);
                return probe.SkipDown(irp);
            },
            (probe, irp) => probe.SkipDownLocked(irp)),
        new("RemoveLockRelease2",
            Wrong: bench => Locked(bench).Upper.Read = irp =>
            {
                bench.Upper.AcquireRemoveLock(irp);
                return bench.Upper.SkipDown(irp);
            },
            Right: bench =>
            {
                // Pending: its completion routine releases the lock.
                Locked(bench).Upper.Read = irp =>
                {
                    bench.Upper.AcquireRemoveLock(irp);
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.CopyDown(irp);
                    return STATUS_PENDING;
                };
                bench.Upper.Done = irp =>
                {
                    bench.Upper.ReleaseRemoveLock(irp);
                    return STATUS_CONTINUE_COMPLETION;
                };
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
            }),
        new("IoReleaseRemoveLockAndWaitOutsideRemoveDevice",
            Wrong: bench => Locked(bench).Upper.Read = irp => RemoveLocked(bench.Upper, irp),
            Right: bench => Locked(bench)),
        new("IwRemoveLockTag",
            Wrong: bench => Locked(bench).Upper.Read = irp =>
            {
                PVOID tag = irp;
                NTSTATUS status = bench.Upper.SkipDownLocked(irp);
                bench.Upper.ReleaseRemoveLock(tag);
                return status;
            },
            Right: bench => Locked(bench).Upper.Read = irp =>
            {
                // Two at a time, with the same tag.
                PVOID tag = irp;
                bench.Upper.AcquireRemoveLock(tag);
                NTSTATUS status = bench.Upper.SkipDownLocked(irp);
                bench.Upper.ReleaseRemoveLock(tag);
                return status;
            }),
        new("IwRemoveLockReinitialized",
            Wrong: bench => Locked(bench).Upper.Read = irp =>
            {
                bench.Upper.InitializeRemoveLock();
                return bench.Upper.SkipDownLocked(irp);
            },
            Right: bench => Locked(bench).Upper.Read = irp =>
            {
                bench.Upper.InitializeRemoveLock(1);
                return bench.Upper.SkipDownLocked(irp);
            }),
        new("MultRemoveLock",
            Wrong: bench => UseSecond(bench, 1),
            Right: bench => UseSecond(bench, 0)),
    ];

    /// <summary>Has the filter use its remove lock for every request.</summary>
    static Bench Locked(Bench bench)
    {
        bench.Machine.Run(() => bench.Upper.InitializeRemoveLock());
        bench.Upper.Read = bench.Upper.Other = bench.Upper.SkipDownLocked;
        return bench;
    }

    /// <summary>The filter gets a PnP IRP.</summary>
    static RuleCase Pnp(string rule, byte minor, Func<Probe, PIRP, NTSTATUS> wrong, Func<Probe, PIRP, NTSTATUS> right)
    {
        return new RuleCase(rule, bench => Write(bench, wrong), bench => Write(bench, right));

        void Write(Bench bench, Func<Probe, PIRP, NTSTATUS> handle)
        {
            Locked(bench).Upper.Other = irp => bench.Upper.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_PNP
                ? handle(bench.Upper, irp)
                : bench.Upper.SkipDownLocked(irp);
            bench.Send(IRP_MJ_PNP, minor);
        }
    }

    static NTSTATUS RemoveLocked(Probe probe, PIRP irp)
    {
        PVOID tag = irp;
        probe.AcquireRemoveLock(tag);
        NTSTATUS status = probe.SkipDown(irp);
        probe.ReleaseRemoveLockAndWait(tag);
        return status;
    }

    static NTSTATUS Delete(Probe probe, NTSTATUS status)
    {
        probe.IoDetachDevice(probe.Lower);
        probe.IoDeleteDevice(probe.Device);
        return status;
    }

    static void UseSecond(Bench bench, int index)
    {
        Locked(bench);
        bench.Machine.Run(() => bench.Upper.InitializeRemoveLock(1));
        bench.Upper.Read = irp =>
        {
            PVOID tag = irp;
            bench.Upper.AcquireRemoveLock(tag, index);
            NTSTATUS status = bench.Upper.SkipDownLocked(irp);
            bench.Upper.ReleaseRemoveLock(tag, index);
            return status;
        };
    }
}
