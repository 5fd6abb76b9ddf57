using System.Text.RegularExpressions;

namespace Irpwright.Kernel.Tests.Conformance;

public partial class ExportTests
{
    /// <summary>By reading sources: tests of compiled drivers lie in other projects, and the drivers that they run are written in C.</summary>
    [Fact]
    public void Every_exported_routine_is_called_by_a_test()
    {
        HashSet<string> called = [.. Sources().SelectMany(file => Call().Matches(Comment().Replace(File.ReadAllText(file), "")).Select(m => m.Groups["name"].Value))];
        string[] uncalled = [.. KernelExports.All.Where(e => !called.Contains(e.Name) && !called.Contains(e.SourceName)).Select(e => e.ToString())];
        Assert.True(uncalled.Length == 0, $"No test calls {string.Join(", ", uncalled)}.");
    }

    /// <summary>By a table of what real drivers import: routines and variables.</summary>
    [Fact]
    public void Nothing_is_missing_that_two_drivers_import()
    {
        string[] wanted = [.. File.ReadLines(Path.Combine(ConformanceDocument.Root, "tests", "Irpwright.Kernel.Tests", "Conformance", "imports.tsv"))
            .Where(line => !line.StartsWith('#')).Select(line => line.Split('\t')[0])];
        Assert.True(wanted.Length > 300, $"The table has {wanted.Length} names.");
        using var machine = new Machine();
        string[] missing = [.. wanted.Where(name => machine.SystemRoutines.Find(name) is null)];
        Assert.True(missing.Length == 0, $"Drivers import {string.Join(", ", missing)}, which the kernel does not export.");
    }

    /// <summary>What the rules about IRQLs go by; these were once thought to be lower.</summary>
    [Theory]
    [InlineData("IoMakeAssociatedIrp", DISPATCH_LEVEL)]
    [InlineData("IoSetMasterIrpStatus", HIGH_LEVEL)]
    [InlineData("IoCreateStreamFileObjectLite", APC_LEVEL)]
    [InlineData("IoGetCurrentProcess", HIGH_LEVEL)]
    [InlineData("IoGetDevicePropertyData", APC_LEVEL)]
    [InlineData("IoSetDevicePropertyData", APC_LEVEL)]
    [InlineData("IoSetThreadHardErrorMode", DISPATCH_LEVEL)]
    [InlineData("RtlMultiByteToUnicodeN", APC_LEVEL)]
    [InlineData("RtlMultiByteToUnicodeSize", APC_LEVEL)]
    [InlineData("RtlUnicodeToMultiByteN", APC_LEVEL)]
    [InlineData("RtlUnicodeToMultiByteSize", APC_LEVEL)]
    public void A_routine_may_be_called_at_the_levels_that_its_page_allows(string name, byte highest) =>
        Assert.Equal(highest, Assert.Single(KernelExports.All, e => e.Name == name).MaxIrql);

    static IEnumerable<string> Sources()
    {
        string built = Path.DirectorySeparatorChar + "obj" + Path.DirectorySeparatorChar;
        return Directory.EnumerateFiles(Path.Combine(ConformanceDocument.Root, "tests"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains(built, StringComparison.Ordinal))
            .Concat(Directory.EnumerateFiles(Path.Combine(ConformanceDocument.Root, "samples", "native"), "*.c", SearchOption.AllDirectories));
    }

    // The other forms assemble a call of the import: its name is an argument, of Call or of the theory.
    [GeneratedRegex(@"\b(Call|InlineData)\(""(?<name>\w+)""\)|\b(?<name>\w+)\s*\(")]
    private static partial Regex Call();

    [GeneratedRegex(@"//.*|/\*[\s\S]*?\*/")]
    private static partial Regex Comment();
}
