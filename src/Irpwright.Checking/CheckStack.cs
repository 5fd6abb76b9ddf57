namespace Irpwright.Checking;

/// <summary>What is checked: drivers, what they find on their machine, and scenarios of the user's. Each run makes all of it anew.</summary>
/// <param name="Inputs">What names it on a command line, for replay strings: drivers, a stack file, assemblies.</param>
/// <param name="Drivers">Lowest first; none where scenarios bring their own.</param>
public sealed record CheckStack(IReadOnlyList<string> Inputs, IReadOnlyList<DriverSource> Drivers)
{
    /// <summary>Drivers alone, above a device that answers as each scenario wants.</summary>
    public static CheckStack Of(IReadOnlyList<DriverSource> drivers) => new([.. drivers.Select(driver => driver.Text)], drivers);

    /// <summary>
    /// The driver of the device below, which makes its device in DriverEntry and is not under test; null for a device that answers as
    /// each scenario wants.
    /// </summary>
    public DriverSource? Device { get; init; }

    /// <summary>What the device has, as IRP_MN_START_DEVICE tells its drivers; interrupts apart.</summary>
    public IReadOnlyList<DeviceResource> Resources { get; init; } = [];

    /// <summary>Inputs of the interrupt controller that the device has, see <see cref="Interrupts.Line"/>.</summary>
    public IReadOnlyList<int> InterruptLines { get; init; } = [];

    /// <summary>Connects hardware, and fills the registry, of a machine in which nothing has run yet.</summary>
    public Action<Machine> Furnish { get; init; } = static _ => { };

    /// <summary>Control requests that are known of, besides the codes that show in the images.</summary>
    public IReadOnlyList<ControlRequest> ControlRequests { get; init; } = [];

    /// <summary>Run next to those of the battery.</summary>
    public IReadOnlyList<CheckScenario> Scenarios { get; init; } = [];
}

/// <summary>What a driver is to its device.</summary>
public enum DriverPlace
{
    /// <summary>Attached to the device if it has AddDevice.</summary>
    Unsaid,
    LowerFilter,
    Function,
    UpperFilter,
    /// <summary>Not attached, although it may have AddDevice.</summary>
    Software,
}

/// <summary>A control code, and what requests with it look like that get past the first checks of a driver.</summary>
/// <param name="InputLength">Bytes; null if unknown.</param>
/// <param name="OutputLength">Bytes; null if unknown.</param>
public sealed record ControlRequest(uint Code, uint? InputLength = null, uint? OutputLength = null)
{
    /// <summary>The input of an ordinary request; a pattern, if null.</summary>
    public ReadOnlyMemory<byte>? Input { get; init; }

    /// <summary>Code and lengths, as <c>0x222004:16:8</c>.</summary>
    public override string ToString() => (InputLength, OutputLength) switch
    {
        (null, null) => $"0x{Code:X}",
        (_, null) => $"0x{Code:X}:{InputLength}",
        _ => $"0x{Code:X}:{InputLength}:{OutputLength}",
    };
}
