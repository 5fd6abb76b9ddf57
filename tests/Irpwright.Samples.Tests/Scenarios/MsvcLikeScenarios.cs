using Irpwright.Testing;
using Irpwright.Wdk;
using static Irpwright.Samples.MsvcLike.Op;

namespace Irpwright.Samples.Tests.Scenarios;

static class MsvcLikeScenarios
{
    static (NTSTATUS Status, uint Value) Execute(DeviceHandle handle, params object[] program)
    {
        byte[] output = new byte[4];
        IoResult result = handle.Control(MsvcLike.IOCTL_MSVCLIKE_RUN, program.Select(Convert.ToByte).ToArray(), output);
        Assert.Equal(result.Status.IsSuccess ? 4UL : 0, result.Information);
        return (result.Status, BitConverter.ToUInt32(output));
    }

    [SampleScenario("msvclike", FreeRunning = true)]
    public static void Programs_compute(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        Assert.Equal((STATUS_SUCCESS, 42u), Execute(handle, Push, 6, Push, 7, Mul));
        Assert.Equal((STATUS_SUCCESS, 5u), Execute(handle, Push, 3, Push, 8, Swap, Sub, End, Drop));
        Assert.Equal((STATUS_SUCCESS, 0xFFFF_FFF1u), Execute(handle, Push, 12, Push, 10, Or, Not));
        Assert.Equal((STATUS_SUCCESS, 0x6u), Execute(handle, Push, 12, Push, 10, Xor));
        Assert.Equal((STATUS_SUCCESS, 0x8u), Execute(handle, Push, 12, Push, 10, And, Push, 1, Drop));
        Assert.Equal((STATUS_SUCCESS, 28u), Execute(handle, Push, 200, Push, 7, Div));
        Assert.Equal((STATUS_SUCCESS, 20u), Execute(handle, Push, 10, Dup, Add));
    }

    [SampleScenario("msvclike", FreeRunning = true)]
    public static void Routines_are_called_through_pointers(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        Assert.Equal((STATUS_SUCCESS, 3628800u), Execute(handle, Push, 10, Call, 0));
        Assert.Equal((STATUS_SUCCESS, 1904u), Execute(handle, Push, 10, Call, 0, Call, 1));
        Assert.Equal((STATUS_SUCCESS, 6u), Execute(handle, Push, 0x7E, Call, 2));
        Assert.Equal((STATUS_SUCCESS, 0x1200_0000u), Execute(handle, Push, 0x12, Call, 3));
    }

    [SampleScenario("msvclike", FreeRunning = true)]
    public static void A_wrong_program_is_refused(SampleRun run)
    {
        using DeviceHandle handle = run.Open();

        Assert.Equal(STATUS_INVALID_PARAMETER, Execute(handle, Push, 1, 14).Status);
        Assert.Equal(STATUS_INVALID_PARAMETER, Execute(handle, Push, 1, Add).Status);
        Assert.Equal(STATUS_INVALID_PARAMETER, Execute(handle).Status);
        Assert.Equal(STATUS_INVALID_PARAMETER, Execute(handle, Push, 1, Call, 4).Status);
        Assert.Equal(STATUS_INTEGER_DIVIDE_BY_ZERO, Execute(handle, Push, 1, Push, 0, Div).Status);
        Assert.Equal(STATUS_INVALID_PARAMETER, Execute(handle, [Push, 1, .. Enumerable.Repeat<object>(Dup, 16)]).Status);
        Assert.Equal((STATUS_SUCCESS, 1u), Execute(handle, [Push, 1, .. Enumerable.Repeat<object>(Dup, 15)]));
        Assert.Equal((STATUS_SUCCESS, 1u), Execute(handle, [Push, 1, .. Enumerable.Repeat<object>(Dup, 62).SelectMany((dup, i) => i % 2 == 0 ? [dup] : (object[])[Drop])]));
        Assert.Equal(STATUS_INVALID_BUFFER_SIZE, Execute(handle, [.. Enumerable.Repeat<object>(Push, 65)]).Status);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, handle.Control(MsvcLike.IOCTL_MSVCLIKE_RUN, new byte[1], new byte[3]).Status);
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, handle.Control(MsvcLike.IOCTL_MSVCLIKE_RUN + 4, new byte[1], new byte[4]).Status);
    }
}
