using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>A driver's queue of IRPs under a spin lock, whose routines say in which order and at which IRQL they run.</summary>
public class CancelSafeQueueTests : DriverTest
{
    const ulong ListEntryOffset = 0xA8;

    PKSPIN_LOCK listLock;
    PLIST_ENTRY list;
    PIO_CSQ csq;

    /// <summary>What CsqInsertIrpEx answers before it inserts.</summary>
    NTSTATUS insertAnswer = STATUS_SUCCESS;
    PVOID insertContext;

    static PLIST_ENTRY EntryOf(PIRP irp) => new(irp.Address + ListEntryOffset);

    /// <summary>An initialised queue; with <paramref name="silent"/> its routines leave no steps.</summary>
    void NewQueue(bool ex = false, bool silent = false)
    {
        listLock = (PKSPIN_LOCK)Memory(8);
        KeInitializeSpinLock(listLock);
        list = (PLIST_ENTRY)Memory(LIST_ENTRY.SizeOf);
        InitializeListHead(list);
        csq = (PIO_CSQ)Memory(IO_CSQ.SizeOf);
        Action<string> note = silent ? _ => { } : what => Step($"{what} at {KeGetCurrentIrql()}");
        IO_CSQ_REMOVE_IRP remove = (_, irp) =>
        {
            note("remove");
            RemoveEntryList(EntryOf(irp));
        };
        IO_CSQ_PEEK_NEXT_IRP peek = (_, irp, context) =>
        {
            note(irp.IsNull ? "peek" : "peek behind");
            for (PLIST_ENTRY entry = irp.IsNull ? list.Flink : EntryOf(irp).Flink; entry != list; entry = entry.Flink)
            {
                PIRP next = new(entry.Address - ListEntryOffset);
                if (context.IsNull || IoGetCurrentIrpStackLocation(next).FileObject.Address == context.Address) return next;
            }
            return default;
        };
        IO_CSQ_ACQUIRE_LOCK acquire = (_, irql) =>
        {
            note("acquire");
            KeAcquireSpinLock(listLock, out irql.Value);
        };
        IO_CSQ_RELEASE_LOCK release = (_, irql) =>
        {
            note("release");
            KeReleaseSpinLock(listLock, irql);
        };
        IO_CSQ_COMPLETE_CANCELED_IRP complete = (_, irp) =>
        {
            note("complete cancelled");
            Complete(irp, STATUS_CANCELLED);
        };
        if (ex)
        {
            Assert.Equal(STATUS_SUCCESS, IoCsqInitializeEx(csq, (_, irp, context) =>
            {
                note("insert");
                insertContext = context;
                if (insertAnswer.IsSuccess) InsertTailList(list, EntryOf(irp));
                return insertAnswer;
            }, remove, peek, acquire, release, complete));
        }
        else
        {
            Assert.Equal(STATUS_SUCCESS, IoCsqInitialize(csq, (_, irp) =>
            {
                note("insert");
                InsertTailList(list, EntryOf(irp));
            }, remove, peek, acquire, release, complete));
        }
    }

    PIO_CSQ_IRP_CONTEXT NewContext() => (PIO_CSQ_IRP_CONTEXT)Memory(IO_CSQ_IRP_CONTEXT.SizeOf);

    /// <summary>A device that queues everything.</summary>
    PDEVICE_OBJECT Queueing(PIO_CSQ_IRP_CONTEXT context = default) => Device((_, irp) =>
    {
        IoCsqInsertIrp(csq, irp, context);
        return STATUS_PENDING;
    });

