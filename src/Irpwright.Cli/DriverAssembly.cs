using System.Reflection;
using System.Runtime.Loader;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary>C# drivers in assemblies that the user names as <c>Assembly.dll:Type</c>.</summary>
static class DriverAssembly
{
    /// <summary>Splits <c>Assembly.dll:Type</c>; false for any other text.</summary>
    public static bool TrySplit(string text, out string path, out string type)
    {
        // The last one, as a Windows path holds a colon as well.
        int end = text.LastIndexOf(".dll:", StringComparison.OrdinalIgnoreCase);
        path = end < 0 ? "" : text[..(end + 4)];
        type = end < 0 ? "" : text[(end + 5)..];
        return end >= 0;
    }

    /// <summary>Makes a driver of a type.</summary>
    /// <param name="name">Its full name, or the last part of it where no other driver has the same.</param>
    public static WdmDriver Create(string path, string name)
    {
        Type[] drivers = DriversOf(path);
        Type[] found = [.. drivers.Where(t => t.FullName == name || t.Name == name)];
        if (found.Length == 0)
        {
            string there = drivers.Length == 0 ? "no class derived from WdmDriver" : Names(drivers);
            throw CommandException.BadInput($"{path}: no driver type '{name}'; it contains {there}.");
        }
        if (found.Length > 1) throw CommandException.BadInput($"{path}: '{name}' is ambiguous: {Names(found)}. Give the full name.");
        return Create(path, found[0]);
    }

    static WdmDriver Create(string path, Type type)
    {
        // Constructors whose parameters all have defaults count as parameterless.
        ConstructorInfo constructor = type.GetConstructors().FirstOrDefault(c => c.GetParameters().All(p => p.HasDefaultValue))
            ?? throw CommandException.BadInput($"{path}: {type.FullName} needs constructor arguments, which cannot be given here.");
        try
        {
            return (WdmDriver)constructor.Invoke([.. constructor.GetParameters().Select(p => p.DefaultValue)]);
        }
        catch (TargetInvocationException e)
        {
            throw CommandException.BadInput($"{path}: the constructor of {type.FullName} failed: {e.InnerException?.Message}");
        }
    }

    /// <summary>What makes a piece of hardware in a machine.</summary>
    /// <param name="name">Of a public class with a constructor that takes a Machine and connects to it.</param>
    public static Action<Machine> HardwareOf(string path, string name)
    {
        Type[] models = [.. TypesOf(path).Where(t => !t.IsAbstract && t.IsVisible && t.GetConstructor([typeof(Machine)]) is not null)];
        Type found = Array.Find(models, t => t.FullName == name || t.Name == name) ?? throw CommandException.BadInput(
            $"{path}: no hardware '{name}'; it contains {(models.Length == 0 ? "no public class with a constructor that takes a Machine" : Names(models))}.");
        return machine => Activator.CreateInstance(found, machine);
    }

    static Type[] DriversOf(string path) => [.. TypesOf(path).Where(t => !t.IsAbstract && t.IsSubclassOf(typeof(WdmDriver)))];

    /// <summary>The types of an assembly, by name.</summary>
    /// <exception cref="CommandException">It cannot be loaded.</exception>
    public static Type[] TypesOf(string path)
    {
        string fullPath = Path.GetFullPath(path);
        if (Directory.Exists(fullPath)) throw CommandException.BadInput($"{path}: is a directory; name an assembly (.dll).");
        if (!File.Exists(fullPath)) throw CommandException.BadInput($"{path}: no such file; check the path.");
        try
        {
            var resolver = new AssemblyDependencyResolver(fullPath);
            AssemblyLoadContext.Default.Resolving += (context, name) =>
                resolver.ResolveAssemblyToPath(name) is { } found ? context.LoadFromAssemblyPath(found) : null;
            return [.. AssemblyLoadContext.Default.LoadFromAssemblyPath(fullPath).GetTypes().OrderBy(t => t.FullName, StringComparer.Ordinal)];
        }
        catch (BadImageFormatException)
        {
            throw CommandException.BadInput($"{path}: is no .NET assembly; give a compiled driver as a path alone.");
        }
        catch (Exception e) when (e is IOException or ReflectionTypeLoadException or InvalidOperationException)
        {
            string reason = e is ReflectionTypeLoadException { LoaderExceptions: [{ } first, ..] } ? first.Message : e.Message;
            throw CommandException.BadInput($"{path}: cannot be loaded: {reason}");
        }
    }

    static string Names(Type[] types) => string.Join(", ", types.Select(t => t.FullName));
}
