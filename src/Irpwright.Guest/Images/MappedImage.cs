using System.Collections.Immutable;

namespace Irpwright.Guest.Images;

/// <summary>An image laid out as in memory, at its preferred base, from which the directory readers read by RVA.</summary>
sealed class MappedImage(
    byte[] contents,
    ulong imageBase,
    ImmutableArray<ImageSection> sections,
    IMAGE_DATA_DIRECTORY[] directories,
    ImageDiagnostics diagnostics)
{
    public ReadOnlySpan<byte> Contents => contents;

    public ulong ImageBase => imageBase;

    public ImmutableArray<ImageSection> Sections => sections;

    public ImageDiagnostics Diagnostics => diagnostics;

    /// <summary>A directory that exists and lies inside the image; one that does not is absent, with a warning.</summary>
    public bool TryGetDirectory(ImageDirectory index, out IMAGE_DATA_DIRECTORY directory)
    {
        if (!HasDirectory(index, out directory)) return false;
        if (IsInside(directory)) return true;
        diagnostics.Warn(ImageProblem.BadDirectory, Place(index), $"{Outside(directory)}; it is ignored");
        return false;
    }

    /// <summary>
    /// As <see cref="TryGetDirectory"/> for a directory without which the image cannot be loaded: false means refuse the image.
    /// </summary>
    public bool RequireInside(ImageDirectory index, out IMAGE_DATA_DIRECTORY directory, out bool present)
    {
        present = HasDirectory(index, out directory);
        return !present || IsInside(directory)
            || diagnostics.FailDamaged(Place(index), Outside(directory));
    }

    /// <summary>An address stored in the image, as an RVA; false when it points outside.</summary>
    public bool TryGetRva(ulong virtualAddress, out uint rva)
    {
        rva = (uint)(virtualAddress - imageBase);
        return virtualAddress - imageBase < (ulong)contents.Length;
    }

    public static string Place(ImageDirectory index) => index switch
    {
        ImageDirectory.Export => "Export Table",
        ImageDirectory.Import => "Import Table",
        ImageDirectory.Resource => "Resource Table",
        ImageDirectory.Exception => "Exception Table",
        ImageDirectory.BaseRelocation => "Base Relocation Table",
        ImageDirectory.Debug => "Debug",
        ImageDirectory.ThreadLocalStorage => "TLS Table",
        ImageDirectory.LoadConfiguration => "Load Config Table",
        ImageDirectory.DelayImport => "Delay Import Descriptor",
        _ => index.ToString(),
    } + $" (data directory {(int)index})";

    public bool HasDirectory(ImageDirectory index, out IMAGE_DATA_DIRECTORY directory)
    {
        directory = (int)index < directories.Length ? directories[(int)index] : default;
        return directory.VirtualAddress != 0 && directory.Size != 0;
    }

    bool IsInside(IMAGE_DATA_DIRECTORY directory) => (ulong)directory.VirtualAddress + directory.Size <= (ulong)contents.Length;

    string Outside(IMAGE_DATA_DIRECTORY directory) =>
        $"RVA 0x{directory.VirtualAddress:X}, size 0x{directory.Size:X} lies outside the image of 0x{contents.Length:X} bytes";
}
