namespace Irpwright.Verification;

/// <summary>Lets one event pass at a time.</summary>
/// <remarks>
/// A controlled scheduler runs one guest thread at a time until the machine stops, so that this one needs no lock, only to say that it is
/// inside. Whoever comes beside it, because the machine has stopped or from the host, ends that for good: after a barrier of the whole
/// process the thread either is seen inside, or sees that it has to take the lock.
/// </remarks>
sealed class EventGate(Machine machine)
{
    // Thousands of events pass for a millisecond, and hardly ever two at once.
    SpinLock gate = new(enableThreadOwnerTracking: false);
    readonly BugChecks bugChecks = machine.BugChecks;
    bool isShared = machine.Scheduler is not ControlledScheduler;
    bool isInside;

    /// <summary>On a guest thread.</summary>
    /// <returns>Whether it is alone, for <see cref="Exit"/>.</returns>
    internal bool Enter()
    {
        // Threads that unwind beside the one that ran must not touch its mark.
        if (!Volatile.Read(ref isShared) && bugChecks.StopReason is null)
        {
            Volatile.Write(ref isInside, true);
            if (!Volatile.Read(ref isShared)) return true;
            Volatile.Write(ref isInside, false);
        }
        EnterShared();
        return false;
    }

    /// <summary>On any thread; to be left as not alone.</summary>
    internal void EnterShared()
    {
        bool isEntered = false;
        gate.Enter(ref isEntered);
        if (isShared) return;
        Volatile.Write(ref isShared, true);
        Interlocked.MemoryBarrierProcessWide();
        var wait = new SpinWait();
        while (Volatile.Read(ref isInside)) wait.SpinOnce();
    }

    internal void Exit(bool isAlone)
    {
        if (isAlone) Volatile.Write(ref isInside, false);
        else gate.Exit(useMemoryBarrier: false);
    }
}
