using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class ApcTests : SynchronizationTest
{
    /// <summary>An APC for a thread; without normal routine it is a special kernel APC.</summary>
    PKAPC Apc(KernelThread thread, KKERNEL_ROUTINE kernel, KNORMAL_ROUTINE? normal = null, MODE mode = KernelMode, KRUNDOWN_ROUTINE? rundown = null)
    {
        var apc = new PKAPC(Memory(KAPC.SizeOf).Address);
        KeInitializeApc(apc, thread.Object, OriginalApcEnvironment, kernel, rundown, normal, mode, new PVOID(0x77));
        return apc;
    }

    KKERNEL_ROUTINE Note(string name) => (_, _, _, _, _) => Step($"{name} at {KeGetCurrentIrql()}");

    KNORMAL_ROUTINE NoteNormal(string name) => (_, _, _) => Step($"{name} at {KeGetCurrentIrql()}");

    void Queue(PKAPC apc) => Assert.True(KeInsertQueueApc(apc, new PVOID(1), new PVOID(2), 0));

    void QueueBoth(KernelThread thread)
    {
        Queue(Apc(thread, Note("kernel routine"), NoteNormal("normal")));
        Queue(Apc(thread, Note("special")));
    }

    static readonly string[] Both = ["special at 1", "kernel routine at 1", "normal at 0"];

    [Fact]
    public void A_new_APC_has_what_it_was_given() => Run(() =>
    {
        KernelThread self = Machine.CurrentThread;
        PKAPC user = Apc(self, Note("kernel routine"), NoteNormal("normal"), UserMode);
        Assert.Equal(ApcObject, user.Type);
        Assert.Equal(KAPC.SizeOf, user.Size);
        Assert.Equal(self.Object, user.Thread);
        Assert.Equal(UserMode, user.ApcMode);
        Assert.Equal(0x77UL, user.NormalContext.Address);
        Assert.False(user.Inserted);
        PKAPC special = Apc(self, Note("special"), null, UserMode);
        Assert.Equal(KernelMode, special.ApcMode);
        Assert.True(special.NormalContext.IsNull);
    });

    [Fact]
    public void Special_ones_run_at_APC_LEVEL_before_normal_ones_which_run_at_PASSIVE_LEVEL() => Run(() =>
    {
        KeEnterGuardedRegion();
        QueueBoth(Machine.CurrentThread);
        Assert.Empty(Steps);
        KeLeaveGuardedRegion();
        Assert.Equal(Both, Steps);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Fact]
    public void They_interrupt_a_wait_of_their_thread_which_then_goes_on() => Run(() =>
    {
        PKEVENT target = Event(SynchronizationEvent);
        NTSTATUS status = Untouched;
        KernelThread? ranIn = null;
        KernelThread waiter = Fork(() => status = KeWaitForSingleObject(target, Executive, UserMode, true, null));
        UntilWaiting(waiter);
        PKEVENT ran = Event();
        Queue(Apc(waiter, (_, _, _, _, _) => ranIn = Machine.CurrentThread, (_, _, _) =>
        {
            // It may wait itself.
            Sleep(1);
            KeSetEvent(ran, 0, false);
        }));
        Wait(ran);
        UntilWaiting(waiter);
        Assert.Equal(Untouched, status);
        KeSetEvent(target, 0, false);
        Join();
        Assert.Equal(STATUS_SUCCESS, status);
        Assert.Same(waiter, ranIn);
    });

    [Fact]
    public void The_kernel_routine_gets_the_arguments_by_reference_and_may_free_the_object() => Run(() =>
    {
        KNORMAL_ROUTINE normal = (context, first, second) => Step($"{context.Address} {first.Address} {second.Address}");
        PKAPC apc = Apc(Machine.CurrentThread, (a, routine, context, first, second) =>
        {
            Assert.False(a.Inserted);
            Assert.Equal(KNormalRoutine(normal).Address, new PPVOID(routine.Address).Value.Address);
            Assert.Equal(0x77UL, new PPVOID(context.Address).Value.Address);
            Assert.Equal(1UL, new PPVOID(first.Address).Value.Address);
            new PPVOID(second.Address).Value = new PVOID(0x99);
            Free(a);
        }, normal);
        Queue(apc);
        Assert.Equal(["119 1 153"], Steps);
        Queue(Apc(Machine.CurrentThread, (_, routine, _, _, _) => new PPVOID(routine.Address).Value = default, normal));
        Assert.Single(Steps);
    });

    [Fact]
    public void A_critical_region_holds_normal_ones_back() => Run(() =>
    {
        KeEnterCriticalRegion();
        KeEnterCriticalRegion();
        Assert.True(KeAreApcsDisabled());
        Assert.False(KeAreAllApcsDisabled());
        QueueBoth(Machine.CurrentThread);
        Assert.Equal(["special at 1"], Steps);
        KeLeaveCriticalRegion();
        Assert.Equal(["special at 1"], Steps);
        KeLeaveCriticalRegion();
        Assert.Equal(Both, Steps);
        Assert.False(KeAreApcsDisabled());
    });

    [Fact]
    public void A_guarded_region_holds_all_back() => Run(() =>
    {
        KeEnterGuardedRegion();
        Assert.True(KeAreApcsDisabled());
        Assert.True(KeAreAllApcsDisabled());
        QueueBoth(Machine.CurrentThread);
        KeEnterGuardedRegion();
        KeLeaveGuardedRegion();
        Sleep(1);
        Assert.Empty(Steps);
        KeLeaveGuardedRegion();
        Assert.Equal(Both, Steps);
        Assert.False(KeAreAllApcsDisabled());
    });

    [Theory]
    [InlineData(APC_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    public void So_does_the_level_of_the_thread(byte irql) => Run(() =>
    {
        KeRaiseIrql(irql, out KIRQL old);
        Assert.True(KeAreAllApcsDisabled());
        Assert.False(KeAreApcsDisabled());
        QueueBoth(Machine.CurrentThread);
        Assert.Empty(Steps);
        KeLowerIrql(old);
        Assert.Equal(Both, Steps);
    });

    [Fact]
    public void A_normal_one_waits_for_the_end_of_another_and_a_special_one_does_not() => Run(() =>
    {
        KernelThread self = Machine.CurrentThread;
        Queue(Apc(self, Note("outer"), (_, _, _) =>
        {
            QueueBoth(self);
            Sleep(1);
            Step("end");
        }));
        Assert.Equal(["outer at 1", "special at 1", "end", "kernel routine at 1", "normal at 0"], Steps);
    });

    [Fact]
    public void One_that_is_queued_cannot_be_queued_again_but_taken_back() => Run(() =>
    {
        KeEnterGuardedRegion();
        foreach (KNORMAL_ROUTINE? normal in new[] { null, NoteNormal("never") })
        {
            PKAPC apc = Apc(Machine.CurrentThread, Note("never"), normal);
            Assert.False(KeRemoveQueueApc(apc));
            Queue(apc);
            Assert.True(apc.Inserted);
            Assert.False(KeInsertQueueApc(apc, default, default, 0));
            Assert.True(KeRemoveQueueApc(apc));
            Assert.False(apc.Inserted);
            Assert.False(KeRemoveQueueApc(apc));
        }
        KeLeaveGuardedRegion();
        Assert.Empty(Steps);
    });

    [Fact]
    public void A_thread_that_ended_takes_none() => Run(() =>
    {
        KernelThread gone = Fork(() => { });
        PKAPC apc = Apc(gone, Note("never"));
        Join();
        Eventually(() => !Machine.Scheduler.Threads.Contains(gone));
        Assert.False(KeInsertQueueApc(apc, default, default, 0));
        Assert.False(KeRemoveQueueApc(apc));
    });

    [Theory]
    [InlineData(true, 0u)]
    [InlineData(false, 1u)]
    public void A_routine_that_leaves_the_level_raised_stops_the_machine(bool special, uint unique)
    {
        PKAPC apc = default;
        BugCheckReport report = Stops(IRQL_UNEXPECTED_VALUE, () =>
        {
            void Raise() => KeRaiseIrql(DISPATCH_LEVEL, out _);
            apc = special ? Apc(Machine.CurrentThread, (_, _, _, _, _) => Raise()) : Apc(Machine.CurrentThread, Note("kernel routine"), (_, _, _) => Raise());
            Queue(apc);
        });
        Assert.Equal(0x20000u | (special ? 0x100u : 0) | unique, report.Parameter1);
        Assert.Equal(apc.Address, report.Parameter3);
    }

    // ---- User APCs and alerts

    NTSTATUS UserWait(PKEVENT target, bool alertable, long? timeout = null) => KeWaitForSingleObject(target, UserRequest, UserMode, alertable, timeout);

    PKAPC UserApc(KernelThread thread, string name) => Apc(thread, Note($"{name}: kernel routine"), NoteNormal(name), UserMode);

    [Fact]
    public void A_user_APC_ends_an_alertable_user_wait_and_runs_on_the_way_back_to_user_mode() => Run(() =>
    {
        KernelThread user = Machine.CurrentThread;
        PKEVENT target = Event();
        Fork(() =>
        {
            UntilWaiting(user);
            Assert.True(KeInsertQueueApc(UserApc(user, "first"), default, default, 3));
            Queue(UserApc(user, "second"));
        });
        using (user.Enter())
        {
            Assert.Equal(STATUS_USER_APC, UserWait(target, alertable: true));
            Join();
            Assert.Empty(Steps);
        }
        Assert.Equal(["first: kernel routine at 1", "first at 0", "second: kernel routine at 1", "second at 0"], Steps);
        using (user.Enter()) Assert.Equal(STATUS_TIMEOUT, UserWait(target, alertable: true, 0));
    });

    [Fact]
    public void One_that_is_queued_already_ends_the_next_alertable_user_wait_at_once() => Run(() =>
    {
        KernelThread user = Machine.CurrentThread;
        PKEVENT target = Event();
        using (user.Enter())
        {
            Queue(UserApc(user, "apc"));
            Assert.Equal(STATUS_TIMEOUT, UserWait(target, alertable: false, -Millisecond));
            Assert.Equal(STATUS_TIMEOUT, KeWaitForSingleObject(target, Executive, KernelMode, true, -Millisecond));
        }
        Assert.Empty(Steps);
        using (user.Enter())
        {
            Assert.Equal(STATUS_USER_APC, UserWait(target, alertable: true, -Millisecond));
            // From here on a wait for user mode ends even if it is not alertable.
            Assert.Equal(STATUS_USER_APC, UserWait(target, alertable: false, -Millisecond));
            Assert.Equal(STATUS_SUCCESS, UserWait(Event(signalled: true), alertable: false));
        }
        Assert.Equal(["apc: kernel routine at 1", "apc at 0"], Steps);
    });

    [Fact]
    public void It_also_ends_an_alertable_kernel_wait_but_does_not_run() => Run(() =>
    {
        KernelThread user = Machine.CurrentThread;
        Fork(() =>
        {
            UntilWaiting(user);
            Queue(UserApc(user, "apc"));
        });
        using (user.Enter()) Assert.Equal(STATUS_USER_APC, KeWaitForSingleObject(Event(), Executive, KernelMode, true, null));
        Join();
        Assert.Empty(Steps);
        using (user.Enter()) Assert.Equal(STATUS_USER_APC, KeDelayExecutionThread(UserMode, true, -Millisecond));
        Assert.Equal(2, Steps.Count);
    });

    [Fact]
    public void Testing_for_an_alert_lets_user_APCs_run_at_the_next_return() => Run(() =>
    {
        KernelThread user = Machine.CurrentThread;
        using (user.Enter())
        {
            Queue(UserApc(user, "apc"));
            Assert.False(KeTestAlertThread(KernelMode));
            Assert.False(KeTestAlertThread(UserMode));
        }
        Assert.Equal(["apc: kernel routine at 1", "apc at 0"], Steps);
    });

    [Fact]
    public void User_APCs_of_a_thread_that_ends_are_run_down_or_freed() => Run(() =>
    {
        PKEVENT end = Event();
        KernelThread ending = Fork(() => Wait(end));
        PKAPC rundown = Apc(ending, Note("never"), NoteNormal("never"), UserMode, a => Step($"rundown {a}"));
        PKAPC freed = UserApc(ending, "never");
        Queue(rundown);
        Queue(freed);
        KeSetEvent(end, 0, false);
        Eventually(() => !Machine.Scheduler.Threads.Contains(ending));
        Assert.Equal([$"rundown {rundown}"], Steps);
        Assert.False(Machine.Pool.TryFind(freed.Address, out _));
    });

    [Theory]
    [InlineData(KernelMode, UserMode, STATUS_ALERTED)]
    [InlineData(KernelMode, KernelMode, STATUS_ALERTED)]
    [InlineData(UserMode, UserMode, STATUS_ALERTED)]
    [InlineData(UserMode, KernelMode, STATUS_TIMEOUT)]
    public void An_alert_ends_alertable_waits_of_its_mode_before_or_during_them(MODE alert, MODE wait, NTSTATUS expected) => Run(() =>
    {
        PKEVENT target = Event();
        KernelThread self = Machine.CurrentThread;
        Assert.False(KeAlertThread(self.Object, alert));
        Assert.True(KeAlertThread(self.Object, alert));
        Assert.Equal(STATUS_TIMEOUT, KeWaitForSingleObject(target, Executive, wait, false, -Millisecond));
        Assert.Equal(expected, KeWaitForSingleObject(target, Executive, wait, true, -Millisecond));
        Assert.Equal(expected == STATUS_TIMEOUT, (bool)KeTestAlertThread(alert));
        Assert.False(KeTestAlertThread(alert));
        Fork(() =>
        {
            UntilWaiting(self);
            Assert.False(KeAlertThread(self.Object, alert));
        });
        Assert.Equal(expected == STATUS_TIMEOUT ? STATUS_SUCCESS : expected, KeDelayExecutionThread(wait, true, (expected == STATUS_TIMEOUT ? -1_000 : -60_000) * Millisecond));
        Join();
        Assert.Equal(expected == STATUS_TIMEOUT, (bool)KeTestAlertThread(alert));
    });

    [Fact]
    public void A_signalled_object_comes_before_an_alert() => Run(() =>
    {
        KeAlertThread(Machine.CurrentThread.Object, KernelMode);
        Assert.Equal(STATUS_SUCCESS, KeWaitForSingleObject(Event(signalled: true), Executive, KernelMode, true, null));
        Assert.True(KeTestAlertThread(KernelMode));
    });

    // ---- What must be enabled again

    [Fact]
    public void A_request_that_returns_in_a_critical_region_stops_the_machine()
    {
        BugCheckReport report = Stops(APC_INDEX_MISMATCH, () =>
        {
            Device((_, irp) =>
            {
                if (IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_FLUSH_BUFFERS) KeEnterCriticalRegion();
                return Complete(irp, STATUS_SUCCESS);
            }, name: @"\Device\Critical");
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Critical", GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
            Machine.Requests.Send(file, new IoRequest(IRP_MJ_FLUSH_BUFFERS), StatusBlock(), null, out _);
        });
        Assert.Equal(0xFFFFUL, report.Parameter3);
        Assert.Equal(0UL, report.Parameter4);
    }

    [Fact]
    public void A_work_item_that_returns_in_a_guarded_region_stops_the_machine()
    {
        ulong routine = 0;
        BugCheckReport report = Stops(APC_INDEX_MISMATCH, () =>
        {
            var item = new PWORK_QUEUE_ITEM(Memory(WORK_QUEUE_ITEM.SizeOf).Address);
            ExInitializeWorkItem(item, _ => KeEnterGuardedRegion(), default);
            routine = item.WorkerRoutine.Address;
            ExQueueWorkItem(item, DelayedWorkQueue);
            Wait(Event());
        });
        Assert.Equal(routine, report.Parameter1);
        Assert.Equal(0xFFFF0000UL, report.Parameter3);
        Assert.Equal(1UL, report.Parameter4);
    }

    [Fact]
    public void A_thread_that_ends_in_a_critical_region_stops_the_machine()
    {
        BugCheckReport report = Stops(KERNEL_APC_PENDING_DURING_EXIT, () =>
        {
            Start(KeEnterCriticalRegion);
            Wait(Event());
        });
        Assert.Equal(0xFFFFUL, report.Parameter2);
    }

    [Fact]
    public void A_thread_that_ends_at_APC_LEVEL_with_an_APC_to_come_stops_the_machine()
    {
        PKAPC apc = default;
        BugCheckReport report = Stops(KERNEL_APC_PENDING_DURING_EXIT, () =>
        {
            Start(() =>
            {
                KeRaiseIrql(APC_LEVEL, out _);
                Queue(apc = Apc(Machine.CurrentThread, Note("never")));
            });
            Wait(Event());
        });
        Assert.Equal(apc.Address, report.Parameter1);
        Assert.Equal(APC_LEVEL, (byte)report.Parameter3);
    }

    [Fact]
    public void A_hang_tells_of_APCs_that_a_thread_cannot_take()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            KeEnterGuardedRegion();
            Queue(Apc(Machine.CurrentThread, Note("never")));
            Wait(Event());
        }));
        Assert.Contains("and cannot take the APCs queued to it, as they are disabled (KernelApcDisable 0, SpecialApcDisable -1)", hang.Message, StringComparison.Ordinal);
    }

    /// <summary>APCs and signals race for a waiting thread: neither may be lost.</summary>
    [Theory, MemberData(nameof(EveryOrder))]
    public void Waits_and_APCs_come_through_in_every_order(int order) => RunInOrder(order, () =>
    {
        const int rounds = 30;
        int apcs = 0;
        PKEVENT ping = Event(SynchronizationEvent), pong = Event(SynchronizationEvent);
        KernelThread waiter = Fork(() =>
        {
            for (int i = 0; i < rounds; i++)
            {
                Wait(ping);
                KeSetEvent(pong, 0, false);
            }
            Eventually(() => Volatile.Read(ref apcs) == 2 * rounds);
        });
        Fork(() =>
        {
            for (int i = 0; i < rounds; i++)
            {
                KeInsertQueueApc(Apc(waiter, (a, _, _, _, _) => Free(a), (_, _, _) => Interlocked.Increment(ref apcs)), default, default, 0);
                KeInsertQueueApc(Apc(waiter, (a, _, _, _, _) => Interlocked.Increment(ref apcs)), default, default, 0);
            }
        });
        for (int i = 0; i < rounds; i++)
        {
            KeSetEvent(ping, 0, false);
            Wait(pong);
        }
        Join();
        Assert.Equal(2 * rounds, apcs);
    });

    [Fact]
    public void One_that_comes_while_its_thread_ends_is_taken_or_refused() => Run(Scheduling.FreeRunning, () =>
    {
        int queued = 0, ran = 0;
        KKERNEL_ROUTINE routine = (apc, _, _, _, _) =>
        {
            Interlocked.Increment(ref ran);
            Free(apc);
        };
        for (int i = 0; i < 500; i++)
        {
            KernelThread ending = Start(() => { });
            // Not so fast that it can never take them all.
            for (; KeInsertQueueApc(Apc(ending, routine), default, default, 0); Thread.SpinWait(50)) queued++;
        }
        Eventually(() => Volatile.Read(ref ran) == queued);
    });

    [Fact]
    public void A_user_APC_of_a_thread_that_ends_is_given_up_or_taken_back() => Run(Scheduling.FreeRunning, () =>
    {
        int queued = 0, over = 0;
        KKERNEL_ROUTINE kernel = Note("never");
        KNORMAL_ROUTINE normal = NoteNormal("never");
        KRUNDOWN_ROUTINE rundown = _ => Interlocked.Increment(ref over);
        for (int i = 0; i < 1000; i++)
        {
            KernelThread ending = Start(() => { });
            while (true)
            {
                PKAPC first = Apc(ending, kernel, normal, UserMode, rundown), second = Apc(ending, kernel, normal, UserMode, rundown);
                if (!KeInsertQueueApc(first, default, default, 0)) break;
                queued++;
                if (KeInsertQueueApc(second, default, default, 0)) queued++;
                if (KeRemoveQueueApc(first)) Interlocked.Increment(ref over);
            }
        }
        Eventually(() => Volatile.Read(ref over) == queued);
        Assert.Empty(Steps);
    });
}
