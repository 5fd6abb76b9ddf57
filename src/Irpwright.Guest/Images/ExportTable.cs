using System.Collections.Immutable;

namespace Irpwright.Guest.Images;

/// <summary>One exported address.</summary>
/// <param name="Name">Empty for an export by ordinal only.</param>
/// <param name="Forwarder"><c>MODULE.Name</c> when the export is another module's; otherwise empty.</param>
public readonly record struct ImageExport(string Name, uint Ordinal, uint Rva, string Forwarder);

static class ExportTable
{
    const int MaxExports = 1 << 16;
    const int MaxNameLength = 4096;

    public static ImmutableArray<ImageExport> Read(MappedImage image)
    {
        if (!image.TryGetDirectory(ImageDirectory.Export, out IMAGE_DATA_DIRECTORY directory)) return [];
        ReadOnlySpan<byte> contents = image.Contents;
        if (!contents.TryRead(directory.VirtualAddress, out IMAGE_EXPORT_DIRECTORY table)
            || table.NumberOfFunctions > MaxExports || table.NumberOfNames > MaxExports
            || !contents.TrySlice(table.AddressOfFunctions, table.NumberOfFunctions * 4UL, out ReadOnlySpan<byte> addresses)
            || !contents.TrySlice(table.AddressOfNames, table.NumberOfNames * 4UL, out ReadOnlySpan<byte> names)
            || !contents.TrySlice(table.AddressOfNameOrdinals, table.NumberOfNames * 2UL, out ReadOnlySpan<byte> indices))
        {
            image.Diagnostics.Warn(ImageProblem.BadDirectory, MappedImage.Place(ImageDirectory.Export),
                "its tables are not inside the image; exports are ignored");
            return [];
        }
        var found = ImmutableArray.CreateBuilder<ImageExport>();
        var named = new HashSet<uint>();
        for (uint i = 0; i < table.NumberOfNames; i++)
        {
            names.TryRead(i * 4UL, out uint nameRva);
            indices.TryRead(i * 2UL, out ushort index);
            if (!addresses.TryRead(index * 4UL, out uint rva) || !contents.TryReadName(nameRva, MaxNameLength, out string name)) continue;
            named.Add(index);
            found.Add(Export(contents, directory, name, table.Base + index, rva));
        }
        for (uint index = 0; index < table.NumberOfFunctions; index++)
        {
            addresses.TryRead(index * 4UL, out uint rva);
            if (rva != 0 && !named.Contains(index)) found.Add(Export(contents, directory, "", table.Base + index, rva));
        }
        return found.ToImmutable();
    }

    static ImageExport Export(ReadOnlySpan<byte> contents, IMAGE_DATA_DIRECTORY directory, string name, uint ordinal, uint rva)
    {
        // An address inside the export directory is the name of a forwarder.
        string forwarder = "";
        if (rva - directory.VirtualAddress < directory.Size) contents.TryReadName(rva, MaxNameLength, out forwarder);
        return new ImageExport(name, ordinal, rva, forwarder);
    }
}
