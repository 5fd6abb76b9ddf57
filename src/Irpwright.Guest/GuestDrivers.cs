using System.Diagnostics.CodeAnalysis;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest;

/// <summary>Compiled drivers of a machine: reads their files, places them, and gives the machine a processor for them.</summary>
public sealed class GuestDrivers : IDriverImages
{
    readonly Machine machine;
    readonly DriverImageLoader loader;
    // Those of code that is gone: discarded, or unloaded.
    readonly HashSet<(string Image, uint Block)> reached = [];
    // Where files were read from: what their drivers import from or start is looked for there, as Windows does in System32\drivers.
    readonly List<string> folders = [];

    /// <param name="seed">Chooses what Windows chooses at random, such as security cookies.</param>
    public GuestDrivers(Machine machine, ulong seed = 0)
    {
        this.machine = machine;
        loader = new DriverImageLoader(machine, seed) { ReadModule = ReadNeighbour };
        var processor = new GuestProcessor(machine) { ImageAt = loader.ImageAt, DescribeMissing = address => loader.UnsupportedImportAt(address)?.ToString() };
        loader.CodeWithdrawn += (image, address, length) =>
        {
            NoteReached(image);
            processor.Flush(address, length);
        };
        // A return address may already belong to the next line; the instruction that stopped does not.
        machine.BugChecks.LineAt = address => loader.LineAt(processor.IsAt(address) ? address : address - 1);
        machine.Guest = processor;
        machine.DriverServices.Images = this;
        machine.Time.StartClock();
    }

    /// <inheritdoc cref="DriverImageLoader.AllowsMissingImports"/>
    public bool AllowsMissingImports
    {
        get => loader.AllowsMissingImports;
        set => loader.AllowsMissingImports = value;
    }

    /// <summary>Images in memory, oldest first.</summary>
    public IReadOnlyList<DriverImage> Images => loader.Images;

    /// <summary>Reads a .sys file and places it in the machine; nothing of it runs yet.</summary>
    /// <param name="image">Check <see cref="DriverImage.UnsupportedImports"/> before starting it.</param>
    /// <param name="error">What is wrong with the file, and where.</param>
    public bool TryRead(string path, [NotNullWhen(true)] out DriverImage? image, [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        image = null;
        if (!PortableExecutable.TryReadFile(path, out PortableExecutable? file, out error)) return false;
        LookBeside(path);
        return TryPlace(file, out image, out error);
    }

    /// <summary>Has what drivers import be looked for in the folder of a file too.</summary>
    public void LookBeside(string path)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? path;
        if (!folders.Contains(folder)) folders.Add(folder);
    }

    /// <summary>Places an image that was read before.</summary>
    /// <inheritdoc cref="TryRead"/>
    public bool TryPlace(
        PortableExecutable file, [NotNullWhen(true)] out DriverImage? image, [NotNullWhen(false)] out ImageDiagnostic? error) =>
        loader.TryLoad(file, out image, out error);

    /// <summary>Reads a file that lies beside one that was read before; the name comes out of an image and is not trusted.</summary>
    PortableExecutable? ReadNeighbour(string name)
    {
        if (!name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_') || name.StartsWith('.')) return null;
        var anyCase = new EnumerationOptions { MatchCasing = MatchCasing.CaseInsensitive, IgnoreInaccessible = true };
        foreach (string folder in folders)
            foreach (string path in Directory.EnumerateFiles(folder, name, anyCase).Order(StringComparer.Ordinal))
                if (PortableExecutable.TryReadFile(path, out PortableExecutable? file, out _)) return file;
        return null;
    }

    /// <inheritdoc cref="DriverImageLoader.IsSupported"/>
    public bool IsSupported(ImageImport import) => loader.IsSupported(import);

    /// <summary>Calls DriverEntry. Runs on a guest thread.</summary>
    /// <param name="serviceName">Names the driver object; the image's name if null.</param>
    /// <returns>What DriverEntry returned; on failure the image is gone again.</returns>
    public NTSTATUS Start(DriverImage image, out Driver? driver, string? serviceName = null)
    {
        Driver? started = null;
        NTSTATUS status = machine.Run(() => loader.Start(image, serviceName ?? image.Name, out started));
        driver = started;
        return status;
    }

    /// <inheritdoc/>
    /// <remarks>The image is one that was read and not started, or one beside those that were read.</remarks>
    NTSTATUS IDriverImages.StartService(string service, out Driver? driver)
    {
        driver = null;
        DriverImage? image = Images.FirstOrDefault(i => !i.IsDriver && i.Name.Equals(service, StringComparison.OrdinalIgnoreCase));
        if (image is null && (ReadNeighbour(service + ".sys") is not { } file || !TryPlace(file, out image, out _)))
            return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        if (AllowsMissingImports || !image.MissingImports.Any()) return Start(image, out driver, service);
        throw machine.BugChecks.StopUnsupported(
            $"{image.File.Name} is loaded by a driver, but this version does not have its import {string.Join(", ", image.MissingImports)}.");
    }

    /// <summary>Calls DriverUnload and frees the image; false, with nothing done, for a driver that cannot be unloaded.</summary>
    public bool Unload(Driver driver) => machine.Run(() => loader.Unload(driver));

    /// <summary>The blocks of images (<see cref="PortableExecutable.Blocks"/>) that have run so far. Known only where memory is checked.</summary>
    public IReadOnlyCollection<(string Image, uint Block)> ReachedBlocks
    {
        get
        {
            foreach (DriverImage image in loader.Images) NoteReached(image);
            return reached;
        }
    }

    void NoteReached(DriverImage image)
    {
        if (!machine.Options.ChecksMemory || machine.Guest is not GuestProcessor processor) return;
        foreach (uint block in image.File.Blocks)
            if (processor.HasRun(image.Base + block)) reached.Add((image.Name, block));
    }
}
