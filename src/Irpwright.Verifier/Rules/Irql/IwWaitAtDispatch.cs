namespace Irpwright.Verification.Rules;

/// <summary>At DISPATCH_LEVEL a wait must have a zero timeout, even if the object happens to be signalled (DPC-08).</summary>
sealed class IwWaitAtDispatch : Rule, IWatch<WaitStarted>
{
    public static RuleInfo Definition { get; } = new(nameof(IwWaitAtDispatch), RuleFamily.Irql, Error,
        Pages.Ddi("nf-wdm-kewaitforsingleobject"), null,
        "A driver starts a wait that may block at DISPATCH_LEVEL or above.",
        static () => new IwWaitAtDispatch());

    public void On(in WaitStarted e)
    {
        byte irql = e.Thread.Irql;
        if (!e.MayBlock || irql < DISPATCH_LEVEL) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} waits at IRQL {irql}; waits that may block need IRQL {APC_LEVEL} or below.");
    }
}