    /// <summary>A packet in the queue; its originator keeps it when it is completed.</summary>
    PIRP Queued(PIO_CSQ_IRP_CONTEXT context = default, ulong fileObject = 0)
    {
        PDEVICE_OBJECT device = Queueing(context);
        PIRP irp = Packet(device);
        IoGetNextIrpStackLocation(irp).FileObject = new PFILE_OBJECT(fileObject);
        OnCompletion(irp, (_, i, _) =>
        {
            Step($"completed {i.IoStatus.Status}");
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        Assert.Equal(STATUS_PENDING, IoCallDriver(device, irp));
        return irp;
    }

    static bool IsMarkedPending(PIRP irp) => (IoGetCurrentIrpStackLocation(irp).Control & SL_PENDING_RETURNED) != 0;

    static PVOID Slot(PIRP irp) => irp.Tail.Overlay.DriverContext[3];

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-01")]
    public void A_queue_holds_the_drivers_routines_and_its_kind(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        Assert.Equal(IO_TYPE_CSQ, csq.Type);
        IO_CSQ_INSERT_IRP insert = (_, _) => { };
        IO_CSQ_INSERT_IRP_EX insertEx = (_, _, _) => STATUS_SUCCESS;
        IO_CSQ_REMOVE_IRP remove = (_, _) => { };
        IO_CSQ_PEEK_NEXT_IRP peek = (_, _, _) => default;
        IO_CSQ_ACQUIRE_LOCK acquire = (_, _) => { };
        IO_CSQ_RELEASE_LOCK release = (_, _) => { };
        IO_CSQ_COMPLETE_CANCELED_IRP complete = (_, _) => { };
        Fill(csq, IO_CSQ.SizeOf);
        Assert.Equal(STATUS_SUCCESS, IoCsqInitialize(csq, insert, remove, peek, acquire, release, complete));
        Assert.Equal(Machine.Code.Routine(insert), csq.CsqInsertIrp);
        CheckRest(IO_TYPE_CSQ);
        Fill(csq, IO_CSQ.SizeOf);
        Assert.Equal(STATUS_SUCCESS, IoCsqInitializeEx(csq, insertEx, remove, peek, acquire, release, complete));
        Assert.Equal(Machine.Code.Routine(insertEx).Address, csq.CsqInsertIrp.Address);
        CheckRest(IO_TYPE_CSQ_EX);

        void CheckRest(uint type)
        {
            Assert.Equal(type, csq.Type);
            Assert.Equal(Machine.Code.Routine(remove), csq.CsqRemoveIrp);
            Assert.Equal(Machine.Code.Routine(peek), csq.CsqPeekNextIrp);
            Assert.Equal(Machine.Code.Routine(acquire), csq.CsqAcquireLock);
            Assert.Equal(Machine.Code.Routine(release), csq.CsqReleaseLock);
            Assert.Equal(Machine.Code.Routine(complete), csq.CsqCompleteCanceledIrp);
            Assert.True(csq.ReservePointer.IsNull);
        }
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-02"), Spec("CSQ-10")]
    public void An_insertion_locks_inserts_marks_pending_and_makes_cancelable_in_that_order(Scheduling scheduling) => Run(scheduling, () =>
    {
        listLock = (PKSPIN_LOCK)Memory(8);
        csq = (PIO_CSQ)Memory(IO_CSQ.SizeOf);
        PIRP queued = default;
        IoCsqInitialize(csq, (q, irp) =>
        {
            Assert.Equal(csq, q);
            Assert.Equal(queued, irp);
            Step($"insert, pending {IsMarkedPending(irp)}, cancelable {!irp.CancelRoutine.IsNull}");
        }, (_, _) => { }, (_, _, _) => default, (_, irql) =>
        {
            Step("acquire");
            irql.Value = 0x5A;
        }, (_, irql) => Step($"release {irql:X}, pending {IsMarkedPending(queued)}, cancelable {!queued.CancelRoutine.IsNull}"), (_, _) => { });
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            queued = irp;
            IoCsqInsertIrp(csq, irp, default);
            return STATUS_PENDING;
        });
        Assert.Equal(STATUS_PENDING, IoCallDriver(device, Packet(device)));
        Assert.Equal(["acquire", "insert, pending False, cancelable False", "release 5A, pending True, cancelable True"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-03")]
    public void A_packet_leads_to_its_queue_or_to_the_context_given(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue(silent: true);
        PIRP plain = Queued();
        Assert.Equal(csq.Address, Slot(plain).Address);
        PIO_CSQ_IRP_CONTEXT context = NewContext();
        PIRP known = Queued(context);
        Assert.Equal(context.Address, Slot(known).Address);
        Assert.Equal(IO_TYPE_CSQ_IRP_CONTEXT, context.Type);
        Assert.Equal(known, context.Irp);
        Assert.Equal(csq, context.Csq);
        Assert.Equal(plain, IoCsqRemoveNextIrp(csq, default));
        Assert.Equal(known, IoCsqRemoveNextIrp(csq, default));
        Assert.True(Slot(plain).IsNull);
        Assert.True(Slot(known).IsNull);
        Assert.True(context.Irp.IsNull);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-04")]
    public void A_refused_packet_stays_with_the_caller_as_it_was(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue(ex: true);
        insertAnswer = STATUS_DEVICE_BUSY;
        PIO_CSQ_IRP_CONTEXT context = NewContext();
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            irp.Tail.Overlay.DriverContext[3] = new PVOID(0x77);
            NTSTATUS status = IoCsqInsertIrpEx(csq, irp, context, new PVOID(0x88));
            Assert.False(IsMarkedPending(irp));
            Assert.True(irp.CancelRoutine.IsNull);
            Assert.Equal(0x77UL, Slot(irp).Address);
            return Complete(irp, status);
        });
        PIRP irp = Packet(device);
        OnCompletion(irp, Keep("completed"));
        Assert.Equal(STATUS_DEVICE_BUSY, IoCallDriver(device, irp));
        Assert.Equal(0x88UL, insertContext.Address);
        Assert.True(IoCsqRemoveIrp(csq, context).IsNull);
        Assert.Equal(["acquire at 0", "insert at 2", "release at 2", "completed", "acquire at 0", "release at 2"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-04")]
    public void An_accepted_packet_is_pending_and_the_routines_answer_is_returned(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue(ex: true, silent: true);
        insertAnswer = STATUS_ALERTED;
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            Assert.Equal(STATUS_ALERTED, IoCsqInsertIrpEx(csq, irp, default, new PVOID(0x88)));
            return STATUS_PENDING;
        });
        PIRP irp = Packet(device);
        IoCallDriver(device, irp);
        Assert.Equal(0x88UL, insertContext.Address);
        Assert.True(IsMarkedPending(irp));
        Assert.False(irp.CancelRoutine.IsNull);
        Assert.Equal(irp, IoCsqRemoveNextIrp(csq, default));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-04")]
    public void A_plain_queue_ignores_the_insertion_context_and_always_succeeds(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            Assert.Equal(STATUS_SUCCESS, IoCsqInsertIrpEx(csq, irp, default, new PVOID(0x88)));
            return STATUS_PENDING;
        });
        PIRP irp = Packet(device);
        IoCallDriver(device, irp);
        Assert.Equal(["acquire at 0", "insert at 2", "release at 2"], Steps);
        Assert.True(IsMarkedPending(irp));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-05")]
    public void A_packet_cancelled_before_leaves_at_once_and_is_completed_without_the_lock(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PIO_CSQ_IRP_CONTEXT context = NewContext();
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            IoCancelIrp(irp);
            IoCsqInsertIrp(csq, irp, context);
            return STATUS_PENDING;
        });
        PIRP irp = Packet(device);
        OnCompletion(irp, (_, i, _) =>
        {
            Step($"completed {i.IoStatus.Status}, pending {i.PendingReturned}");
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        Assert.Equal(STATUS_PENDING, IoCallDriver(device, irp));
        Assert.Equal(["acquire at 0", "insert at 2", "remove at 2", "release at 2", "complete cancelled at 0",
            "completed STATUS_CANCELLED, pending TRUE"], Steps);
        Assert.True(IsListEmpty(list));
        Assert.True(context.Irp.IsNull);
        Assert.True(IoCsqRemoveIrp(csq, context).IsNull);
        Assert.True(IoCsqRemoveNextIrp(csq, default).IsNull);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-06"), Spec("CSQ-07")]
    public void The_next_packet_is_the_first_that_matches_and_cannot_be_cancelled_any_more(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PIRP other = Queued(fileObject: 0x1000), wanted = Queued(fileObject: 0x2000);
        int before = Steps.Count;
        Assert.Equal(wanted, IoCsqRemoveNextIrp(csq, new PVOID(0x2000)));
        Assert.Equal(["acquire at 0", "peek at 2", "remove at 2", "release at 2"], Steps.Skip(before));
        Assert.True(wanted.CancelRoutine.IsNull);
        Assert.False(IoCancelIrp(wanted));
        Assert.True(IoCsqRemoveNextIrp(csq, new PVOID(0x2000)).IsNull);
        Assert.Equal(other, IoCsqRemoveNextIrp(csq, default));
        Assert.True(IoCsqRemoveNextIrp(csq, default).IsNull);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-06")]
    public void A_packet_that_cancellation_took_is_passed_over(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PIRP first = Queued(), second = Queued();
        PDRIVER_CANCEL routine = IoSetCancelRoutine(first, default(PDRIVER_CANCEL)); // what IoCancelIrp does before it calls it
        int before = Steps.Count;
        Assert.Equal(second, IoCsqRemoveNextIrp(csq, default));
        Assert.Equal(["acquire at 0", "peek at 2", "peek behind at 2", "remove at 2", "release at 2"], Steps.Skip(before));
        Assert.True(IoCsqRemoveNextIrp(csq, default).IsNull);
        IoSetCancelRoutine(first, routine);
        Assert.True(IoCancelIrp(first));
        Assert.Equal(STATUS_CANCELLED, first.IoStatus.Status);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-08"), Spec("CSQ-07")]
    public void A_certain_packet_is_taken_once(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PIO_CSQ_IRP_CONTEXT context = NewContext();
        PIRP other = Queued(), irp = Queued(context);
        int before = Steps.Count;
        Assert.Equal(irp, IoCsqRemoveIrp(csq, context));
        Assert.Equal(["acquire at 0", "remove at 2", "release at 2"], Steps.Skip(before));
        Assert.True(irp.CancelRoutine.IsNull);
        Assert.True(context.Irp.IsNull);
        Assert.True(Slot(irp).IsNull);
        Assert.True(IoCsqRemoveIrp(csq, context).IsNull);
        Assert.Equal(other, IoCsqRemoveNextIrp(csq, default));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-08")]
    public void A_certain_packet_that_was_cancelled_or_is_being_cancelled_is_not_there(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PIO_CSQ_IRP_CONTEXT context = NewContext();
        IoCancelIrp(Queued(context));
        Assert.True(IoCsqRemoveIrp(csq, context).IsNull);
        PIRP irp = Queued(context);
        PDRIVER_CANCEL routine = IoSetCancelRoutine(irp, default(PDRIVER_CANCEL));
        Assert.True(IoCsqRemoveIrp(csq, context).IsNull);
        IoSetCancelRoutine(irp, routine);
        Assert.Equal(irp, IoCsqRemoveIrp(csq, context));
    });

    [Theory]
    [MemberData(nameof(EverySchedule))]
    [Spec("CSQ-09"), Spec("CSQ-10")]
    public void A_cancelled_packet_leaves_under_the_lock_and_is_completed_with_no_lock(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        PIO_CSQ_IRP_CONTEXT context = NewContext();
        PIRP irp = Queued(context);
        int before = Steps.Count;
        csq.CsqCompleteCanceledIrp = Machine.Code.Routine((IO_CSQ_COMPLETE_CANCELED_IRP)((q, i) =>
        {
            Assert.Equal(csq, q);
            Assert.True(context.Irp.IsNull);
            Assert.True(Slot(i).IsNull);
            Assert.True(KeTestSpinLock(listLock));
            IoAcquireCancelSpinLock(out KIRQL irql); // free
            IoReleaseCancelSpinLock(irql);
            Step($"complete cancelled at {KeGetCurrentIrql()}");
            Complete(i, STATUS_CANCELLED);
        }));
        Assert.True(IoCancelIrp(irp));
        Assert.Equal(["acquire at 0", "remove at 2", "release at 2", "complete cancelled at 0", "completed STATUS_CANCELLED"],
            Steps.Skip(before));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-10")]
    public void Any_lock_will_do_below_DISPATCH_LEVEL(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue();
        var mutex = (PKMUTEX)Memory(KMUTANT.SizeOf);
        KeInitializeMutex(mutex, 0);
        csq.CsqAcquireLock = Machine.Code.Routine((IO_CSQ_ACQUIRE_LOCK)((_, _) => KeWaitForSingleObject(mutex, Executive, KernelMode, false, null)));
        csq.CsqReleaseLock = Machine.Code.Routine((IO_CSQ_RELEASE_LOCK)((_, _) => KeReleaseMutex(mutex, false)));
        PIRP first = Queued(), second = Queued();
        Assert.Equal(["insert at 0", "insert at 0"], Steps);
        Assert.Equal(first, IoCsqRemoveNextIrp(csq, default));
        IoCancelIrp(second);
        Assert.Equal(STATUS_CANCELLED, second.IoStatus.Status);
        Assert.Equal(1, mutex.Header.SignalState);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CSQ-10")]
    public void A_lock_routine_may_use_another_queue(Scheduling scheduling) => Run(scheduling, () =>
    {
        NewQueue(silent: true);
        PIO_CSQ inner = csq;
        PIRP parked = Queued();
        csq = (PIO_CSQ)Memory(IO_CSQ.SizeOf);
        csq.Value = inner.Value;
        byte given = 0;
        csq.CsqAcquireLock = Machine.Code.Routine((IO_CSQ_ACQUIRE_LOCK)((_, irql) =>
        {
            irql.Value = 0x33;
            Assert.Equal(parked, IoCsqRemoveNextIrp(inner, default));
        }));
        csq.CsqReleaseLock = Machine.Code.Routine((IO_CSQ_RELEASE_LOCK)((_, irql) => given = irql));
        Queued();
        Assert.Equal(0x33, given);
    });

    // ---- CSQ-11

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 40)];

    [Theory, MemberData(nameof(Seeds))]
    [Spec("CSQ-11")]
    public void Each_packet_is_delivered_once_in_any_order(int seed)
    {
        Strategy = new SeededStrategy(seed);
        DeliverEach(Scheduling.Controlled, 12);
    }

    [Fact]
    [Spec("CSQ-11")]
    public void Each_packet_is_delivered_once_on_parallel_processors() => DeliverEach(Scheduling.FreeRunning, 3000);

    /// <summary>Two threads insert, one cancels, one takes certain packets and one takes whatever is next.</summary>
    void DeliverEach(Scheduling scheduling, int packets) => Run(scheduling, () =>
    {
        NewQueue(silent: true);
        int[] delivered = new int[packets];
        int left = packets, running = 5;
        PKEVENT over = Event();
        var irps = new PIRP[packets];
        var contexts = new PIO_CSQ_IRP_CONTEXT[packets];
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            int n = (int)IoGetCurrentIrpStackLocation(irp).Parameters.Read.Length;
            IoCsqInsertIrp(csq, irp, contexts[n]);
            return STATUS_PENDING;
        });
        for (int i = 0; i < packets; i++)
        {
            int n = i;
            irps[n] = Packet(device);
            IoGetNextIrpStackLocation(irps[n]).Parameters.Read.Length = (uint)n;
            if (n % 3 != 0) contexts[n] = NewContext();
            OnCompletion(irps[n], (_, _, _) =>
            {
                Interlocked.Increment(ref delivered[n]);
                Interlocked.Decrement(ref left);
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
        }
        int queued = 0;
        void Insert(int first)
        {
            for (int n = first; n < packets; n += 2)
            {
                IoCallDriver(device, irps[n]);
                Interlocked.Increment(ref queued);
            }
        }
        void Cancel()
        {
            for (int n = 0; n < packets; n += 2) IoCancelIrp(irps[n]);
        }
        void TakeCertain()
        {
            for (int n = 0; n < packets; n++)
            {
                if (!contexts[n].IsNull && IoCsqRemoveIrp(csq, contexts[n]) is { IsNull: false } irp) Complete(irp, STATUS_SUCCESS, 1);
            }
        }
        void TakeNext()
        {
            do
            {
                if (IoCsqRemoveNextIrp(csq, default) is { IsNull: false } irp) Complete(irp, STATUS_SUCCESS, 2);
                else KeDelayExecutionThread(KernelMode, false, -10);
            }
            while (Volatile.Read(ref left) > 0);
        }
        foreach (Action work in (Action[])[() => Insert(0), () => Insert(1), Cancel, TakeCertain, TakeNext])
        {
            Start(() =>
            {
                work();
                if (Interlocked.Decrement(ref running) == 0) KeSetEvent(over, 0, false);
            });
        }
        Wait(over);
        Assert.Equal(packets, queued);
        Assert.All(delivered, times => Assert.Equal(1, times));
        Assert.True(IsListEmpty(list));
    });
}
