namespace Irpwright.Verification.Tests;

/// <summary>Files of the repository that tests use.</summary>
static class TestFiles
{
    /// <summary>A folder, by its path from the top.</summary>
    public static string FindFolder(params string[] path)
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string candidate = Path.Combine([folder, .. path]);
            if (Directory.Exists(candidate)) return candidate;
        }
        throw new DirectoryNotFoundException(Path.Combine(path));
    }
}
