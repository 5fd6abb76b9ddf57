namespace Irpwright.Checking;

/// <summary>Failures with the place in a driver that tells them apart.</summary>
static class Failures
{
    internal static Failure Of(Violation violation) =>
        new(FailureKind.Rule, violation.Rule.Name, violation.Sentence, violation.Rule.Page) { Place = violation.Symbol ?? violation.Driver };

    internal static Failure Of(Exception e) => e switch
    {
        BugCheckException { Report: var report } =>
            Failure.Of(e) with { Place = report.CallStack.Select(frame => frame.Symbol).FirstOrDefault(IsInDriver) },
        _ => Failure.Of(e),
    };

    static bool IsInDriver(string symbol) => symbol.Contains('!') && !symbol.StartsWith("nt!", StringComparison.Ordinal);
}
