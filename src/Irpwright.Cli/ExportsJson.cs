using System.Text.Json;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary>What <c>inspect --exports --json</c> prints: everything that drivers can import from the kernel.</summary>
sealed record ExportsJson(int Version, IReadOnlyList<KernelExportJson> Exports)
{
    public static ExportsJson Of(Machine machine)
    {
        IEnumerable<KernelExportJson> routines = KernelExports.All.Select(e => new KernelExportJson(
            e.Name, e.Module, "routine", e.MinIrql, e.MaxIrql, DocumentationPages.Find(e.SourceName)));
        IEnumerable<KernelExportJson> variables = machine.Variables.All.Select(v => new KernelExportJson(
            v.Name, v.Module, "variable", null, null, null));
        return new ExportsJson(1, [.. routines.Concat(variables).OrderBy(e => e.Module, StringComparer.Ordinal).ThenBy(e => e.Name, StringComparer.Ordinal)]);
    }

    public string Serialize() => JsonSerializer.Serialize(this, CliJson.Readable.ExportsJson) + "\n";

    public void WriteTable(TextWriter output)
    {
        int width = Exports.Max(e => e.Name.Length);
        foreach (IGrouping<string, KernelExportJson> module in Exports.GroupBy(e => e.Module))
        {
            output.Write($"{module.Key} ({module.Count()})\n");
            foreach (KernelExportJson export in module)
                output.Write($"  {export.Name.PadRight(width)}  {export.IrqlRange,-20}  {export.Page}".TrimEnd() + "\n");
            output.Write("\n");
        }
    }
}

/// <param name="Kind"><c>routine</c> or <c>variable</c>.</param>
/// <param name="MinIrql">Lowest IRQL at which a routine may be called.</param>
/// <param name="MaxIrql">Highest.</param>
/// <param name="Page">The routine's page in Microsoft's documentation, such as <c>wdm/nf-wdm-iocalldriver</c>.</param>
sealed record KernelExportJson(string Name, string Module, string Kind, byte? MinIrql, byte? MaxIrql, string? Page)
{
    const byte HighLevel = 15;

    /// <summary>For people: <c>PASSIVE_LEVEL</c>, <c>&lt;= DISPATCH_LEVEL</c>, <c>any IRQL</c>.</summary>
    internal string IrqlRange => (MinIrql, MaxIrql) switch
    {
        (null, _) => Kind,
        (0, HighLevel) => "any IRQL",
        (0, 0) => "PASSIVE_LEVEL",
        (0, { } max) => $"<= {Level(max)}",
        ({ } min, HighLevel) => $">= {Level(min)}",
        ({ } min, { } max) when min == max => Level(min),
        ({ } min, { } max) => $"{Level(min)}..{Level(max)}",
        _ => "",
    };

    static string Level(byte irql) => irql switch { 0 => "PASSIVE_LEVEL", 1 => "APC_LEVEL", 2 => "DISPATCH_LEVEL", _ => $"IRQL {irql}" };
}
