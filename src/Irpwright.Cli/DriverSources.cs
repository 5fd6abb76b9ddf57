using Irpwright.Checking;
using Irpwright.Guest;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary>Drivers by the names that command lines give them.</summary>
static class DriverSources
{
    static readonly Dictionary<string, Func<WdmDriver>> BuiltIn = new(StringComparer.OrdinalIgnoreCase)
    {
        ["passthrough"] = () => new PassThrough(),
        ["ramdisk"] = DeviceSpec.Default.Create!,
        ["scripted"] = () => new ScriptedDevice(),
    };

    /// <summary>Names of the built-in drivers, for help texts.</summary>
    public static IEnumerable<string> BuiltInNames => BuiltIn.Keys;

    /// <summary>Finds and reads a driver; nothing of it runs yet.</summary>
    /// <param name="folder">That paths are relative to; the current one, if empty.</param>
    /// <exception cref="CommandException">Says what is wrong with the name or the file.</exception>
    public static DriverSource Find(string text, string folder = "")
    {
        if (DriverAssembly.TrySplit(text, out string path, out string type))
        {
            path = Path.Combine(folder, path);
            DriverAssembly.Create(path, type);
            return DriverSource.Of($"{path}:{type}", type[(type.LastIndexOf('.') + 1)..], () => DriverAssembly.Create(path, type));
        }
        if (BuiltIn.TryGetValue(text, out Func<WdmDriver>? create) && !File.Exists(Path.Combine(folder, text)))
            return DriverSource.Of(text, text.ToLowerInvariant(), create);
        return FindImage(text, Path.Combine(folder, text));
    }

    static DriverSource FindImage(string text, string path)
    {
        if (text.StartsWith('-')) throw CommandException.BadInput($"{text}: no option of that name. See 'irpwright --help'.");
        if (!text.AsSpan().ContainsAny('.', '/', '\\') && !File.Exists(path) && !Directory.Exists(path))
        {
            throw CommandException.BadInput(
                $"{text}: no driver of that name; built in: {string.Join(", ", BuiltInNames)}. Or give a .sys file, or Assembly.dll:Type.");
        }
        if (path.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) && File.Exists(path))
            throw CommandException.BadInput($"{path}: name the driver class in it, as {path}:Type.");
        if (!PortableExecutable.TryReadFile(path, out PortableExecutable? image, out ImageDiagnostic? error))
        {
            int exitCode = error.Problem == ImageProblem.Unsupported ? ExitCode.Undecided : ExitCode.BadInput;
            throw new CommandException(exitCode, error.ToString());
        }
        return DriverSource.Of(path, image);
    }

    /// <summary>Requires that the drivers can be loaded, and that this version has all their imports.</summary>
    /// <exception cref="CommandException">Names imports that are missing, and where they are used.</exception>
    public static void RequireImports(IEnumerable<DriverSource> drivers)
    {
        foreach (DriverSource driver in drivers.Where(driver => driver.Image is not null))
        {
            using var machine = new Machine();
            Place(driver, new GuestDrivers(machine));
        }
    }

    /// <summary>Places a compiled driver in a machine.</summary>
    /// <exception cref="CommandException">It cannot be loaded, or imports what is missing and that is not allowed.</exception>
    public static DriverImage Place(DriverSource driver, GuestDrivers guest)
    {
        DriverImage image;
        try
        {
            image = driver.Place(guest);
        }
        catch (DriverCheckException e)
        {
            throw CommandException.Undecided(e.Message);
        }
        ImageImport[] missing = [.. image.MissingImports];
        if (guest.AllowsMissingImports || missing.Length == 0) return image;
        throw CommandException.Undecided(
            $"{driver.Text}: the driver cannot run, as this version does not have its import {string.Join(", ", missing.Select(import => $"{import}{UsedBy(image.File, import)}"))}");
    }

    static string UsedBy(PortableExecutable image, ImageImport import) =>
        ImageReport.PlacesOf(image, import).FirstOrDefault() is { } place ? $" (used by {place})" : "";
}
