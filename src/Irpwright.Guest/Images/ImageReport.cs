using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Irpwright.Guest.Images;

/// <summary>An import, and whether the kernel has it.</summary>
/// <param name="References">RVAs of the code that uses it, ascending; some may be missing.</param>
public readonly record struct ReportedImport(ImageImport Import, bool IsSupported, ImmutableArray<uint> References);

/// <summary>A UTF-16 text in an image.</summary>
public readonly record struct ImageText(uint Rva, string Text);

/// <summary>What can be told about a driver without running it.</summary>
public sealed record ImageReport
{
    const int MaxNameLength = 256;
    static readonly string[] NamePrefixes = [@"\Device\", @"\DosDevices\", @"\??\", @"\GLOBAL??\"];

    public required PortableExecutable Image { get; init; }

    public required ImmutableArray<ReportedImport> Imports { get; init; }

    /// <summary>Why the image cannot be loaded although it can be read; null when it can.</summary>
    public ImageDiagnostic? Refusal { get; init; }

    /// <summary>Names of devices and symbolic links, in the order in which they lie in the image.</summary>
    public required ImmutableArray<ImageText> DeviceNames { get; init; }

    /// <summary>Control codes that the code of an image compares with.</summary>
    public static ImmutableArray<ControlCode> ControlCodesOf(PortableExecutable image) => ControlCodeScan.Run(image);

    /// <summary>Numbers in the code that look like I/O control codes, ascending.</summary>
    public required ImmutableArray<ControlCode> ControlCodes { get; init; }

    /// <param name="isSupported">Whether the kernel has what is imported.</param>
    public static ImageReport Create(PortableExecutable image, Func<ImageImport, bool> isSupported) => new()
    {
        Image = image,
        Imports = FindImports(image, isSupported),
        DeviceNames = FindDeviceNames(image),
        ControlCodes = ControlCodesOf(image),
    };

    static ImmutableArray<ReportedImport> FindImports(PortableExecutable image, Func<ImageImport, bool> isSupported)
    {
        ILookup<uint, uint> references = ImportReferences.Find(image);
        return [.. image.Imports.Select(import => new ReportedImport(import, isSupported(import), [.. references[import.AddressRva]]))];
    }

    /// <summary>Code that uses an import, as <c>DriverEntry+0x12</c> or, without a name for it, <c>0x1012</c>.</summary>
    public static IEnumerable<string> PlacesOf(PortableExecutable image, ImageImport import) =>
        ImportReferences.Find(image)[import.AddressRva].Select(rva => PlaceOf(image, rva));

    /// <inheritdoc cref="PlacesOf"/>
    public static string PlaceOf(PortableExecutable image, uint rva) => image.SymbolAt(rva)?.ToString() ?? $"0x{rva:x}";

    static ImmutableArray<ImageText> FindDeviceNames(PortableExecutable image)
    {
        var found = new List<ImageText>();
        ReadOnlySpan<byte> contents = image.Contents.Span;
        for (int at = 0, step; (step = contents[at..].IndexOf("\\\0"u8)) >= 0; at++)
        {
            at += step;
            ReadOnlySpan<char> text = MemoryMarshal.Cast<byte, char>(contents[at..]);
            if (!StartsLikeDeviceName(text)) continue;
            text = text[..Math.Min(text.Length, MaxNameLength)];
            int length = text.IndexOfAnyExceptInRange(' ', '~');
            string name = text[..(length < 0 ? text.Length : length)].ToString();
            if (!found.Exists(other => other.Text == name)) found.Add(new ImageText((uint)at, name));
            at += name.Length * 2 - 1;
        }
        return [.. found];
    }

    static bool StartsLikeDeviceName(ReadOnlySpan<char> text)
    {
        foreach (string prefix in NamePrefixes)
            if (text.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)) return true;
        return false;
    }
}
