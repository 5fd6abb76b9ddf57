namespace Irpwright.Samples.Tests;

/// <summary>Where the samples lie in the source tree.</summary>
static class SampleFiles
{
    public static string Native { get; } = Path.Combine(FindRoot(), "samples", "native");

    public static string NativeImages { get; } = Path.Combine(Native, "bin");

    public static string DiskImage { get; } = Path.Combine(FindRoot(), "samples", "data", "disk.img");

    static string FindRoot()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Irpwright.slnx"))) return at.FullName;
        }

        throw new DirectoryNotFoundException($"no Irpwright.slnx above {AppContext.BaseDirectory}");
    }
}
