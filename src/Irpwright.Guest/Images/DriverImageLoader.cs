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

    readonly Machine machine;
    readonly ulong seed;
    readonly Lock gate = new();
    readonly List<DriverImage> images = [];
    readonly List<ImageImport> unsupported = [];
    readonly ImageLinker linker;
    GuardRoutines? guard;

    /// <param name="seed">Chooses the security cookies.</param>
    public DriverImageLoader(Machine machine, ulong seed = 0)
    {
        this.machine = machine;
        this.seed = seed;
        linker = new ImageLinker(machine, FindModule);
        machine.BugChecks.SymbolAt = SymbolAt;
        machine.BugChecks.WithdrawnAt = WithdrawnAt;
    }

    /// <summary>
    /// Reads an image that another one imports from and that is not loaded yet, by its module name; null when there is none.
    /// </summary>
    public Func<string, PortableExecutable?>? ReadModule { get; init; }

    /// <summary>
    /// Whether images with unsupported imports are started all the same; the machine stops, naming the import, when one is used.
    /// </summary>
    public bool AllowsMissingImports { get; set; }

    /// <summary>Code at an address, of a length in bytes, is about to go; whoever keeps translations of it drops them.</summary>
    public event Action<DriverImage, ulong, ulong>? CodeWithdrawn;

    /// <summary>Images in memory, oldest first.</summary>
    public IReadOnlyList<DriverImage> Images
    {
        get { lock (gate) return [.. images.Where(image => image.IsLoaded)]; }
    }

    /// <summary>Whether the kernel, or an image that is loaded, has what an image imports.</summary>
    public bool IsSupported(ImageImport import) => linker.Find(import) is not null;

    /// <summary>
    /// Places an image, relocates it, gives it a security cookie, loads what it imports from, binds its imports and protects its
    /// pages; in that order.
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
        if (file.LoadConfiguration is not null) (guard ??= new GuardRoutines(machine, ImageAt)).Set(image);
        // From here on others can import from it: two images may import from each other.
        lock (gate) images.Add(image);
        foreach (string module in ImageLinker.ModulesOf(file))
            if (FindModule(ImageLinker.WithoutExtension(module)) is null && ReadModule?.Invoke(module) is { } needed) TryLoad(needed, out _, out _);
        Bind(image);
        image.Protect();
        machine.Modules.Add(new LoadedModule(file.Name, image.Base, image.Size, image.EntryPoint, file.CheckSum,
            file.DllCharacteristics.HasFlag(ImageDllCharacteristics.ForceIntegrity)));
        DriverImage loaded = image;
        machine.PageableSections.Add(image.Base, image.Size,
            image.Sections.Select(s => (loaded.Base + s.VirtualAddress, (ulong)s.VirtualSize, s.IsPageable)));
        return true;
    }

    /// <summary>
    /// Initializes the export drivers that an image imports from, calls its DriverEntry and then takes its INIT sections away. On
    /// failure the image is unloaded, as Windows does.
    /// </summary>
    /// <param name="serviceName">Names the driver object and the registry key.</param>
    /// <returns>
    /// What DriverEntry returned, or DllInitialize if that failed; STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, without a call, when imports
    /// are unsupported.
    /// </returns>
    public NTSTATUS Start(DriverImage image, string serviceName, out Driver? driver)
    {
        driver = null;
        NTSTATUS status = CanStart(image) && image.File.EntryPoint != 0
            ? InitializeDependencies(image)
            : NTSTATUS.STATUS_DRIVER_ENTRYPOINT_NOT_FOUND;
        if (status >= 0)
        {
            image.IsDriver = image.IsInitialized = true;
            status = machine.Drivers.Load(serviceName, new PDRIVER_INITIALIZE(image.EntryPoint), image.Base, image.Size, out driver);
        }
        if (driver is null) Release(image);
        else DiscardInitialization(image);
        return status;
    }

    /// <summary>
    /// Calls DriverUnload and frees the image, and the export drivers that nobody else imports from; false, with nothing done, for a
    /// driver that has no such routine.
    /// </summary>
    public bool Unload(Driver driver)
    {
        ulong start = driver.Object.DriverStart.Address;
        if (!machine.Drivers.Unload(driver)) return false;
        if (ImageAt(start) is { } image) Release(image);
        return true;
    }

    bool CanStart(DriverImage image) => AllowsMissingImports || image.UnsupportedImports.IsEmpty;

    /// <summary>Calls DllInitialize of export drivers that were loaded only because an image imports from them, deepest first.</summary>
    NTSTATUS InitializeDependencies(DriverImage image)
    {
        foreach (DriverImage needed in image.Dependencies)
        {
            if (needed.IsInitialized) continue;
            if (!CanStart(needed)) return NTSTATUS.STATUS_DRIVER_ENTRYPOINT_NOT_FOUND;
            needed.IsInitialized = true;
            NTSTATUS status = InitializeDependencies(needed);
            if (status >= 0 && needed.AddressOfExport("DllInitialize") is { } routine)
                status = machine.Drivers.InitializeLibrary(new PMM_DLL_INITIALIZE(routine), needed.Name);
            if (status < 0)
            {
                needed.IsInitialized = false;
                return status;
            }
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Frees an image that is no driver any more, unless others import from it, and then what only it imported from.</summary>
    void Release(DriverImage image)
    {
        image.IsDriver = false;
        if (image.Importers > 0) return;
        ImmutableArray<DriverImage> dependencies = image.Dependencies;
        Free(image);
        foreach (DriverImage needed in dependencies)
        {
            if (needed.Importers > 0 || needed.IsDriver || !needed.IsLoaded) continue;
            // Export drivers that do not have both routines are not counted: they stay.
            if (needed.AddressOfExport("DllInitialize") is null || needed.AddressOfExport("DllUnload") is not { } routine) continue;
            if (needed.IsInitialized) machine.Drivers.UnloadLibrary(new PMM_DLL_UNLOAD(routine));
            Release(needed);
        }
    }

    /// <summary>
    /// Takes INIT and other discardable sections away, as Windows does when DriverEntry has returned: a later call or access faults.
    /// </summary>
    public void DiscardInitialization(DriverImage image)
    {
        foreach (ImageSection section in image.Sections)
            if (section.IsDiscardable) CodeWithdrawn?.Invoke(image, image.Base + section.VirtualAddress, section.VirtualSize);
        image.DiscardInitialization();
        machine.PageableSections.Apply(image.Base);
    }

    /// <summary>Frees the image's memory. What still points into it faults, and is named as code of an unloaded driver.</summary>
    public void Free(DriverImage image)
    {
        lock (gate)
        {
            if (!image.IsLoaded) return;
            image.IsLoaded = false;
            foreach (DriverImage needed in image.Dependencies) needed.Importers--;
        }
        CodeWithdrawn?.Invoke(image, image.Base, image.Size);
        machine.Modules.Remove(image.Base);
        machine.PageableSections.Remove(image.Base);
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
            DriverImage? unloaded = null;
            foreach (DriverImage image in images)
            {
                if (!image.Contains(address)) continue;
                if (image.IsLoaded) return image;
                unloaded = image;
            }
            return unloaded;
        }
    }

    /// <summary>The import that was bound to an address because the kernel does not have it.</summary>
    public ImageImport? UnsupportedImportAt(ulong address)
    {
        ulong index = (address - machine.Memory.SliceBase) / UnsupportedImportSize;
        lock (gate) return index < (ulong)unsupported.Count ? unsupported[(int)index] : null;
    }

    /// <summary>The name of an address in a driver image, or of an unsupported import; null for any other.</summary>
    public string? SymbolAt(ulong address) =>
        ImageAt(address)?.SymbolAt(address) ?? UnsupportedImportAt(address)?.ToString() ?? guard?.SymbolAt(address);

    /// <summary>The source line of an address in a driver image; null when nothing tells.</summary>
    public string? LineAt(ulong address) =>
        ImageAt(address) is { } image ? image.File.LineAt((uint)(address - image.Base))?.ToString() : null;

    /// <summary>What was at an address before its driver was unloaded, or its INIT section discarded.</summary>
    WithdrawnCode? WithdrawnAt(ulong address)
    {
        if (ImageAt(address) is not { } image) return null;
        if (!image.IsLoaded) return new WithdrawnCode($"that was {image.SymbolAt(address)}, and the driver is unloaded", IsUnloadedDriver: true);
        return image.DiscardedAt(address) is { } section
            ? new WithdrawnCode($"section {section.Name} of {image.File.Name} was discarded when DriverEntry returned", IsUnloadedDriver: false)
            : null;
    }

    /// <summary>The loaded image of a module name, given without extension.</summary>
    DriverImage? FindModule(string name)
    {
        lock (gate) return images.Find(image => image.IsLoaded && image.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
    }

    static bool CanLoad(PortableExecutable file, [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        error = null;
        if (file.EntryPoint == 0 && file.Exports.IsEmpty)
        {
            error = new ImageDiagnostic(file.FileName, ImageProblem.NotDriver, "IMAGE_OPTIONAL_HEADER64.AddressOfEntryPoint",
                "the image has no entry point; link it with /ENTRY:DriverEntry or /ENTRY:GsDriverEntry");
        }
        else if (file.Characteristics.HasFlag(ImageCharacteristics.RelocationsStripped))
        {
            error = new ImageDiagnostic(file.FileName, ImageProblem.Unsupported, "IMAGE_FILE_HEADER.Characteristics",
                $"IMAGE_FILE_RELOCS_STRIPPED: it runs only at 0x{file.ImageBase:X}, where no driver is loaded; link it with /DYNAMICBASE");
        }
        else if (file.HasThreadLocalStorage)
        {
            error = new ImageDiagnostic(file.FileName, ImageProblem.Unsupported, MappedImage.Place(ImageDirectory.ThreadLocalStorage),
                "the image has thread-local variables, which do not exist in the kernel; remove __declspec(thread) and thread_local");
        }
        return error is null;
    }

    void Bind(DriverImage image)
    {
        var missing = ImmutableArray.CreateBuilder<ImageImport>();
        var dependencies = new HashSet<DriverImage>();
        foreach (ImageImport import in image.File.Imports)
        {
            if (TryBind(import)) continue;
            missing.Add(import);
            image.WriteUInt64(import.AddressRva, AddressOfUnsupported(import));
        }
        // The slot of a delay-loaded import leads to code of the image that looks for it at the first call. It stays when nobody has it.
        foreach (ImageImport import in image.File.DelayImports) TryBind(import);
        image.UnsupportedImports = missing.ToImmutable();
        image.Dependencies = [.. dependencies];
        lock (gate)
            foreach (DriverImage needed in dependencies) needed.Importers++;

        bool TryBind(ImageImport import)
        {
            if (linker.Find(import) is not { } found) return false;
            image.WriteUInt64(import.AddressRva, found.Address);
            if (found.Image is { } needed && needed != image) dependencies.Add(needed);
            return true;
        }
    }

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
