using Irpwright.Guest;
using Irpwright.Guest.Images;

namespace Irpwright.Verification.Tests;

/// <summary>
/// Goal: memory errors of compiled drivers are found where they happen, and nothing else is. Method: tests/native/memory.c does each of
/// them wrong, and the nearest code right, in a machine that checks memory; tests/native/usermemory.c does so with user memory.
/// </summary>
public sealed class MemoryTests : IDisposable
{
    // Functions of the driver: twice the number of its case, and one more for the right form.
    const uint FirstCase = 0x800, FirstUserCase = 0xA00, FirstReadMode = 0xF00;

    enum ReadMode : uint { PassDown, TouchSent, TakeBack, TouchCompleted, LeaveRequest, AwaitRequest, LeaveContext, AwaitContext }

    readonly Machine machine;
    readonly Verifier verifier;
    readonly DeviceStack stack;

    public MemoryTests()
    {
        machine = new Machine(new MachineOptions { Strategy = Bench.Here(), ChecksMemory = true });
        verifier = Verifier.Attach(machine);
        var guest = new GuestDrivers(machine);
        var device = new ScriptedDevice
        {
            Otherwise = static request => request.MajorFunction == IRP_MJ_READ ? Respond.After(TimeSpan.FromMilliseconds(200)) : Respond.Now(),
        };
        stack = DeviceStack.Build(machine, device, Start(guest, "memory"), Start(guest, "usermemory"));
    }

