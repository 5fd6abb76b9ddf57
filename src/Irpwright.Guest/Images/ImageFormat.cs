using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Guest.Images;

// The on-disk structures of PE32+ images, with the names and fields of winnt.h.
// https://learn.microsoft.com/windows/win32/debug/pe-format

[StructLayout(LayoutKind.Explicit, Size = 64)]
struct IMAGE_DOS_HEADER
{
    public const ushort IMAGE_DOS_SIGNATURE = 0x5A4D; // MZ
    [FieldOffset(0x00)] public ushort e_magic;
    [FieldOffset(0x3C)] public uint e_lfanew;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_FILE_HEADER
{
    public ushort Machine;
    public ushort NumberOfSections;
    public uint TimeDateStamp;
    public uint PointerToSymbolTable;
    public uint NumberOfSymbols;
    public ushort SizeOfOptionalHeader;
    public ushort Characteristics;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_OPTIONAL_HEADER64
{
    public ushort Magic;
    public byte MajorLinkerVersion;
    public byte MinorLinkerVersion;
    public uint SizeOfCode;
    public uint SizeOfInitializedData;
    public uint SizeOfUninitializedData;
    public uint AddressOfEntryPoint;
    public uint BaseOfCode;
    public ulong ImageBase;
    public uint SectionAlignment;
    public uint FileAlignment;
    public ushort MajorOperatingSystemVersion;
    public ushort MinorOperatingSystemVersion;
    public ushort MajorImageVersion;
    public ushort MinorImageVersion;
    public ushort MajorSubsystemVersion;
    public ushort MinorSubsystemVersion;
    public uint Win32VersionValue;
    public uint SizeOfImage;
    public uint SizeOfHeaders;
    public uint CheckSum;
    public ushort Subsystem;
    public ushort DllCharacteristics;
    public ulong SizeOfStackReserve;
    public ulong SizeOfStackCommit;
    public ulong SizeOfHeapReserve;
    public ulong SizeOfHeapCommit;
    public uint LoaderFlags;
    public uint NumberOfRvaAndSizes;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_DATA_DIRECTORY
{
    public uint VirtualAddress;
    public uint Size;
}

[InlineArray(8)]
struct ShortName
{
    byte first;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_SECTION_HEADER
{
    public ShortName Name;
    public uint VirtualSize;
    public uint VirtualAddress;
    public uint SizeOfRawData;
    public uint PointerToRawData;
    public uint PointerToRelocations;
    public uint PointerToLinenumbers;
    public ushort NumberOfRelocations;
    public ushort NumberOfLinenumbers;
    public uint Characteristics;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_IMPORT_DESCRIPTOR
{
    public uint OriginalFirstThunk;
    public uint TimeDateStamp;
    public uint ForwarderChain;
    public uint Name;
    public uint FirstThunk;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_DELAYLOAD_DESCRIPTOR
{
    public uint Attributes;
    public uint DllNameRVA;
    public uint ModuleHandleRVA;
    public uint ImportAddressTableRVA;
    public uint ImportNameTableRVA;
    public uint BoundImportAddressTableRVA;
    public uint UnloadInformationTableRVA;
    public uint TimeDateStamp;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_EXPORT_DIRECTORY
{
    public uint Characteristics;
    public uint TimeDateStamp;
    public ushort MajorVersion;
    public ushort MinorVersion;
    public uint Name;
    public uint Base;
    public uint NumberOfFunctions;
    public uint NumberOfNames;
    public uint AddressOfFunctions;
    public uint AddressOfNames;
    public uint AddressOfNameOrdinals;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_BASE_RELOCATION
{
    public uint VirtualAddress;
    public uint SizeOfBlock;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_DEBUG_DIRECTORY
{
    public uint Characteristics;
    public uint TimeDateStamp;
    public ushort MajorVersion;
    public ushort MinorVersion;
    public uint Type;
    public uint SizeOfData;
    public uint AddressOfRawData;
    public uint PointerToRawData;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_RESOURCE_DIRECTORY
{
    public uint Characteristics;
    public uint TimeDateStamp;
    public ushort MajorVersion;
    public ushort MinorVersion;
    public ushort NumberOfNamedEntries;
    public ushort NumberOfIdEntries;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_RESOURCE_DIRECTORY_ENTRY
{
    public uint NameOrId;
    public uint OffsetToData;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_RESOURCE_DATA_ENTRY
{
    public uint OffsetToData;
    public uint Size;
    public uint CodePage;
    public uint Reserved;
}

/// <summary>18 bytes in the COFF symbol table of an image that was linked without stripping.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct IMAGE_SYMBOL
{
    public ShortName Name;
    public uint Value;
    public short SectionNumber;
    public ushort Type;
    public byte StorageClass;
    public byte NumberOfAuxSymbols;
}

/// <summary>Index of a data directory.</summary>
enum ImageDirectory
{
    Export = 0,
    Import = 1,
    Resource = 2,
    Exception = 3,
    BaseRelocation = 5,
    Debug = 6,
    ThreadLocalStorage = 9,
    LoadConfiguration = 10,
    DelayImport = 13,
}

/// <summary>IMAGE_FILE_xxx of the file header.</summary>
[Flags]
public enum ImageCharacteristics : ushort
{
    RelocationsStripped = 0x0001,
    ExecutableImage = 0x0002,
    LineNumbersStripped = 0x0004,
    SymbolsStripped = 0x0008,
    LargeAddressAware = 0x0020,
    Machine32Bit = 0x0100,
    DebugStripped = 0x0200,
    System = 0x1000,
    Dll = 0x2000,
}

/// <summary>IMAGE_DLLCHARACTERISTICS_xxx of the optional header.</summary>
[Flags]
public enum ImageDllCharacteristics : ushort
{
    HighEntropyVa = 0x0020,
    DynamicBase = 0x0040,
    ForceIntegrity = 0x0080,
    NxCompatible = 0x0100,
    NoSeh = 0x0400,
    WdmDriver = 0x2000,
    GuardControlFlow = 0x4000,
}

/// <summary>IMAGE_SCN_xxx of a section header.</summary>
[Flags]
public enum SectionCharacteristics : uint
{
    Code = 0x0000_0020,
    InitializedData = 0x0000_0040,
    UninitializedData = 0x0000_0080,
    MemoryDiscardable = 0x0200_0000,
    MemoryNotCached = 0x0400_0000,
    MemoryNotPaged = 0x0800_0000,
    MemoryShared = 0x1000_0000,
    MemoryExecute = 0x2000_0000,
    MemoryRead = 0x4000_0000,
    MemoryWrite = 0x8000_0000,
}
