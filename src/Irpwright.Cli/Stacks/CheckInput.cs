using Irpwright.Checking;
using Irpwright.Kernel;

namespace Irpwright.Cli.Stacks;

/// <summary>What <c>check</c> and <c>replay</c> are given: drivers or a stack file, and assemblies with scenarios.</summary>
/// <param name="File">Null for drivers without one.</param>
sealed record CheckInput(CheckStack Stack, StackFile? File)
{
    /// <exception cref="CommandException">Says what is wrong with which of them.</exception>
    public static CheckInput Read(IReadOnlyList<string> inputs)
    {
        string[] assemblies = [.. inputs.Where(IsAssembly)], others = [.. inputs.Except(assemblies)];
        StackFile? file = null;
        CheckStack stack;
        if (others.FirstOrDefault(IsStackFile) is { } path)
        {
            if (others.Length > 1) throw CommandException.BadInput($"{path}: is a whole stack; name the other drivers in it.");
            file = StackFile.Read(path);
            stack = file.Stack(inputs);
        }
        else
        {
            stack = new(inputs, [.. others.Select(name => DriverSources.Find(name))]);
        }
        DriverSources.RequireImports(stack.Device is null ? stack.Drivers : [stack.Device, .. stack.Drivers]);
        assemblies = [.. assemblies, .. file?.Assemblies ?? []];
        return new(stack with { Scenarios = [.. assemblies.SelectMany(name => ScenariosOf(name, stack))] }, file);
    }

    static bool IsStackFile(string input) => input.EndsWith(".json", StringComparison.OrdinalIgnoreCase);

    static bool IsAssembly(string input) => input.Split('#')[0].EndsWith(".dll", StringComparison.OrdinalIgnoreCase);

    static IEnumerable<CheckScenario> ScenariosOf(string assembly, CheckStack stack) => stack.Drivers.Count == 0
        ? ScenarioAssembly.Find<Machine>(assembly).Select(scenario => Of(scenario.Name, bench => scenario.Run(bench.Machine)))
        : ScenarioAssembly.Find<CheckBench>(assembly).Select(scenario => Of(scenario.Name, bench =>
        {
            if (bench.Load()) scenario.Run(bench);
            bench.Unload();
        }));

    static CheckScenario Of(string name, Action<CheckBench> act) =>
        new(name, name[(name.LastIndexOf('.') + 1)..].Replace('_', ' '), act) { WithFaults = true, IsExplored = true, GivesUpOnFaults = true };
}
