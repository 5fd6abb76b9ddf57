namespace Irpwright.Guest.Tests.Images;

/// <summary>The compiled drivers of samples/native/bin.</summary>
static class SampleDrivers
{
    public static IReadOnlyList<string> Paths { get; } = Find();

    /// <summary>The file of one of them.</summary>
    public static string PathOf(string name) => Paths.Single(p => Path.GetFileNameWithoutExtension(p) == name);

    static List<string> Find()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (!File.Exists(Path.Combine(at.FullName, "Irpwright.slnx"))) continue;
            string bin = Path.Combine(at.FullName, "samples", "native", "bin");
            return Directory.Exists(bin) ? [.. Directory.GetFiles(bin, "*.sys").Order(StringComparer.Ordinal)] : [];
        }
        return [];
    }
}
