namespace Irpwright.Checking;

/// <summary>What a driver is for, as far as it shows.</summary>
public enum DriverRole
{
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
/// <param name="ControlCodes">Control codes that the images compare with, and those that the user named.</param>
/// <param name="CanUnload">Whether every driver has an Unload routine.</param>
public sealed record DriverProfile(
    DriverRole Role, IReadOnlyList<string> Devices, IReadOnlyList<byte> MajorFunctions, IReadOnlyList<uint> ControlCodes, bool CanUnload)
{
    public bool IsPlugAndPlay => Role != DriverRole.Software;

    public bool Handles(byte majorFunction) => MajorFunctions.Contains(majorFunction);
}
