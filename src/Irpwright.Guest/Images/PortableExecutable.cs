using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Security;
using Irpwright.Guest.Symbols;

namespace Irpwright.Guest.Images;

/// <summary>
/// An x64 native image (PE32+) as its file describes it: read completely and checked, not yet placed in a machine.
/// Reading never throws, whatever the bytes are.
/// </summary>
public sealed class PortableExecutable
{
    /// <summary>Largest file, and largest SizeOfImage, that is read: 64 MiB.</summary>
    public const int MaxSize = 64 << 20;

    // Most runs need no name; reading debug information takes longer than the rest of the image.
    readonly Lazy<ImageSymbols> symbols;
    bool isOnDisk;
    readonly Lazy<Dictionary<string, ImageExport>> exportsByName;
    readonly Lazy<ImmutableArray<uint>> blocks;
    readonly Lazy<Dictionary<uint, ImageExport>> exportsByOrdinal;

    const int MaxChainedUnwindInfo = 32;
    const byte ChainedUnwindInfo = 4;

    internal PortableExecutable(
        string fileName,
        MappedImage image,
        byte[] contents,
        in IMAGE_FILE_HEADER fileHeader,
        in IMAGE_OPTIONAL_HEADER64 header,
        IReadOnlyList<ImageSymbol> symbolsInFile)
    {
        FileName = fileName;
        Contents = contents;
        Sections = image.Sections;
        ImageBase = header.ImageBase;
        EntryPoint = header.AddressOfEntryPoint;
        SectionAlignment = header.SectionAlignment;
        SizeOfHeaders = header.SizeOfHeaders;
        CheckSum = header.CheckSum;
        TimeDateStamp = fileHeader.TimeDateStamp;
        Characteristics = (ImageCharacteristics)fileHeader.Characteristics;
        DllCharacteristics = (ImageDllCharacteristics)header.DllCharacteristics;
        symbols = new(() => ImageSymbols.Read(this, symbolsInFile, isOnDisk));
        blocks = new(() => FunctionCode.Blocks(this));
        exportsByName = new(() => Index(Exports.Where(export => export.Name.Length > 0), export => export.Name));
        exportsByOrdinal = new(() => Index(Exports, export => export.Ordinal));
    }

    /// <summary>The first of several with the same key counts, as it does for a search.</summary>
    static Dictionary<TKey, ImageExport> Index<TKey>(IEnumerable<ImageExport> exports, Func<ImageExport, TKey> key) where TKey : notnull
    {
        var index = new Dictionary<TKey, ImageExport>();
        foreach (ImageExport export in exports) index.TryAdd(key(export), export);
        return index;
    }

    /// <summary>The file as the caller named it.</summary>
    public string FileName { get; }

    /// <summary>The module name, for example <c>toaster.sys</c>.</summary>
    public string Name => Path.GetFileName(FileName);

    /// <summary>
    /// The image laid out as in memory at <see cref="ImageBase"/>: headers, sections at their RVAs, zeros between. Its length is a
    /// multiple of the page size.
    /// </summary>
    public ReadOnlyMemory<byte> Contents { get; }

    /// <summary>Bytes of address space that the image takes, a multiple of the page size.</summary>
    public uint SizeOfImage => (uint)Contents.Length;

    /// <summary>The address for which the linker built the image.</summary>
    public ulong ImageBase { get; }

    /// <summary>RVA of DriverEntry (or of GsDriverEntry, which calls it); 0 when the image has none.</summary>
    public uint EntryPoint { get; }

    /// <summary>Below the page size, sections may share a page.</summary>
    public uint SectionAlignment { get; }

    public uint SizeOfHeaders { get; }

    public uint CheckSum { get; }

    /// <summary>Seconds since 1970 when the image was linked; in a reproducible build, a hash.</summary>
    public uint TimeDateStamp { get; }

    public ImageCharacteristics Characteristics { get; }

    public ImageDllCharacteristics DllCharacteristics { get; }

    public ImmutableArray<ImageSection> Sections { get; }

    public ImmutableArray<ImageImport> Imports { get; internal init; }

    public ImmutableArray<ImageImport> DelayImports { get; internal init; }

    public ImmutableArray<ImageExport> Exports { get; internal init; }

    /// <summary>The export of that exact name.</summary>
    public ImageExport? FindExport(string name) => exportsByName.Value.TryGetValue(name, out ImageExport export) ? export : null;

    /// <summary>The export of an ordinal.</summary>
    public ImageExport? FindExport(ushort ordinal) => exportsByOrdinal.Value.TryGetValue(ordinal, out ImageExport export) ? export : null;

    /// <summary>RVAs of the 8-byte addresses to adjust when the image is not placed at <see cref="ImageBase"/>.</summary>
    public ImmutableArray<uint> Relocations { get; internal init; }

    public LoadConfiguration? LoadConfiguration { get; internal init; }

    /// <summary>Whether the image has thread-local variables, <c>__declspec(thread)</c>, which the kernel knows nothing of.</summary>
    public bool HasThreadLocalStorage { get; internal init; }

    /// <summary>The exception table, in ascending order.</summary>
    public ImmutableArray<RuntimeFunction> Functions { get; internal init; }

    /// <summary>RVAs where straight pieces of code begin, ascending; see <see cref="FunctionCode.Blocks"/>.</summary>
    public ImmutableArray<uint> Blocks => blocks.Value;

    public CodeViewRecord? CodeView { get; internal init; }

    /// <summary>From the version resource; null without one.</summary>
    public Version? FileVersion { get; internal init; }

