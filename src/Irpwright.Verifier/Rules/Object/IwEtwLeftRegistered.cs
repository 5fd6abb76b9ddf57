namespace Irpwright.Verification.Rules;

/// <summary>Event tracing calls the enable callback of every provider that is registered.</summary>
sealed class IwEtwLeftRegistered : Rule, IWatchReturns, IWatch<DriverUnloaded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwEtwLeftRegistered), RuleFamily.Object, Error,
        Pages.Detected, Codes.Detected(0xDD),
        "A driver unloads after it has called EtwRegister more often than EtwUnregister.",
        static () => new IwEtwLeftRegistered())
    {
        Covers = ["DV-C4-0xDD"],
        Instead = "Call EtwUnregister in DriverUnload, and where DriverEntry fails after EtwRegister.",
        Wrong = "VOID Unload(PDRIVER_OBJECT DriverObject) { }",
        Right = "VOID Unload(PDRIVER_OBJECT DriverObject) { EtwUnregister(Provider); }",
    };

    // Which provider an EtwUnregister is for shows in no argument of C# drivers' EtwRegister.
    readonly List<CodePlace> registrations = [];

    public IReadOnlyList<KernelExport> Calls { get; } =
        [KernelExports.EtwRegister, KernelExports.EtwRegisterClassicProvider, KernelExports.EtwUnregister];

    public void Returned(in DdiReturned e)
    {
        if ((int)e.Result < 0) return;
        if (e.Export != KernelExports.EtwUnregister)
        {
            registrations.Add(Tracker.Caller);
        }
        else if (CodePlace.Find(Machine, e.Caller) is { } driver)
        {
            int index = registrations.FindLastIndex(by => by.IsIn(driver.Object));
            if (index >= 0) registrations.RemoveAt(index);
        }
    }

    public void On(in DriverUnloaded e)
    {
        PDRIVER_OBJECT driver = e.DriverObject;
        foreach (CodePlace by in registrations.Where(by => by.IsIn(driver)))
            Report(by, default, $"{e.Name} was unloaded, but {by} registered a provider of events that was never unregistered.");
        registrations.RemoveAll(by => by.IsIn(driver));
    }
}
