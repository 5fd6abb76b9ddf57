using System.Buffers.Binary;
using System.Collections.Immutable;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>A driver image in the memory of a machine: relocated, bound to the kernel, its pages protected.</summary>
public sealed class DriverImage
{
    readonly AddressSpace memory;
    bool isDiscarded;

    internal DriverImage(PortableExecutable file, AddressSpace memory, ulong address)
    {
        File = file;
        this.memory = memory;
        Base = address;
    }

    public PortableExecutable File { get; }

    /// <summary>The module name without extension, as debuggers show it: <c>passthrough</c>.</summary>
    public string Name => Path.GetFileNameWithoutExtension(File.Name);

    /// <summary>Guest address of the image's first byte.</summary>
    public ulong Base { get; }

    /// <summary>Bytes, a multiple of the page size.</summary>
    public uint Size => File.SizeOfImage;

    /// <summary>Guest address of DriverEntry, or of the routine that the linker put before it.</summary>
    public ulong EntryPoint => Base + File.EntryPoint;

    public ImmutableArray<ImageSection> Sections => File.Sections;

    /// <summary>
    /// Imports that the kernel does not have. Windows does not load such a driver. The slots hold addresses that no code has, so that a
    /// call stops at once, and <see cref="DriverImageLoader.SymbolAt"/> tells which import it was.
    /// </summary>
    public ImmutableArray<ImageImport> UnsupportedImports { get; internal set; } = [];

    /// <summary>The unsupported imports of this image and of those that it needs.</summary>
    public IEnumerable<ImageImport> MissingImports => Closure([]).SelectMany(image => image.UnsupportedImports);

    HashSet<DriverImage> Closure(HashSet<DriverImage> found)
    {
        if (!found.Add(this)) return found;
        foreach (DriverImage needed in Dependencies) needed.Closure(found);
        return found;
    }

    /// <summary>Other images that this one imports from, each once.</summary>
    public ImmutableArray<DriverImage> Dependencies { get; internal set; } = [];

    /// <summary>Loaded images that import from this one; it stays in memory as long as there are any.</summary>
    internal int Importers { get; set; }

    /// <summary>Whether it was started as a driver, so that its DriverEntry was called.</summary>
    internal bool IsDriver { get; set; }

    /// <summary>Whether DllInitialize was called, or need not be.</summary>
    internal bool IsInitialized { get; set; }

    /// <summary>False once the driver was unloaded.</summary>
    public bool IsLoaded { get; internal set; } = true;

    /// <summary>Guest address of a routine that the image exports itself, not by forwarding.</summary>
    public ulong? AddressOfExport(string name) => File.FindExport(name) is { Forwarder: "" } export ? Base + export.Rva : null;

    public bool Contains(ulong address) => address - Base < Size;

    /// <summary>
    /// The name of an address in the image: <c>passthrough!PassDone+0x12</c>, or <c>passthrough+0x1234</c> where no symbol tells.
    /// </summary>
    public string SymbolAt(ulong address)
    {
        uint rva = (uint)(address - Base);
        string module = IsLoaded ? Name : $"<Unloaded_{File.Name}>";
        return File.SymbolAt(rva) is { } symbol ? $"{module}!{symbol}" : $"{module}+0x{rva:x}";
    }

    /// <summary>The section that was at an address and is gone because DriverEntry has returned.</summary>
    internal ImageSection? DiscardedAt(ulong address) =>
        isDiscarded && File.SectionAt((uint)(address - Base)) is { IsDiscardable: true } section ? section : null;

    internal void DiscardInitialization()
    {
        isDiscarded = true;
        Protect();
    }

    /// <summary>The image's memory, for the loader to fill.</summary>
    internal Span<byte> Memory => GuestMemory.Write(Base, (int)Size);

    internal void Relocate()
    {
        Span<byte> memory = Memory;
        foreach (uint rva in File.Relocations)
        {
            Span<byte> address = memory.Slice((int)rva, 8);
            BinaryPrimitives.WriteUInt64LittleEndian(address, BinaryPrimitives.ReadUInt64LittleEndian(address) + (Base - File.ImageBase));
        }
    }

    internal void WriteUInt64(uint rva, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Memory.Slice((int)rva, 8), value);

    /// <summary>Gives each page the access of its section. Sections that are aligned to less than a page share theirs.</summary>
    internal void Protect()
    {
        Span<PageAccess> pages = new PageAccess[Size >> GuestMemory.PageShift];
        Allow(pages, 0, File.SizeOfHeaders, PageAccess.Read);
        foreach (ImageSection section in Sections)
            if (!(isDiscarded && section.IsDiscardable)) Allow(pages, section.VirtualAddress, section.VirtualSize, section.Access);
        for (int i = 0; i < pages.Length; i++) memory.Protect(Base + ((ulong)i << GuestMemory.PageShift), GuestMemory.PageSize, pages[i]);
    }

    static void Allow(Span<PageAccess> pages, uint rva, uint size, PageAccess access)
    {
        int first = (int)(rva >> GuestMemory.PageShift);
        int end = (int)((rva + size + GuestMemory.PageSize - 1) >> GuestMemory.PageShift);
        foreach (ref PageAccess page in pages[first..end]) page |= access;
    }
}
