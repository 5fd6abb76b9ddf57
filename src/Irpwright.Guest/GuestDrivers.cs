using System.Diagnostics.CodeAnalysis;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest;

/// <summary>Compiled drivers of a machine: reads their files, places them, and gives the machine a processor for them.</summary>
public sealed class GuestDrivers
{
    readonly Machine machine;
    readonly DriverImageLoader loader;

    /// <param name="seed">Chooses what Windows chooses at random, such as security cookies.</param>
    public GuestDrivers(Machine machine, ulong seed = 0)
    {
        this.machine = machine;
        loader = new DriverImageLoader(machine, seed);
        var processor = new GuestProcessor(machine) { ImageAt = loader.ImageAt, DescribeMissing = address => loader.UnsupportedImportAt(address)?.ToString() };
        loader.CodeWithdrawn += processor.Flush;
        machine.Guest = processor;
        machine.Time.StartClock();
    }

    /// <summary>Images in memory, oldest first.</summary>
    public IReadOnlyList<DriverImage> Images => loader.Images;

    /// <summary>Reads a .sys file and places it in the machine; nothing of it runs yet.</summary>
    /// <param name="image">Check <see cref="DriverImage.UnsupportedImports"/> before starting it.</param>
    /// <param name="error">What is wrong with the file, and where.</param>
    public bool TryRead(string path, [NotNullWhen(true)] out DriverImage? image, [NotNullWhen(false)] out ImageDiagnostic? error)
    {
        image = null;
        return PortableExecutable.TryReadFile(path, out PortableExecutable? file, out error) && TryPlace(file, out image, out error);
    }

    /// <summary>Places an image that was read before.</summary>
    /// <inheritdoc cref="TryRead"/>
    public bool TryPlace(
        PortableExecutable file, [NotNullWhen(true)] out DriverImage? image, [NotNullWhen(false)] out ImageDiagnostic? error) =>
        loader.TryLoad(file, out image, out error);

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

    /// <summary>Calls DriverUnload and frees the image; false, with nothing done, for a driver that cannot be unloaded.</summary>
    public bool Unload(Driver driver) => machine.Run(() => loader.Unload(driver));
}
