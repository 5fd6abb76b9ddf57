namespace Irpwright.Cli.Tests;

/// <summary>The command as a shell sees it: exit code, stdout, stderr.</summary>
sealed record Command(int ExitCode, string Output, string Error)
{
    public static Command Run(params string[] args)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        int exitCode = CommandLine.Invoke(args, new Terminal(output, error));
        return new Command(exitCode, output.ToString(), error.ToString());
    }

    /// <summary>Output without the trailing newline, as lines.</summary>
    public string[] Lines => Output.TrimEnd('\n').Split('\n');

    /// <summary>Asserts that the command ended as asked, with exactly one line on stderr and no stack trace.</summary>
    /// <returns>That line.</returns>
    public string AssertComplains(int exitCode)
    {
        Assert.Equal(exitCode, ExitCode);
        Assert.StartsWith("irpwright: ", Error, StringComparison.Ordinal);
        Assert.Equal(Error.Length - 1, Error.IndexOf('\n', StringComparison.Ordinal));
        Assert.DoesNotContain("   at ", Error, StringComparison.Ordinal);
        Assert.DoesNotContain("internal error", Error, StringComparison.Ordinal);
        return Error.TrimEnd('\n');
    }
}

/// <summary>Files of the repository, and a place for new ones.</summary>
static class TestFiles
{
    static readonly string Root = FindRoot();

    public static string Sample(string driver) => Path.Combine(Root, "samples", "native", "bin", driver + ".sys");

    public static string Samples(string file) => Path.Combine(Root, "samples", file);

    public static string Document(string name) => Path.Combine(Root, "docs", name);

    public static string Disk => Path.Combine(Root, "samples", "data", "disk.img");

    /// <summary>This test assembly, which contains drivers.</summary>
    public static string Assembly => typeof(TestFiles).Assembly.Location;

    public static string Temporary(string name, ReadOnlySpan<byte> content = default)
    {
        string path = Path.Combine(Directory.CreateTempSubdirectory("irpwright").FullName, name);
        if (!content.IsEmpty) File.WriteAllBytes(path, content);
        return path;
    }

    static string FindRoot()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "Irpwright.slnx"))) return folder;
        }
        throw new DirectoryNotFoundException("Irpwright.slnx was not found above the test's folder.");
    }
}
