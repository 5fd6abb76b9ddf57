namespace Irpwright.Checking;

/// <summary>What a driver is for, as far as it shows.</summary>
public enum DriverRole
{
    /// <summary>There is no driver: scenarios bring theirs.</summary>
    None,
    /// <summary>Creates its devices in DriverEntry and takes no part in Plug and Play.</summary>
    Software,
    /// <summary>Sends requests of programs on to the driver below.</summary>
    Filter,
    /// <summary>Answers requests of programs itself.</summary>
    Function,
    /// <summary>Reports devices of its own.</summary>
    Bus,
}

/// <summary>What the battery has to know of the drivers: found out by loading them once.</summary>
/// <param name="Devices">Names that programs can open.</param>
/// <param name="MajorFunctions">IRP_MJ_* that the topmost driver has dispatch routines for.</param>
/// <param name="ControlRequests">With codes that the images compare with, and those that the user named.</param>
/// <param name="CanUnload">Whether every driver has an Unload routine.</param>
public sealed record DriverProfile(
    DriverRole Role, IReadOnlyList<string> Devices, IReadOnlyList<byte> MajorFunctions, IReadOnlyList<ControlRequest> ControlRequests, bool CanUnload)
{
    /// <summary>Whether the device below answers as a scenario wants.</summary>
    public bool IsAboveScriptedDevice { get; init; }

    /// <summary>Whether there is a device that is started, stopped and removed.</summary>
    public bool IsPlugAndPlay { get; init; }

    /// <summary>Whether a driver takes control requests by fast I/O, in the requestor's own buffers.</summary>
    public bool TakesControlFast { get; init; }

    /// <summary>Numbers that the images compare with and that may be lengths, in bytes.</summary>
    public IReadOnlyList<uint> Lengths { get; init; } = [];

    public bool Handles(byte majorFunction) => MajorFunctions.Contains(majorFunction);
}
