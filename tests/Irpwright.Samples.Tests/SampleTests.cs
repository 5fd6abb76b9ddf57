using System.Reflection;
using Irpwright.Kernel;
using Irpwright.Samples.Tests.Scenarios;
using Irpwright.Verification;

namespace Irpwright.Samples.Tests;

/// <summary>
/// Goal: every sample does what it says, whichever language it is in. Method: each scenario runs with the C# driver and with the
/// compiled one, the latter also with memory checked; afterwards nothing may be left of it, no rule may be broken, and both must have caused the same events.
/// </summary>
public sealed class SampleTests
{
    static readonly Dictionary<string, MethodInfo> Methods = typeof(SampleTests).Assembly.GetTypes()
        .SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.Public))
        .Where(method => method.IsDefined(typeof(SampleScenarioAttribute)))
        .ToDictionary(method => $"{SampleOf(method)}: {method.Name.Replace('_', ' ')}");

    static string SampleOf(MethodInfo method) => method.GetCustomAttribute<SampleScenarioAttribute>()!.Sample;

    public static TheoryData<string> Scenarios => [.. Methods.Keys];

    public static TheoryData<string, Form> ScenariosInEveryForm =>
        [.. from name in Methods.Keys from form in Enum.GetValues<Form>() select (name, form)];

    public static TheoryData<string, Form> FreeRunningScenariosInEveryForm =>
        [.. from pair in Methods
            where pair.Value.GetCustomAttribute<SampleScenarioAttribute>()!.FreeRunning
            from form in Enum.GetValues<Form>()
            select (pair.Key, form)];

    [Theory]
    [MemberData(nameof(ScenariosInEveryForm))]
    public void The_scenario_holds_and_nothing_is_left_behind(string scenario, Form form) => Run(scenario, form, new MachineOptions());

    [Theory]
    [MemberData(nameof(FreeRunningScenariosInEveryForm))]
    public void The_scenario_holds_when_threads_run_in_parallel(string scenario, Form form) =>
        Run(scenario, form, new MachineOptions { Strategy = null });

    [Theory]
    [MemberData(nameof(Scenarios))]
    public void Twins_cause_the_same_events(string scenario)
    {
        IReadOnlyList<string> compiled = Run(scenario, Form.Compiled, new MachineOptions());

        Assert.NotEmpty(compiled);
        Assert.Equal(compiled, Run(scenario, Form.CSharp, new MachineOptions()));
    }

    static IReadOnlyList<string> Run(string scenario, Form form, MachineOptions options)
    {
        using var run = new SampleRun(SampleOf(Methods[scenario]), form, options);
        var verifier = Verifier.Attach(run.Machine);
        var body = Methods[scenario].CreateDelegate<Action<SampleRun>>();
        run.Machine.Run(() => body(run));
        run.Remove();
        verifier.Finish();
        Assert.Empty(verifier.Violations.Select(v => v.Sentence));
        return run.Events.Events;
    }
}
