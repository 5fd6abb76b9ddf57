namespace Irpwright.Samples.Tests.Scenarios;

/// <summary>Marks a scenario: a static method that takes a <see cref="SampleRun"/>.</summary>
/// <param name="sample">The driver's name, such as <c>retry</c>.</param>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SampleScenarioAttribute(string sample) : Attribute
{
    public string Sample { get; } = sample;

    /// <summary>Whether it also holds on the free-running scheduler: it must not measure time, or need an order of completions.</summary>
    public bool FreeRunning { get; init; }
}
