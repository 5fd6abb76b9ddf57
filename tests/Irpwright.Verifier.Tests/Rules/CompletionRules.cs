namespace Irpwright.Verification.Tests;

sealed class CompletionRules : IRuleCases
{
    const uint Code = 0x00222000;
    const uint RegistrationTag = 0x736E5355;
    const ulong Unused = 0x800;

    public static IEnumerable<RuleCase> Cases =>
    [
        new("CompleteRequestStatusCheck",
            Wrong: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, (NTSTATUS)(-1)),
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_BUFFER_OVERFLOW)) { Driver = "lower", Also = ["IwUninitializedStatus"] },
        new("DoubleCompletion",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                return bench.Lower.Complete(irp, STATUS_SUCCESS);
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_SUCCESS)) { Driver = "lower" },
        new("IrpProcessingComplete",
            Wrong: bench => bench.Lower.Read = _ => STATUS_INVALID_PARAMETER,
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_INVALID_PARAMETER)) { Driver = "lower" },
        new("LowerDriverReturn",
            Wrong: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_DEVICE_NOT_READY);
                bench.Upper.Read = irp =>
                {
                    bench.Upper.SkipDown(irp);
                    return STATUS_SUCCESS;
                };
            },
            Right: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_DEVICE_NOT_READY);
                bench.Upper.Read = bench.Upper.SkipDown;
            }),
        new("IwOtherStatusReturned",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.Complete(irp, STATUS_DEVICE_NOT_READY);
                return STATUS_SUCCESS;
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_DEVICE_NOT_READY)) { Driver = "lower" },
        new("IwUninitializedStatus",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoMarkIrpPending(irp);
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                return unchecked((NTSTATUS)0xFFFF8A3C);
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.CompleteLater(irp)) { Driver = "lower", Also = ["MarkIrpPending"] },
        new("IwInformationTooLarge",
            Wrong: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_SUCCESS, 17),
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_SUCCESS, 16)) { Driver = "lower" },
        new("IwEventSetBeforeSending",
            Wrong: bench => SendControl(bench, done => bench.Upper.KeSetEvent(done, 0, false), static _ => { }),
            Right: bench => SendControl(bench, static _ => { }, static _ => { })),
        new("IoBuildDeviceIoControlSetEvent",
            Wrong: bench => SendControl(bench, static _ => { }, done => bench.Upper.KeSetEvent(done, 0, false)),
            Right: bench => SendControl(bench, static _ => { }, _ => bench.Upper.KeSetEvent(bench.Upper.NewEvent(), 0, false))),
        new("CompletionEventChecking",
            Wrong: bench => MarkAndWake(bench, marks: true),
            Right: bench => MarkAndWake(bench, marks: false)),
        new("CompleteRequest",
            Wrong: bench =>
            {
                bench.KeepReads();
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.LaterButNotYet(() => bench.Upper.Complete(irp, STATUS_SUCCESS));
                    bench.Upper.CopyDown(irp);
                    bench.Upper.Now();
                    return STATUS_PENDING;
                };
            },
            Right: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                bench.Upper.Done = irp =>
                {
                    bench.Upper.Later(() => bench.Upper.Complete(irp, STATUS_SUCCESS));
                    return STATUS_MORE_PROCESSING_REQUIRED;
                };
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoMarkIrpPending(irp);
                    bench.Upper.CopyDown(irp);
                    return STATUS_PENDING;
                };
            }) { MayAlso = true },
        new("CompleteRequest",
            Wrong: bench => bench.KeepReads(),
            Right: bench =>
            {
                bench.KeepReads();
                bench.ActDuringRead(_ => bench.Lower.Complete(bench.Kept, STATUS_SUCCESS));
            }) { Name = "never", Driver = "lower" },
        new("CompletionRoutineRegistered",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                bench.Upper.SetCompletionRoutineEx(bench.Upper.Device, irp);
                return bench.Upper.Complete(irp, STATUS_DELETE_PENDING);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                bench.Upper.SetCompletionRoutineEx(bench.Upper.Device, irp);
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            }),
        new("IoSetCompletionExCompleteIrp",
            Wrong: bench =>
            {
                bench.Machine.Pool.FailAllocation = static (_, tag) => tag == RegistrationTag;
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                    bench.Upper.SetCompletionRoutineEx(bench.Upper.Device, irp);
                    return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                };
            },
            Right: bench =>
            {
                bench.Machine.Pool.FailAllocation = static (_, tag) => tag == RegistrationTag;
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                    NTSTATUS status = bench.Upper.SetCompletionRoutineEx(bench.Upper.Device, irp);
                    return status < 0 ? bench.Upper.Complete(irp, status) : bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                };
            }),
        new("IoSetCompletionRoutineExCheckDeviceObject",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                bench.Upper.SetCompletionRoutineEx(bench.Upper.Lower, irp);
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                bench.Upper.SetCompletionRoutineEx(bench.Upper.Device, irp);
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            }),
        new("IoSetCompletionRoutineNonPnpDriver",
            Wrong: bench =>
            {
                bench.Upper.Device.DriverObject.DriverExtension.AddDevice = default;
                bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
            },
            Right: bench =>
            {
                bench.Upper.Device.DriverObject.DriverExtension.AddDevice = default;
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                    bench.Upper.SetCompletionRoutineEx(bench.Upper.Device, irp);
                    return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                };
            }),
        new("WmiComplete",
            Wrong: bench =>
            {
                SendWmi(bench, bench.Lower.Device);
                bench.Lower.Other = irp => Probe.Major(irp) == IRP_MJ_SYSTEM_CONTROL ? STATUS_SUCCESS : bench.Lower.Complete(irp, STATUS_SUCCESS);
            },
            Right: bench => SendWmi(bench, bench.Lower.Device)) { Driver = "lower" },
        new("WmiForward",
            Wrong: bench =>
            {
                SendWmi(bench, bench.Lower.Device);
                bench.Upper.Other = irp => Probe.Major(irp) == IRP_MJ_SYSTEM_CONTROL ? STATUS_SUCCESS : bench.Upper.SkipDown(irp);
            },
            Right: bench => SendWmi(bench, bench.Lower.Device)),
        new("IwWmiCompletedForOther",
            Wrong: bench =>
            {
                SendWmi(bench, bench.Lower.Device);
                bench.Upper.Other = CompleteWmi(bench);
            },
            Right: bench =>
            {
                SendWmi(bench, bench.Upper.Device);
                bench.Upper.Other = CompleteWmi(bench);
            }),
        new("SignalEventInCompletion",
            Wrong: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                PendingRules.ForwardAndWait(bench, set: false);
            },
            Right: bench =>
            {
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                PendingRules.ForwardAndWait(bench, set: true);
            }),
        new("SignalEventInCompletion2",
            Wrong: bench => ForwardAndWait(bench, registers: true, onError: false),
            Right: bench => ForwardAndWait(bench, registers: true, onError: true)),
        new("SignalEventInCompletion3",
            Wrong: bench => ForwardAndWait(bench, registers: false, onError: false),
            Right: bench => ForwardAndWait(bench, registers: true, onError: true)),
        new("IoAllocateIrpSignalEventInCompletion",
            Wrong: bench => OwnAndWait(bench, built: false, sets: false, registers: true, onError: true),
            Right: bench => OwnAndWait(bench, built: false, sets: true, registers: true, onError: true)),
        new("IoAllocateIrpSignalEventInCompletion2",
            Wrong: bench => OwnAndWait(bench, built: false, sets: true, registers: true, onError: false, whenAwaited: true),
            Right: bench => OwnAndWait(bench, built: false, sets: true, registers: true, onError: true, whenAwaited: true)),
        new("IoAllocateIrpSignalEventInCompletion3",
            Wrong: bench => OwnAndWait(bench, built: false, sets: true, registers: false, onError: false, whenAwaited: true),
            Right: bench => OwnAndWait(bench, built: false, sets: true, registers: true, onError: true)) { Also = ["IoAllocateForward"] },
        new("IoBuildFsdIrpSignalEventInCompletion",
            Wrong: bench => OwnAndWait(bench, built: true, sets: false, registers: true, onError: true),
            Right: bench => OwnAndWait(bench, built: true, sets: true, registers: true, onError: true)),
        new("IoBuildFsdIrpSignalEventInCompletion2",
            Wrong: bench => OwnAndWait(bench, built: true, sets: true, registers: true, onError: false),
            Right: bench => OwnAndWait(bench, built: true, sets: true, registers: true, onError: true)),
        new("IoBuildFsdIrpSignalEventInCompletion3",
            Wrong: bench => OwnAndWait(bench, built: true, sets: true, registers: false, onError: false),
            Right: bench => OwnAndWait(bench, built: true, sets: true, registers: true, onError: true)) { Also = ["IoBuildFsdForward"] },
        new("IoAllocateIrpSignalEventInCompletionTimeout",
            Wrong: bench => OwnWithLimit(bench, built: false, limited: false),
            Right: bench => OwnWithLimit(bench, built: false, limited: true)),
        new("IoBuildFsdIrpSignalEventInCompletionTimeout",
            Wrong: bench => OwnWithLimit(bench, built: true, limited: false),
            Right: bench => OwnWithLimit(bench, built: true, limited: true)),
        new("IwWaitedForOtherEvent",
            Wrong: bench => PendingRules.Threaded(bench, control: true, static (probe, _) => probe.Wait(probe.NewEvent())),
            Right: bench => PendingRules.Threaded(bench, control: true, static (probe, done) => probe.Wait(done))),
        new("IwMustNotFail",
            Wrong: bench =>
            {
                bench.Send(IRP_MJ_PNP, IRP_MN_STOP_DEVICE);
                bench.Upper.Other = irp => Probe.Major(irp) == IRP_MJ_PNP ? bench.Upper.Complete(irp, STATUS_UNSUCCESSFUL) : bench.Upper.SkipDown(irp);
            },
            Right: bench =>
            {
                bench.Send(IRP_MJ_PNP, IRP_MN_STOP_DEVICE);
                bench.Upper.Other = irp =>
                {
                    if (Probe.Major(irp) == IRP_MJ_PNP) irp.IoStatus.Status = STATUS_SUCCESS;
                    return bench.Upper.SkipDown(irp);
                };
            }),
        new("IwSystemIrpSent",
            Wrong: bench => SendPnp(bench, IRP_MN_QUERY_RESOURCES),
            Right: bench => SendPnp(bench, IRP_MN_QUERY_CAPABILITIES)),
        new("IwApcStateChanged",
            Wrong: bench =>
            {
                bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
                bench.Upper.Done = _ =>
                {
                    bench.Upper.KeEnterCriticalRegion();
                    return STATUS_CONTINUE_COMPLETION;
                };
            },
            Right: bench =>
            {
                bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
                bench.Upper.Done = _ =>
                {
                    bench.Upper.KeEnterCriticalRegion();
                    bench.Upper.KeLeaveCriticalRegion();
                    return STATUS_CONTINUE_COMPLETION;
                };
            }),
        new("IwCompletedUnsent",
            Wrong: bench => AllocationRules.Own(bench, () =>
                bench.Upper.Complete(bench.Upper.BuildControl(Code, bench.Upper.NewEvent(), bench.Upper.NewStatusBlock()), STATUS_CANCELLED)),
            Right: bench => PendingRules.Threaded(bench, control: true, static (probe, done) => probe.Wait(done))),
        new("IwStackLeftInFlight",
            Wrong: bench => SendControl(bench, block: OnStack(bench)),
            Right: bench => SendControl(bench, block: bench.Upper.NewStatusBlock)) { Name = "a status block" },
        new("IwStackLeftInFlight",
            Wrong: bench => SendControl(bench, done: () => new PKEVENT(OnStack(bench)().Address)),
            Right: bench => SendControl(bench, done: bench.Upper.NewEvent)) { Name = "an event" },
    ];

    static Func<PIRP, NTSTATUS> CompleteWmi(Bench bench) => irp =>
        Probe.Major(irp) == IRP_MJ_SYSTEM_CONTROL ? bench.Upper.Complete(irp, STATUS_SUCCESS) : bench.Upper.SkipDown(irp);

    static void SendWmi(Bench bench, PDEVICE_OBJECT provider) =>
        bench.Send(IRP_MJ_SYSTEM_CONTROL, IRP_MN_QUERY_ALL_DATA, new() { WMI = new() { ProviderId = provider.Address } });

    static Func<PIO_STATUS_BLOCK> OnStack(Bench bench) => () => new PIO_STATUS_BLOCK(bench.Machine.TryGetCurrentThread()!.StackLimit + Unused);

    static void SendControl(Bench bench, Func<PIO_STATUS_BLOCK>? block = null, Func<PKEVENT>? done = null)
    {
        bench.CompleteLater(IRP_MJ_DEVICE_CONTROL);
        bench.Upper.Read = irp =>
        {
            PKEVENT signal = done?.Invoke() ?? bench.Upper.NewEvent();
            bench.Upper.Initialize(signal);
            bench.Upper.SendAndWait(bench.Upper.BuildControl(Code, signal, block?.Invoke() ?? bench.Upper.NewStatusBlock()), signal);
            return bench.Upper.SkipDown(irp);
        };
    }

    static void SendControl(Bench bench, Action<PKEVENT> before, Action<PKEVENT> inRoutine)
    {
        bench.CompleteLater(IRP_MJ_DEVICE_CONTROL);
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            before(done);
            bench.Upper.Done = _ =>
            {
                inRoutine(done);
                return STATUS_CONTINUE_COMPLETION;
            };
            PIRP own = bench.Upper.BuildControl(Code, done, bench.Upper.NewStatusBlock());
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.SendAndWait(own, done);
            return bench.Upper.SkipDown(irp);
        };
    }

    static void SendPnp(Bench bench, byte minor) => bench.Upper.Read = irp =>
    {
        PKEVENT done = bench.Upper.NewEvent();
        PIRP own = bench.Upper.BuildPnp(done, bench.Upper.NewStatusBlock());
        bench.Upper.IoGetNextIrpStackLocation(own).MinorFunction = minor;
        bench.Upper.SendAndWait(own, done);
        return bench.Upper.SkipDown(irp);
    };

    static void MarkAndWake(Bench bench, bool marks)
    {
        bench.Lower.Read = irp =>
        {
            bench.Lower.LaterButNotYet(() => bench.Lower.Complete(irp, STATUS_SUCCESS));
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.Now();
            return STATUS_PENDING;
        };
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            bench.Upper.Done = forwarded =>
            {
                if (marks) bench.Upper.IoMarkIrpPending(forwarded);
                bench.Upper.KeSetEvent(done, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            };
            if (bench.Upper.CopyDown(irp, done) == STATUS_PENDING) bench.Upper.Wait(done);
            if (!marks) return bench.Upper.Complete(irp, irp.IoStatus.Status);
            bench.Upper.Complete(irp, irp.IoStatus.Status);
            return STATUS_PENDING; // so that only the routine is wrong
        };
    }

    /// <summary>The upper driver forwards to one that fails later, and waits.</summary>
    static void ForwardAndWait(Bench bench, bool registers, bool onError)
    {
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp, STATUS_DEVICE_NOT_READY);
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            bench.Upper.Done = _ =>
            {
                bench.Upper.KeSetEvent(done, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            };
            bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
            NTSTATUS status = registers ? bench.Upper.SendOwn(irp, onError) : bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            if (status == STATUS_PENDING) bench.Upper.Wait(done);
            return bench.Upper.Complete(irp, irp.IoStatus.Status);
        };
    }

    /// <summary>The upper driver sends an IRP of its own, which fails later, and waits.</summary>
    /// <param name="whenAwaited">The machine stops when the IRP comes back: not before the driver waits.</param>
    static void OwnAndWait(Bench bench, bool built, bool sets, bool registers, bool onError, bool whenAwaited = false)
    {
        PKEVENT done = default;
        if (whenAwaited) CompleteWhenAwaited(bench, () => done, IRP_MJ_FLUSH_BUFFERS, STATUS_DEVICE_NOT_READY);
        else bench.CompleteLater(IRP_MJ_FLUSH_BUFFERS, STATUS_DEVICE_NOT_READY);
        bench.Upper.Read = irp =>
        {
            done = bench.Upper.NewEvent();
            bench.Upper.Done = own =>
            {
                if (sets) bench.Upper.KeSetEvent(done, 0, false);
                return bench.Upper.Free(own);
            };
            PIRP own = built ? bench.Upper.BuildAsynchronousFlush() : bench.Upper.NewFlush();
            NTSTATUS status = registers ? bench.Upper.SendOwn(own, onError) : bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            if (status == STATUS_PENDING) bench.Upper.Wait(done);
            return bench.Upper.SkipDown(irp);
        };
    }

    /// <summary>The function driver completes requests of a kind when a thread waits for an event.</summary>
    internal static void CompleteWhenAwaited(Bench bench, Func<PKEVENT> awaited, byte major, NTSTATUS status)
    {
        bench.Keep(major);
        bench.Act = () =>
        {
            using DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName);
            bench.Machine.Scheduler.Start("completer", ThreadKind.User, () =>
            {
                while (!Probe.IsAwaited(awaited())) bench.Lower.Delay();
                bench.Lower.Complete(bench.Kept, status);
            });
            handle.Read(new byte[16]);
        };
    }

    static void OwnWithLimit(Bench bench, bool built, bool limited)
    {
        bench.Keep(IRP_MJ_FLUSH_BUFFERS);
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            bench.Upper.Done = own =>
            {
                bench.Upper.KeSetEvent(done, 0, false);
                return bench.Upper.Free(own);
            };
            bench.Upper.SendOwn(built ? bench.Upper.BuildAsynchronousFlush() : bench.Upper.NewFlush());
            if (limited) PendingRules.WaitWithLimit(bench, done);
            else bench.Upper.Wait(done);
            return bench.Upper.SkipDown(irp);
        };
    }
}
