namespace Irpwright.Verification.Tests;

sealed class LockRules : IRuleCases
{
    public static IEnumerable<RuleCase> Cases =>
    [
        // Held at the end
        new("SpinLock",
            Wrong: bench => SpinAtDispatch(bench, release: false),
            Right: bench => SpinAtDispatch(bench, release: true)),
        new("QueuedSpinLock",
            Wrong: bench => QueuedAtDispatch(bench, release: false),
            Right: bench => QueuedAtDispatch(bench, release: true)),
        new("ExclusiveResourceAccess",
            Wrong: bench => OwnResource(bench, release: false),
            Right: bench => OwnResource(bench, release: true)),
        new("IwLockHeldAtReturn",
            Wrong: bench => OwnFastMutex(bench, release: false),
            Right: bench => OwnFastMutex(bench, release: true)),
        new("IwThreadEndedHolding",
            Wrong: bench => Before(bench, probe => probe.InThread(() => AcquireIn(probe, release: false))),
            Right: bench => Before(bench, probe => probe.InThread(() => AcquireIn(probe, release: true)))),
        new("IwFreedHeldLock",
            Wrong: bench => FreeMutex(bench, releaseFirst: false),
            Right: bench => FreeMutex(bench, releaseFirst: true)),

        // Release
        new("SpinlockRelease",
            Wrong: bench => ReleaseSpinLock(bench, acquire: false),
            Right: bench => ReleaseSpinLock(bench, acquire: true)),
        new("SpinLockSafe",
            Wrong: bench => CompleteWithLock(bench, release: false),
            Right: bench => CompleteWithLock(bench, release: true)) { Driver = "lower" },
        new("IwLocksOutOfOrder",
            Wrong: bench => TwoSpinLocks(bench, inOrder: false),
            Right: bench => TwoSpinLocks(bench, inOrder: true)),

        // Regions
        new("CriticalRegions",
            Wrong: bench => Before(bench, probe => probe.KeEnterCriticalRegion()),
            Right: bench => Before(bench, probe =>
            {
                probe.KeEnterCriticalRegion();
                probe.KeLeaveCriticalRegion();
            })),
        new("CriticalRegions",
            Wrong: bench => IrqlRules.ControlFast(bench, probe => probe.KeEnterCriticalRegion()),
            Right: bench => IrqlRules.ControlFast(bench, probe =>
            {
                probe.KeEnterCriticalRegion();
                probe.KeLeaveCriticalRegion();
            })) { Name = "fast I/O, 0xC4/0xC6" },
        new("CriticalRegions",
            Wrong: bench => Before(bench, probe => probe.KeLeaveCriticalRegion()),
            Right: bench => Before(bench, probe =>
            {
                probe.KeEnterCriticalRegion();
                probe.KeEnterCriticalRegion();
                probe.KeLeaveCriticalRegion();
                probe.KeLeaveCriticalRegion();
            })) { Name = "left without being entered" },
        new("CriticalRegions",
            Wrong: bench =>
            {
                bench.Lower.Read = irp =>
                {
                    bench.Lower.KeLeaveCriticalRegion(); // that of the driver above
                    return bench.Lower.Complete(irp, STATUS_SUCCESS);
                };
                bench.Upper.Read = irp =>
                {
                    bench.Upper.KeEnterCriticalRegion();
                    return bench.Upper.SkipDown(irp);
                };
            },
            Right: bench => Before(bench, AcquireMutex)) { Name = "another driver's; a mutex disables APCs too", Driver = "lower" },
        new("GuardedRegions",
            Wrong: bench => Before(bench, probe => probe.KeEnterGuardedRegion()),
            Right: bench => Before(bench, probe =>
            {
                probe.KeEnterGuardedRegion();
                probe.KeLeaveGuardedRegion();
            })),
        new("WithinCriticalRegion",
            Wrong: bench => Before(bench, probe => UseResource(probe, probe.NewResource())),
            Right: bench => Before(bench, probe =>
            {
                PERESOURCE resource = probe.NewResource();
                probe.KeEnterCriticalRegion();
                UseResource(probe, resource);
                probe.KeLeaveCriticalRegion();
            })),
        new("WithinCriticalRegion",
            Wrong: bench => Before(bench, probe => UseResource(probe, probe.NewResource())),
            Right: bench => Before(bench, probe =>
            {
                PERESOURCE resource = probe.NewResource();
                byte irql = probe.KfRaiseIrql(APC_LEVEL);
                UseResource(probe, resource);
                probe.KeLowerIrql(irql);
            })) { Name = "APC_LEVEL will do" },
        new("IwUnsafeMutexWithApcs",
            Wrong: bench => Before(bench, probe =>
            {
                PFAST_MUTEX mutex = probe.NewFastMutex();
                probe.ExAcquireFastMutexUnsafe(mutex);
                probe.ExReleaseFastMutexUnsafe(mutex);
            }),
            Right: bench => OwnFastMutex(bench, release: true)),

        new("IwPushLockWithApcs",
            Wrong: bench => HavePushLock(bench, inRegion: false),
            Right: bench => HavePushLock(bench, inRegion: true)),
        new("IwPushLockWithApcs",
            Wrong: bench => Before(bench, probe =>
            {
                PEX_PUSH_LOCK push = probe.NewPushLock();
                probe.KeEnterCriticalRegion();
                probe.ExAcquirePushLockShared(push);
                probe.KeLeaveCriticalRegion();
                probe.ExReleasePushLockShared(push);
            }),
            Right: bench => Before(bench, probe =>
            {
                PEX_PUSH_LOCK push = probe.NewPushLock();
                byte irql = probe.KfRaiseIrql(APC_LEVEL);
                probe.ExAcquirePushLockShared(push);
                probe.ExReleasePushLockShared(push);
                probe.KeLowerIrql(irql);
            })) { Name = "released, 0xC4/0xEB" },

        // Order and use
        new("IwLockOwnedAlready",
            Wrong: bench => HavePushLock(bench, inRegion: true, probe => push => probe.ExAcquirePushLockShared(push)),
            Right: bench => Before(bench, probe =>
            {
                PEX_PUSH_LOCK push = probe.NewPushLock();
                probe.KeEnterCriticalRegion();
                probe.ExAcquirePushLockShared(push);
                probe.ExAcquirePushLockShared(push);
                probe.ExReleasePushLockShared(push);
                probe.ExReleasePushLockShared(push);
                probe.KeLeaveCriticalRegion();
            })) { Name = "a push lock" },
        new("IwLockOrder",
            Wrong: bench => Before(bench, probe =>
            {
                (PEX_PUSH_LOCK push, PFAST_MUTEX mutex) = (probe.NewPushLock(), probe.NewFastMutex());
                probe.KeEnterCriticalRegion();
                probe.ExAcquirePushLockExclusive(push);
                Nest(probe, mutex);
                probe.ExReleasePushLockExclusive(push);
                probe.ExAcquireFastMutex(mutex);
                probe.ExAcquirePushLockShared(push);
                probe.ExReleasePushLockShared(push);
                probe.ExReleaseFastMutex(mutex);
                probe.KeLeaveCriticalRegion();
            }),
            Right: bench => HavePushLock(bench, inRegion: true, probe =>
            {
                PFAST_MUTEX mutex = probe.NewFastMutex();
                return _ => Nest(probe, mutex);
            })) { Name = "a push lock and a mutex" },
        new("IwLockInitializedAgain",
            Wrong: bench => HavePushLock(bench, inRegion: true, probe => push => probe.ExInitializePushLock(push)),
            Right: bench => Before(bench, probe => probe.ExInitializePushLock(probe.NewPushLock()))) { Name = "a push lock", MayAlso = true },
        new("IwLockHeldAtReturn",
            Wrong: bench => Before(bench, probe =>
            {
                probe.KeEnterCriticalRegion();
                probe.ExAcquirePushLockShared(probe.NewPushLock());
            }),
            Right: bench => HavePushLock(bench, inRegion: true)) { Name = "a push lock", MayAlso = true },
        new("IwLockOwnedAlready",
            Wrong: bench => Before(bench, probe =>
            {
                PFAST_MUTEX mutex = probe.NewFastMutex();
                probe.ExAcquireFastMutex(mutex);
                probe.ExAcquireFastMutex(mutex);
            }),
            Right: bench => Before(bench, probe =>
            {
                PFAST_MUTEX mutex = probe.NewFastMutex();
                probe.ExAcquireFastMutex(mutex);
                Assert.False(probe.ExTryToAcquireFastMutex(mutex));
                probe.ExReleaseFastMutex(mutex);
                probe.ExAcquireFastMutex(mutex);
                probe.ExReleaseFastMutex(mutex);
            })),
        new("IwLockOwnedAlready",
            Wrong: bench => OwnShared(bench, wait: true),
            Right: bench => OwnShared(bench, wait: false)) { Name = "a resource that it shares" },
        new("IwLockOrder",
            Wrong: bench => Before(bench, probe =>
            {
                PFAST_MUTEX a = probe.NewFastMutex(), b = probe.NewFastMutex();
                Nest(probe, a, b);
                Nest(probe, b, a);
            }),
            Right: bench => Before(bench, probe =>
            {
                PFAST_MUTEX a = probe.NewFastMutex(), b = probe.NewFastMutex();
                Nest(probe, a, b);
                Nest(probe, a, b);
            })),
        new("IwLockOrder",
            Wrong: bench => Before(bench, probe =>
            {
                PFAST_MUTEX a = probe.NewFastMutex(), b = probe.NewFastMutex(), c = probe.NewFastMutex();
                Nest(probe, a, b);
                Nest(probe, b, c);
                Nest(probe, c, a);
            }),
            Right: bench => Before(bench, probe =>
            {
                PFAST_MUTEX a = probe.NewFastMutex(), b = probe.NewFastMutex(), guard = probe.NewFastMutex();
                Nest(probe, guard, a, b);
                Nest(probe, guard, b, a);
            })) { Name = "three of them, or under a fourth" },
        new("IwLockOrder",
            Wrong: bench => SetAndWait(bench, setWithLock: true),
            Right: bench => SetAndWait(bench, setWithLock: false)) { Name = "an event" },
        new("IwLockOrder",
            Wrong: bench => SetAndWait(bench, setWithLock: true),
            Right: bench => Before(bench, probe =>
            {
                // As for a request that the lower driver completes at once.
                PFAST_MUTEX mutex = probe.NewFastMutex();
                PKEVENT done = probe.NewEvent();
                probe.ExAcquireFastMutex(mutex);
                probe.KeSetEvent(done, 0, false);
                probe.Wait(done);
                probe.ExReleaseFastMutex(mutex);
            })) { Name = "its own event" },
        new("IwLockOrder",
            Wrong: bench => Before(bench, probe =>
            {
                PKSPIN_LOCK a = probe.NewSpinLock(), b = probe.NewSpinLock();
                Nest(probe, a, b);
                Nest(probe, b, a);
            }),
            Right: bench => Before(bench, probe =>
            {
                PKSPIN_LOCK a = probe.NewSpinLock(), b = probe.NewSpinLock();
                Nest(probe, a, b);
                probe.Free(new PVOID(a.Address));
                probe.Free(new PVOID(b.Address));
                PKSPIN_LOCK c = probe.NewSpinLock(), d = probe.NewSpinLock();
                Nest(probe, d, c);
            })) { Name = "spin locks; the same memory anew" },
        new("IwLockMixed",
            Wrong: bench => Before(bench, probe =>
            {
                PKSPIN_LOCK spinLock = probe.NewSpinLock();
                Spin(probe, spinLock);
                SpinQueued(probe, spinLock);
            }),
            Right: bench => Before(bench, probe =>
            {
                PKSPIN_LOCK spinLock = probe.NewSpinLock();
                SpinQueued(probe, spinLock);
                SpinQueued(probe, spinLock);
            })),
        new("IwLockUninitialized",
            Wrong: bench => LookAtZeroes(bench, initialize: false),
            Right: bench => LookAtZeroes(bench, initialize: true)),
        new("IwLockInitializedAgain",
            Wrong: bench => Reinitialize(bench, releaseFirst: false),
            Right: bench => Reinitialize(bench, releaseFirst: true)),
        new("IwResourceLifetime",
            Wrong: bench => Before(bench, probe => probe.ExInitializeResourceLite(probe.NewResource())),
            Right: bench => Before(bench, probe => probe.ExReinitializeResourceLite(probe.NewResource()))),
        new("IwResourceLifetime",
            Wrong: bench => Before(bench, probe =>
            {
                PERESOURCE resource = probe.NewResource();
                probe.ExDeleteResourceLite(resource);
                probe.ExDeleteResourceLite(resource);
            }),
            Right: bench => Before(bench, probe =>
            {
                PERESOURCE resource = probe.NewResource();
                probe.ExDeleteResourceLite(resource);
                probe.ExInitializeResourceLite(resource);
                probe.ExDeleteResourceLite(resource);
            })) { Name = "deleted twice" },
        new("IwResourceLifetime",
            Wrong: bench => Before(bench, probe => probe.Free(new PVOID(probe.NewResource().Address))),
            Right: bench => Before(bench, probe =>
            {
                PERESOURCE resource = probe.NewResource();
                probe.ExDeleteResourceLite(resource);
                probe.Free(new PVOID(resource.Address));
            })) { Name = "freed" },
        new("IwLockMisplaced",
            Wrong: bench => Before(bench, probe => probe.KeInitializeEvent(new PKEVENT(probe.AllocatePaged(KEVENT.SizeOf).Address), NotificationEvent, false)),
            Right: bench => Before(bench, probe => probe.KeInitializeEvent(new PKEVENT(probe.Allocate(KEVENT.SizeOf).Address), NotificationEvent, false))),
        new("IwUserWaitOnStack",
            Wrong: bench => WaitOnStack(bench, UserMode),
            Right: bench => WaitOnStack(bench, KernelMode)),
    ];

