using Irpwright.Guest;
using Irpwright.Guest.Images;

namespace Irpwright.Verification.Tests;

sealed class IrqlRules : IRuleCases
{
    const byte DeviceLevel = 5;

    public static IEnumerable<RuleCase> Cases =>
    [
        // Routines and where they may be called
        At("IrqlApcLte", DISPATCH_LEVEL, APC_LEVEL, probe => probe.ReleaseNoSecurity),
        At("IrqlDispatch", PASSIVE_LEVEL, DISPATCH_LEVEL, probe =>
        {
            PKSPIN_LOCK spinLock = probe.NewSpinLock();
            return () =>
            {
                probe.KeAcquireSpinLockAtDpcLevel(spinLock);
                probe.KeReleaseSpinLockFromDpcLevel(spinLock);
            };
        }),
        At("IrqlExAllocatePool", DISPATCH_LEVEL, APC_LEVEL, probe => () => probe.AllocatePaged(16)),
        At("IrqlExFree1", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PVOID block = probe.AllocatePaged(16);
            return () => probe.Free(block);
        }),
        At("IrqlExApcLte1", DISPATCH_LEVEL, PASSIVE_LEVEL, probe =>
        {
            PFAST_MUTEX mutex = probe.NewFastMutex();
            return () =>
            {
                probe.ExAcquireFastMutex(mutex);
                probe.ExReleaseFastMutex(mutex);
            };
        }),
        At("IrqlExApcLte2", DISPATCH_LEVEL, APC_LEVEL, probe => probe.ProbeNothing),
        At("IrqlExApcLte3", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PERESOURCE resource = probe.NewResource();
            return () => probe.ExDeleteResourceLite(resource);
        }),
        At("IrqlExPassive", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.MakeUuid),
        At("IrqlIoApcLte", DISPATCH_LEVEL, APC_LEVEL, probe => probe.AskForStack),
        At("IrqlIoDispatch", DeviceLevel, DISPATCH_LEVEL, probe => probe.SetNothingToVerify),
        At("IrqlIoPassive1", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.DisableNoInterface),
        At("IrqlIoPassive2", DISPATCH_LEVEL, PASSIVE_LEVEL, probe =>
        {
            PFILE_OBJECT file = probe.NewFileObject();
            return () => probe.CheckNoAccess(file);
        }),
        At("IrqlIoPassive3", DISPATCH_LEVEL, PASSIVE_LEVEL, probe =>
        {
            PDEVICE_OBJECT lower = probe.AttachAnother();
            return () => probe.IoDetachDevice(lower);
        }),
        At("IrqlIoPassive4", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.DeleteNoLink),
        At("IrqlIoPassive5", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.AskForConfiguration),
        At("IrqlIoRtlZwPassive", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.MakeKey),
        At("IrqlKeApcLte1", DISPATCH_LEVEL, APC_LEVEL, probe => probe.AskForProcessors),
        At("IrqlKeApcLte2", DISPATCH_LEVEL, APC_LEVEL, probe => () =>
        {
            probe.KeEnterCriticalRegion();
            probe.KeLeaveCriticalRegion();
        }),
        At("IrqlKeDispatchLte", DeviceLevel, DISPATCH_LEVEL, probe =>
        {
            PKEVENT target = probe.NewEvent();
            return () => probe.ReadState(target);
        }),
        At("IrqlMmApcLte", DISPATCH_LEVEL, APC_LEVEL, probe => probe.AllocateNonCached),
        At("IrqlMmDispatch", DeviceLevel, DISPATCH_LEVEL, probe =>
        {
            PVOID memory = probe.AllocateContiguous();
            return () => probe.FreeContiguous(memory);
        }),
        At("IrqlNtifsApcPassive", APC_LEVEL, PASSIVE_LEVEL, WithHandle((probe, handle) => probe.WriteTo(handle))),
        At("IrqlObPassive", APC_LEVEL, PASSIVE_LEVEL, WithHandle((probe, handle) => probe.Reference(handle))),
        At("IrqlPsPassive", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.AskForVersion),
        At("IrqlRtlPassive", DISPATCH_LEVEL, PASSIVE_LEVEL, probe => probe.DeleteNoValue),
        At("IrqlZwPassive", APC_LEVEL, PASSIVE_LEVEL, WithHandle((probe, handle) => probe.ZwClose(handle))),
        At("IwCalledAtBadIrql", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PKGUARDED_MUTEX mutex = new(probe.Allocate(KGUARDED_MUTEX.SizeOf).Address);
            return () => probe.KeInitializeGuardedMutex(mutex);
        }),
        At("IwCalledAtBadIrql", DeviceLevel, DISPATCH_LEVEL, probe =>
        {
            PMDL mdl = probe.IoAllocateMdl(probe.Allocate(64), 64);
            return () => probe.LockInProcess(mdl);
        }) with { Name = "MmProbeAndLockProcessPages, 0xC4/0x71" },
        At("IwCalledAtBadIrql", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PVOID pages = probe.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPoolNx, PAGE_SIZE, Probe.Tag), segment = probe.Allocate(FILE_SEGMENT_ELEMENT.SizeOf);
            GuestMemory.Ref<ulong>(segment.Address) = pages.Address;
            PMDL mdl = probe.IoAllocateMdl(pages, PAGE_SIZE);
            return () => probe.LockSelected(mdl, segment);
        }) with { Name = "MmProbeAndLockSelectedPages, 0xC4/0x72" },
        At("IrqlKeSetEvent", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PKEVENT target = probe.NewEvent();
            return () =>
            {
                probe.KeSetEvent(target, 0, true);
                probe.KeWaitForSingleObject(target, Executive, KernelMode, false, 0);
            };
        }),

        // Waits
        At("IwWaitAtDispatch", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PKEVENT target = probe.NewEvent();
            probe.KeSetEvent(target, 0, false);
            return () => probe.Wait(target);
        }),
        At("IwWaitAtDispatch", DeviceLevel, DISPATCH_LEVEL, probe =>
        {
            PKEVENT target = probe.NewEvent();
            return () => probe.KeWaitForSingleObject(target, Executive, KernelMode, false, 0);
        }) with { Name = "a look above DISPATCH_LEVEL" },
        At("IrqlKeWaitForMultipleObjects", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PKEVENT target = probe.NewEvent();
            probe.KeSetEvent(target, 0, false);
            return () => probe.WaitForMultiple(target, null);
        }),
        At("IrqlKeWaitForMutexObject", DISPATCH_LEVEL, APC_LEVEL, probe =>
        {
            PKMUTANT mutex = probe.NewMutex();
            return () =>
            {
                probe.KeWaitForMutexObject(mutex, Executive, KernelMode, false, null);
                probe.KeReleaseMutex(mutex, false);
            };
        }),

        // Raising and lowering
        new("IrqlKeRaiseLower",
            Wrong: bench => CallLowerAtDispatch(bench, () =>
            {
                bench.Lower.KeLowerIrql(PASSIVE_LEVEL);
                bench.Lower.KeRaiseIrqlToDpcLevel();
            }),
            Right: bench => CallLowerAtDispatch(bench, () => bench.Lower.KeLowerIrql(bench.Lower.KeRaiseIrqlToDpcLevel()))) { Driver = "lower" },
        new("IrqlKeRaiseLower",
            Wrong: bench => Before(bench, probe => probe.KeLowerIrql(APC_LEVEL)),
            Right: bench => Before(bench, probe => probe.KeLowerIrql(PASSIVE_LEVEL))) { Name = "lowering raises" },
        new("IrqlKeRaiseLower2",
            Wrong: bench => Before(bench, probe =>
            {
                probe.KeRaiseIrql(APC_LEVEL, out byte outer);
                probe.KeRaiseIrql(DISPATCH_LEVEL, out _);
                probe.KeLowerIrql(outer);
            }),
            Right: bench => Before(bench, probe =>
            {
                probe.KeRaiseIrql(APC_LEVEL, out byte outer);
                probe.KeRaiseIrql(DISPATCH_LEVEL, out byte inner);
                probe.KeLowerIrql(inner);
                probe.KeLowerIrql(outer);
            })),
        new("IrqlKeReleaseSpinLock",
            Wrong: bench => Before(bench, probe =>
            {
                PKSPIN_LOCK spinLock = probe.NewSpinLock();
                probe.KeRaiseIrql(APC_LEVEL, out byte before);
                probe.KeAcquireSpinLock(spinLock, out _);
                probe.KeReleaseSpinLock(spinLock, before);
            }),
            Right: bench => Before(bench, probe =>
            {
                PKSPIN_LOCK spinLock = probe.NewSpinLock();
                probe.KeRaiseIrql(APC_LEVEL, out byte before);
                probe.KeAcquireSpinLock(spinLock, out byte irql);
                probe.KeReleaseSpinLock(spinLock, irql);
                probe.KeLowerIrql(before);
            })),
        new("IrqlReturn",
            Wrong: bench =>
            {
                bench.Upper.Read = irp =>
                {
                    NTSTATUS status = bench.Upper.SkipDown(irp);
                    bench.Upper.KeLowerIrql(PASSIVE_LEVEL);
                    return status;
                };
                bench.Lower.Read = irp =>
                {
                    bench.Lower.KeRaiseIrqlToDpcLevel();
                    return bench.Lower.Complete(irp, STATUS_SUCCESS);
                };
            },
            Right: bench => bench.Lower.Read = irp =>
            {
                byte irql = bench.Lower.KeRaiseIrqlToDpcLevel();
                NTSTATUS status = bench.Lower.Complete(irp, STATUS_SUCCESS);
                bench.Lower.KeLowerIrql(irql);
                return status;
            }) { Driver = "lower" },

        // Sending and completing
        new("ForwardedAtBadIrql",
            Wrong: bench => bench.Upper.Other = irp => AtDispatch(bench.Upper, () => bench.Upper.SkipDown(irp)),
            Right: bench => bench.Upper.Read = irp => AtDispatch(bench.Upper, () => bench.Upper.SkipDown(irp))),
        new("ForwardedAtBadIrqlAllocate",
            Wrong: bench => SendOwn(bench, DISPATCH_LEVEL, probe => probe.Prepare(probe.IoAllocateIrp(1, false), IRP_MJ_FLUSH_BUFFERS)),
            Right: bench => SendOwn(bench, DISPATCH_LEVEL, probe => probe.Prepare(probe.IoAllocateIrp(1, false), IRP_MJ_DEVICE_CONTROL))),
        new("ForwardedAtBadIrqlFsdAsync",
            Wrong: bench => SendOwn(bench, DISPATCH_LEVEL, probe => probe.BuildAsynchronousFlush()),
            Right: bench => SendOwn(bench, APC_LEVEL, probe => probe.BuildAsynchronousFlush())),
        new("ForwardedAtBadIrqlFsdSync",
            Wrong: bench => SendThreaded(bench, DISPATCH_LEVEL),
            Right: bench => SendThreaded(bench, PASSIVE_LEVEL)),
        new("IwThreadedAtApcLevel",
            Wrong: bench => SendThreaded(bench, APC_LEVEL),
            Right: bench => SendThreaded(bench, PASSIVE_LEVEL)),
        new("IwForwardedAboveDispatch",
            Wrong: bench => ForwardAt(bench, DeviceLevel),
            Right: bench => ForwardAt(bench, DISPATCH_LEVEL)),
        new("IwCompletedAboveDispatch",
            Wrong: bench => CompleteAt(bench, DeviceLevel),
            Right: bench => CompleteAt(bench, DISPATCH_LEVEL)) { Driver = "lower" },

        // Interrupts, APCs, paging
        new("IwForwardedWithoutInterrupts",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                EnableInterrupts(bench, false);
                NTSTATUS status = bench.Upper.SkipDown(irp);
                EnableInterrupts(bench, true);
                return status;
            },
            Right: bench => Before(bench, _ =>
            {
                EnableInterrupts(bench, false);
                EnableInterrupts(bench, true);
            })),
        new("IwReturnedWithoutInterrupts",
            Wrong: bench => DisableIn(bench, enable: false),
            Right: bench => DisableIn(bench, enable: true)) { Driver = "lower" },
        new("IrqlReturn",
            Wrong: bench => ControlFast(bench, probe => probe.KfRaiseIrql(APC_LEVEL)),
            Right: bench => ControlFast(bench, probe => probe.KeLowerIrql(probe.KfRaiseIrql(APC_LEVEL)))) { Name = "fast I/O, 0xC9/0x11", MayAlso = true },
        new("IwForwardedWithoutInterrupts",
            Wrong: bench =>
            {
                ControlFast(bench, _ => { });
                ControlWithoutInterrupts(bench, disable: true);
            },
            Right: bench =>
            {
                ControlFast(bench, _ => { });
                ControlWithoutInterrupts(bench, disable: false);
            }) { Name = "fast I/O, 0xC4/0xC2", Driver = "lower", MayAlso = true },
        new("IwReturnedWithoutInterrupts",
            Wrong: bench => ControlFast(bench, _ => EnableInterrupts(bench, false)),
            Right: bench => ControlFast(bench, _ =>
            {
                EnableInterrupts(bench, false);
                EnableInterrupts(bench, true);
            })) { Name = "fast I/O, 0xC4/0xC3", MayAlso = true },
        new("IwZwWithoutApcs",
            Wrong: bench => Before(bench, probe =>
            {
                HANDLE handle = probe.NewEventHandle();
                probe.KeEnterGuardedRegion();
                probe.WriteTo(handle);
                probe.KeLeaveGuardedRegion();
            }),
            Right: bench => Before(bench, probe =>
            {
                HANDLE handle = probe.NewEventHandle();
                probe.KeEnterCriticalRegion();
                probe.WriteTo(handle);
                probe.KeLeaveCriticalRegion();
            })),
        new("PagedCode",
            Wrong: bench => LoadPassThrough(bench, pageable: true),
            Right: bench => LoadPassThrough(bench, pageable: false)) { Driver = "passthrough" },
    ];

    /// <summary>A program's control request reaches the fast I/O routine of the filter.</summary>
    internal static void ControlFast(Bench bench, Action<Probe> act)
    {
        bench.Upper.TakeControlFast(() => act(bench.Upper));
        bench.Act = () =>
        {
            using DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName);
            handle.Control(0x222000);
        };
    }

    /// <summary>The function driver sends a control request to the stack while it handles a read.</summary>
    static void ControlWithoutInterrupts(Bench bench, bool disable)
    {
        bench.Act = null;
        bench.Lower.Read = irp =>
        {
            HANDLE handle = bench.Lower.OpenDevice(Bench.DeviceName);
            if (disable) EnableInterrupts(bench, false);
            bench.Lower.Control(handle, 0x222000);
            EnableInterrupts(bench, true);
            bench.Lower.ZwClose(handle);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
    }

    /// <summary>A routine that is called at one IRQL, which is wrong, and at another.</summary>
    /// <param name="prepare">Done at PASSIVE_LEVEL; returns the call.</param>
    static RuleCase At(string rule, byte wrong, byte right, Func<Probe, Action> prepare)
    {
        return new RuleCase(rule, bench => CallAt(bench, wrong), bench => CallAt(bench, right));

        void CallAt(Bench bench, byte irql) => Before(bench, probe =>
        {
            Action call = prepare(probe);
            byte before = probe.KfRaiseIrql(irql);
            call();
            probe.KeLowerIrql(before);
        });
    }

    static Func<Probe, Action> WithHandle(Action<Probe, HANDLE> call) => probe =>
    {
        HANDLE handle = probe.NewEventHandle();
        return () => call(probe, handle);
    };

    /// <summary>Does something before it sends a read down.</summary>
    static void Before(Bench bench, Action<Probe> call) => bench.Upper.Read = irp =>
    {
        call(bench.Upper);
        return bench.Upper.SkipDown(irp);
    };

    static NTSTATUS AtDispatch(Probe probe, Func<NTSTATUS> call) => AtIrql(probe, DISPATCH_LEVEL, call);

    static NTSTATUS AtIrql(Probe probe, byte level, Func<NTSTATUS> call)
    {
        byte irql = probe.KfRaiseIrql(level);
        NTSTATUS status = call();
        probe.KeLowerIrql(irql);
        return status;
    }

    static void CallLowerAtDispatch(Bench bench, Action call)
    {
        bench.Upper.Read = irp => AtDispatch(bench.Upper, () => bench.Upper.SkipDown(irp));
        bench.Lower.Read = irp =>
        {
            call();
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
    }

    static void SendOwn(Bench bench, byte irql, Func<Probe, PIRP> make)
    {
        bench.Upper.Done = own =>
        {
            bench.Upper.IoFreeIrp(own);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        Before(bench, probe =>
        {
            PIRP own = make(probe);
            probe.SetCompletionRoutine(own, probe.CompletionRoutine);
            AtIrql(probe, irql, () => probe.IoCallDriver(probe.Lower, own));
        });
    }

    static void SendThreaded(Bench bench, byte irql) => Before(bench, probe =>
    {
        PKEVENT done = probe.NewEvent();
        PIRP own = probe.BuildSynchronousFlush(done, new PIO_STATUS_BLOCK(probe.Allocate(16).Address));
        AtIrql(probe, irql, () => probe.IoCallDriver(probe.Lower, own));
        probe.Wait(done);
    });

    static void ForwardAt(Bench bench, byte irql)
    {
        bench.Upper.Read = irp => AtIrql(bench.Upper, irql, () => bench.Upper.SkipDown(irp));
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
    }

    static void CompleteAt(Bench bench, byte irql) =>
        bench.Lower.Read = irp => AtIrql(bench.Lower, irql, () => bench.Lower.Complete(irp, STATUS_SUCCESS));

    static void EnableInterrupts(Bench bench, bool enable) => bench.Machine.Irqls.EnableInterrupts(KernelThread.Current!, enable);

    static void DisableIn(Bench bench, bool enable)
    {
        bench.Upper.Read = irp =>
        {
            NTSTATUS status = bench.Upper.SkipDown(irp);
            EnableInterrupts(bench, true);
            return status;
        };
        bench.Lower.Read = irp =>
        {
            NTSTATUS status = bench.Lower.Complete(irp, STATUS_SUCCESS);
            EnableInterrupts(bench, false);
            if (enable) EnableInterrupts(bench, true);
            return status;
        };
    }

    /// <summary>Puts a compiled filter on top whose completion routine is called at DISPATCH_LEVEL.</summary>
    internal static void LoadPassThrough(Bench bench, bool pageable)
    {
        var guest = new GuestDrivers(bench.Machine);
        Assert.True(guest.TryRead(Path.Combine(SamplesTests.Samples, "passthrough.sys"), out DriverImage? image, out _));
        Assert.Equal(STATUS_SUCCESS, guest.Start(image!, out Driver? driver));
        bench.Machine.Run(() => bench.Machine.Drivers.AddDevice(driver!, bench.Lower.Device));
        if (pageable) bench.Machine.Memory.SetPageable(driver!.Object.DriverStart.Address, driver.Object.DriverSize, true);
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
    }
}
