using System.Buffers.Binary;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class SehScenarios
{
    const ulong NeverMapped = 0x10000;

    static (NTSTATUS Status, uint Value) Control(DeviceHandle handle, uint code, params byte[] input)
    {
        byte[] output = new byte[4];
        IoResult result = handle.Control(code, input, output);
        Assert.Equal(result.Status.IsSuccess ? 4UL : 0, result.Information);
        return (result.Status, BinaryPrimitives.ReadUInt32LittleEndian(output));
    }

    static (NTSTATUS Status, uint Value) Sum(DeviceHandle handle, ulong address, uint length) =>
        Control(handle, Seh.IOCTL_SEH_SUM, [.. BitConverter.GetBytes(address), .. BitConverter.GetBytes((ulong)length)]);

    static (NTSTATUS Status, uint Value) Divide(DeviceHandle handle, int dividend, int divisor) =>
        Control(handle, Seh.IOCTL_SEH_DIVIDE, [.. BitConverter.GetBytes(dividend), .. BitConverter.GetBytes(divisor)]);

    [SampleScenario("seh", FreeRunning = true)]
    public static void User_memory_is_added_up(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        ulong memory = run.Machine.Memory.AllocateUser(4096);
        GuestMemory.Write(memory, 4096).Fill(3);

        Assert.Equal((STATUS_SUCCESS, 3 * 4096u), Sum(handle, memory, 4096));
        Assert.Equal((STATUS_SUCCESS, 0u), Sum(handle, 0, 0));
        run.Machine.Memory.FreeUser(memory, 4096);
    }

    [SampleScenario("seh", FreeRunning = true)]
    public static void A_bad_range_is_a_status_and_no_crash(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        ulong memory = run.Machine.Memory.AllocateUser(2 * 4096);
        run.Machine.Memory.Protect(memory + 4096, 4096, PageAccess.None);

        Assert.Equal(STATUS_ACCESS_VIOLATION, Sum(handle, 0, 1).Status);
        Assert.Equal(STATUS_ACCESS_VIOLATION, Sum(handle, NeverMapped, 100).Status);
        Assert.Equal(STATUS_ACCESS_VIOLATION, Sum(handle, memory + 4000, 97).Status);
        Assert.Equal(STATUS_ACCESS_VIOLATION, Sum(handle, run.Machine.Memory.SliceBase, 1).Status);
        Assert.Equal(STATUS_INVALID_BUFFER_SIZE, Sum(handle, memory, 0x10001).Status);
        run.Machine.Memory.FreeUser(memory, 2 * 4096);
    }

    [SampleScenario("seh", FreeRunning = true)]
    public static void Division_by_zero_and_overflow_are_told_apart(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        Assert.Equal((STATUS_SUCCESS, unchecked((uint)-7)), Divide(handle, 42, -6));
        Assert.Equal(STATUS_INVALID_PARAMETER_2, Divide(handle, 42, 0).Status);
        Assert.Equal(STATUS_INTEGER_OVERFLOW, Divide(handle, int.MinValue, -1).Status);
    }

    [SampleScenario("seh", FreeRunning = true)]
    public static void A_raised_status_comes_back_and_the_lock_is_free(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        foreach (NTSTATUS status in (NTSTATUS[])[STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES, STATUS_ACCESS_DENIED])
            Assert.Equal(new IoResult(status, 0), handle.Control(Seh.IOCTL_SEH_RAISE, BitConverter.GetBytes((int)status)));
    }

    [SampleScenario("seh", FreeRunning = true)]
    public static void An_exception_can_be_continued_from(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        Assert.Equal((STATUS_SUCCESS, 0u), Control(handle, Seh.IOCTL_SEH_RETRY, BitConverter.GetBytes(0)));
        Assert.Equal((STATUS_SUCCESS, 25u), Control(handle, Seh.IOCTL_SEH_RETRY, BitConverter.GetBytes(25)));
    }

    [SampleScenario("seh", FreeRunning = true)]
    public static void Handlers_run_in_order(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        Assert.Equal((STATUS_SUCCESS, 1234567u), Control(handle, Seh.IOCTL_SEH_CLEANUP));
    }
}