    static void Before(Bench bench, Action<Probe> call) => bench.Upper.Read = irp =>
    {
        call(bench.Upper);
        return bench.Upper.SkipDown(irp);
    };

    static void SpinAtDispatch(Bench bench, bool release) => Before(bench, probe =>
    {
        PKSPIN_LOCK spinLock = probe.NewSpinLock();
        byte irql = probe.KfRaiseIrql(DISPATCH_LEVEL);
        probe.KeAcquireSpinLockAtDpcLevel(spinLock);
        if (release) probe.KeReleaseSpinLockFromDpcLevel(spinLock);
        probe.KeLowerIrql(irql);
    });

    static void QueuedAtDispatch(Bench bench, bool release) => Before(bench, probe =>
    {
        PKLOCK_QUEUE_HANDLE handle = probe.NewQueueHandle();
        PKSPIN_LOCK spinLock = probe.NewSpinLock();
        byte irql = probe.KfRaiseIrql(DISPATCH_LEVEL);
        probe.KeAcquireInStackQueuedSpinLockAtDpcLevel(spinLock, handle);
        if (release) probe.KeReleaseInStackQueuedSpinLockFromDpcLevel(handle);
        probe.KeLowerIrql(irql);
    });

    static void OwnResource(Bench bench, bool release) => Before(bench, probe =>
    {
        PERESOURCE resource = probe.NewResource();
        probe.KeEnterCriticalRegion();
        probe.ExAcquireResourceExclusiveLite(resource, true);
        if (release) probe.ExReleaseResourceLite(resource);
        probe.KeLeaveCriticalRegion();
    });

