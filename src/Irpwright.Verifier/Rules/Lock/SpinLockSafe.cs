namespace Irpwright.Verification.Rules;

/// <summary>Drivers above may come back for the same lock from their completion routines (CMP-27, IRQL-04).</summary>
sealed class SpinLockSafe : Rule, IWatch<IrpCompleting>, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.IoStartNextPacket, KernelExports.IoStartNextPacketByKey];

    public static RuleInfo Definition { get; } = new(nameof(SpinLockSafe), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(SpinLockSafe)), null,
        "IoCompleteRequest or IoStartNextPacket is called while the routine holds a spin lock that it acquired.",
        static () => new SpinLockSafe())
    {
        Instead = "Take the IRP off the queue under the lock, release the lock, and complete the IRP then.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            IoCompleteRequest(Extension->CurrentIrp, IO_NO_INCREMENT);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            irp = Extension->CurrentIrp;
            KeReleaseSpinLock(&Extension->Lock, irql);
            IoCompleteRequest(irp, IO_NO_INCREMENT);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public Situation When => Situation.Unbalanced;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Thread.SpinLockOfFrame is var held and not 0)
            Report(Tracker.Caller, Tracker.Irp.Name,
                $"{Tracker.Caller} completed {Tracker.Irp} while holding the spin lock at {Format.Address(held)}. Release it first.");
    }

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.SpinLockOfFrame is var held and not 0)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} called {e.Export.SourceName} while holding the spin lock at {Format.Address(held)}. Release it first.");
    }
}
