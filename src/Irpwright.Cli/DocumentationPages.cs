using System.Collections.Frozen;

namespace Irpwright.Cli;

/// <summary>Where Microsoft documents kernel routines.</summary>
/// <remarks>Pages of learn.microsoft.com/windows-hardware/drivers/ddi; the list of routines and headers is a resource.</remarks>
static class DocumentationPages
{
    static readonly Lazy<FrozenDictionary<string, string>> Headers = new(Read);

    /// <summary>The page of a routine by its name in source: <c>wdm/nf-wdm-iocalldriver</c>; null for one that is not documented.</summary>
    public static string? Find(string routine)
    {
        string name = routine.ToLowerInvariant();
        return Headers.Value.TryGetValue(name, out string? header) ? $"{header}/nf-{header}-{name}" : null;
    }

    static FrozenDictionary<string, string> Read()
    {
        using Stream stream = typeof(DocumentationPages).Assembly.GetManifestResourceStream("documentation-pages.tsv")!;
        using var reader = new StreamReader(stream);
        var headers = new Dictionary<string, string>();
        while (reader.ReadLine() is { } line)
            if (line.Split('\t') is [var name, var header]) headers[name] = header;
        return headers.ToFrozenDictionary();
    }
}