    static void OwnFastMutex(Bench bench, bool release) => Before(bench, probe => AcquireIn(probe, release));

    static void AcquireIn(Probe probe, bool release)
    {
        PFAST_MUTEX mutex = probe.NewFastMutex();
        probe.KeEnterCriticalRegion();
        probe.ExAcquireFastMutexUnsafe(mutex);
        if (release) probe.ExReleaseFastMutexUnsafe(mutex);
        probe.KeLeaveCriticalRegion();
    }

    static void FreeMutex(Bench bench, bool releaseFirst) => Before(bench, probe =>
    {
        PFAST_MUTEX mutex = probe.NewFastMutex();
        probe.ExAcquireFastMutex(mutex);
        if (releaseFirst) probe.ExReleaseFastMutex(mutex);
        probe.Free(new PVOID(mutex.Address));
        if (!releaseFirst) probe.ExReleaseFastMutex(mutex); // a bug check
    });

    static void ReleaseSpinLock(Bench bench, bool acquire) => Before(bench, probe =>
    {
        PKSPIN_LOCK spinLock = probe.NewSpinLock();
        byte irql = probe.KfRaiseIrql(DISPATCH_LEVEL);
        if (acquire) probe.KeAcquireSpinLockAtDpcLevel(spinLock);
        probe.KeReleaseSpinLockFromDpcLevel(spinLock);
        probe.KeLowerIrql(irql);
    });

