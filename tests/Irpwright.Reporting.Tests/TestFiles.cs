namespace Irpwright.Reporting.Tests;

/// <summary>Files of the repository.</summary>
static class TestFiles
{
    static readonly string Root = FindRoot();

    public static string Sample(string driver) => Path.Combine(Root, "samples", "native", "bin", driver + ".sys");

    public static string Document(string name) => Path.Combine(Root, "docs", name);

    public static string Snapshot(string name) => Path.Combine(Root, "tests", "Irpwright.Reporting.Tests", "Snapshots", name + ".txt");

    static string FindRoot()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "Irpwright.slnx"))) return folder;
        }
        throw new DirectoryNotFoundException("Irpwright.slnx was not found above the test's folder.");
    }
}

/// <summary>Timelines that are compared with accepted ones; IRPWRIGHT_ACCEPT=1 accepts what is there now.</summary>
static class Snapshot
{
    public static void Matches(string name, string actual)
    {
        string path = TestFiles.Snapshot(name);
        if (Environment.GetEnvironmentVariable("IRPWRIGHT_ACCEPT") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, actual);
        }
        Assert.True(File.Exists(path), $"There is no {path}; set IRPWRIGHT_ACCEPT=1 to accept:\n{actual}");
        Assert.Equal(File.ReadAllText(path), actual);
    }
}
