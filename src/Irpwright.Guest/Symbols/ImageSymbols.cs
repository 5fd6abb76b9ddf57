using Irpwright.Guest.Images;

namespace Irpwright.Guest.Symbols;

/// <summary>Names and source lines of an image, from everything that tells.</summary>
sealed class ImageSymbols
{
    ImageSymbols(SymbolTable names, LineTable lines, IReadOnlyList<string> sources)
    {
        Names = names;
        Lines = lines;
        Sources = sources;
    }

    public SymbolTable Names { get; }

    public LineTable Lines { get; }

    /// <summary>What it was all read from, for people.</summary>
    public IReadOnlyList<string> Sources { get; }

    /// <param name="inFile">Names from the file itself: its COFF symbol table and exports.</param>
    /// <param name="maySearch">Whether a PDB file may be looked for on disk.</param>
    public static ImageSymbols Read(PortableExecutable image, IReadOnlyList<ImageSymbol> inFile, bool maySearch)
    {
        var sources = new List<string>();
        if (inFile.Any(symbol => symbol.Rank < SymbolRank.Export)) sources.Add("COFF symbol table");
        if (inFile.Any(symbol => symbol.Rank == SymbolRank.Export)) sources.Add("exports");
        SymbolSource? found = (maySearch ? SymbolSource.InFile(image) : null) ?? SymbolSource.InImage(image);
        if (found is not null) sources.Add(found.Description);
        IEnumerable<ImageSymbol> more = found?.Functions.Select(f => new ImageSymbol(f.Rva, SymbolRank.Function, f.Name)) ?? [];
        return new ImageSymbols(new SymbolTable([.. inFile, .. more]), found?.Lines ?? new LineTable([]), sources);
    }
}
