using Irpwright.Guest.Images;

namespace Irpwright.Checking;

/// <summary>A driver to check: read once, loaded into as many machines as it takes.</summary>
public sealed class DriverSource
{
    readonly Func<WdmDriver>? create;

    DriverSource(string text, string name, PortableExecutable? image, Func<WdmDriver>? create)
    {
        Text = text;
        Name = name;
        Image = image;
        this.create = create;
    }

    /// <summary>What the user calls it: a path, or <c>Assembly.dll:Type</c>.</summary>
    public string Text { get; }

    /// <summary>Name of its service, and in reports.</summary>
    public string Name { get; }

    /// <summary>The image of a compiled driver; null for a C# driver.</summary>
    public PortableExecutable? Image { get; }

    public DriverPlace PlaceInStack { get; private init; }

    /// <summary>The same driver by another name of its service, in a place that is known.</summary>
    public DriverSource As(string service, DriverPlace place) => new(Text, service, Image, create) { PlaceInStack = place };

    /// <summary>A compiled driver.</summary>
    public static DriverSource Of(string text, PortableExecutable image) => new(text, Path.GetFileNameWithoutExtension(image.Name), image, null);

    /// <summary>A C# driver.</summary>
    /// <param name="create">Makes a new object for each load.</param>
    public static DriverSource Of(string text, string name, Func<WdmDriver> create) => new(text, name, null, create);

    /// <summary>Places the image in a machine; nothing of it runs yet.</summary>
    /// <exception cref="DriverCheckException">It cannot be loaded; the message says why.</exception>
    public DriverImage Place(GuestDrivers guest)
    {
        guest.LookBeside(Text);
        return guest.TryPlace(Image!, out DriverImage? image, out ImageDiagnostic? error) ? image : throw new DriverCheckException($"{Text}: {error}");
    }

    /// <summary>Loads the driver and calls its DriverEntry, inside the machine.</summary>
    /// <param name="guest">Null only for a C# driver.</param>
    /// <param name="name">Of its service.</param>
    public NTSTATUS Load(Machine machine, GuestDrivers? guest, string name, out Driver? driver) => create is not null
        ? machine.Drivers.Load(create(), name, out driver)
        : guest!.Start(Place(guest), out driver, name);

    /// <summary>The service by which a machine loads and unloads it.</summary>
    /// <param name="name">Of the service.</param>
    /// <param name="loaded">The driver, if it is loaded already.</param>
    public DriverService ServiceIn(Machine machine, GuestDrivers? guest, string name, Driver? loaded = null) => new(name,
        () =>
        {
            NTSTATUS status = Load(machine, guest, name, out Driver? driver);
            return (status, driver);
        },
        driver => driver.Managed is null ? guest!.Unload(driver) : machine.Drivers.Unload(driver),
        loaded);
}

/// <summary>The check cannot be made; the message says why, and what could be done.</summary>
public class DriverCheckException(string message) : Exception(message);

/// <summary>The options choose scenarios that the check does not have.</summary>
public sealed class NoScenarioException(string message) : DriverCheckException(message);
