using System.Reflection;
using Irpwright.Checking;
using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary>A scenario of an assembly.</summary>
/// <typeparam name="T">What it works on: a Machine, or a CheckBench with the drivers that are checked.</typeparam>
/// <param name="Assembly">Its path, as given.</param>
/// <param name="Name">Type and method.</param>
sealed record AssemblyScenario<T>(string Assembly, string Name, Action<T> Run);

/// <summary>Scenarios in assemblies that the user names as <c>Assembly.dll</c> or <c>Assembly.dll#Name</c>.</summary>
static class ScenarioAssembly
{
    /// <param name="text">Without a name, all scenarios of the assembly are meant; a name is a whole one, or the last part of one.</param>
    /// <exception cref="CommandException">The assembly cannot be loaded, or has no such scenario.</exception>
    public static IReadOnlyList<AssemblyScenario<T>> Find<T>(string text)
    {
        int end = text.LastIndexOf('#');
        string path = end < 0 ? text : text[..end];
        string? name = end < 0 ? null : text[(end + 1)..];
        MethodInfo[] methods = [.. DriverAssembly.TypesOf(path).SelectMany(type => ScenariosOf(path, type))];
        AssemblyScenario<T>[] all = [.. methods.Where(IsFor<T>).Select(method => new AssemblyScenario<T>(path, NameOf(method), argument => Run(method, argument)))];
        if (all.Length == 0) throw CommandException.BadInput($"{path}: {Missing<T>(methods)}");
        if (name is null) return all;
        AssemblyScenario<T>[] found = [.. all.Where(s => s.Name == name || s.Name.EndsWith("." + name, StringComparison.Ordinal))];
        if (found.Length == 0) throw CommandException.BadInput($"{path}: no scenario '{name}'; it contains {string.Join(", ", all.Select(s => s.Name))}.");
        return found;
    }

    static string Missing<T>(MethodInfo[] others) => (others.Length > 0, typeof(T) == typeof(CheckBench)) switch
    {
        (true, true) => "its scenarios take a Machine and bring their own drivers; check them without others, or have them take a CheckBench.",
        (true, false) => "its scenarios take a CheckBench; name the drivers before it, as in irpwright check mydriver.sys Scenarios.dll.",
        (false, true) => "no scenario; mark public methods that take a CheckBench with [Scenario] of Irpwright.Testing, in public classes.",
        _ => "no scenario; mark public methods that take a Machine with [Scenario] of Irpwright.Testing, in public classes.",
    };

    static IEnumerable<MethodInfo> ScenariosOf(string path, Type type)
    {
        if (!type.IsVisible || type.ContainsGenericParameters) yield break;
        bool isMarked = type.IsDefined(typeof(ScenarioAttribute));
        const BindingFlags flags = BindingFlags.Public | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly;
        foreach (MethodInfo method in type.GetMethods(flags).OrderBy(m => m.Name, StringComparer.Ordinal))
        {
            bool isNamed = method.IsDefined(typeof(ScenarioAttribute));
            if (!isNamed && !isMarked) continue;
            bool fits = (IsFor<Machine>(method) || IsFor<CheckBench>(method))
                && (method.ReturnType == typeof(void) || method.ReturnType == typeof(Task)) && !method.IsGenericMethodDefinition
                && (method.IsStatic || !type.IsAbstract && type.GetConstructor([]) is not null);
            if (fits) yield return method;
            else if (isNamed) throw CommandException.BadInput($"{path}: {NameOf(method)} cannot be a scenario; it must take a Machine or a CheckBench, return nothing or a Task, and its class needs no arguments.");
        }
    }

    static string NameOf(MethodInfo method) => $"{method.DeclaringType!.FullName}.{method.Name}";

    static bool IsFor<T>(MethodInfo method) => method.GetParameters() is [{ ParameterType: var parameter }] && parameter == typeof(T);

    static void Run<T>(MethodInfo method, T argument)
    {
        object? instance = method.IsStatic ? null : Activator.CreateInstance(method.DeclaringType!);
        Machine machine = argument is CheckBench bench ? bench.Machine : (Machine)(object)argument!;
        try
        {
            if (method.ReturnType == typeof(Task))
                machine.RunAsync(() => method.CreateDelegate<Func<T, Task>>(instance)(argument));
            else
                method.CreateDelegate<Action<T>>(instance)(argument);
        }
        finally
        {
            (instance as IDisposable)?.Dispose();
        }
    }
}
