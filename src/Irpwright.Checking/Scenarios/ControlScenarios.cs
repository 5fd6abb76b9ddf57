using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Control requests: the codes that the drivers know with buffers of every size, and codes that nobody knows.</summary>
static class ControlScenarios
{
    const uint UnknownFunction = 0xFF7;
    const uint LongestGood = 4096;

    static readonly byte[] Patterns = [0x00, 0xFF, 0x5A];

    public static IEnumerable<CheckScenario> Of(DriverProfile profile)
    {
        if (!profile.Handles(IRP_MJ_DEVICE_CONTROL) && !profile.TakesControlFast) yield break;
        IReadOnlyList<uint> lengths = Lengths(profile);
        foreach (ControlRequest request in profile.ControlRequests)
        {
            uint code = request.Code;
            yield return new($"control-0x{code:X8}", $"control request 0x{code:X8} with buffers of every size", bench => Opened(bench, handle =>
            {
                if (request.Input is not null) bench.Do(handle, Control(bench, request));
                foreach ((uint input, uint output) in LengthsAround(request, lengths))
                {
                    foreach (byte pattern in Patterns) bench.Do(handle, Control(bench, code, input, output, pattern));
                }
                bench.Do(handle, Control(bench, code, 16, 16, 0x5A, misalignment: 1));
            }));
            if (METHOD_FROM_CTL_CODE(code) != METHOD_NEITHER && !profile.TakesControlFast) continue;
            yield return new($"control-0x{code:X8}-bad", $"control request 0x{code:X8} with buffers that are not there", bench => Opened(bench, handle =>
            {
                ulong good = bench.UserBuffer(LongestGood);
                // A driver looks at an address when it likes the length.
                foreach ((uint input, uint output) in LengthsAround(request, lengths).Where(pair => Math.Max(pair.Input, pair.Output) <= LongestGood))
                {
                    foreach (ulong address in BadAddresses(bench))
                    {
                        bench.Do(handle, new IoRequest(IRP_MJ_DEVICE_CONTROL, good, output, 0, code, address, input));
                        bench.Do(handle, new IoRequest(IRP_MJ_DEVICE_CONTROL, address, output, 0, code, good, input));
                    }
                }
            }));
        }
        if (profile.Handles(IRP_MJ_INTERNAL_DEVICE_CONTROL))
        {
            yield return new("control-internal", "the same codes, and one that no driver knows, as another driver sends them", bench => Opened(bench, handle =>
            {
                foreach (uint code in (uint[])[.. profile.ControlRequests.Select(request => request.Code), UnknownCode(METHOD_BUFFERED)])
                {
                    IoRequest request = Control(bench, code, 16, 16);
                    bench.Do(handle, request with { MajorFunction = IRP_MJ_INTERNAL_DEVICE_CONTROL, RequestorMode = MODE.KernelMode });
                }
            }));
        }
        yield return new("control-unknown", "control requests that no driver knows, in all four transfer methods", bench => Opened(bench, handle =>
        {
            foreach (uint method in (uint[])[METHOD_BUFFERED, METHOD_IN_DIRECT, METHOD_OUT_DIRECT, METHOD_NEITHER])
                bench.Do(handle, Control(bench, UnknownCode(method), 16, 16));
        }));
    }

    /// <summary>Input and output lengths: both, or only one of them, and those around what is known of this request.</summary>
    static IEnumerable<(uint Input, uint Output)> LengthsAround(ControlRequest request, IReadOnlyList<uint> lengths)
    {
        uint input = request.InputLength ?? 0, output = request.OutputLength ?? 0;
        (uint, uint)[] around = [(input, output), (input - 1, output), (input + 1, output), (input, output - 1), (input, output + 1)];
        return lengths.SelectMany(length => ((uint, uint)[])[(length, length), (length, 0), (0, length)])
            .Concat(around.Where(pair => pair is (< uint.MaxValue, < uint.MaxValue))).Distinct();
    }

    static uint UnknownCode(uint method) => CTL_CODE(FILE_DEVICE_UNKNOWN, UnknownFunction, method, FILE_ANY_ACCESS);
}
