using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Compiled code leaves frames for one further out. Thrown by RtlUnwindEx, taken by the processor where it runs the target frame; what lies
/// between, in C#, is left as by any exception.
/// </summary>
/// <param name="targetFrame">The establisher frame to go on in; 0 to leave all frames, which ends the machine.</param>
/// <param name="targetIp">Where to go on.</param>
/// <param name="record">What termination handlers are shown.</param>
/// <param name="returnValue">rax at <paramref name="targetIp"/>.</param>
public sealed class UnwindException(ulong targetFrame, ulong targetIp, in EXCEPTION_RECORD record, ulong returnValue)
    : Exception($"Compiled code was to go on in the frame at {Format.Address(targetFrame)}, which does not exist.")
{
    readonly EXCEPTION_RECORD record = record;

    public ulong TargetFrame { get; } = targetFrame;

    /// <summary>Whether all frames are left: an exit unwind.</summary>
    public bool IsExit => TargetFrame == 0;

    public ulong TargetIp { get; } = targetIp;

    public ref readonly EXCEPTION_RECORD Record => ref record;

    public ulong ReturnValue { get; } = returnValue;
}

/// <summary>Compiled code goes on with other registers, and other frames. Thrown by RtlRestoreContext, taken by the processor.</summary>
public sealed class ContextRestoredException(in CONTEXT context)
    : Exception($"Compiled code was to go on at {Format.Address(context.Rip)}, with a stack that none of it runs on.")
{
    readonly CONTEXT context = context;

    public ref readonly CONTEXT Context => ref context;
}
