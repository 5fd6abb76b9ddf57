namespace Irpwright.Samples;

/// <summary>
/// What only the author of the sample csq knows: a READ waits until a WRITE brings its bytes. Each scenario runs undisturbed, with each
/// kernel routine failing once at each place, and under many interleavings; an exception of its own says that something is wrong.
/// </summary>
public static class CsqScenarios
{
    /// <summary>For the driver that is checked, compiled or not, which is loaded already: <c>irpwright check csq.sys Scenarios.dll</c>.</summary>
    [Scenario]
    public static void A_read_that_is_cancelled_while_its_bytes_come_has_them_or_is_cancelled(CheckBench bench)
    {
        using DeviceHandle device = bench.Open();
        ReadAndCancel(bench.Machine, device);
    }

    /// <summary>With a driver of its own: <c>irpwright check Scenarios.dll</c>, and for more interleavings <c>irpwright explore</c>.</summary>
    [Scenario]
    public static void So_has_one_of_the_driver_in_C_sharp(Machine machine)
    {
        using DeviceHandle device = DeviceStack.Build(machine, new Csq()).Open();
        ReadAndCancel(machine, device);
    }

    static void ReadAndCancel(Machine machine, DeviceHandle device)
    {
        byte[] buffer = new byte[4];
        IoOperation read = device.StartRead(buffer);
        machine.RunTogether(
            () => device.Write(new byte[] { 1, 2, 3, 4 }),
            () => read.Cancel());
        IoResult result = read.Wait();
        bool isRight = result.Status == NTSTATUS.STATUS_CANCELLED || (result is { Status: NTSTATUS.STATUS_SUCCESS, Information: 4 } && buffer is [1, 2, 3, 4]);
        if (!isRight) throw new InvalidOperationException($"The read ended with {result.Status.Name} and {result.Information} bytes.");
    }
}
