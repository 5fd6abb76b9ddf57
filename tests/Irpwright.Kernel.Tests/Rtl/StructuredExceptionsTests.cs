using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

/// <summary>Raising and handling in C# drivers; compiled ones have tests beside the processor.</summary>
public sealed class StructuredExceptionsTests : DriverTest
{
    static NtStatusException Raised(Action action) => Assert.Throws<NtStatusException>(action);

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_driver_catches_what_it_raises(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.Equal(STATUS_DEVICE_BUSY, Raised(() => ExRaiseStatus(STATUS_DEVICE_BUSY)).Status);
        Assert.Equal(STATUS_DEVICE_BUSY, Raised(() => RtlRaiseStatus(STATUS_DEVICE_BUSY)).Status);
        Assert.Equal(STATUS_ACCESS_VIOLATION, Raised(() => ExRaiseAccessViolation()).Status);
        Assert.Equal(STATUS_DATATYPE_MISALIGNMENT, Raised(() => ExRaiseDatatypeMisalignment()).Status);
    });

    [Fact]
    public void A_record_is_raised_with_its_parameters_and_no_more_than_fifteen() => Run(() =>
    {
        var record = new PEXCEPTION_RECORD(Memory(EXCEPTION_RECORD.SizeOf).Address);
        record.ExceptionCode = STATUS_ACCESS_DENIED;
        record.NumberParameters = 2;
        record.Value.ExceptionInformation[0] = 7;
        record.Value.ExceptionInformation[1] = ulong.MaxValue;
        NtStatusException raised = Raised(() => RtlRaiseException(record));
        Assert.Equal(STATUS_ACCESS_DENIED, raised.Status);
        Assert.Equal([7, ulong.MaxValue], raised.Parameters);

        record.NumberParameters = 1000;
        Assert.Equal(15, Raised(() => RtlRaiseException(record)).Parameters.Count);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_bad_user_address_is_an_access_violation_that_a_driver_can_catch(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.Equal([0, 0x44], Raised(() => _ = default(PIRP).Cancel).Parameters);
        ulong user = Machine.Memory.AllocateUser(4096);
        Machine.Memory.Protect(user, 4096, PageAccess.Read);
        Assert.Equal([1, user], Raised(() => GuestMemory.Write(user, 1).Clear()).Parameters);
        Assert.Equal([0, user + 4096], Raised(() => RtlCopyMemory(Memory(16), new PVOID(user + 4090), 16)).Parameters);
        Machine.Memory.FreeUser(user, 4096);
    });

    [Fact]
    public void A_bad_kernel_address_cannot_be_caught_as_a_status()
    {
        BugCheckReport report = Stops(BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, () =>
        {
            try
            {
                GuestMemory.Ref<int>(0xFFFFB000_00000000) = 1;
            }
            catch (NtStatusException)
            {
                Step("caught");
            }
        });
        Assert.Equal(0xFFFFB000_00000000, report.Parameter1);
        Assert.Empty(Steps);
    }

    /// <summary>What was done, by a thread of which kind or in a DPC, at which IRQL; the bug check and its first parameters.</summary>
    public static TheoryData<string, string, byte, BugCheckCode, ulong[]> Ends => new()
    {
        { "raise", "user", PASSIVE_LEVEL, BugCheckCode.SYSTEM_SERVICE_EXCEPTION, [0x80000011, 0, 0, 0] },
        { "raise", "user", DISPATCH_LEVEL, BugCheckCode.SYSTEM_SERVICE_EXCEPTION, [0x80000011, 0, 0, 0] },
        { "raise", "system", PASSIVE_LEVEL, BugCheckCode.SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, [0x80000011, 0, 0, 0] },
        { "raise", "system", APC_LEVEL, BugCheckCode.SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, [0x80000011, 0, 0, 0] },
        { "raise", "dpc", DISPATCH_LEVEL, BugCheckCode.KMODE_EXCEPTION_NOT_HANDLED, [0x80000011, 0, 0, 0] },
        { "divide", "system", PASSIVE_LEVEL, BugCheckCode.SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, [0xC0000094, 0, 0, 0] },
        { "divide", "dpc", DISPATCH_LEVEL, BugCheckCode.KMODE_EXCEPTION_NOT_HANDLED, [0xC0000094, 0, 0, 0] },
        { "user address", "user", PASSIVE_LEVEL, BugCheckCode.SYSTEM_SERVICE_EXCEPTION, [0xC0000005, 0, 0, 0] },
        { "user address", "system", APC_LEVEL, BugCheckCode.SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, [0xC0000005, 0, 0, 0] },
        { "user address", "user", DISPATCH_LEVEL, BugCheckCode.DRIVER_IRQL_NOT_LESS_OR_EQUAL, [0x7000, 2, 0, 0] },
        { "user address", "dpc", DISPATCH_LEVEL, BugCheckCode.DRIVER_IRQL_NOT_LESS_OR_EQUAL, [0x7000, 2, 0, 0] },
        { "no address", "user", DISPATCH_LEVEL, BugCheckCode.SYSTEM_SERVICE_EXCEPTION, [0xC0000005, 0, 0, 0] },
        { "no address", "dpc", DISPATCH_LEVEL, BugCheckCode.KMODE_EXCEPTION_NOT_HANDLED, [0xC0000005, 0, 0, ulong.MaxValue] },
        { "kernel address", "system", PASSIVE_LEVEL, BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, [0xFFFFB000_00000000, 0, 0, 0] },
        { "kernel address", "user", DISPATCH_LEVEL, BugCheckCode.DRIVER_IRQL_NOT_LESS_OR_EQUAL, [0xFFFFB000_00000000, 2, 0, 0] },
        { "kernel routine", "user", PASSIVE_LEVEL, BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, [0xFFFFB000_00000000, 2, 0, 0] },
        { "kernel routine", "dpc", DISPATCH_LEVEL, BugCheckCode.IRQL_NOT_LESS_OR_EQUAL, [0xFFFFB000_00000000, 2, 1, 0] },
    };

    [Theory]
    [MemberData(nameof(Ends))]
    public void What_nobody_handles_ends_in_the_bug_check_of_its_place(string what, string where, byte irql, BugCheckCode code, ulong[] parameters)
    {
        int zero = 0;
        Action act = what switch
        {
            "raise" => () => ExRaiseStatus(STATUS_DEVICE_BUSY),
            "divide" => () => _ = 1 / zero,
            "user address" => () => _ = GuestMemory.Ref<int>(0x7000),
            "no address" => () => _ = GuestMemory.Ref<int>(0x0123_0000_0000_0000),
            "kernel address" => () => _ = GuestMemory.Ref<int>(0xFFFFB000_00000000),
            _ => () => RtlZeroMemory(new PVOID(0xFFFFB000_00000000), 4),
        };
        BugCheckReport report = Stops(code, () =>
        {
            switch (where)
            {
                case "user": Act(); break;
                case "system": Start(Act); Wait(Event()); break;
                default: InDpc(); break;
            }
        });
        Assert.Equal(parameters, (ulong[])[report.Parameter1, report.Parameter2, report.Parameter3, report.Parameter4]);

        void Act()
        {
            KeRaiseIrql(irql, out _);
            act();
        }

        void InDpc()
        {
            var dpc = new PKDPC(Memory(KDPC.SizeOf).Address);
            KeInitializeDpc(dpc, (_, _, _, _) => Act(), default);
            KeInsertQueueDpc(dpc, default, default);
        }
    }

    [Fact]
    public void Addresses_outside_of_images_belong_to_no_function() => Run(() =>
    {
        Assert.True(RtlLookupFunctionEntry(Memory(16).Address, out ulong image, default).IsNull);
        Assert.Equal(0UL, image);
        Assert.True(RtlPcToFileHeader(Memory(16), out PVOID header).IsNull);
        Assert.True(header.IsNull);
    });
}
