namespace Irpwright.Guest.Symbols;

/// <summary>A line of source code.</summary>
/// <param name="File">As the compiler wrote it: often a path on the build machine.</param>
/// <param name="Number">From 1.</param>
public readonly record struct SourceLine(string File, int Number)
{
    /// <summary>As debuggers print it: <c>toaster.c @ 123</c>, the file without its path.</summary>
    public override string ToString() => $"{File[(File.AsSpan().LastIndexOfAny('/', '\\') + 1)..]} @ {Number}";
}
