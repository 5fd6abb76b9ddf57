using System.Reflection;
using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary>A scenario of an assembly.</summary>
/// <param name="Assembly">Its path, as given.</param>
/// <param name="Name">Type and method.</param>
sealed record AssemblyScenario(string Assembly, string Name, Action<Machine> Run);

/// <summary>Scenarios in assemblies that the user names as <c>Assembly.dll</c> or <c>Assembly.dll#Name</c>.</summary>
static class ScenarioAssembly
{
    /// <param name="text">Without a name, all scenarios of the assembly are meant; a name is a whole one, or the last part of one.</param>
    /// <exception cref="CommandException">The assembly cannot be loaded, or has no such scenario.</exception>
    public static IReadOnlyList<AssemblyScenario> Find(string text)
    {
        int end = text.LastIndexOf('#');
        string path = end < 0 ? text : text[..end];
        string? name = end < 0 ? null : text[(end + 1)..];
        AssemblyScenario[] all = [.. DriverAssembly.TypesOf(path).SelectMany(type => ScenariosOf(path, type))];
        if (all.Length == 0)
        {
            throw CommandException.BadInput(
                $"{path}: no scenario; mark public methods that take a Machine with [Scenario] of Irpwright.Testing, in public classes.");
        }
        if (name is null) return all;
        AssemblyScenario[] found = [.. all.Where(s => s.Name == name || s.Name.EndsWith("." + name, StringComparison.Ordinal))];
        if (found.Length == 0) throw CommandException.BadInput($"{path}: no scenario '{name}'; it contains {Names(all)}.");
        return found;
    }

    static string Names(AssemblyScenario[] scenarios) => string.Join(", ", scenarios.Select(s => s.Name));

    static IEnumerable<AssemblyScenario> ScenariosOf(string path, Type type)
    {
        if (!type.IsVisible || type.ContainsGenericParameters) yield break;
        bool isMarked = type.IsDefined(typeof(ScenarioAttribute));
        const BindingFlags flags = BindingFlags.Public | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly;
        foreach (MethodInfo method in type.GetMethods(flags).OrderBy(m => m.Name, StringComparer.Ordinal))
        {
            bool isNamed = method.IsDefined(typeof(ScenarioAttribute));
            if (!isNamed && !isMarked) continue;
            string name = $"{type.FullName}.{method.Name}";
            bool fits = method.GetParameters() is [{ ParameterType: var parameter }] && parameter == typeof(Machine)
                && (method.ReturnType == typeof(void) || method.ReturnType == typeof(Task)) && !method.IsGenericMethodDefinition
                && (method.IsStatic || !type.IsAbstract && type.GetConstructor([]) is not null);
            if (fits) yield return new AssemblyScenario(path, name, machine => Run(type, method, machine));
            else if (isNamed) throw CommandException.BadInput($"{path}: {name} cannot be a scenario; it must take a Machine, return nothing or a Task, and its class needs no arguments.");
        }
    }

    static void Run(Type type, MethodInfo method, Machine machine)
    {
        object? instance = method.IsStatic ? null : Activator.CreateInstance(type);
        try
        {
            if (method.ReturnType == typeof(Task))
                machine.RunAsync(() => method.CreateDelegate<Func<Machine, Task>>(instance)(machine));
            else
                method.CreateDelegate<Action<Machine>>(instance)(machine);
        }
        finally
        {
            (instance as IDisposable)?.Dispose();
        }
    }
}
