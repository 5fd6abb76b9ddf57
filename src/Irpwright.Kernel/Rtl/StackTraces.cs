using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Call stacks for drivers.</summary>
public sealed class StackTraces
{
    readonly Machine machine;

    internal StackTraces(Machine machine) => this.machine = machine;

    /// <summary>Captures the return addresses of the calls that led here, most recent first. Any IRQL.</summary>
    /// <param name="FramesToSkip">How many to leave out at the start.</param>
    /// <param name="BackTrace">Receives up to <paramref name="FramesToCapture"/> addresses.</param>
    /// <param name="BackTraceHash">Receives a number that is the same for the same addresses; may be null.</param>
    /// <returns>How many addresses were captured.</returns>
    /// <remarks>Frames are found by the exception tables of compiled drivers; a C# driver has one address for all of its code.</remarks>
    [KernelExport]
    public ushort RtlCaptureStackBackTrace(uint FramesToSkip, uint FramesToCapture, PPVOID BackTrace, PULONG BackTraceHash, [Caller] ulong caller = 0)
    {
        List<ulong> frames = [.. machine.Guest?.CallStack(machine.CurrentThread).SelectMany(run => run).Where(frame => !frame.IsGuess).Select(frame => frame.Address) ?? []];
        if (frames.Count == 0 || frames[0] != caller) frames.Insert(0, caller);
        ushort captured = 0;
        uint hash = 0;
        for (uint i = FramesToSkip; i < frames.Count && captured < Math.Min(FramesToCapture, ushort.MaxValue); i++)
        {
            BackTrace[captured++] = new PVOID(frames[(int)i]);
            hash = unchecked(hash + (uint)frames[(int)i]);
        }
        if (!BackTraceHash.IsNull) BackTraceHash.Value = hash;
        return captured;
    }
}
