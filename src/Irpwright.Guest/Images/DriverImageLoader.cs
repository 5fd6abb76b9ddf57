using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>Places driver images in a machine, binds them to its kernel, starts and unloads them.</summary>
public sealed class DriverImageLoader
{
    /// <summary>What the compiler stores as cookie; an image that still has it when it starts stops itself with int 29h.</summary>
    const ulong DefaultSecurityCookie = 0x2B99_2DDF_A232;
    /// <summary>The cookie's upper 16 bits are zero, so that a string operation that overruns a buffer cannot write it.</summary>
    const ulong SecurityCookieMask = 0xFFFF_FFFF_FFFF;
    /// <summary>
    /// Distance between the addresses of unsupported imports, in the range below the trap range where nothing is ever mapped.
    /// </summary>
    const ulong UnsupportedImportSize = 16;

    /// <summary>
    /// What linkers have called the kernel and the hardware abstraction layer; which of the two exports a routine has changed over time.
    /// </summary>
    static readonly string[] KernelModules =
        ["ntoskrnl.exe", "hal.dll", "ntkrnlmp.exe", "ntkrnlpa.exe", "ntkrpamp.exe", "wdm.sys", "wdm.dll"];

    readonly Machine machine;
    readonly ulong seed;
    readonly Lock gate = new();
    readonly List<DriverImage> images = [];
    readonly List<ImageImport> unsupported = [];

    /// <param name="seed">Chooses the security cookies.</param>
    public DriverImageLoader(Machine machine, ulong seed = 0)
    {
        this.machine = machine;
        this.seed = seed;
        machine.BugChecks.SymbolAt = SymbolAt;
    }

    /// <summary>Code at an address, of a length in bytes, is about to go; whoever keeps translations of it drops them.</summary>
    public event Action<ulong, ulong>? CodeWithdrawn;

    /// <summary>Images in memory, oldest first.</summary>
    public IReadOnlyList<DriverImage> Images
    {
        get { lock (gate) return [.. images.Where(image => image.IsLoaded)]; }
    }

    /// <summary>Whether the kernel has what an image imports.</summary>
    public bool IsSupported(ImageImport import) => Find(import) is not null;

