using Irpwright.Guest.Images;

namespace Irpwright.Guest.Symbols;

/// <summary>What debug information says about the code of an image.</summary>
/// <param name="Description">What it was read from: <c>DWARF</c>, or the path of a PDB file.</param>
/// <param name="Functions">Names that the COFF symbol table may lack, with their RVAs.</param>
sealed record SymbolSource(string Description, IReadOnlyList<(uint Rva, string Name)> Functions, LineTable Lines)
{
    const int MaxPdbSize = 256 << 20;

    /// <summary>The debug information in the image itself; null when it was stripped or never there.</summary>
    public static SymbolSource? InImage(PortableExecutable image)
    {
        LineTable lines = DwarfLines.Read(image);
        return lines.IsEmpty ? null : new SymbolSource("DWARF", [], lines);
    }

    /// <summary>
    /// The PDB file that belongs to an image: beside it, under its own name or the one that the linker noted, or where the linker put it.
    /// </summary>
    public static SymbolSource? InFile(PortableExecutable image)
    {
        if (image.CodeView is not { } record) return null;
        foreach (string path in PathsOf(image, record).Distinct(StringComparer.Ordinal))
            if (Read(path) is { } bytes && PdbFile.TryRead(bytes, record.Signature) is { } pdb)
                return new SymbolSource(path, pdb.Functions, pdb.Lines);
        return null;
    }

    static IEnumerable<string> PathsOf(PortableExecutable image, CodeViewRecord record)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(image.FileName)) ?? ".";
        string name = record.Path[(record.Path.AsSpan().LastIndexOfAny('/', '\\') + 1)..];
        yield return Path.Combine(folder, Path.ChangeExtension(image.Name, ".pdb"));
        if (name.EndsWith(".pdb", StringComparison.OrdinalIgnoreCase)) yield return Path.Combine(folder, name);
        // The record comes out of the image: it may name no share on a network, and nothing but a symbol file.
        bool isLocal = Path.IsPathFullyQualified(record.Path) && !record.Path.StartsWith(@"\\", StringComparison.Ordinal)
            && !record.Path.StartsWith("//", StringComparison.Ordinal);
        if (isLocal && record.Path.EndsWith(".pdb", StringComparison.OrdinalIgnoreCase)) yield return record.Path;
    }

    static byte[]? Read(string path)
    {
        try
        {
            // Not a device, which may have no end.
            return new FileInfo(path) is { Exists: true, Length: > 0 and <= MaxPdbSize } ? File.ReadAllBytes(path) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