    static void CompleteWithLock(Bench bench, bool release) => bench.Lower.Read = irp =>
    {
        PKSPIN_LOCK spinLock = bench.Lower.NewSpinLock();
        bench.Lower.KeAcquireSpinLock(spinLock, out byte irql);
        if (release) bench.Lower.KeReleaseSpinLock(spinLock, irql);
        NTSTATUS status = bench.Lower.Complete(irp, STATUS_SUCCESS);
        if (!release) bench.Lower.KeReleaseSpinLock(spinLock, irql);
        return status;
    };

    static void TwoSpinLocks(Bench bench, bool inOrder) => Before(bench, probe =>
    {
        PKSPIN_LOCK a = probe.NewSpinLock(), b = probe.NewSpinLock();
        byte irql = probe.KfRaiseIrql(DISPATCH_LEVEL);
        probe.KeAcquireSpinLockAtDpcLevel(a);
        probe.KeAcquireSpinLockAtDpcLevel(b);
        probe.KeReleaseSpinLockFromDpcLevel(inOrder ? b : a);
        probe.KeReleaseSpinLockFromDpcLevel(inOrder ? a : b);
        probe.KeLowerIrql(irql);
    });

    static void AcquireMutex(Probe probe)
    {
        PKMUTANT mutex = probe.NewMutex();
        probe.KeWaitForMutexObject(mutex, Executive, KernelMode, false, null);
        probe.KeReleaseMutex(mutex, false);
    }