    /// <summary>
    /// Places an image, relocates it, gives it a security cookie, binds its imports and protects its pages; in that order.
    /// </summary>
    /// <remarks>
    /// All unsupported imports are collected in <see cref="DriverImage.UnsupportedImports"/>; they are for the caller to judge.
    /// </remarks>
    /// <returns>False with a diagnostic when the image cannot be placed.</returns>
    public bool TryLoad(
        PortableExecutable file, [NotNullWhen(true)] out DriverImage? image, [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        image = null;
        if (!CanLoad(file, out error)) return false;
        // The page before the image stays without access, so that running off its start faults and does not reach another driver.
        ulong start = machine.Memory.Images.Allocate(GuestMemory.PageSize + file.SizeOfImage, PageAccess.ReadWrite);
        if (start == 0)
        {
            error = new ImageDiagnostic(file.FileName, ImageProblem.TooLarge, "IMAGE_OPTIONAL_HEADER64.SizeOfImage",
                $"no room for 0x{file.SizeOfImage:X} bytes where driver images lie; unload other drivers first");
            return false;
        }
        machine.Memory.Protect(start, GuestMemory.PageSize, PageAccess.None);
        image = new DriverImage(file, machine.Memory, start + GuestMemory.PageSize);
        file.Contents.Span.CopyTo(image.Memory);
        image.Relocate();
        // After the relocations: the address of the cookie in the load configuration is relocated itself, and so may be its neighbours.
        if (file.LoadConfiguration?.SecurityCookie is { } cookie) image.WriteUInt64(cookie, SecurityCookie(image));
        Bind(image);
        image.Protect();
        lock (gate) images.Add(image);
        return true;
    }

    /// <summary>
    /// Calls an image's DriverEntry and then takes its INIT sections away. On failure the image is unloaded, as Windows does.
    /// </summary>
    /// <param name="serviceName">Names the driver object and the registry key.</param>
    /// <returns>What DriverEntry returned; STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, without a call, when imports are unsupported.</returns>
    public NTSTATUS Start(DriverImage image, string serviceName, out Driver? driver)
    {
        driver = null;
        NTSTATUS status = image.UnsupportedImports.IsEmpty
            ? machine.Drivers.Load(serviceName, new PDRIVER_INITIALIZE(image.EntryPoint), image.Base, image.Size, out driver)
            : NTSTATUS.STATUS_DRIVER_ENTRYPOINT_NOT_FOUND;
        if (driver is null) Free(image);
        else DiscardInitialization(image);
        return status;
    }

    /// <summary>Calls DriverUnload and frees the image; false, with nothing done, for a driver that has no such routine.</summary>
    public bool Unload(Driver driver)
    {
        ulong start = driver.Object.DriverStart.Address;
        if (!machine.Drivers.Unload(driver)) return false;
        if (ImageAt(start) is { } image) Free(image);
        return true;
    }

    /// <summary>
    /// Takes INIT and other discardable sections away, as Windows does when DriverEntry has returned: a later call or access faults.
    /// </summary>
    public void DiscardInitialization(DriverImage image)
    {
        foreach (ImageSection section in image.Sections)
            if (section.IsDiscardable) CodeWithdrawn?.Invoke(image.Base + section.VirtualAddress, section.VirtualSize);
        image.DiscardInitialization();
    }

    /// <summary>Frees the image's memory. What still points into it faults, and is named as code of an unloaded driver.</summary>
    public void Free(DriverImage image)
    {
        lock (gate)
        {
            if (!image.IsLoaded) return;
            image.IsLoaded = false;
        }
        CodeWithdrawn?.Invoke(image.Base, image.Size);
        ulong start = image.Base - GuestMemory.PageSize, size = GuestMemory.PageSize + image.Size;
        // The range is only cleared for its next owner when it can be written.
        machine.Memory.Protect(start, size, PageAccess.ReadWrite);
        machine.Memory.Images.Free(start, size);
    }

    /// <summary>The image that holds an address; one that was unloaded when no loaded one does.</summary>
    public DriverImage? ImageAt(ulong address)
    {
        lock (gate)
        {
            return images.Find(image => image.IsLoaded && image.Contains(address))
                ?? images.FindLast(image => image.Contains(address));
        }
    }

    /// <summary>The import that was bound to an address because the kernel does not have it.</summary>
    public ImageImport? UnsupportedImportAt(ulong address)
    {
        ulong index = (address - machine.Memory.SliceBase) / UnsupportedImportSize;
        lock (gate) return index < (ulong)unsupported.Count ? unsupported[(int)index] : null;
    }

    /// <summary>The name of an address in a driver image, or of an unsupported import; null for any other.</summary>
    public string? SymbolAt(ulong address) => ImageAt(address)?.SymbolAt(address) ?? UnsupportedImportAt(address)?.ToString();

    static bool CanLoad(PortableExecutable file, [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        error = null;
        if (file.EntryPoint == 0)
        {
            error = new ImageDiagnostic(file.FileName, ImageProblem.NotDriver, "IMAGE_OPTIONAL_HEADER64.AddressOfEntryPoint",
                "the image has no entry point; link it with /ENTRY:DriverEntry or /ENTRY:GsDriverEntry");
        }
        else if (file.Characteristics.HasFlag(ImageCharacteristics.RelocationsStripped))
        {
            error = new ImageDiagnostic(file.FileName, ImageProblem.Unsupported, "IMAGE_FILE_HEADER.Characteristics",
                $"IMAGE_FILE_RELOCS_STRIPPED: it runs only at 0x{file.ImageBase:X}, where no driver is loaded; link it with /DYNAMICBASE");
        }
        return error is null;
    }

    void Bind(DriverImage image)
    {
        var missing = ImmutableArray.CreateBuilder<ImageImport>();
        foreach (ImageImport import in image.File.Imports)
        {
            if (Find(import) is { } address)
            {
                image.WriteUInt64(import.AddressRva, address);
                continue;
            }
            missing.Add(import);
            image.WriteUInt64(import.AddressRva, AddressOfUnsupported(import));
        }
        image.UnsupportedImports = missing.ToImmutable();
    }

    ulong? Find(ImageImport import) =>
        // Ordinals of the kernel's exports change with every build of Windows; no driver can rely on one.
        import.Ordinal is null && KernelModules.Contains(import.Module, StringComparer.OrdinalIgnoreCase)
            ? machine.SystemRoutines.Find(import.Name)
            : null;

    ulong AddressOfUnsupported(ImageImport import)
    {
        lock (gate)
        {
            ulong offset = (ulong)unsupported.Count * UnsupportedImportSize;
            if (offset >= AddressSpace.ExportThunkOffset) return 0;
            unsupported.Add(import);
            return machine.Memory.SliceBase + offset;
        }
    }

    /// <summary>The same for the same seed, image and place in the machine; for the driver as good as random.</summary>
    ulong SecurityCookie(DriverImage image)
    {
        ulong cookie = seed ^ AddressSpace.OffsetOf(image.Base);
        foreach (char c in image.Name) cookie = Mix(cookie + c);
        do cookie = Mix(cookie);
        while ((cookie & SecurityCookieMask) is 0 or DefaultSecurityCookie);
        return cookie & SecurityCookieMask;
    }

    /// <summary>One step of the SplitMix64 generator.</summary>
    static ulong Mix(ulong value)
    {
        value += 0x9E37_79B9_7F4A_7C15;
        value = (value ^ value >> 30) * 0xBF58_476D_1CE4_E5B9;
        value = (value ^ value >> 27) * 0x94D0_49BB_1331_11EB;
        return value ^ value >> 31;
    }
}
