using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>What the documentation recommends drivers to do must work, however the driver below completes.</summary>
public class PatternTests : DriverTest
{
    /// <summary>Sends a packet and waits until the originator's routine has kept it.</summary>
    PIRP SendAndWait(PDEVICE_OBJECT top, out NTSTATUS returned)
    {
        PIRP irp = Packet(top);
        PKEVENT over = Event();
        OnCompletion(irp, (_, _, _) =>
        {
            Step("originator");
            KeSetEvent(over, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        returned = IoCallDriver(top, irp);
        Wait(over);
        return irp;
    }

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-04")]
    public void Forward_and_wait(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Lowest(lower, STATUS_DEVICE_BUSY, 4);
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            PKEVENT done = Event();
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (_, i, context) =>
            {
                if (i.PendingReturned) KeSetEvent((PKEVENT)context, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }, done);
            NTSTATUS status = IoCallDriver(bottom, irp);
            if (status == STATUS_PENDING)
            {
                Wait(done);
                status = irp.IoStatus.Status;
            }
            Assert.Equal(STATUS_DEVICE_BUSY, status);
            Assert.Equal(4UL, irp.IoStatus.Information);
            return Complete(irp, STATUS_SUCCESS, 5);
        }, above: bottom);
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        Assert.Equal(STATUS_SUCCESS, returned);
        Assert.Equal(5UL, irp.IoStatus.Information);
        Assert.False(irp.PendingReturned);
        Assert.Equal(["originator"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-05")]
    public void Pass_through(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT top = Filter(Filter(Lowest(lower, STATUS_DEVICE_BUSY, 4), Continue("middle")), Continue("top"));
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        bool pending = lower != Completing.Inline;
        Assert.Equal(pending ? STATUS_PENDING : STATUS_DEVICE_BUSY, returned);
        Assert.Equal(pending, (bool)irp.PendingReturned);
        Assert.Equal(STATUS_DEVICE_BUSY, irp.IoStatus.Status);
        Assert.Equal(4UL, irp.IoStatus.Information);
        Assert.Equal(["middle", "top", "originator"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-06")]
    public void Pend_then_forward(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Lowest(lower, STATUS_DEVICE_BUSY);
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (_, i, _) =>
            {
                i.IoStatus.Status = STATUS_SUCCESS;
                return STATUS_CONTINUE_COMPLETION;
            });
            IoCallDriver(bottom, irp);
            return STATUS_PENDING;
        }, above: bottom);
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        Assert.Equal(STATUS_PENDING, returned);
        Assert.Equal(STATUS_SUCCESS, irp.IoStatus.Status);
        Assert.True(irp.PendingReturned);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-07")]
    public void Retry_from_the_routine(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        const int failures = 3;
        int attempts = 0;
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            Assert.Equal(STATUS_SUCCESS, irp.IoStatus.Status);
            Assert.Equal(0UL, irp.IoStatus.Information);
            Assert.Equal(512U, IoGetCurrentIrpStackLocation(irp).Parameters.Read.Length);
            return ++attempts <= failures ? CompleteSomehow(irp, lower, STATUS_DEVICE_NOT_READY, 7) : CompleteSomehow(irp, lower, STATUS_SUCCESS, 512);
        });
        int retriesLeft = 5;
        IO_COMPLETION_ROUTINE? retry = null;
        retry = (_, irp, _) =>
        {
            if (irp.IoStatus.Status.IsSuccess || retriesLeft-- == 0) return STATUS_CONTINUE_COMPLETION;
            irp.IoStatus.Status = STATUS_SUCCESS;
            irp.IoStatus.Information = 0;
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, retry!);
            IoCallDriver(bottom, irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            IoGetCurrentIrpStackLocation(irp).Parameters.Read.Length = 512;
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, retry);
            IoCallDriver(bottom, irp);
            return STATUS_PENDING;
        }, above: bottom);
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        Assert.Equal(STATUS_PENDING, returned);
        Assert.Equal(failures + 1, attempts);
        Assert.Equal(5 - failures, retriesLeft);
        Assert.Equal(STATUS_SUCCESS, irp.IoStatus.Status);
        Assert.Equal(512UL, irp.IoStatus.Information);
        Assert.True(irp.PendingReturned);
        Assert.Equal(["originator"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-08")]
    public void A_packet_of_ones_own_is_freed_in_its_routine(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Lowest(lower, STATUS_SUCCESS, 12);
        PDEVICE_OBJECT top = Device((_, original) =>
        {
            IoMarkIrpPending(original);
            PVOID resource = Memory(64);
            PIRP own = Packet(bottom);
            OnCompletion(own, (_, i, context) =>
            {
                original.IoStatus = i.IoStatus;
                Free(context);
                IoFreeIrp(i);
                IoCompleteRequest(original, IO_NO_INCREMENT);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }, resource);
            IoCallDriver(bottom, own);
            return STATUS_PENDING;
        }, above: bottom);
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        Assert.Equal(STATUS_PENDING, returned);
        Assert.Equal(12UL, irp.IoStatus.Information);
        Assert.Equal(["originator"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-09")]
    public void Fan_out_and_join(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        const int copies = 3;
        PDEVICE_OBJECT[] mirrors = [.. Enumerable.Range(0, copies).Select(i => Lowest(lower, i == 1 ? STATUS_DEVICE_NOT_READY : STATUS_SUCCESS, 10))];
        PDEVICE_OBJECT top = Device((_, original) =>
        {
            IoMarkIrpPending(original);
            // The counter lies in the original packet, as the documentation suggests.
            GuestMemory.Ref<int>(original.Address + 0x78) = copies;
            original.IoStatus.Status = STATUS_SUCCESS;
            original.IoStatus.Information = 0;
            foreach (PDEVICE_OBJECT mirror in mirrors)
            {
                PIRP own = Packet(mirror);
                OnCompletion(own, (_, i, context) =>
                {
                    var whole = (PIRP)context;
                    if (!i.IoStatus.Status.IsSuccess) whole.IoStatus.Status = i.IoStatus.Status;
                    IoFreeIrp(i);
                    if (Interlocked.Decrement(ref GuestMemory.Ref<int>(whole.Address + 0x78)) == 0) IoCompleteRequest(whole, IO_NO_INCREMENT);
                    return STATUS_MORE_PROCESSING_REQUIRED;
                }, original);
                IoCallDriver(mirror, own);
            }
            return STATUS_PENDING;
        });
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        Assert.Equal(STATUS_PENDING, returned);
        Assert.Equal(STATUS_DEVICE_NOT_READY, irp.IoStatus.Status);
        Assert.Equal(["originator"], Steps);
    });

    [Theory]
    [InlineData(DO_BUFFERED_IO)]
    [InlineData(DO_DIRECT_IO)]
    [Spec("IMP-10"), Spec("BUILD-13")]
    public void The_routine_of_an_asynchronous_request_releases_what_the_builder_attached(DO_FLAGS flags) => Run(() =>
    {
        PVOID buffer = Memory(64);
        PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_SUCCESS, 64), flags: flags);
        PIRP irp = IoBuildAsynchronousFsdRequest(IRP_MJ_READ, bottom, buffer, 64, 0, StatusBlock());
        PVOID systemBuffer = irp.AssociatedIrp.SystemBuffer;
        PMDL mdl = irp.MdlAddress;
        OnCompletion(irp, (_, i, _) =>
        {
            // Everything is still attached, and nobody else touches it.
            Assert.Equal(flags == DO_BUFFERED_IO, (i.Flags & IRP_DEALLOCATE_BUFFER) != 0);
            if ((i.Flags & IRP_DEALLOCATE_BUFFER) != 0) Free(i.AssociatedIrp.SystemBuffer);
            for (PMDL next, m = i.MdlAddress; !m.IsNull; m = next)
            {
                Assert.NotEqual((MDL_FLAGS)0, m.MdlFlags & MDL_PAGES_LOCKED);
                next = m.Next;
                MmUnlockPages(m);
                IoFreeMdl(m);
            }
            IoFreeIrp(i);
            Step("released");
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        Assert.Equal(flags == DO_BUFFERED_IO, !systemBuffer.IsNull);
        Assert.Equal(flags == DO_DIRECT_IO, !mdl.IsNull);
        Assert.Equal(STATUS_SUCCESS, IoCallDriver(bottom, irp));
        Assert.Equal(["released"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("IMP-11")]
    public void Finish_at_PASSIVE_LEVEL_through_a_work_item(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Lowest(lower, STATUS_SUCCESS, 4);
        PDEVICE_OBJECT top = Device((device, irp) =>
        {
            PIO_WORKITEM item = IoAllocateWorkItem(device);
            IoMarkIrpPending(irp);
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (d, i, context) =>
            {
                IoQueueWorkItem((PIO_WORKITEM)context, (_, packet) =>
                {
                    Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
                    IoFreeWorkItem(item);
                    IoCompleteRequest((PIRP)packet, IO_NO_INCREMENT);
                }, DelayedWorkQueue, i);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }, item);
            IoCallDriver(bottom, irp);
            return STATUS_PENDING;
        }, above: bottom);
        PIRP irp = SendAndWait(top, out NTSTATUS returned);
        Assert.Equal(STATUS_PENDING, returned);
        Assert.Equal(4UL, irp.IoStatus.Information);
        Assert.True(irp.PendingReturned);
    });

    /// <summary>
    /// The documented protocol for a request with a time limit: one word, changed by interlocked operations, decides who
    /// finishes the packet.
    /// </summary>
    public class Cancel_after_a_time : DriverTest
    {
        const int Cancelable = 0, CancelStarted = 1, CancelComplete = 2, Completed = 3;

        int word;
        PIRP own;
        PIRP held;

        NTSTATUS Routine(PDEVICE_OBJECT device, PIRP irp, PVOID context)
        {
            if (Interlocked.Exchange(ref word, Completed) == CancelStarted)
            {
                Step("routine leaves it to the canceller");
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            Step("routine finishes");
            return STATUS_MORE_PROCESSING_REQUIRED;
        }

        void TimedOut(Action whileCancelling)
        {
            if (Interlocked.CompareExchange(ref word, CancelStarted, Cancelable) != Cancelable)
            {
                Step("too late to cancel");
                return;
            }
            whileCancelling();
            IoCancelIrp(own);
            if (Interlocked.CompareExchange(ref word, CancelComplete, CancelStarted) == Completed)
            {
                Step("canceller finishes");
            }
        }

        void Send(bool cancelable)
        {
            PDEVICE_OBJECT lower = Device((_, irp) =>
            {
                IoMarkIrpPending(irp);
                held = irp;
                if (cancelable)
                {
                    IoSetCancelRoutine(irp, (_, i) =>
                    {
                        IoReleaseCancelSpinLock(i.CancelIrql);
                        Complete(i, STATUS_CANCELLED);
                    });
                }
                return STATUS_PENDING;
            });
            own = Packet(lower);
            OnCompletion(own, Routine);
            IoCallDriver(lower, own);
        }

        void LowerCompletes()
        {
            IoSetCancelRoutine(held, default(PDRIVER_CANCEL));
            Complete(held, STATUS_SUCCESS);
        }

        [Fact]
        [Spec("IMP-12")]
        public void Completed_before_the_time_is_over() => Run(() =>
        {
            Send(cancelable: true);
            LowerCompletes();
            TimedOut(() => { });
            Assert.Equal(["routine finishes", "too late to cancel"], Steps);
        });

        [Fact]
        [Spec("IMP-12")]
        public void Completed_while_the_canceller_is_about_to_cancel() => Run(() =>
        {
            Send(cancelable: true);
            TimedOut(LowerCompletes);
            Assert.Equal(["routine leaves it to the canceller", "canceller finishes"], Steps);
        });

        [Fact]
        [Spec("IMP-12")]
        public void Completed_by_the_cancellation() => Run(() =>
        {
            Send(cancelable: true);
            TimedOut(() => { });
            Assert.Equal(["routine leaves it to the canceller", "canceller finishes"], Steps);
            Assert.Equal(STATUS_CANCELLED, own.IoStatus.Status);
        });

        [Fact]
        [Spec("IMP-12")]
        public void Completed_after_the_cancellation_had_no_effect() => Run(() =>
        {
            Send(cancelable: false);
            TimedOut(() => { });
            LowerCompletes();
            Assert.Equal(["routine finishes"], Steps);
        });
    }
}
