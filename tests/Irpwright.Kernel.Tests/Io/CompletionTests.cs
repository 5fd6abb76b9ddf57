using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class CompletionTests : DriverTest
{
    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(APC_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("CMP-01"), Spec("CMP-20")]
    public void Routines_run_before_completion_returns_in_its_thread_at_its_level(byte irql) => Run(() =>
    {
        KernelThread? completing = null;
        IO_COMPLETION_ROUTINE Look(string name, NTSTATUS answer) => (_, _, _) =>
        {
            Assert.Equal(irql, KeGetCurrentIrql());
            Assert.Same(completing, Machine.CurrentThread);
            Step(name);
            return answer;
        };
        PIRP held = default;
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            held = irp;
            return STATUS_PENDING;
        });
        PDEVICE_OBJECT top = Filter(Filter(bottom, Look("middle", STATUS_SUCCESS)), Look("top", STATUS_SUCCESS));
        PIRP irp = Packet(top);
        OnCompletion(irp, Look("originator", STATUS_MORE_PROCESSING_REQUIRED));
        IoCallDriver(top, irp);
        PKEVENT done = Event();
        Start(() =>
        {
            completing = Machine.CurrentThread;
            KeRaiseIrql(irql, out KIRQL old);
            IoCompleteRequest(held, IO_NO_INCREMENT);
            Assert.Equal(irql, KeGetCurrentIrql());
            Step("returned");
            KeLowerIrql(old);
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        Assert.Equal(["middle", "top", "originator", "returned"], Steps);
    });

    public class Of_what_is_no_packet_in_flight : DriverTest
    {
        [Fact]
        [Spec("CMP-02"), Spec("CMP-24")]
        public void A_second_completion_stops_the_machine_before_any_routine_runs()
        {
            PIRP irp = default;
            BugCheckReport report = Stops(MULTIPLE_IRP_COMPLETE_REQUESTS, () =>
            {
                PDEVICE_OBJECT device = Device((_, i) => Complete(i, STATUS_SUCCESS));
                irp = Packet(device);
                irp.Flags = IRP_CLOSE_OPERATION; // whose final stage leaves the packet to its sender
                OnCompletion(irp, Continue("originator"));
                IoCallDriver(device, irp);
                Assert.Equal(irp.StackCount + 2, irp.CurrentLocation);
                Location(irp, 1).Control = SL_INVOKE_ON_SUCCESS;
                IoCompleteRequest(irp, IO_NO_INCREMENT);
            });
            Assert.Equal(irp.Address, report.Parameter1);
            Assert.Equal(["originator"], Steps);
        }

        [Fact]
        [Spec("CMP-02")]
        public void Something_of_another_type_stops_the_machine()
        {
            PIRP irp = default;
            BugCheckReport report = Stops(MULTIPLE_IRP_COMPLETE_REQUESTS, () =>
            {
                irp = IoAllocateIrp(1, false);
                irp.Type = IO_TYPE_DEVICE;
                irp.CurrentLocation = 1;
                irp.Tail.Overlay.CurrentStackLocation = Location(irp, 1);
                IoCompleteRequest(irp, IO_NO_INCREMENT);
            });
            Assert.Equal(irp.Address, report.Parameter1);
        }

        [Fact]
        [Spec("CMP-24")]
        public void A_finished_walk_leaves_the_packet_two_beyond_its_highest_location() => Run(() =>
        {
            PDEVICE_OBJECT device = Device((_, i) => Complete(i, STATUS_SUCCESS));
            PIRP irp = Packet(device, spareLocations: 2);
            irp.Flags = IRP_CLOSE_OPERATION;
            IoSetNextIrpStackLocation(irp);
            IoSetNextIrpStackLocation(irp);
            IoCallDriver(device, irp);
            Assert.Equal(5, irp.CurrentLocation);
            Assert.Equal(irp.Address + irp.Size + 0x48, irp.Tail.Overlay.CurrentStackLocation.Address);
        });
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [Spec("CMP-03"), Spec("CMP-04")]
    public void Each_higher_location_is_visited_once_the_lowest_first(int layers) => Run(() =>
    {
        PDEVICE_OBJECT top = Lowest(Completing.Inline, STATUS_SUCCESS);
        for (int i = 1; i < layers; i++)
        {
            int own = i + 1;
            top = Filter(top, (device, irp, context) =>
            {
                // What the registering driver knows as its own is current again.
                Assert.Equal(own, irp.CurrentLocation);
                Assert.Equal(Location(irp, own), IoGetCurrentIrpStackLocation(irp));
                Assert.Equal(device, IoGetCurrentIrpStackLocation(irp).DeviceObject);
                Step($"location {own}");
                return STATUS_SUCCESS;
            });
        }
        PIRP irp = Packet(top);
        OnCompletion(irp, (_, i, _) =>
        {
            Assert.Equal(layers + 1, i.CurrentLocation);
            Step("originator");
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        IoCallDriver(top, irp);
        Assert.Equal([.. Enumerable.Range(2, layers - 1).Select(n => $"location {n}"), "originator"], Steps);
    });

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [Spec("CMP-05")]
    public void PendingReturned_is_that_of_the_location_left_true_or_false(bool lowerMarks, bool upperMarks) => Run(() =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            if (lowerMarks) IoMarkIrpPending(irp);
            return Complete(irp, STATUS_SUCCESS);
        });
        PDEVICE_OBJECT top = Filter(bottom, (_, irp, _) =>
        {
            Step($"upper {(bool)irp.PendingReturned}");
            if (upperMarks) IoMarkIrpPending(irp);
            return STATUS_SUCCESS;
        });
        PIRP irp = Packet(top);
        irp.PendingReturned = !lowerMarks; // stale
        OnCompletion(irp, (_, i, _) =>
        {
            Step($"originator {(bool)i.PendingReturned}");
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        IoCallDriver(top, irp);
        Assert.Equal([$"upper {lowerMarks}", $"originator {upperMarks}"], Steps);
    });

    public class The_decision_to_run_a_routine : DriverTest
    {
        public static readonly NTSTATUS[] Statuses =
        [
            STATUS_SUCCESS, STATUS_REPARSE, (NTSTATUS)0x40000000, (NTSTATUS)0x7FFFFFFF, STATUS_BUFFER_OVERFLOW,
            STATUS_UNSUCCESSFUL, STATUS_CANCELLED,
        ];

        public static TheoryData<byte, NTSTATUS, bool> Matrix()
        {
            var data = new TheoryData<byte, NTSTATUS, bool>();
            foreach (byte flags in (ReadOnlySpan<byte>)[0x00, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0, 0xE0])
            {
                foreach (NTSTATUS status in Statuses)
                {
                    data.Add(flags, status, false);
                    data.Add(flags, status, true);
                }
            }
            return data;
        }

        /// <summary>Whether the routine of a location with these flags ran.</summary>
        bool Runs(byte flags, NTSTATUS status, bool cancel)
        {
            int calls = 0;
            PDEVICE_OBJECT lower = Device((_, irp) =>
            {
                irp.Cancel = cancel;
                return Complete(irp, status);
            });
            PDEVICE_OBJECT upper = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                IoSetCompletionRoutine(irp, (_, _, _) =>
                {
                    calls++;
                    return STATUS_CONTINUE_COMPLETION;
                }, default, (flags & 0x40) != 0, (flags & 0x80) != 0, (flags & 0x20) != 0);
                return IoCallDriver(lower, irp);
            }, above: lower);
            PIRP irp = Packet(upper);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(upper, irp);
            Assert.InRange(calls, 0, 1);
            return calls == 1;
        }

        // Written out as the documentation does, case by case, not as the kernel computes it.
        [Theory, MemberData(nameof(Matrix))]
        [Spec("CMP-06"), Spec("CMP-07"), Spec("CMP-08")]
        public void Depends_on_severity_and_the_cancel_flag_only(byte flags, NTSTATUS status, bool cancel) => Run(() =>
        {
            bool onSuccess = (flags & 0x40) != 0 && (uint)status <= 0x7FFFFFFF;
            bool onError = (flags & 0x80) != 0 && (uint)status >= 0x80000000;
            bool onCancel = (flags & 0x20) != 0 && cancel;
            Assert.Equal(onSuccess || onError || onCancel, Runs(flags, status, cancel));
        });

        [Theory]
        [InlineData(0x00000000, true)]
        [InlineData(0x40000000, true)]
        [InlineData(0x80000005, false)]
        [InlineData(0xC0000001, false)]
        [Spec("CMP-06"), Spec("CMP-07")]
        public void On_success_includes_informational_statuses_but_no_warnings(uint status, bool runs) =>
            Run(() => Assert.Equal(runs, Runs(0x40, (NTSTATUS)status, cancel: false)));

        [Theory]
        [InlineData(0x00000000, false)]
        [InlineData(0x80000005, true)]
        [InlineData(0xC0000001, true)]
        [Spec("CMP-06"), Spec("CMP-07")]
        public void On_error_includes_warnings(uint status, bool runs) =>
            Run(() => Assert.Equal(runs, Runs(0x80, (NTSTATUS)status, cancel: false)));

        [Theory]
        [InlineData(0x00000000, true, true)]
        [InlineData(0xC0000120, false, false)]
        [InlineData(0xC0000120, true, true)]
        [Spec("CMP-06"), Spec("CMP-08")]
        public void On_cancel_means_the_flag_not_the_status(uint status, bool cancel, bool runs) =>
            Run(() => Assert.Equal(runs, Runs(0x20, (NTSTATUS)status, cancel)));

        [Theory]
        [InlineData(true)]
        [InlineData(false)]
        [Spec("CMP-06"), Spec("CMP-08")]
        public void On_success_or_cancel_with_STATUS_CANCELLED_needs_the_flag(bool cancel) =>
            Run(() => Assert.Equal(cancel, Runs(0x60, STATUS_CANCELLED, cancel)));

        [Fact]
        [Spec("CMP-09")]
        public void Is_made_afresh_after_a_routine_changed_the_status() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_UNSUCCESSFUL));
            PDEVICE_OBJECT middle = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                IoSetCompletionRoutine(irp, (_, i, _) =>
                {
                    Step("middle on error");
                    i.IoStatus.Status = STATUS_SUCCESS;
                    return STATUS_CONTINUE_COMPLETION;
                }, default, false, true, false);
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                IoSetCompletionRoutine(irp, (_, i, _) =>
                {
                    Step("top on success");
                    i.IoStatus.Status = STATUS_UNSUCCESSFUL;
                    return STATUS_CONTINUE_COMPLETION;
                }, default, true, false, false);
                return IoCallDriver(middle, irp);
            }, above: middle);
            PIRP irp = Packet(top);
            IoSetCompletionRoutine(irp, Keep("originator on error"), default, false, true, false);
            IoCallDriver(top, irp);
            Assert.Equal(["middle on error", "top on success", "originator on error"], Steps);
        });

        [Fact]
        [Spec("CMP-09")]
        public void Is_made_afresh_after_a_routine_saw_a_cancellation() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                IoSetCompletionRoutine(irp, (_, i, _) =>
                {
                    i.Cancel = true;
                    return STATUS_CONTINUE_COMPLETION;
                }, default, true, false, false);
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            PIRP irp = Packet(top);
            IoSetCompletionRoutine(irp, Keep("originator on cancel"), default, false, false, true);
            IoCallDriver(top, irp);
            Assert.Equal(["originator on cancel"], Steps);
        });
    }

    [Fact]
    [Spec("CMP-10"), Spec("CMP-11")]
    public void A_routine_receives_its_drivers_device_and_its_context_the_originator_no_device() => Run(() =>
    {
        PIRP sent = default;
        PDEVICE_OBJECT received = default;
        PDEVICE_OBJECT top = Filter(Lowest(Completing.Inline, STATUS_SUCCESS), (device, irp, context) =>
        {
            Assert.Equal(sent, irp);
            Assert.Equal(0x1111222233334444UL, context.Address);
            received = device;
            return STATUS_SUCCESS;
        }, new PVOID(0x1111222233334444));
        sent = Packet(top);
        OnCompletion(sent, (device, irp, context) =>
        {
            Assert.True(device.IsNull);
            Assert.Equal(sent, irp);
            Assert.Equal(0xFFFFFFFFFFFFFFFFUL, context.Address);
            Step("originator");
            return STATUS_MORE_PROCESSING_REQUIRED;
        }, new PVOID(ulong.MaxValue));
        IoCallDriver(top, sent);
        Assert.Equal(top, received);
        Assert.Equal(["originator"], Steps);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("CMP-12")]
    public void An_originator_with_a_location_of_its_own_receives_the_device_it_stored_there(bool stores) => Run(() =>
    {
        PDEVICE_OBJECT target = Lowest(Completing.Inline, STATUS_SUCCESS);
        PDEVICE_OBJECT own = Lowest(Completing.Inline, STATUS_SUCCESS);
        PIRP irp = Packet(target, spareLocations: 1);
        IoSetNextIrpStackLocation(irp);
        if (stores) IoGetCurrentIrpStackLocation(irp).DeviceObject = own;
        IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
        OnCompletion(irp, (device, _, _) =>
        {
            Assert.Equal(stores ? own : default, device);
            Step("originator");
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        IoCallDriver(target, irp);
        Assert.Equal(["originator"], Steps);
    });

    [Fact]
    [Spec("CMP-13")]
    public void In_a_routine_the_lower_parameters_are_gone_and_the_outcome_is_not() => Run(() =>
    {
        PDEVICE_OBJECT top = Filter(Lowest(Completing.Inline, STATUS_TIMEOUT, 77), (_, irp, _) =>
        {
            Assert.Equal(new byte[0x20], Bytes(new PVOID(Location(irp, 1).Address + 8), 0x20));
            Assert.Equal((SL_CONTROL)0, Location(irp, 1).Control);
            Assert.Equal(4096U, Location(irp, 2).Parameters.Read.Length);
            Assert.Equal(STATUS_TIMEOUT, irp.IoStatus.Status);
            Assert.Equal(77UL, irp.IoStatus.Information);
            Step("top");
            return STATUS_SUCCESS;
        });
        PIRP irp = Packet(top);
        IoGetNextIrpStackLocation(irp).Parameters.Read.Length = 4096;
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(top, irp);
        Assert.Equal(["top", "originator"], Steps);
    });

    [Theory]
    [InlineData(STATUS_SUCCESS)]
    [InlineData(STATUS_PENDING)]
    [InlineData(STATUS_UNSUCCESSFUL)]
    [InlineData(STATUS_BUFFER_OVERFLOW)]
    [InlineData(unchecked((NTSTATUS)0xC0000017))]
    [Spec("CMP-14")]
    public void Every_answer_but_one_means_continue_and_is_not_the_status(NTSTATUS answer) => Run(() =>
    {
        PDEVICE_OBJECT top = Filter(Lowest(Completing.Inline, STATUS_NO_SUCH_DEVICE), (_, _, _) => answer);
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(top, irp);
        Assert.Equal(["originator"], Steps);
        Assert.Equal(STATUS_NO_SUCH_DEVICE, irp.IoStatus.Status);
    });

    public class When_a_routine_keeps_the_packet : DriverTest
    {
        [Fact]
        [Spec("CMP-15")]
        public void Nobody_reads_or_writes_it_after_the_routine() => Run(() =>
        {
            int size = IoSizeOfIrp(2);
            byte[] left = [];
            PDEVICE_OBJECT lower = Device((_, irp) =>
            {
                IoCompleteRequest(irp, IO_NO_INCREMENT);
                Assert.Equal(left, Bytes(irp, size));
                Step("lower completed");
                return STATUS_SUCCESS;
            });
            PDEVICE_OBJECT upper = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, (_, i, _) =>
                {
                    // As if it were freed and its memory used for something else.
                    Fill(i, size);
                    left = Bytes(i, size);
                    return STATUS_MORE_PROCESSING_REQUIRED;
                });
                return IoCallDriver(lower, irp);
            }, above: lower);
            PIRP irp = new(Memory(size).Address);
            IoInitializeIrp(irp, (ushort)size, 2);
            OnCompletion(irp, Keep("never"));
            IoCallDriver(upper, irp);
            Assert.Equal(["lower completed"], Steps);
        });

        [Fact]
        [Spec("CMP-16")]
        public void Completing_it_again_goes_on_above_and_runs_no_routine_twice() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            PDEVICE_OBJECT middle = Device((device, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, Keep("middle"));
                IoCallDriver(bottom, irp);
                Assert.Equal(2, irp.CurrentLocation);
                Assert.Equal(device, IoGetCurrentIrpStackLocation(irp).DeviceObject);
                Step("middle completes");
                return Complete(irp, STATUS_SUCCESS);
            }, above: bottom);
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, Continue("top"));
                return IoCallDriver(middle, irp);
            }, above: middle);
            PIRP irp = Packet(top);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(top, irp);
            Assert.Equal(["middle", "middle completes", "top", "originator"], Steps);
        });

        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("CMP-16")]
        public void Another_thread_may_complete_it(Scheduling scheduling) => Run(scheduling, () =>
        {
            PKEVENT over = Event();
            PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoMarkIrpPending(irp);
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, (_, i, _) =>
                {
                    Start(() => Complete(i, STATUS_SUCCESS, 9));
                    return STATUS_MORE_PROCESSING_REQUIRED;
                });
                IoCallDriver(bottom, irp);
                return STATUS_PENDING;
            }, above: bottom);
            PIRP irp = Packet(top);
            OnCompletion(irp, (_, i, _) =>
            {
                Assert.True(i.PendingReturned);
                KeSetEvent(over, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
            Assert.Equal(STATUS_PENDING, IoCallDriver(top, irp));
            Wait(over);
            Assert.Equal(9UL, irp.IoStatus.Information);
        });
    }

    public class Pending : DriverTest
    {
        PDEVICE_OBJECT Marking() => Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            Complete(irp, STATUS_SUCCESS);
            return STATUS_PENDING;
        });

        [Theory]
        [InlineData(false)] // no routine registered
        [InlineData(true)] // a routine whose condition is not met
        [Spec("CMP-17")]
        public void Climbs_by_itself_where_no_routine_was_invoked(bool registered) => Run(() =>
        {
            PDEVICE_OBJECT bottom = Marking();
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                if (registered) IoSetCompletionRoutine(irp, Keep("never"), default, false, true, true);
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            PIRP irp = Packet(top);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(top, irp);
            Assert.True(irp.PendingReturned);
            Assert.Equal(["originator"], Steps);
        });

        [Theory]
        [InlineData(false)]
        [InlineData(true)]
        [Spec("CMP-18")]
        public void Ends_at_a_routine_that_does_not_mark_again(bool marks) => Run(() =>
        {
            PDEVICE_OBJECT bottom = Marking();
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, (_, i, _) =>
                {
                    Assert.True(i.PendingReturned);
                    if (marks) IoMarkIrpPending(i);
                    return STATUS_CONTINUE_COMPLETION;
                });
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            PIRP irp = Packet(top);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(top, irp);
            Assert.Equal(marks, (bool)irp.PendingReturned);
        });

        [Fact]
        [Spec("CMP-19")]
        public void Is_written_nowhere_beyond_the_top() => Run(() =>
        {
            PDEVICE_OBJECT device = Marking();
            int size = IoSizeOfIrp(1);
            PIRP irp = new(Memory(size + 0x60).Address);
            GuestMemory.Write(irp.Address + (ulong)size, 0x60).Fill(0xAA); // in which the pending bit would show
            byte[] behind = Bytes(new PVOID(irp.Address + (ulong)size), 0x60);
            IoInitializeIrp(irp, (ushort)size, 1);
            IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
            irp.Flags = IRP_CLOSE_OPERATION;
            IoCallDriver(device, irp);
            Assert.True(irp.PendingReturned);
            Assert.Equal(behind, Bytes(new PVOID(irp.Address + (ulong)size), 0x60));
        });
    }

    public class A_routine : DriverTest
    {
        [Fact]
        [Spec("CMP-21")]
        public void May_complete_its_own_packet_and_then_keep_it() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Device((_, irp) =>
            {
                NTSTATUS status = Complete(irp, STATUS_SUCCESS);
                Step("outer returned");
                return status;
            });
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, (_, i, _) =>
                {
                    Step("top begins");
                    Complete(i, STATUS_SUCCESS, 3);
                    Step("top ends");
                    return STATUS_MORE_PROCESSING_REQUIRED;
                });
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            PIRP irp = Packet(top);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(top, irp);
            Assert.Equal(["top begins", "originator", "top ends", "outer returned"], Steps);
            Assert.Equal(3UL, irp.IoStatus.Information);
        });

        [Fact]
        [Spec("CMP-22")]
        public void May_send_its_packet_again_which_completes_before_it_returns() => Run(() =>
        {
            int round = 0;
            PDEVICE_OBJECT bottom = Device((_, irp) =>
            {
                Assert.Equal(1, irp.CurrentLocation);
                return Complete(irp, ++round == 1 ? STATUS_DEVICE_BUSY : STATUS_SUCCESS);
            });
            PDEVICE_OBJECT top = Device((_, irp) =>
            {
                IO_COMPLETION_ROUTINE? again = null;
                again = (_, i, _) =>
                {
                    Step($"top {i.IoStatus.Status.Name}");
                    Assert.Equal(2, i.CurrentLocation);
                    if (i.IoStatus.Status.IsSuccess) return STATUS_CONTINUE_COMPLETION;
                    IoCopyCurrentIrpStackLocationToNext(i);
                    OnCompletion(i, again!);
                    IoCallDriver(bottom, i);
                    Step("sent again");
                    return STATUS_MORE_PROCESSING_REQUIRED;
                };
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, again);
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            PIRP irp = Packet(top);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(top, irp);
            Assert.Equal(["top STATUS_DEVICE_BUSY", "top STATUS_SUCCESS", "originator", "sent again"], Steps);
        });

        [Fact]
        [Spec("CMP-23")]
        public void May_send_and_complete_other_packets_and_free_its_own() => Run(() =>
        {
            PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            PIRP waiting = default;
            PDEVICE_OBJECT pending = Device((_, irp) =>
            {
                IoMarkIrpPending(irp);
                waiting = irp;
                return STATUS_PENDING;
            });
            PIRP held = Packet(pending);
            OnCompletion(held, Keep("held"));
            IoCallDriver(pending, held);

            PIRP irp = Packet(device);
            OnCompletion(irp, (_, i, _) =>
            {
                Complete(waiting, STATUS_SUCCESS);
                PIRP other = Packet(device);
                OnCompletion(other, Keep("other"));
                IoCallDriver(device, other);
                IoFreeIrp(other);
                IoFreeIrp(i);
                Step("routine");
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
            Assert.Equal(STATUS_SUCCESS, IoCallDriver(device, irp));
            Assert.Equal(["held", "other", "routine"], Steps);
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Spec("CMP-25")]
    public void With_no_location_left_completion_visits_none_and_goes_to_the_final_stage(bool pendingReturned) => Run(() =>
    {
        PKEVENT done = Event();
        PIRP irp = IoAllocateIrp(2, false);
        Fill(Location(irp, 1), 0x90);
        byte[] locations = Bytes(Location(irp, 1), 0x90);
        irp.Flags = IRP_CLOSE_OPERATION;
        irp.UserEvent = done;
        irp.PendingReturned = pendingReturned;
        Complete(irp, STATUS_SUCCESS);
        Assert.Equal(4, irp.CurrentLocation);
        Assert.Equal(pendingReturned, (bool)irp.PendingReturned);
        Assert.Equal(locations, Bytes(Location(irp, 1), 0x90));
        Assert.True(IsSet(done));
    });

    [Fact]
    [Spec("CMP-26")]
    public void A_driver_that_skipped_is_transparent_on_the_way_up() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            Complete(irp, STATUS_SUCCESS);
            return STATUS_PENDING;
        });
        PDEVICE_OBJECT skipping = Device((_, irp) =>
        {
            IoSkipCurrentIrpStackLocation(irp);
            return IoCallDriver(bottom, irp);
        }, above: bottom);
        PDEVICE_OBJECT top = default;
        top = Filter(skipping, (device, irp, _) =>
        {
            Assert.Equal(top, device);
            Assert.Equal(3, irp.CurrentLocation);
            Assert.True(irp.PendingReturned);
            Step("top");
            return STATUS_SUCCESS;
        });
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        Assert.Equal(STATUS_PENDING, IoCallDriver(top, irp));
        Assert.Equal(["top", "originator"], Steps);
    });

    sealed class BoostObserver : KernelObserver
    {
        internal readonly List<sbyte> Boosts = [];

        public override void On(in IrpCompleting e) => Boosts.Add(e.PriorityBoost);
    }

    public class The_priority_boost : DriverTest
    {
        readonly BoostObserver observer = new();

        public The_priority_boost() => Observer = observer;

        [Theory]
        [InlineData(IO_NO_INCREMENT)]
        [InlineData(IO_DISK_INCREMENT)]
        [InlineData(8)] // IO_SOUND_INCREMENT
        [Spec("CMP-29")]
        public void Is_carried_along_and_changes_nothing_in_the_walk(sbyte boost) => Run(() =>
        {
            PDEVICE_OBJECT bottom = Device((_, irp) =>
            {
                irp.IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(irp, boost);
                return STATUS_SUCCESS;
            });
            PIRP irp = Packet(bottom);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(bottom, irp);
            Assert.Equal(["originator"], Steps);
            Assert.Equal([boost], observer.Boosts);
        });
    }
}