    static void UseResource(Probe probe, PERESOURCE resource)
    {
        probe.ExAcquireResourceExclusiveLite(resource, true);
        probe.ExReleaseResourceLite(resource);
    }

    static void OwnShared(Bench bench, bool wait) => Before(bench, probe =>
    {
        PERESOURCE resource = probe.NewResource();
        probe.KeEnterCriticalRegion();
        probe.ExAcquireResourceSharedLite(resource, true);
        Assert.False(probe.ExAcquireResourceExclusiveLite(resource, wait));
        probe.ExReleaseResourceLite(resource);
        probe.KeLeaveCriticalRegion();
    });

    static void Nest(Probe probe, params ReadOnlySpan<PFAST_MUTEX> mutexes)
    {
        foreach (PFAST_MUTEX mutex in mutexes) probe.ExAcquireFastMutex(mutex);
        for (int i = mutexes.Length - 1; i >= 0; i--) probe.ExReleaseFastMutex(mutexes[i]);
    }

    static void Nest(Probe probe, PKSPIN_LOCK outer, PKSPIN_LOCK inner)
    {
        probe.KeAcquireSpinLock(outer, out byte irql);
        probe.KeAcquireSpinLockAtDpcLevel(inner);
        probe.KeReleaseSpinLockFromDpcLevel(inner);
        probe.KeReleaseSpinLock(outer, irql);
    }

    static void SetAndWait(Bench bench, bool setWithLock) => Before(bench, probe =>
    {
        PFAST_MUTEX mutex = probe.NewFastMutex();
        PKEVENT done = probe.NewEvent();
        probe.InThread(() =>
        {
            probe.ExAcquireFastMutex(mutex);
            if (setWithLock) probe.KeSetEvent(done, 0, false);
            probe.ExReleaseFastMutex(mutex);
            if (!setWithLock) probe.KeSetEvent(done, 0, false);
        });
        probe.ExAcquireFastMutex(mutex);
        probe.Wait(done);
        probe.ExReleaseFastMutex(mutex);
    });

    static void Spin(Probe probe, PKSPIN_LOCK spinLock)
    {
        probe.KeAcquireSpinLock(spinLock, out byte irql);
        probe.KeReleaseSpinLock(spinLock, irql);
    }

    static void SpinQueued(Probe probe, PKSPIN_LOCK spinLock)
    {
        PKLOCK_QUEUE_HANDLE handle = probe.NewQueueHandle();
        probe.KeAcquireInStackQueuedSpinLock(spinLock, handle);
        probe.KeReleaseInStackQueuedSpinLock(handle);
    }

    static void LookAtZeroes(Bench bench, bool initialize) => Before(bench, probe =>
    {
        PKEVENT target = new(probe.Allocate(KEVENT.SizeOf).Address);
        target.Value = default;
        if (initialize) probe.KeInitializeEvent(target, NotificationEvent, false);
        probe.KeWaitForSingleObject(target, Executive, KernelMode, false, 0);
    });

    static void HavePushLock(Bench bench, bool inRegion, Func<Probe, Action<PEX_PUSH_LOCK>>? act = null) => Before(bench, probe =>
    {
        PEX_PUSH_LOCK push = probe.NewPushLock();
        if (inRegion) probe.KeEnterCriticalRegion();
        probe.ExAcquirePushLockExclusive(push);
        act?.Invoke(probe)(push);
        probe.ExReleasePushLockExclusive(push);
        if (inRegion) probe.KeLeaveCriticalRegion();
    });

    static void Reinitialize(Bench bench, bool releaseFirst) => Before(bench, probe =>
    {
        PERESOURCE resource = probe.NewResource();
        probe.KeEnterCriticalRegion();
        probe.ExAcquireResourceExclusiveLite(resource, true);
        if (releaseFirst) probe.ExReleaseResourceLite(resource);
        probe.ExReinitializeResourceLite(resource);
        if (!releaseFirst) probe.ExReleaseResourceLite(resource); // a bug check
        probe.KeLeaveCriticalRegion();
    });

    static void WaitOnStack(Bench bench, MODE mode) => Before(bench, probe =>
    {
        PKEVENT target = new(KernelThread.Current!.StackBase - 0x100);
        probe.KeInitializeEvent(target, NotificationEvent, true);
        probe.KeWaitForSingleObject(target, Executive, mode, false, null);
    });
}
