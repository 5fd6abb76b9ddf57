using System.Collections.Immutable;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>Reads headers and sections, lays the image out as in memory, and hands that to the directory readers.</summary>
sealed class PortableExecutableReader(string fileName, ReadOnlyMemory<byte> file, ImageDiagnostics diagnostics)
{
    const uint PageSize = (uint)GuestMemory.PageSize;
    const ushort Amd64 = 0x8664;
    const ushort Pe32 = 0x10B, Pe32Plus = 0x20B;
    const ushort SubsystemNative = 1;
    /// <summary>The PE specification's limit: "the Windows loader limits the number of sections to 96".</summary>
    const int MaxSections = 96;
    const uint ImageBaseAlignment = 0x10000;
    const uint MinFileAlignment = 0x200, MaxFileAlignment = 0x10000;

    IMAGE_FILE_HEADER _fileHeader;
    IMAGE_OPTIONAL_HEADER64 _header;
    uint _fileHeaderAt;
    uint _sizeOfImage;
    byte[] _contents = [];
    IMAGE_DATA_DIRECTORY[] _directories = [];
    ImmutableArray<ImageSection> _sections = [];

    ReadOnlySpan<byte> File => file.Span;

    uint OptionalHeaderAt => _fileHeaderAt + (uint)Unsafe.SizeOf<IMAGE_FILE_HEADER>();

    uint SectionTableAt => OptionalHeaderAt + _fileHeader.SizeOfOptionalHeader;

    /// <summary>The image; null when the diagnostics hold an error.</summary>
    public PortableExecutable? Read()
    {
        if (!ReadDosHeader() || !ReadFileHeader() || !ReadOptionalHeader() || !CheckAlignment() || !CheckSizes() || !ReadSections()) return null;
        var image = new MappedImage(_contents, _header.ImageBase, _sections, _directories, diagnostics);
        if (!ImportTable.TryRead(image, out ImmutableArray<ImageImport> imports) || !RelocationTable.TryRead(image, out ImmutableArray<uint> relocations))
            return null;
        ImmutableArray<ImageExport> exports = ExportTable.Read(image);
        var result = new PortableExecutable(fileName, image, _contents, _fileHeader, _header, SymbolTable.Read(File, _fileHeader, image, exports))
        {
            Imports = imports,
            DelayImports = ImportTable.ReadDelayImports(image),
            Exports = exports,
            Relocations = relocations,
            LoadConfiguration = LoadConfiguration.Read(image),
            Functions = ExceptionTable.Read(image),
            CodeView = CodeViewRecord.Read(image),
            FileVersion = VersionResource.Read(image),
            Warnings = diagnostics.Warnings,
        };
        WarnOfOddities(result);
        return result;
    }

    bool ReadDosHeader()
    {
        if (File.IsEmpty) return Fail(ImageProblem.NotPortableExecutable, "", "the file is empty; build the driver again or name another file");
        if (File.Length > PortableExecutable.MaxSize)
            return Fail(ImageProblem.TooLarge, "", $"the file is larger than {PortableExecutable.MaxSize >> 20} MiB, which no driver is; name a driver image (.sys)");
        if (!File.TryRead(0, out ushort magic) || magic != IMAGE_DOS_HEADER.IMAGE_DOS_SIGNATURE)
            return Fail(ImageProblem.NotPortableExecutable, "IMAGE_DOS_HEADER.e_magic (offset 0x0)", $"the file does not begin with MZ{Guess()}; name a driver image (.sys)");
        if (!File.TryRead(0, out IMAGE_DOS_HEADER dos))
            return Fail(ImageProblem.Truncated, "IMAGE_DOS_HEADER (offset 0x0)", $"the file ends after {File.Length} bytes, inside this header of 64; copy it again");
        if (!File.TryRead(dos.e_lfanew, out uint signature))
        {
            return Fail(ImageProblem.NotPortableExecutable, "IMAGE_DOS_HEADER.e_lfanew (offset 0x3C)",
                $"0x{dos.e_lfanew:X} lies outside the file of 0x{File.Length:X} bytes: a DOS program or a truncated file; copy it again or name a driver image (.sys)");
        }
        if (signature != 0x00004550)
        {
            return Fail(ImageProblem.NotPortableExecutable, $"PE signature (offset 0x{dos.e_lfanew:X})",
                $"0x{signature:X8} instead of PE\\0\\0: not a Windows NT image; name a driver image (.sys)");
        }
        if (dos.e_lfanew % 4 != 0)
            return Fail(ImageProblem.Malformed, "IMAGE_DOS_HEADER.e_lfanew (offset 0x3C)", $"0x{dos.e_lfanew:X} is not a multiple of 4; link the driver again");
        _fileHeaderAt = dos.e_lfanew + 4;
        return true;
    }

