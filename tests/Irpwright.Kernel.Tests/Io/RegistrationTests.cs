using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class RegistrationTests : DriverTest
{
    public static TheoryData<bool, bool, bool, byte> AllFlags => new()
    {
        { false, false, false, 0x00 },
        { true, false, false, 0x40 },
        { false, true, false, 0x80 },
        { false, false, true, 0x20 },
        { true, true, false, 0xC0 },
        { true, false, true, 0x60 },
        { false, true, true, 0xA0 },
        { true, true, true, 0xE0 },
    };

    [Theory, MemberData(nameof(AllFlags))]
    [Spec("REG-01"), Spec("REG-02")]
    public void Routine_context_and_the_whole_Control_byte_are_written_and_nothing_else(bool success, bool error, bool cancel, byte control) => Run(() =>
    {
        PIRP irp = IoAllocateIrp(2, false);
        IoSetNextIrpStackLocation(irp);
        Fill(Location(irp, 1), 0x48);
        Fill(Location(irp, 2), 0x48);
        byte[] expected = Bytes(irp, irp.Size);
        PIO_COMPLETION_ROUTINE routine = Routine(Keep("routine"));

        IoSetCompletionRoutine(irp, routine, new PVOID(0x1122334455667788), success, error, cancel);

        expected[0xD0 + 0x03] = control;
        BitConverter.TryWriteBytes(expected.AsSpan(0xD0 + 0x38), routine.Address);
        BitConverter.TryWriteBytes(expected.AsSpan(0xD0 + 0x40), 0x1122334455667788UL);
        Assert.Equal(expected, Bytes(irp, irp.Size));
    });

    [Fact]
    [Spec("REG-03")]
    public void Only_the_last_registration_counts() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, i) => Complete(i, STATUS_UNSUCCESSFUL));
        PIRP irp = Packet(device);
        IoSetCompletionRoutine(irp, Keep("first"), default, false, true, false);
        IoSetCompletionRoutine(irp, Keep("second"), default, true, false, false);
        IoSetCompletionRoutine(irp, Keep("third"), default, true, true, true);
        IoCallDriver(device, irp);
        Assert.Equal(["third"], Steps);
    });

    [Theory]
    [InlineData(STATUS_SUCCESS, false)]
    [InlineData(STATUS_UNSUCCESSFUL, false)]
    [InlineData(STATUS_CANCELLED, true)]
    [Spec("REG-04")]
    public void Without_flags_the_routine_never_runs_and_pending_climbs_by_itself(NTSTATUS status, bool cancel) => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            irp.Cancel = cancel;
            Complete(irp, status);
            return STATUS_PENDING;
        });
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            IoSetCompletionRoutine(irp, Keep("never"), default, false, false, false);
            return IoCallDriver(lower, irp);
        }, above: lower);
        PIRP irp = Packet(upper);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(upper, irp);
        Assert.Equal(["originator"], Steps);
        Assert.True(irp.PendingReturned);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("REG-05")]
    public void Copying_after_registering_loses_the_routine(bool copyFirst) => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            if (copyFirst) IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, Continue("upper"));
            if (!copyFirst) IoCopyCurrentIrpStackLocationToNext(irp);
            return IoCallDriver(lower, irp);
        }, above: lower);
        PIRP irp = Packet(upper);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(upper, irp);
        Assert.Equal(copyFirst ? ["upper", "originator"] : ["originator"], Steps);
    });

    public class After_a_skip : DriverTest
    {
        PDEVICE_OBJECT lower;
        PDEVICE_OBJECT skipping;
        PDEVICE_OBJECT seen;

        void CreateSkippingDriver()
        {
            lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            skipping = Device((_, irp) =>
            {
                IoSkipCurrentIrpStackLocation(irp);
                OnCompletion(irp, (device, _, _) =>
                {
                    seen = device;
                    Step("skipping");
                    return STATUS_CONTINUE_COMPLETION;
                });
                return IoCallDriver(lower, irp);
            }, above: lower);
        }

        [Fact]
        [Spec("REG-06")]
        public void A_registration_replaces_the_upper_drivers_routine_and_gets_its_device() => Run(() =>
        {
            CreateSkippingDriver();
            PDEVICE_OBJECT upper = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                OnCompletion(irp, Continue("upper"));
                return IoCallDriver(skipping, irp);
            }, above: skipping);
            PIRP irp = Packet(upper);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(upper, irp);
            Assert.Equal(["skipping", "originator"], Steps);
            Assert.Equal(upper, seen);
        });

        [Fact]
        [Spec("REG-06")]
        public void The_first_driver_replaces_the_originators_routine_and_gets_no_device() => Run(() =>
        {
            CreateSkippingDriver();
            seen = lower;
            PIRP irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, skipping, default, 0, null, StatusBlock());
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(skipping, irp);
            Assert.Equal(["skipping"], Steps);
            Assert.True(seen.IsNull);
        });
    }

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("REG-08")]
    public void Any_major_code_may_register_at_any_level_up_to_dispatch(byte irql) => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, Continue("upper"));
            return IoCallDriver(lower, irp);
        }, above: lower);
        for (byte major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            PIRP irp = Packet(upper, major);
            OnCompletion(irp, Keep("originator"));
            KeRaiseIrql(irql, out KIRQL old);
            IoCallDriver(upper, irp);
            KeLowerIrql(old);
        }
        Assert.Equal(Enumerable.Repeat<string[]>(["upper", "originator"], IRP_MJ_MAXIMUM_FUNCTION + 1).SelectMany(s => s), Steps);
    });

    [Fact]
    [Spec("REG-08")]
    public void A_routine_that_sends_the_packet_on_may_register_again() => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (_, i, _) =>
            {
                Step("first round");
                IoCopyCurrentIrpStackLocationToNext(i);
                OnCompletion(i, Continue("second round"));
                IoCallDriver(lower, i);
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
            return IoCallDriver(lower, irp);
        }, above: lower);
        PIRP irp = Packet(upper);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(upper, irp);
        Assert.Equal(["first round", "second round", "originator"], Steps);
    });

    /// <summary>IoSetCompletionRoutineEx.</summary>
    public class That_keeps_its_driver_loaded : DriverTest
    {
        PDEVICE_OBJECT lower;
        PDEVICE_OBJECT upper;

        /// <summary>A filter that registers with the Ex routine.</summary>
        void CreateStack(IO_COMPLETION_ROUTINE routine, bool onSuccess = true)
        {
            lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            upper = Device((device, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                NTSTATUS status = IoSetCompletionRoutineEx(device, irp, routine, new PVOID(0x77), onSuccess, false, false);
                return status.IsSuccess ? IoCallDriver(lower, irp) : Complete(irp, status);
            }, above: lower);
        }

        PIRP Send()
        {
            PIRP irp = Packet(upper);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(upper, irp);
            return irp;
        }

        [Theory]
        [InlineData(STATUS_CONTINUE_COMPLETION)]
        [InlineData(STATUS_MORE_PROCESSING_REQUIRED)]
        [Spec("REG-11"), Spec("REG-12")]
        public void Runs_with_its_own_context_and_its_answer_counts(NTSTATUS answer) => Run(() =>
        {
            CreateStack((device, irp, context) =>
            {
                Assert.Equal(upper, device);
                Assert.Equal(0x77UL, context.Address);
                Step("upper");
                return answer;
            });
            int before = Machine.Pool.LiveBlocks.Count;
            PIRP irp = Send();
            Assert.Equal(answer == STATUS_MORE_PROCESSING_REQUIRED ? ["upper"] : ["upper", "originator"], Steps);
            IoFreeIrp(irp);
            Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
        });

        [Fact]
        [Spec("REG-11")]
        public void Fails_without_memory_and_registers_nothing() => Run(() =>
        {
            CreateStack(Keep("never"));
            PIRP irp = Packet(upper);
            OnCompletion(irp, Keep("originator"));
            Machine.Pool.FailAllocation = (_, _) => true;
            Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, IoCallDriver(upper, irp));
            Machine.Pool.FailAllocation = null;
            Assert.Equal(["originator"], Steps);
        });

        [Fact]
        [Spec("REG-12")]
        public void Keeps_the_device_while_it_runs() => Run(() =>
        {
            CreateStack((device, _, _) =>
            {
                IoDetachDevice(lower);
                IoDeleteDevice(device);
                Assert.Equal(IO_TYPE_DEVICE, device.Type);
                return STATUS_CONTINUE_COMPLETION;
            });
            Send();
            Assert.False(Machine.Pool.TryFind(upper.Address - 0x30, out _));
        });

        [Fact]
        [Spec("REG-13")]
        public void Leaks_its_registration_when_it_never_runs() => Run(() =>
        {
            CreateStack(Keep("never"), onSuccess: false);
            int before = Machine.Pool.LiveBlocks.Count;
            IoFreeIrp(Send());
            Assert.Equal(before + 1, Machine.Pool.LiveBlocks.Count);
        });
    }
}
