namespace Irpwright.Verification.Rules;

/// <summary>What comes of IoSetCompletionRoutineEx, which may fail, and which allocates memory if it does not (REG-11, REG-12).</summary>
abstract class RegistrationRule : Rule, IWatchReturns
{
    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoSetCompletionRoutineEx];

    public void Returned(in DdiReturned e)
    {
        if (Tracker.At(e.Arguments[1])?.Owner is { } owner && Tracker.IsCalledBy(owner.Driver))
            owner.Registration = (NTSTATUS)(int)e.Result;
    }
}
