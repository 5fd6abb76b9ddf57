namespace Irpwright.Verification.Tests;

sealed class PendingRules : IRuleCases
{
    const uint Code = 0x00222000;

    static readonly IO_STACK_LOCATION.ParametersUnion WakeUp = new()
    {
        Power = new() { Type = POWER_STATE_TYPE.SystemPowerState, State = new() { SystemState = SYSTEM_POWER_STATE.PowerSystemWorking } },
    };

    static readonly IO_STACK_LOCATION.ParametersUnion Sleep = new()
    {
        Power = new() { Type = POWER_STATE_TYPE.SystemPowerState, State = new() { SystemState = SYSTEM_POWER_STATE.PowerSystemSleeping3 } },
    };

    static readonly IO_STACK_LOCATION.ParametersUnion RemovalRelations = new()
    {
        QueryDeviceRelations = new() { Type = DEVICE_RELATION_TYPE.RemovalRelations },
    };

    public static IEnumerable<RuleCase> Cases =>
    [
        new("MarkIrpPending",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoMarkIrpPending(irp);
                return bench.Lower.Complete(irp, STATUS_SUCCESS);
            },
            Right: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoMarkIrpPending(irp);
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                return STATUS_PENDING;
            }) { Driver = "lower" },
        new("MarkIrpPending2",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.Later(() => bench.Lower.Complete(irp, STATUS_SUCCESS));
                return STATUS_PENDING;
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.CompleteLater(irp)) { Driver = "lower" },
        new("PendedCompletedRequest",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                return STATUS_PENDING;
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_SUCCESS)) { Driver = "lower" },
        new("PendedCompletedRequest2",
            Wrong: bench =>
            {
                bench.KeepReads();
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                    bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                    bench.Upper.Complete(irp, STATUS_SUCCESS);
                    return STATUS_PENDING;
                };
            },
            Right: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                ForwardAndWait(bench, set: true);
            }),
        new("PendedCompletedRequest3",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoMarkIrpPending(irp);
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                return STATUS_PENDING;
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.CompleteLater(irp)) { Driver = "lower" },
        new("IwForwardedWhileBelow",
            Wrong: bench =>
            {
                bench.KeepReads();
                bench.Top.Read = irp =>
                {
                    bench.Top.IoMarkIrpPending(irp);
                    bench.Top.IoCopyCurrentIrpStackLocationToNext(irp);
                    bench.Top.IoCallDriver(bench.Top.Lower, irp);
                    bench.Top.IoCallDriver(bench.Top.Lower, irp);
                    return STATUS_PENDING;
                };
            },
            Right: bench =>
            {
                int sent = 0;
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                bench.Top.Read = irp =>
                {
                    bench.Top.IoMarkIrpPending(irp);
                    bench.Top.CopyDown(irp);
                    return STATUS_PENDING;
                };
                bench.Top.Done = irp =>
                {
                    if (++sent == 2) return STATUS_CONTINUE_COMPLETION;
                    bench.Top.CopyDown(irp);
                    return STATUS_MORE_PROCESSING_REQUIRED;
                };
            }) { Driver = "upper2", FilterCount = 2, MayAlso = true },
        new("IwSkippedAfterMarking",
            Wrong: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.SkipDown(irp);
                    return STATUS_PENDING;
                };
            },
            Right: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                    bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                    return STATUS_PENDING;
                };
            }),
        new("IwMarkedWithoutLocation",
            Wrong: bench => OwnFlush(bench, irp =>
            {
                if (irp.PendingReturned) bench.Upper.IoMarkIrpPending(irp);
                return bench.Upper.Free(irp);
            }),
            Right: bench => OwnFlush(bench, bench.Upper.Free)),
        new("IwPendingNotPropagated",
            Wrong: bench => Propagate(bench, marks: false),
            Right: bench => Propagate(bench, marks: true)),
        new("MarkingInterlockedQueuedIrps",
            Wrong: bench => Interlocked(bench, irp => { }, bench.Lower.IoMarkIrpPending),
            Right: bench => Interlocked(bench, bench.Lower.IoMarkIrpPending, irp => { })) { Driver = "lower" },
        new("MarkingQueuedIrps",
            Wrong: bench => Locked(bench, irp => { }, bench.Lower.IoMarkIrpPending),
            Right: bench => Locked(bench, bench.Lower.IoMarkIrpPending, irp => { })) { Driver = "lower" },
        new("MarkPower",
            Wrong: bench => bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, WakeUp),
            Right: bench => Pend(bench, IRP_MJ_POWER, IRP_MN_SET_POWER, WakeUp)),
        new("MarkPowerDown",
            Wrong: bench => bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, Sleep),
            Right: bench => Pend(bench, IRP_MJ_POWER, IRP_MN_SET_POWER, Sleep)),
        new("MarkDevicePower",
            Wrong: bench =>
            {
                bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, WakeUp);
                bench.Upper.Other = irp =>
                {
                    if (IsSystemPower(irp)) bench.Upper.RequestPower(default);
                    return bench.Upper.SkipDown(irp);
                };
            },
            Right: bench =>
            {
                bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, WakeUp);
                bench.Upper.Other = irp =>
                {
                    if (!IsSystemPower(irp)) return bench.Upper.SkipDown(irp);
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.RequestPower(default);
                    bench.Upper.CopyDown(irp);
                    return STATUS_PENDING;
                };
            }),
        new("MarkQueryRelations",
            Wrong: bench => bench.Send(IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS, RemovalRelations),
            Right: bench => Pend(bench, IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS, RemovalRelations)),
        new("MarkStartDevice",
            Wrong: bench => bench.Send(IRP_MJ_PNP, IRP_MN_START_DEVICE),
            Right: bench => Pend(bench, IRP_MJ_PNP, IRP_MN_START_DEVICE, default)),
        new("IoBuildDeviceControlWait",
            Wrong: bench => Threaded(bench, control: true, wait: static (_, _) => { }),
            Right: bench => Threaded(bench, control: true, wait: static (probe, done) => probe.Wait(done))),
        new("IoBuildDeviceControlWait",
            Wrong: bench => Alerted(bench, waitsAgain: false),
            Right: bench => Alerted(bench, waitsAgain: true)) { Name = "an alert ends the wait" },
        new("IoBuildSynchronousFsdRequestWait",
            Wrong: bench => Threaded(bench, control: false, wait: static (_, _) => { }),
            Right: bench => Threaded(bench, control: false, wait: static (probe, done) => probe.Wait(done))),
        new("IoBuildDeviceControlWaitTimeout",
            Wrong: bench => Threaded(bench, control: true, wait: static (probe, done) => probe.Wait(done), keep: true),
            Right: bench => Threaded(bench, control: true, wait: (probe, done) => WaitWithLimit(bench, done), keep: true)),
        new("IoBuildSynchronousFsdRequestWaitTimeout",
            Wrong: bench => Threaded(bench, control: false, wait: static (probe, done) => probe.Wait(done), keep: true),
            Right: bench => Threaded(bench, control: false, wait: (probe, done) => WaitWithLimit(bench, done), keep: true)),
        new("IwWaitForNoObject",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.Wait(new PKEVENT(0x4C));
                return bench.Upper.SkipDown(irp);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                PKEVENT set = bench.Upper.NewEvent();
                bench.Upper.KeSetEvent(set, 0, false);
                bench.Upper.Wait(set);
                return bench.Upper.SkipDown(irp);
            }),
    ];

    static bool IsSystemPower(PIRP irp) =>
        Probe.Major(irp) == IRP_MJ_POWER && irp.Tail.Overlay.CurrentStackLocation.Parameters.Power.Type == POWER_STATE_TYPE.SystemPowerState;

    /// <summary>The upper driver forwards, waits for its routine if it has to, and completes.</summary>
    internal static void ForwardAndWait(Bench bench, bool set) => bench.Upper.Read = irp =>
    {
        PKEVENT done = bench.Upper.NewEvent();
        bench.Upper.Done = forwarded =>
        {
            if (set && forwarded.PendingReturned) bench.Upper.KeSetEvent(done, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        if (bench.Upper.CopyDown(irp, done) == STATUS_PENDING) bench.Upper.Wait(done);
        return bench.Upper.Complete(irp, irp.IoStatus.Status);
    };

    static void OwnFlush(Bench bench, Func<PIRP, NTSTATUS> done)
    {
        bench.CompleteLater(IRP_MJ_FLUSH_BUFFERS);
        bench.Upper.Done = done;
        bench.Upper.Read = irp =>
        {
            bench.Upper.SendOwn(bench.Upper.NewFlush());
            return bench.Upper.SkipDown(irp);
        };
    }

    static void Propagate(Bench bench, bool marks)
    {
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.Upper.Done = irp =>
        {
            if (marks && irp.PendingReturned) bench.Upper.IoMarkIrpPending(irp);
            return STATUS_CONTINUE_COMPLETION;
        };
    }

    static void Interlocked(Bench bench, Action<PIRP> before, Action<PIRP> after)
    {
        PIRP queued = default;
        bench.Lower.Read = irp =>
        {
            queued = irp;
            before(irp);
            bench.Lower.InsertInterlocked(irp, bench.Lower.NewList(), bench.Lower.NewSpinLock());
            after(irp);
            return STATUS_PENDING;
        };
        bench.ActDuringRead(_ => bench.Lower.Complete(queued, STATUS_SUCCESS));
    }

    static void Locked(Bench bench, Action<PIRP> before, Action<PIRP> after)
    {
        PIRP queued = default;
        bench.Lower.Read = irp =>
        {
            queued = irp;
            PKSPIN_LOCK spinLock = bench.Lower.NewSpinLock();
            PLIST_ENTRY list = bench.Lower.NewList();
            bench.Lower.KeAcquireSpinLock(spinLock, out byte irql);
            before(irp);
            Probe.Insert(irp, list);
            bench.Lower.KeReleaseSpinLock(spinLock, irql);
            after(irp);
            return STATUS_PENDING;
        };
        bench.ActDuringRead(_ => bench.Lower.Complete(queued, STATUS_SUCCESS));
    }

    static void Pend(Bench bench, byte major, byte minor, IO_STACK_LOCATION.ParametersUnion parameters)
    {
        bench.Send(major, minor, parameters);
        bench.Upper.Other = irp =>
        {
            if (Probe.Major(irp) != major) return bench.Upper.SkipDown(irp);
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.CopyDown(irp);
            return STATUS_PENDING;
        };
    }

    /// <summary>The upper driver sends a threaded IRP, which pends below.</summary>
    internal static void Threaded(Bench bench, bool control, Action<Probe, PKEVENT> wait, bool keep = false)
    {
        byte major = control ? IRP_MJ_DEVICE_CONTROL : IRP_MJ_FLUSH_BUFFERS;
        if (keep) bench.Keep(major);
        else bench.CompleteLater(major);
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            PIO_STATUS_BLOCK block = bench.Upper.NewStatusBlock();
            PIRP own = control ? bench.Upper.BuildControl(Code, done, block) : bench.Upper.BuildSynchronousFlush(done, block);
            if (bench.Upper.IoCallDriver(bench.Upper.Lower, own) == STATUS_PENDING) wait(bench.Upper, done);
            return bench.Upper.SkipDown(irp);
        };
    }

    /// <summary>The wait for a threaded IRP is ended by an alert.</summary>
    static void Alerted(Bench bench, bool waitsAgain)
    {
        Threaded(bench, control: true, keep: true, wait: (probe, done) =>
        {
            bench.Machine.Apcs.KeAlertThread(bench.Machine.CurrentThread.Object, KernelMode);
            Assert.Equal(STATUS_ALERTED, probe.KeWaitForSingleObject(done, Executive, KernelMode, true, null));
            if (!waitsAgain) return;
            bench.Lower.Complete(bench.Kept, STATUS_SUCCESS);
            probe.Wait(done);
        });
        bench.ActDuringRead(_ =>
        {
            if (!waitsAgain) bench.Lower.Complete(bench.Kept, STATUS_SUCCESS);
        });
    }

    /// <summary>In vain at first.</summary>
    internal static void WaitWithLimit(Bench bench, PKEVENT done)
    {
        bench.Upper.KeWaitForSingleObject(done, Executive, KernelMode, false, -1);
        bench.Lower.Complete(bench.Kept, STATUS_CANCELLED);
        bench.Upper.KeWaitForSingleObject(done, Executive, KernelMode, false, -10_000_000);
    }
}