    /// <summary>Texts of the version resource by key, such as CompanyName; empty without one.</summary>
    public ImmutableSortedDictionary<string, string> VersionTexts { get; internal init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>The import hash (imphash), 32 lower case hexadecimal digits; empty without imports.</summary>
    public string ImportHash => ImportTable.Hash(Imports);

    /// <summary>What is odd about the image although it can be loaded.</summary>
    public IReadOnlyList<ImageDiagnostic> Warnings { get; internal init; } = [];

    /// <summary>What names and source lines come from, such as <c>COFF symbol table</c>, <c>DWARF</c>, or the path of a PDB file.</summary>
    public IReadOnlyList<string> SymbolSources => symbols.Value.Sources;

    /// <summary>Names that the image and its debug information have for its code and data.</summary>
    public int SymbolCount => symbols.Value.Names.Count;

    internal IMAGE_DATA_DIRECTORY ExceptionDirectory { get; init; }

    /// <summary>Reads an image out of a file.</summary>
    public static bool TryReadFile(
        string path, [NotNullWhen(true)] out PortableExecutable? image, [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        image = null;
        if (!TryReadBytes(path, out byte[] bytes, out string problem))
        {
            error = new ImageDiagnostic(path, ImageProblem.Unreadable, "", problem);
            return false;
        }
        if (!TryRead(path, bytes, out image, out error)) return false;
        image.isOnDisk = true;
        return true;
    }

    /// <summary>Reads an image out of the bytes of a file; <paramref name="fileName"/> only names it.</summary>
    public static bool TryRead(
        string fileName,
        ReadOnlyMemory<byte> bytes,
        [NotNullWhen(true)] out PortableExecutable? image,
        [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        var diagnostics = new ImageDiagnostics(fileName);
        image = new PortableExecutableReader(fileName, bytes, diagnostics).Read();
        error = image is null ? diagnostics.Error! : null;
        return image is not null;
    }

    /// <summary>The section that holds an RVA.</summary>
    public ImageSection? SectionAt(uint rva) => Sections.FirstOrDefault(section => section.Contains(rva));

    /// <summary>The exception table row of the code at an RVA; null for leaf functions and data.</summary>
    public RuntimeFunction? FunctionAt(uint rva)
    {
        int index = ExceptionTable.FloorIndex(Functions, rva);
        return index >= 0 && Functions[index].Contains(rva) ? Functions[index] : null;
    }

    /// <summary>The RVA of a row of the exception table; null if the image has no such row.</summary>
    public uint? AddressOf(RuntimeFunction function)
    {
        ReadOnlySpan<RuntimeFunction> rows = MemoryMarshal.Cast<byte, RuntimeFunction>(
            Contents.Span.Slice((int)ExceptionDirectory.VirtualAddress, (int)ExceptionDirectory.Size / 12 * 12));
        int index = rows.IndexOf(function);
        return index < 0 ? null : ExceptionDirectory.VirtualAddress + 12 * (uint)index;
    }

    /// <summary>The nearest name before an RVA in the same function or variable; null when the image does not tell.</summary>
    public SymbolLocation? SymbolAt(uint rva) =>
        SectionAt(rva) is { } section ? symbols.Value.Names.Find(Math.Max(section.VirtualAddress, StartOfFunction(rva)), rva) : null;

    /// <summary>The source line that the code at an RVA was made from; null without debug information.</summary>
    public SourceLine? LineAt(uint rva) => symbols.Value.Lines.Find(rva);

    /// <summary>
    /// Where the function that holds <paramref name="rva"/> can begin at the earliest, so that no name of a function before it is taken:
    /// an image with few names (exports only) must not attribute all of its code to them.
    /// </summary>
    uint StartOfFunction(uint rva)
    {
        int index = ExceptionTable.FloorIndex(Functions, rva);
        if (index < 0) return 0;
        RuntimeFunction function = Functions[index];
        if (!function.Contains(rva)) return function.EndAddress;
        // A function split into parts has one row per part; the parts chain to the row of the first.
        ReadOnlySpan<byte> contents = Contents.Span;
        for (int i = 0; i < MaxChainedUnwindInfo; i++)
        {
            ulong info = function.UnwindInfoAddress;
            if (!contents.TryRead(info, out byte versionAndFlags) || (versionAndFlags >> 3 & ChainedUnwindInfo) == 0
                || !contents.TryRead(info + 2, out byte countOfCodes)
                || !contents.TryRead(info + 4 + (uint)(countOfCodes + 1 & ~1) * 2, out RuntimeFunction primary))
                break;
            function = primary;
        }
        return function.BeginAddress;
    }

    static bool TryReadBytes(string path, out byte[] bytes, out string problem)
    {
        bytes = [];
        problem = "";
        try
        {
            if (Directory.Exists(path))
            {
                problem = "is a directory; name a driver image (.sys)";
                return false;
            }
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            // Not File.ReadAllBytes: the name may be that of a device without an end.
            using MemoryStream content = new();
            byte[] buffer = new byte[1 << 16];
            for (int count; content.Length <= MaxSize && (count = file.Read(buffer)) > 0;) content.Write(buffer, 0, count);
            bytes = content.ToArray();
            return true;
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            problem = "no such file; check the path";
        }
        catch (Exception exception) when (exception is UnauthorizedAccessException or SecurityException)
        {
            problem = "access denied; check the file's permissions";
        }
        catch (Exception exception) when (exception is IOException or ArgumentException or NotSupportedException)
        {
            problem = $"cannot be read: {exception.Message}";
        }
        return false;
    }
}
