using System.Collections.Immutable;
using System.Text;

namespace Irpwright.Guest.Images;

/// <summary>A place in an image, as debuggers write it.</summary>
public readonly record struct SymbolLocation(string Name, uint Offset)
{
    public override string ToString() => Offset == 0 ? Name : $"{Name}+0x{Offset:x}";
}

/// <summary>How good a name is, best first, where several share an address.</summary>
enum SymbolRank
{
    Function,
    Other,
    Export,
}

/// <summary>A name for an RVA.</summary>
readonly record struct ImageSymbol(uint Rva, SymbolRank Rank, string Name);

/// <summary>Names for RVAs.</summary>
sealed class SymbolTable
{
    const int SymbolSize = 18;
    const byte External = 2, Static = 3;
    const int FunctionType = 0x20;
    const int MaxNameLength = 4096;

    readonly string[] names;
    readonly uint[] rvas;

    /// <param name="symbols">Several may share an address: the best rank wins, then the alphabet, so that every run prints the same.</param>
    public SymbolTable(List<ImageSymbol> symbols)
    {
        symbols.Sort((a, b) =>
        {
            int order = (a.Rva, a.Rank).CompareTo((b.Rva, b.Rank));
            return order != 0 ? order : string.CompareOrdinal(a.Name, b.Name);
        });
        var distinct = new List<ImageSymbol>();
        foreach (ImageSymbol symbol in symbols)
            if (distinct.Count == 0 || distinct[^1].Rva != symbol.Rva) distinct.Add(symbol);
        names = [.. distinct.Select(symbol => symbol.Name)];
        rvas = [.. distinct.Select(symbol => symbol.Rva)];
    }

    public int Count => rvas.Length;

    /// <summary>The last symbol in [<paramref name="from"/>, <paramref name="rva"/>].</summary>
    public SymbolLocation? Find(uint from, uint rva)
    {
        int index = Array.BinarySearch(rvas, rva);
        if (index < 0) index = ~index - 1;
        return index >= 0 && rvas[index] >= from ? new SymbolLocation(names[index], rva - rvas[index]) : null;
    }

    /// <summary>The names in the file itself: exports, and the COFF symbol table where it was not stripped.</summary>
    public static List<ImageSymbol> Read(
        ReadOnlySpan<byte> file, in IMAGE_FILE_HEADER header, MappedImage image, ImmutableArray<ImageExport> exports)
    {
        var symbols = new List<ImageSymbol>();
        foreach (ImageExport export in exports)
            if (export is { Name: not "", Forwarder: "" }) symbols.Add(new ImageSymbol(export.Rva, SymbolRank.Export, export.Name));
        ReadCoffSymbols(file, header, image, symbols);
        return symbols;
    }

    static void ReadCoffSymbols(ReadOnlySpan<byte> file, in IMAGE_FILE_HEADER header, MappedImage image, List<ImageSymbol> symbols)
    {
        if (header.PointerToSymbolTable == 0 || header.NumberOfSymbols == 0) return;
        if (!file.TrySlice(header.PointerToSymbolTable, (ulong)header.NumberOfSymbols * SymbolSize, out ReadOnlySpan<byte> table))
        {
            image.Diagnostics.Warn(ImageProblem.Truncated, "IMAGE_FILE_HEADER.PointerToSymbolTable",
                "the COFF symbol table lies outside the file; functions have no names");
            return;
        }
        ReadOnlySpan<byte> strings = StringTable(file, header);
        for (ulong index = 0; table.TryRead(index * SymbolSize, out IMAGE_SYMBOL symbol); index += 1UL + symbol.NumberOfAuxSymbols)
        {
            bool isInSection = symbol.SectionNumber > 0 && symbol.SectionNumber <= image.Sections.Length;
            if (symbol.StorageClass is not (External or Static) || !isInSection) continue;
            ImageSection section = image.Sections[symbol.SectionNumber - 1];
            if (symbol.Value >= section.VirtualSize || NameOf(symbol.Name, strings) is not { } name || name.StartsWith('.')) continue;
            SymbolRank rank = symbol.Type == FunctionType ? SymbolRank.Function : SymbolRank.Other;
            symbols.Add(new ImageSymbol(section.VirtualAddress + symbol.Value, rank, name));
        }
    }

    /// <summary>The string table behind the symbol table: its size, then NUL-terminated names.</summary>
    public static ReadOnlySpan<byte> StringTable(ReadOnlySpan<byte> file, in IMAGE_FILE_HEADER header)
    {
        if (header.PointerToSymbolTable == 0) return default;
        ulong at = header.PointerToSymbolTable + (ulong)header.NumberOfSymbols * SymbolSize;
        return file.TryRead(at, out uint size) && file.TrySlice(at, size, out ReadOnlySpan<byte> strings) ? strings : default;
    }

    static string? NameOf(ReadOnlySpan<byte> field, ReadOnlySpan<byte> strings)
    {
        // Four zero bytes and an offset into the string table, or up to eight characters.
        if (field.TryRead(0, out uint zeroes) && zeroes == 0)
            return field.TryRead(4, out uint offset) && strings.TryReadName(offset, MaxNameLength, out string name) ? name : null;
        field = field.TrimEnd((byte)0);
        return field.IsPrintable() ? Encoding.ASCII.GetString(field) : null;
    }
}
