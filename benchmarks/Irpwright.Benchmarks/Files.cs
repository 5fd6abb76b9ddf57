namespace Irpwright.Benchmarks;

static class Files
{
    /// <summary>A file of the repository, which is somewhere above the program.</summary>
    public static string Find(string name)
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string path = Path.Combine(folder, name);
            if (File.Exists(path)) return path;
        }
        throw new FileNotFoundException($"{name} is not above {AppContext.BaseDirectory}.");
    }
}