    static Driver Start(GuestDrivers guest, string name)
    {
        string path = Path.Combine(TestFiles.FindFolder("tests", "native", "bin"), $"{name}.sys");
        Assert.True(guest.TryRead(path, out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
        Assert.Equal(STATUS_SUCCESS, guest.Start(image, out Driver? driver));
        return driver!;
    }

    public void Dispose() => machine.Dispose();

    /// <summary>The rules that memory.c breaks.</summary>
    internal static string[] Rules => [.. Cases.Concat(UserCases).Select(row => row.Data.Item2), "IwTouchedForeignIrp", "IwStackLeftInFlight"];

    // Other rules see some of it, too, when it has consequences.
    IReadOnlyList<Violation> MemoryViolations => [.. verifier.Violations.Where(v => v.Rule.Family == RuleFamily.Memory)];

    public static TheoryData<int, string, string> Cases => new()
    {
        { 0, "IwUsedAfterFree", "read byte 8 of the pool block 'Test', 64 bytes" },
        { 1, "IwUsedAfterFree", "wrote byte 0 of the pool block 'Test', 64 bytes" },
        { 2, "IwOutOfBounds", "wrote the byte 1 behind the end of the pool block 'Test', 24 bytes" },
        { 3, "IwOutOfBounds", "read the byte 1 before the beginning of the pool block 'Test', 32 bytes" },
        { 4, "IwOutOfBounds", "read the byte 1 behind the end of the pool block 'Test', 5000 bytes" },
        { 5, "IwOutOfBounds", "read the byte 1 behind the end of the pool block 'Test', 24 bytes" },
        { 6, "IwUninitializedValue", "decided by a value that nobody has written" },
        { 7, "IwUninitializedValue", "decided by a value that nobody has written. It was last read from the stack" },
        { 8, "IwUninitializedValue", "used as an address a value that nobody has written. It was last read from byte 4 of the pool block 'Test'" },
        { 9, "IwUninitializedValue", "passed to the kernel a value that nobody has written. It was last read from byte 8 of the pool block 'Test'" },
        { 10, "IwPageableAtDispatch", "wrote the pool block 'Test', 16 bytes" },
        { 11, "IwPageableAtDispatch", "runs in a pageable section at IRQL 2" },
        { 12, "IwUsedAfterFree", "read byte 66 of the IRP at" },
        { 13, "IwCancelRoutineStored", "stored to the CancelRoutine of irp#" },
        { 15, "IwUninitializedValue", "decided by a value that nobody has written" },
        { 16, "IwUninitializedValue", "decided by a value that nobody has written" },
    };

    public static TheoryData<int, string, string> UserCases => new()
    {
        { 0, "IwPageableAtDispatch", "read user memory" },
        { 1, "IwUserMemoryUnguarded", "read user memory" },
        { 2, "IwUserMemoryUnguarded", "read user memory" },
        { 3, "IwUserMemoryUnprobed", "read user memory" },
        { 4, "IwUserMemoryUnguarded", "read user memory" },
    };

    [Theory, MemberData(nameof(Cases))]
    public void A_memory_error_is_found_where_it_happens(int number, string rule, string sentence)
    {
        Control(FirstCase + 2 * (uint)number);

        Violation violation = Assert.Single(MemoryViolations);
        Assert.Equal((rule, "memory"), (violation.Rule.Name, violation.Driver));
        Assert.Contains(sentence, violation.Sentence, StringComparison.Ordinal);
        Assert.StartsWith("memory!", violation.Symbol, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(UserCases))]
    public void An_error_with_user_memory_is_found_where_it_happens(int number, string rule, string sentence)
    {
        Control(FirstUserCase + 2 * (uint)number);

        Violation violation = Assert.Single(verifier.Violations);
        Assert.Equal((rule, "usermemory"), (violation.Rule.Name, violation.Driver));
        Assert.Contains(sentence, violation.Sentence, StringComparison.Ordinal);
        Assert.StartsWith("usermemory!", violation.Symbol, StringComparison.Ordinal);
    }

    [Theory, InlineData(0), InlineData(1), InlineData(2), InlineData(3), InlineData(4)]
    public void User_memory_that_is_touched_with_care_breaks_no_rule(int number)
    {
        Control(FirstUserCase + 2 * (uint)number + 1);

        Assert.Empty(verifier.Violations);
    }

    public static TheoryData<int> NumbersOfRightCases => [.. Enumerable.Range(0, 17)];

    [Theory, MemberData(nameof(NumbersOfRightCases))]
    public void The_nearest_code_that_is_right_breaks_no_rule(int number)
    {
        Control(FirstCase + 2 * (uint)number + 1);

        Assert.Empty(verifier.Violations);
    }

    [Fact]
    public void Each_place_in_the_code_is_reported_once()
    {
        for (int i = 0; i < 3; i++) Control(FirstCase);

        Assert.Single(MemoryViolations);
    }

    [Theory]
    [InlineData("TouchSent", "IwTouchedForeignIrp", "read byte 0x30 of irp#")]
    [InlineData("TouchCompleted", "IwTouchedForeignIrp", "read byte 0x42 of irp#")]
    [InlineData("LeaveRequest", "IwStackLeftInFlight", "its UserEvent is a local variable")]
    [InlineData("LeaveContext", "IwStackLeftInFlight", "its completion context is a local variable")]
    public void An_IRP_or_its_memory_used_without_right_is_found(string mode, string rule, string sentence)
    {
        Read(Enum.Parse<ReadMode>(mode));

        Assert.All(MemoryViolations, v => Assert.Equal((rule, "memory"), (v.Rule.Name, v.Driver)));
        Assert.Contains(MemoryViolations, v => v.Sentence.Contains(sentence, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("PassDown")]
    [InlineData("TakeBack")]
    [InlineData("AwaitRequest")]
    [InlineData("AwaitContext")]
    public void An_IRP_that_its_driver_has_is_used_freely(string mode)
    {
        Read(Enum.Parse<ReadMode>(mode));

        Assert.Empty(verifier.Violations);
    }

    void Control(uint function) => machine.Run(() =>
    {
        using DeviceHandle handle = stack.Open();
        handle.Control(CodeOf(function), new byte[16], default);
    });

    void Read(ReadMode mode)
    {
        Control(FirstReadMode + (uint)mode);
        try
        {
            machine.Run(() =>
            {
                using DeviceHandle handle = stack.Open();
                handle.Read(new byte[512]);
            });
        }
        catch (Exception e) when (e is BugCheckException or MachineHungException)
        {
            // What becomes of a system whose stack is written over is not this test's business.
        }
    }

    // METHOD_NEITHER: the driver gets the user's own address.
    static uint CodeOf(uint function) => 0x00220003 | function << 2;
}
