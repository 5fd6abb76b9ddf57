using Irpwright.Guest.Images;

namespace Irpwright.Checking.Tests;

/// <summary>The compiled samples as drivers to check.</summary>
static partial class CompiledSamples
{
    static readonly string Images = Path.Combine(FindRoot(), "samples", "native", "bin");

    public static DriverSource Driver(string name) => At(Path.Combine(Images, name + ".sys"));

    /// <summary>A driver of tests/native.</summary>
    public static DriverSource TestDriver(string name) => At(Path.Combine(FindRoot(), "tests", "native", "bin", name + ".sys"));

    static DriverSource At(string path)
    {
        return PortableExecutable.TryReadFile(path, out PortableExecutable? image, out ImageDiagnostic? error)
            ? DriverSource.Of(path, image)
            : throw new InvalidOperationException(error.ToString());
    }

    /// <summary>The same driver as most are shipped: without its symbol table.</summary>
    public static DriverSource DriverWithoutSymbols(string name)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(Images, name + ".sys"));
        int fileHeader = BitConverter.ToInt32(bytes, 0x3C) + 4;
        bytes.AsSpan(fileHeader + 8, 8).Clear(); // PointerToSymbolTable, NumberOfSymbols
        return PortableExecutable.TryRead(name + ".sys", bytes, out PortableExecutable? image, out ImageDiagnostic? error)
            ? DriverSource.Of(name + ".sys", image)
            : throw new InvalidOperationException(error.ToString());
    }

    /// <summary>Fewer schedules than by default: every sample is checked in each test run.</summary>
    public static CheckResult Check(string name, int schedules = 1) =>
        new DriverCheck([Driver(name)], new CheckOptions { Schedules = schedules, Budget = TimeSpan.FromMinutes(5) }).Run();

    /// <summary>Text without the part of addresses that tells which of the machines of a process it was.</summary>
    public static string InAnyMachine(string text) => MachineOfAddress().Replace(text, "$1..$2");

    [System.Text.RegularExpressions.GeneratedRegex(@"\b([0-9a-f]{6})[0-9a-f]{2}(`?[0-9a-f]{8})\b")]
    private static partial System.Text.RegularExpressions.Regex MachineOfAddress();

    static string FindRoot()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Irpwright.slnx"))) return at.FullName;
        }
        throw new DirectoryNotFoundException($"no Irpwright.slnx above {AppContext.BaseDirectory}");
    }
}
