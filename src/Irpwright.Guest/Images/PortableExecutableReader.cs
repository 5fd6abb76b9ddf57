using System.Collections.Immutable;
using System.Numerics;
using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>Reads headers and sections, lays the image out as in memory, and hands that to the directory readers.</summary>
sealed class PortableExecutableReader(string fileName, ReadOnlyMemory<byte> file, ImageDiagnostics diagnostics)
{
    const uint PageSize = (uint)GuestMemory.PageSize;
    const uint PeSignature = 0x00004550;
    const ushort Amd64 = 0x8664;
    const ushort Pe32 = 0x10B, Pe32Plus = 0x20B;
    const ushort SubsystemNative = 1;
    /// <summary>The PE specification's limit.</summary>
    const int MaxSections = 96;
    const uint ImageBaseAlignment = 0x10000;
    const uint MinFileAlignment = 0x200, MaxFileAlignment = 0x10000;
    const int MaxDirectories = 16;
    const uint CheckSumOffset = 64;

    IMAGE_FILE_HEADER fileHeader;
    IMAGE_OPTIONAL_HEADER64 header;
    uint fileHeaderAt;
    uint sizeOfImage;
    byte[] contents = [];
    IMAGE_DATA_DIRECTORY[] directories = [];
    ImmutableArray<ImageSection> sections = [];

    ReadOnlySpan<byte> File => file.Span;

    uint OptionalHeaderAt => fileHeaderAt + (uint)Unsafe.SizeOf<IMAGE_FILE_HEADER>();

    uint SectionTableAt => OptionalHeaderAt + fileHeader.SizeOfOptionalHeader;

    /// <summary>The image; null when the diagnostics hold an error.</summary>
    public PortableExecutable? Read()
    {
        if (!ReadDosHeader() || !ReadFileHeader() || !ReadOptionalHeader() || !CheckAlignment() || !CheckSizes() || !ReadSections())
            return null;
        var image = new MappedImage(contents, header.ImageBase, sections, directories, diagnostics);
        if (!ImportTable.TryRead(image, out ImmutableArray<ImageImport> imports)) return null;
        if (!RelocationTable.TryRead(image, out ImmutableArray<uint> relocations)) return null;
        ImmutableArray<ImageExport> exports = ExportTable.Read(image);
        List<ImageSymbol> symbols = SymbolTable.Read(File, fileHeader, image, exports);
        (Version? fileVersion, ImmutableSortedDictionary<string, string> versionTexts) = VersionResource.Read(image);
        var result = new PortableExecutable(fileName, image, contents, fileHeader, header, symbols)
        {
            Imports = imports,
            DelayImports = ImportTable.ReadDelayImports(image),
            Exports = exports,
            Relocations = relocations,
            LoadConfiguration = LoadConfiguration.Read(image),
            HasThreadLocalStorage = image.HasDirectory(ImageDirectory.ThreadLocalStorage, out _),
            Functions = ExceptionTable.Read(image, out IMAGE_DATA_DIRECTORY exceptions),
            ExceptionDirectory = exceptions,
            CodeView = CodeViewRecord.Read(image),
            FileVersion = fileVersion,
            VersionTexts = versionTexts,
            Warnings = diagnostics.Warnings,
        };
        WarnOfOddities(result);
        return result;
    }

    bool ReadDosHeader()
    {
        if (File.IsEmpty) return NoImage("", "the file is empty");
        if (File.Length > PortableExecutable.MaxSize)
        {
            return diagnostics.Fail(ImageProblem.TooLarge, "",
                $"the file is larger than {PortableExecutable.MaxSize >> 20} MiB, which no driver is; name a driver image (.sys)");
        }
        if (!File.TryRead(0, out ushort magic) || magic != IMAGE_DOS_HEADER.IMAGE_DOS_SIGNATURE)
            return NoImage("IMAGE_DOS_HEADER.e_magic (offset 0x0)", $"the file does not begin with MZ{Guess()}");
        if (!File.TryRead(0, out IMAGE_DOS_HEADER dos))
            return Truncated("IMAGE_DOS_HEADER (offset 0x0)", $"the file ends after {File.Length} bytes, inside this header of 64");
        const string newHeader = "IMAGE_DOS_HEADER.e_lfanew (offset 0x3C)";
        if (!File.TryRead(dos.e_lfanew, out uint signature))
            return NoImage(newHeader, $"0x{dos.e_lfanew:X} lies outside the file of 0x{File.Length:X} bytes: a DOS program or a cut file");
        if (signature != PeSignature)
            return NoImage($"PE signature (offset 0x{dos.e_lfanew:X})", $"0x{signature:X8} instead of PE\\0\\0: not a Windows NT image");
        if (dos.e_lfanew % 4 != 0) return Malformed(newHeader, $"0x{dos.e_lfanew:X} is not a multiple of 4");
        fileHeaderAt = dos.e_lfanew + 4;
        return true;
    }

