using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Unwinding;

public class CallStackTests
{
    static IReadOnlyList<string> CallStackOf(params string[] filters)
    {
        using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here, InstructionBudget = 1_000_000 });
        var guest = new GuestDrivers(machine);
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096));
        foreach (string name in filters)
        {
            Assert.True(guest.TryRead(CompiledDriverTests.Sample(name), out var image, out var error), error?.ToString());
            guest.Start(image, out Driver? driver);
            machine.Run(() => Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.AddDevice(driver!, stack.Bottom)));
        }
        DeviceHandle handle = stack.Open();
        BugCheckReport report = Assert.Throws<BugCheckException>(() => handle.Read(new byte[512])).Report;
        return [.. report.CallStack.Select(frame => frame.Symbol.Split('+')[0])];
    }

    [Fact]
    public void Compiled_and_csharp_frames_come_in_the_order_of_their_calls() =>
        Assert.Equal(
            ["broken-null!BrokenNullReadDone", "RamDisk!Complete", "RamDisk!ReadWrite", "retry!RetryDispatchReadWrite"],
            CallStackOf("passthrough", "broken-null", "retry"));

    [Fact]
    public void Functions_that_save_registers_are_unwound() =>
        Assert.Equal(["broken-double!BrokenDoubleDispatchRead"], CallStackOf("broken-double"));

    [Fact]
    public void A_jump_to_a_wild_address_is_attributed_to_who_jumped() =>
        Assert.Equal("broken-wild!BrokenWildDispatchRead", CallStackOf("broken-wild")[0]);

    [Fact]
    public void Endless_recursion_fills_the_list_and_no_more()
    {
        IReadOnlyList<string> frames = CallStackOf("broken-recurse");
        Assert.All(frames.Take(50), frame => Assert.Equal("broken-recurse!BrokenRecurseCountRanges", frame));
    }

    /// <summary>Captures where the lowest driver is called from.</summary>
    sealed class Capturing(Machine machine, PDEVICE_OBJECT lowest) : KernelObserver
    {
        readonly PPVOID frames = new(machine.Memory.NonPagedPool.Allocate(GuestMemory.PageSize, PageAccess.ReadWrite));

        internal List<string> Symbols { get; } = [];

        public override void On(in IrpForwarded e)
        {
            if (e.DeviceObject != lowest || Symbols.Count > 0) return;
            int count = machine.StackTraces.RtlCaptureStackBackTrace(1, 64, frames, default);
            for (int i = 0; i < count; i++) Symbols.Add(machine.BugChecks.SymbolAt!(frames[i].Address)!.Split('+')[0]);
        }
    }

    [Fact]
    public void What_drivers_capture_are_the_frames_of_compiled_drivers_above_them()
    {
        using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here, InstructionBudget = 1_000_000 });
        var guest = new GuestDrivers(machine);
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096));
        foreach (string name in new[] { "passthrough", "retry" })
        {
            Assert.True(guest.TryRead(CompiledDriverTests.Sample(name), out var image, out var error), error?.ToString());
            guest.Start(image, out Driver? driver);
            machine.Run(() => Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.AddDevice(driver!, stack.Bottom)));
        }
        var capturing = new Capturing(machine, stack.Bottom);
        DeviceHandle handle = stack.Open();
        machine.Events.Add(capturing);
        handle.Read(new byte[512]);
        // passthrough ends in a jump to IoCallDriver, so it is not on the stack any more.
        Assert.Equal(["retry!RetryDispatchReadWrite"], capturing.Symbols);
    }
}
