namespace Irpwright.Verification.Rules;

/// <summary>A call of ObReferenceObjectByHandle, whose access mode has to go with the handle.</summary>
abstract class HandleReferenceRule : Rule, IWatchCalls
{
    const ulong KernelHandleBits = 0xFFFFFFFF_80000000;
    const ulong FirstPseudoHandle = unchecked((ulong)-2); // NtCurrentThread

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.ObReferenceObjectByHandle, KernelExports.ObReferenceObjectByHandleWithTag];

    protected bool IsInSystemProcess => Tracker.Thread.Thread.Process == Machine.Processes.System;

    protected static bool IsKernelHandle(ulong handle) => (handle & KernelHandleBits) == KernelHandleBits;

    /// <summary>What is wrong; null for nothing.</summary>
    protected abstract string? WrongWith(ulong handle, MODE mode);

    public void Called(in DdiCalled e)
    {
        ulong handle = e.Arguments[0];
        if (handle is 0 or >= FirstPseudoHandle || WrongWith(handle, (MODE)(byte)e.Arguments[3]) is not { } wrong) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName} {wrong}.");
    }
}