    /// <summary>What a file that is no image may be, from its first bytes: the mistakes that a wrong path in a build script leads to.</summary>
    string Guess()
    {
        if (File.StartsWith("\x7F"u8) && File[1..].StartsWith("ELF"u8)) return " (it is an ELF file)";
        if (File.StartsWith("!<arch>"u8)) return " (it is a library, .lib or .a)";
        if (File.StartsWith("MSCF"u8)) return " (it is a cabinet file)";
        if (File.StartsWith("PK"u8)) return " (it is a zip archive)";
        if (File.StartsWith("Microsoft C/C++ MSF"u8)) return " (it is a PDB file)";
        if (File.TryRead(0, out ushort machine) && machine == Amd64) return " (it looks like an object file that was not linked yet)";
        return "";
    }

    bool ReadFileHeader()
    {
        if (!File.TryRead(_fileHeaderAt, out _fileHeader)) return Fail(ImageProblem.Truncated, Place("IMAGE_FILE_HEADER", _fileHeaderAt), "the file ends inside this header; copy it again");
        if (_fileHeader.Machine != Amd64)
        {
            return Fail(ImageProblem.WrongMachine, Place("IMAGE_FILE_HEADER.Machine", _fileHeaderAt),
                $"the image is for {MachineName(_fileHeader.Machine)} (0x{_fileHeader.Machine:X4}), and only x64 (0x8664) images are run; build the driver for x64");
        }
        if ((_fileHeader.Characteristics & (ushort)ImageCharacteristics.ExecutableImage) == 0)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_FILE_HEADER.Characteristics", _fileHeaderAt + 18),
                "IMAGE_FILE_EXECUTABLE_IMAGE is not set: the linker reported errors for this image; link the driver again");
        }
        return true;
    }

    static string MachineName(ushort machine) => machine switch
    {
        0x014C => "32-bit x86",
        0xAA64 => "ARM64",
        0xA641 => "ARM64EC",
        0xA64E => "ARM64X",
        0x01C0 or 0x01C2 or 0x01C4 => "32-bit ARM",
        0x0200 => "Itanium",
        0x5032 or 0x5064 or 0x5128 => "RISC-V",
        0x6232 or 0x6264 => "LoongArch",
        0x0EBC => "EFI byte code",
        _ => "an unknown machine",
    };

    bool ReadOptionalHeader()
    {
        uint at = OptionalHeaderAt;
        if (!File.TryRead(at, out ushort magic)) return Fail(ImageProblem.Truncated, Place("IMAGE_OPTIONAL_HEADER64", at), "the file ends before this header; copy it again");
        if (magic == Pe32)
            return Fail(ImageProblem.WrongMachine, Place("IMAGE_OPTIONAL_HEADER.Magic", at), "the image is PE32 (32-bit), and only PE32+ (64-bit) images are run; build the driver for x64");
        if (magic != Pe32Plus) return Fail(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.Magic", at), $"0x{magic:X} instead of 0x20B (PE32+); link the driver again");
        uint fixedSize = (uint)Unsafe.SizeOf<IMAGE_OPTIONAL_HEADER64>();
        if (_fileHeader.SizeOfOptionalHeader < fixedSize)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_FILE_HEADER.SizeOfOptionalHeader", _fileHeaderAt + 16),
                $"0x{_fileHeader.SizeOfOptionalHeader:X} is too small for PE32+ (0x{fixedSize:X}); link the driver again");
        }
        if (!File.TryRead(at, out _header)) return Fail(ImageProblem.Truncated, Place("IMAGE_OPTIONAL_HEADER64", at), "the file ends inside this header; copy it again");
        if (_header.Subsystem != SubsystemNative)
        {
            return Fail(ImageProblem.NotDriver, Place("IMAGE_OPTIONAL_HEADER64.Subsystem", at + 68),
                $"the image is {SubsystemName(_header.Subsystem)}, not a driver: drivers have subsystem native (1); link it with /DRIVER /SUBSYSTEM:NATIVE");
        }
        // As many directories as both counts allow; Windows ignores what lies beyond the sixteenth.
        ulong count = Math.Min(Math.Min(_header.NumberOfRvaAndSizes, 16), (_fileHeader.SizeOfOptionalHeader - fixedSize) / 8);
        if (!File.TrySlice(at + fixedSize, count * 8, out ReadOnlySpan<byte> directories))
            return Fail(ImageProblem.Truncated, Place("data directories", at + fixedSize), "the file ends inside them; copy it again");
        _directories = new IMAGE_DATA_DIRECTORY[count];
        for (ulong i = 0; i < count; i++) directories.TryRead(i * 8, out _directories[i]);
        return true;
    }

    static string SubsystemName(ushort subsystem) => subsystem switch
    {
        2 => "a Windows program or DLL (subsystem 2, GUI)",
        3 => "a Windows program or DLL (subsystem 3, console)",
        10 or 11 or 12 or 13 => $"an EFI image (subsystem {subsystem})",
        16 => "a Windows boot application (subsystem 16)",
        _ => $"of subsystem {subsystem}",
    };

    bool CheckAlignment()
    {
        uint section = _header.SectionAlignment, inFile = _header.FileAlignment;
        if (!BitOperations.IsPow2(section) || section < inFile)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.SectionAlignment", OptionalHeaderAt + 32),
                $"0x{section:X} is not a power of two, or less than FileAlignment (0x{inFile:X}); link the driver again");
        }
        // Below the page size the file is mapped as it is, which works only when both alignments agree.
        bool possible = section < PageSize ? inFile == section : inFile is >= MinFileAlignment and <= MaxFileAlignment;
        if (!BitOperations.IsPow2(inFile) || !possible)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.FileAlignment", OptionalHeaderAt + 36),
                $"0x{inFile:X} does not go with SectionAlignment 0x{section:X}: a power of two from 0x200 to 0x10000, or equal to a SectionAlignment below the page size; link the driver again");
        }
        if (_header.ImageBase % ImageBaseAlignment != 0)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.ImageBase", OptionalHeaderAt + 24),
                $"0x{_header.ImageBase:X} is not a multiple of 64 KiB; link the driver again");
        }
        return true;
    }

    bool CheckSizes()
    {
        string sizeOfImage = Place("IMAGE_OPTIONAL_HEADER64.SizeOfImage", OptionalHeaderAt + 56);
        string sizeOfHeaders = Place("IMAGE_OPTIONAL_HEADER64.SizeOfHeaders", OptionalHeaderAt + 60);
        if (_header.SizeOfImage > PortableExecutable.MaxSize)
            return Fail(ImageProblem.TooLarge, sizeOfImage, $"0x{_header.SizeOfImage:X} bytes is more than {PortableExecutable.MaxSize >> 20} MiB, which no driver needs; link the driver again");
        _sizeOfImage = (uint)AlignUp(_header.SizeOfImage, PageSize);
        if (_header.ImageBase + _sizeOfImage < _header.ImageBase)
            return Fail(ImageProblem.Malformed, sizeOfImage, $"ImageBase 0x{_header.ImageBase:X} leaves no room for 0x{_sizeOfImage:X} bytes; link the driver again");
        if (_header.SizeOfHeaders > _header.SizeOfImage)
            return Fail(ImageProblem.Malformed, sizeOfHeaders, $"0x{_header.SizeOfHeaders:X} is more than SizeOfImage (0x{_header.SizeOfImage:X}); link the driver again");
        if (_header.SizeOfHeaders > File.Length)
            return Fail(ImageProblem.Truncated, sizeOfHeaders, $"0x{_header.SizeOfHeaders:X} is more than the file has (0x{File.Length:X}); copy it again");
        uint tableEnd = SectionTableAt + _fileHeader.NumberOfSections * (uint)Unsafe.SizeOf<IMAGE_SECTION_HEADER>();
        if (_fileHeader.NumberOfSections is 0 or > MaxSections)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_FILE_HEADER.NumberOfSections", _fileHeaderAt + 2),
                $"{_fileHeader.NumberOfSections}, where Windows allows 1 to {MaxSections}; link the driver again");
        }
        if (tableEnd > _header.SizeOfHeaders)
            return Fail(ImageProblem.Malformed, sizeOfHeaders, $"0x{_header.SizeOfHeaders:X} is less than the end of the section table (0x{tableEnd:X}); link the driver again");
        if (_header.AddressOfEntryPoint >= _header.SizeOfImage)
        {
            return Fail(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.AddressOfEntryPoint", OptionalHeaderAt + 16),
                $"RVA 0x{_header.AddressOfEntryPoint:X} is outside the image of 0x{_header.SizeOfImage:X} bytes; link the driver again");
        }
        return true;
    }

    bool ReadSections()
    {
        _contents = new byte[_sizeOfImage];
        File[..(int)_header.SizeOfHeaders].CopyTo(_contents);
        ReadOnlySpan<byte> strings = SymbolTable.StringTable(File, _fileHeader);
        var sections = ImmutableArray.CreateBuilder<ImageSection>(_fileHeader.NumberOfSections);
        // Where the next section must begin. The first may leave a gap behind the headers; no later one may.
        ulong next = AlignUp(_header.SizeOfHeaders, _header.SectionAlignment);
        for (int i = 0; i < _fileHeader.NumberOfSections; i++)
        {
            uint at = SectionTableAt + (uint)(i * Unsafe.SizeOf<IMAGE_SECTION_HEADER>());
            File.TryRead(at, out IMAGE_SECTION_HEADER header);
            string name = SectionName(header.Name, strings);
            uint virtualSize = header.VirtualSize != 0 ? header.VirtualSize : header.SizeOfRawData;
            bool adjacent = i == 0 ? header.VirtualAddress >= next : header.VirtualAddress == next;
            if (header.VirtualAddress % _header.SectionAlignment != 0 || !adjacent)
            {
                return Fail(ImageProblem.Malformed, Place($"section {name}, VirtualAddress", at + 12),
                    $"0x{header.VirtualAddress:X} where 0x{next:X} is expected: sections must be aligned to SectionAlignment, ascending and adjacent; link the driver again");
            }
            ulong end = header.VirtualAddress + AlignUp(virtualSize, _header.SectionAlignment);
            if (end > Math.Max(_sizeOfImage, AlignUp(_header.SizeOfImage, _header.SectionAlignment)) || header.VirtualAddress + (ulong)virtualSize > _sizeOfImage)
            {
                return Fail(ImageProblem.Malformed, Place($"section {name}, VirtualSize", at + 8),
                    $"the section ends at RVA 0x{end:X}, outside the image of 0x{_header.SizeOfImage:X} bytes; link the driver again");
            }
            if (!CopySection(header, name, virtualSize, at)) return false;
            sections.Add(new ImageSection(
                name, header.VirtualAddress, virtualSize, header.PointerToRawData, header.SizeOfRawData, (SectionCharacteristics)header.Characteristics));
            next = end;
        }
        _sections = sections.MoveToImmutable();
        return true;
    }

    bool CopySection(in IMAGE_SECTION_HEADER header, string name, uint virtualSize, uint at)
    {
        if (header.PointerToRawData == 0 || header.SizeOfRawData == 0) return true;
        if (header.PointerToRawData % Math.Min(_header.FileAlignment, MinFileAlignment) != 0
            || (_header.SectionAlignment < PageSize && header.PointerToRawData != header.VirtualAddress))
        {
            return Fail(ImageProblem.Malformed, Place($"section {name}, PointerToRawData", at + 20),
                $"0x{header.PointerToRawData:X} does not go with FileAlignment 0x{_header.FileAlignment:X} and VirtualAddress 0x{header.VirtualAddress:X}; link the driver again");
        }
        if (!File.TrySlice(header.PointerToRawData, header.SizeOfRawData, out ReadOnlySpan<byte> raw))
        {
            return Fail(ImageProblem.Truncated, Place($"section {name}, SizeOfRawData", at + 16),
                $"its data at 0x{header.PointerToRawData:X}, 0x{header.SizeOfRawData:X} bytes, reaches beyond the end of the file (0x{File.Length:X}); copy the file again");
        }
        // What the file holds beyond VirtualSize is padding, visible up to the end of the section's last page as it is on Windows.
        ulong room = Math.Min(AlignUp(virtualSize, Math.Min(_header.SectionAlignment, PageSize)), _sizeOfImage - header.VirtualAddress);
        raw[..(int)Math.Min(header.SizeOfRawData, room)].CopyTo(_contents.AsSpan((int)header.VirtualAddress));
        return true;
    }

    /// <summary>Up to eight characters, or "/" and an offset into the string table, as GNU ld writes longer names.</summary>
    static string SectionName(ReadOnlySpan<byte> field, ReadOnlySpan<byte> strings)
    {
        field = field.TrimEnd((byte)0);
        if (!field.IsEmpty && field[0] == '/' && uint.TryParse(field[1..], out uint offset) && strings.TryReadName(offset, 256, out string name)) return name;
        return string.Create(field.Length, field, (text, bytes) =>
        {
            for (int i = 0; i < bytes.Length; i++) text[i] = bytes[i] is >= 0x20 and <= 0x7E ? (char)bytes[i] : '?';
        });
    }

    void WarnOfOddities(PortableExecutable image)
    {
        if (image.CheckSum != 0 && ComputeCheckSum() is var sum && sum != image.CheckSum)
        {
            diagnostics.Warn(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.CheckSum", OptionalHeaderAt + 64),
                $"0x{image.CheckSum:X}, but the file's is 0x{sum:X}: it was changed after linking, and Windows verifies the checksum of drivers");
        }
        foreach (ImageSection section in image.Sections)
        {
            if (section is { IsExecutable: true, IsWritable: true, IsDiscardable: false })
            {
                diagnostics.Warn(ImageProblem.Malformed, $"section {section.Name}",
                    "is both writable and executable, which Driver Verifier's code integrity checks reject (bug check 0xC4, 0x2003); it is loaded without write access");
            }
        }
        if (image.EntryPoint == 0)
            diagnostics.Warn(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.AddressOfEntryPoint", OptionalHeaderAt + 16), "the image has no entry point; link it with /ENTRY:DriverEntry or /ENTRY:GsDriverEntry");
        else if (image.SectionAt(image.EntryPoint) is not { IsExecutable: true })
            diagnostics.Warn(ImageProblem.Malformed, Place("IMAGE_OPTIONAL_HEADER64.AddressOfEntryPoint", OptionalHeaderAt + 16), $"RVA 0x{image.EntryPoint:X} is not in an executable section");
        if (image.Imports.IsEmpty)
            diagnostics.Warn(ImageProblem.BadDirectory, MappedImage.Place(ImageDirectory.Import), "the image imports nothing: an import library of another tool chain leaves an empty table without an error");
    }

    /// <summary>The ones' complement sum of the file's 16-bit words, the field itself left out, plus the file's length.</summary>
    uint ComputeCheckSum()
    {
        ReadOnlySpan<byte> bytes = File;
        ulong field = OptionalHeaderAt + 64;
        ulong sum = 0;
        for (int at = 0; at < bytes.Length; at += 2)
            if ((ulong)at < field || (ulong)at >= field + 4) sum += bytes[at] | (at + 1 < bytes.Length ? (uint)bytes[at + 1] << 8 : 0);
        while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
        return (uint)sum + (uint)bytes.Length;
    }

    bool Fail(ImageProblem problem, string place, string message) => diagnostics.Fail(problem, place, message);

    static string Place(string field, uint offset) => $"{field} (offset 0x{offset:X})";

    static ulong AlignUp(ulong value, uint alignment) => value + (alignment - 1) & ~(ulong)(alignment - 1);
}