    /// <summary>What the file may be instead: the mistakes that a wrong path in a build script leads to.</summary>
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
        if (!File.TryRead(fileHeaderAt, out fileHeader))
            return Truncated(Place("IMAGE_FILE_HEADER", fileHeaderAt), "the file ends inside this header");
        if (fileHeader.Machine != Amd64)
        {
            return diagnostics.Fail(ImageProblem.WrongMachine, FileHeaderField("Machine", 0),
                $"the image is for {MachineName(fileHeader.Machine)} (0x{fileHeader.Machine:X4}), "
                + "and only x64 (0x8664) images are run; build the driver for x64");
        }
        return ((ImageCharacteristics)fileHeader.Characteristics).HasFlag(ImageCharacteristics.ExecutableImage)
            || Malformed(FileHeaderField("Characteristics", 18), "IMAGE_FILE_EXECUTABLE_IMAGE is not set: the linker reported errors");
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
        if (!File.TryRead(OptionalHeaderAt, out ushort magic))
            return Truncated(Place("IMAGE_OPTIONAL_HEADER64", OptionalHeaderAt), "the file ends before this header");
        if (magic == Pe32)
        {
            return diagnostics.Fail(ImageProblem.WrongMachine, OptionalHeaderField("Magic", 0),
                "the image is PE32 (32-bit), and only PE32+ (64-bit) images are run; build the driver for x64");
        }
        if (magic != Pe32Plus) return Malformed(OptionalHeaderField("Magic", 0), $"0x{magic:X} instead of 0x20B (PE32+)");
        uint size = (uint)Unsafe.SizeOf<IMAGE_OPTIONAL_HEADER64>();
        if (fileHeader.SizeOfOptionalHeader < size)
        {
            return Malformed(FileHeaderField("SizeOfOptionalHeader", 16),
                $"0x{fileHeader.SizeOfOptionalHeader:X} is too small for PE32+ (0x{size:X})");
        }
        if (!File.TryRead(OptionalHeaderAt, out header))
            return Truncated(Place("IMAGE_OPTIONAL_HEADER64", OptionalHeaderAt), "the file ends inside this header");
        if (header.Subsystem != SubsystemNative)
        {
            return diagnostics.Fail(ImageProblem.NotDriver, OptionalHeaderField("Subsystem", 68),
                $"the image is {SubsystemName(header.Subsystem)}, not a driver: drivers have subsystem native (1); "
                + "link it with /DRIVER /SUBSYSTEM:NATIVE");
        }
        // As many directories as both counts allow.
        ulong count = Math.Min(Math.Min(header.NumberOfRvaAndSizes, MaxDirectories), (fileHeader.SizeOfOptionalHeader - size) / 8);
        if (!File.TrySlice(OptionalHeaderAt + size, count * 8, out ReadOnlySpan<byte> table))
            return Truncated(Place("data directories", OptionalHeaderAt + size), "the file ends inside them");
        directories = new IMAGE_DATA_DIRECTORY[count];
        for (ulong i = 0; i < count; i++) table.TryRead(i * 8, out directories[i]);
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
        uint inMemory = header.SectionAlignment, inFile = header.FileAlignment;
        if (!BitOperations.IsPow2(inMemory) || inMemory < inFile)
        {
            return Malformed(OptionalHeaderField("SectionAlignment", 32),
                $"0x{inMemory:X} is not a power of two, or less than FileAlignment (0x{inFile:X})");
        }
        // Below the page size the file is mapped as it is, which works only when both alignments agree.
        bool agrees = inMemory < PageSize ? inFile == inMemory : inFile is >= MinFileAlignment and <= MaxFileAlignment;
        if (!BitOperations.IsPow2(inFile) || !agrees)
        {
            return Malformed(OptionalHeaderField("FileAlignment", 36),
                $"0x{inFile:X} is not a power of two from 0x200 to 0x10000, nor equal to a SectionAlignment below the page size "
                + $"(it is 0x{inMemory:X})");
        }
        return header.ImageBase % ImageBaseAlignment == 0
            || Malformed(OptionalHeaderField("ImageBase", 24), $"0x{header.ImageBase:X} is not a multiple of 64 KiB");
    }

    bool CheckSizes()
    {
        string imageField = OptionalHeaderField("SizeOfImage", 56), headersField = OptionalHeaderField("SizeOfHeaders", 60);
        if (header.SizeOfImage > PortableExecutable.MaxSize)
        {
            return diagnostics.Fail(ImageProblem.TooLarge, imageField,
                $"0x{header.SizeOfImage:X} is more than the {PortableExecutable.MaxSize >> 20} MiB allowed here; link the driver again");
        }
        sizeOfImage = (uint)AlignUp(header.SizeOfImage, PageSize);
        if (header.ImageBase + sizeOfImage < header.ImageBase)
            return Malformed(imageField, $"ImageBase 0x{header.ImageBase:X} leaves no room for 0x{sizeOfImage:X} bytes");
        if (header.SizeOfHeaders > header.SizeOfImage)
            return Malformed(headersField, $"0x{header.SizeOfHeaders:X} is more than SizeOfImage (0x{header.SizeOfImage:X})");
        if (header.SizeOfHeaders > File.Length)
            return Truncated(headersField, $"0x{header.SizeOfHeaders:X} is more than the file has (0x{File.Length:X})");
        if (fileHeader.NumberOfSections is 0 or > MaxSections)
        {
            return Malformed(FileHeaderField("NumberOfSections", 2),
                $"{fileHeader.NumberOfSections}, where Windows allows 1 to {MaxSections}");
        }
        uint tableEnd = SectionTableAt + fileHeader.NumberOfSections * (uint)Unsafe.SizeOf<IMAGE_SECTION_HEADER>();
        if (tableEnd > header.SizeOfHeaders)
            return Malformed(headersField, $"0x{header.SizeOfHeaders:X} is less than the end of the section table (0x{tableEnd:X})");
        return header.AddressOfEntryPoint < header.SizeOfImage
            || Malformed(OptionalHeaderField("AddressOfEntryPoint", 16),
                $"RVA 0x{header.AddressOfEntryPoint:X} is outside the image of 0x{header.SizeOfImage:X} bytes");
    }

    bool ReadSections()
    {
        contents = new byte[sizeOfImage];
        File[..(int)header.SizeOfHeaders].CopyTo(contents);
        ReadOnlySpan<byte> strings = SymbolTable.StringTable(File, fileHeader);
        var read = ImmutableArray.CreateBuilder<ImageSection>(fileHeader.NumberOfSections);
        // Where the next section must begin. The first may leave a gap behind the headers; no later one may.
        ulong next = AlignUp(header.SizeOfHeaders, header.SectionAlignment);
        for (int i = 0; i < fileHeader.NumberOfSections; i++)
        {
            uint at = SectionTableAt + (uint)(i * Unsafe.SizeOf<IMAGE_SECTION_HEADER>());
            File.TryRead(at, out IMAGE_SECTION_HEADER raw);
            var section = new ImageSection(
                SectionName(raw.Name, strings), raw.VirtualAddress, raw.VirtualSize != 0 ? raw.VirtualSize : raw.SizeOfRawData,
                raw.PointerToRawData, raw.SizeOfRawData, (SectionCharacteristics)raw.Characteristics);
            bool adjacent = i == 0 ? section.VirtualAddress >= next : section.VirtualAddress == next;
            if (section.VirtualAddress % header.SectionAlignment != 0 || !adjacent)
            {
                return Malformed(SectionField(section, "VirtualAddress", at + 12),
                    $"0x{section.VirtualAddress:X} where 0x{next:X} is expected: sections must be aligned to SectionAlignment, "
                    + "ascending and adjacent");
            }
            next = section.VirtualAddress + AlignUp(section.VirtualSize, header.SectionAlignment);
            if (next > AlignUp(sizeOfImage, header.SectionAlignment) || section.VirtualAddress + (ulong)section.VirtualSize > sizeOfImage)
            {
                return Malformed(SectionField(section, "VirtualSize", at + 8),
                    $"the section ends at RVA 0x{next:X}, outside the image of 0x{header.SizeOfImage:X} bytes");
            }
            if (!CopySection(section, at)) return false;
            read.Add(section);
        }
        sections = read.MoveToImmutable();
        return true;
    }

    bool CopySection(ImageSection section, uint at)
    {
        if (section.PointerToRawData == 0 || section.SizeOfRawData == 0) return true;
        bool isMappedAsItIs = header.SectionAlignment < PageSize;
        if (section.PointerToRawData % Math.Min(header.FileAlignment, MinFileAlignment) != 0
            || (isMappedAsItIs && section.PointerToRawData != section.VirtualAddress))
        {
            return Malformed(SectionField(section, "PointerToRawData", at + 20),
                $"0x{section.PointerToRawData:X} does not go with FileAlignment 0x{header.FileAlignment:X} "
                + $"and VirtualAddress 0x{section.VirtualAddress:X}");
        }
        if (!File.TrySlice(section.PointerToRawData, section.SizeOfRawData, out ReadOnlySpan<byte> bytes))
        {
            return Truncated(SectionField(section, "SizeOfRawData", at + 16),
                $"its data at 0x{section.PointerToRawData:X}, 0x{section.SizeOfRawData:X} bytes, "
                + $"reaches beyond the end of the file (0x{File.Length:X})");
        }
        // What the file holds beyond VirtualSize is padding, visible up to the end of the section's last page as it is on Windows.
        ulong room = AlignUp(section.VirtualSize, Math.Min(header.SectionAlignment, PageSize));
        room = Math.Min(room, sizeOfImage - section.VirtualAddress);
        bytes[..(int)Math.Min((ulong)bytes.Length, room)].CopyTo(contents.AsSpan((int)section.VirtualAddress));
        return true;
    }

    /// <summary>Up to eight characters, or "/" and an offset into the string table, as GNU ld writes longer names.</summary>
    static string SectionName(ReadOnlySpan<byte> field, ReadOnlySpan<byte> strings)
    {
        field = field.TrimEnd((byte)0);
        if (field.StartsWith((byte)'/') && uint.TryParse(field[1..], out uint offset) && strings.TryReadName(offset, 256, out string name))
            return name;
        return string.Create(field.Length, field, (text, bytes) =>
        {
            for (int i = 0; i < bytes.Length; i++) text[i] = bytes[i] is >= 0x20 and <= 0x7E ? (char)bytes[i] : '?';
        });
    }

    void WarnOfOddities(PortableExecutable image)
    {
        if (image.CheckSum != 0 && ComputeCheckSum() is var sum && sum != image.CheckSum)
        {
            diagnostics.Warn(ImageProblem.Malformed, OptionalHeaderField("CheckSum", CheckSumOffset),
                $"0x{image.CheckSum:X}, but the file's is 0x{sum:X}: it was changed after linking, and Windows verifies it");
        }
        foreach (ImageSection section in image.Sections)
        {
            if (section is not { IsExecutable: true, IsWritable: true, IsDiscardable: false }) continue;
            diagnostics.Warn(ImageProblem.Malformed, $"section {section.Name}",
                "is both writable and executable, which Driver Verifier's code integrity checks reject (bug check 0xC4, 0x2003); "
                + "it is loaded without write access");
        }
        string entryField = OptionalHeaderField("AddressOfEntryPoint", 16);
        if (image.EntryPoint == 0)
        {
            diagnostics.Warn(ImageProblem.Malformed, entryField,
                "the image has no entry point; link it with /ENTRY:DriverEntry or /ENTRY:GsDriverEntry");
        }
        else if (image.SectionAt(image.EntryPoint) is not { IsExecutable: true })
        {
            diagnostics.Warn(ImageProblem.Malformed, entryField, $"RVA 0x{image.EntryPoint:X} is not in an executable section");
        }
        if (image.Imports.IsEmpty)
        {
            diagnostics.Warn(ImageProblem.BadDirectory, MappedImage.Place(ImageDirectory.Import),
                "the image imports nothing: an import library of another tool chain leaves an empty table without an error");
        }
    }

    /// <summary>The ones' complement sum of the file's 16-bit words, the field itself left out, plus the file's length.</summary>
    uint ComputeCheckSum()
    {
        ReadOnlySpan<byte> bytes = File;
        ulong field = OptionalHeaderAt + CheckSumOffset;
        ulong sum = 0;
        for (int at = 0; at < bytes.Length; at += 2)
        {
            if ((ulong)at >= field && (ulong)at < field + 4) continue;
            sum += bytes[at] | (at + 1 < bytes.Length ? (uint)bytes[at + 1] << 8 : 0);
        }
        while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
        return (uint)sum + (uint)bytes.Length;
    }

    bool NoImage(string place, string what) =>
        diagnostics.Fail(ImageProblem.NotPortableExecutable, place, what + "; name a driver image (.sys)");

    bool Truncated(string place, string what) => diagnostics.Fail(ImageProblem.Truncated, place, what + "; copy the file again");

    bool Malformed(string place, string what) => diagnostics.Fail(ImageProblem.Malformed, place, what + "; link the driver again");

    string FileHeaderField(string field, uint offset) => Place("IMAGE_FILE_HEADER." + field, fileHeaderAt + offset);

    string OptionalHeaderField(string field, uint offset) => Place("IMAGE_OPTIONAL_HEADER64." + field, OptionalHeaderAt + offset);

    static string SectionField(ImageSection section, string field, uint offset) => Place($"section {section.Name}, {field}", offset);

    static string Place(string field, uint offset) => $"{field} (offset 0x{offset:X})";

    static ulong AlignUp(ulong value, uint alignment) => value + (alignment - 1) & ~(ulong)(alignment - 1);
}
