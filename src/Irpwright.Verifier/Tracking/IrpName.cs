namespace Irpwright.Verification.Tracking;

/// <summary>An IRP in one of its uses, and how reports call it.</summary>
/// <param name="Use">1 for the first IRP that was seen; it has another one each time that it is reused. 0 for one that no rule has seen.</param>
public readonly record struct IrpName(int Use, IrpLabel Label, byte MajorFunction, ulong Address)
{
    static readonly string[] Majors =
    [
        "CREATE", "CREATE_NAMED_PIPE", "CLOSE", "READ", "WRITE", "QUERY_INFORMATION", "SET_INFORMATION", "QUERY_EA", "SET_EA",
        "FLUSH_BUFFERS", "QUERY_VOLUME_INFORMATION", "SET_VOLUME_INFORMATION", "DIRECTORY_CONTROL", "FILE_SYSTEM_CONTROL",
        "DEVICE_CONTROL", "INTERNAL_DEVICE_CONTROL", "SHUTDOWN", "LOCK_CONTROL", "CLEANUP", "CREATE_MAILSLOT", "QUERY_SECURITY",
        "SET_SECURITY", "POWER", "SYSTEM_CONTROL", "DEVICE_CHANGE", "QUERY_QUOTA", "SET_QUOTA", "PNP",
    ];

    internal static IrpName Unseen(ulong address) => new(0, default, 0, address);

    /// <summary>Whether it is a read, a write or a device control, of which there are many and few rules.</summary>
    public bool MovesData => MajorFunction is IRP_MJ_READ or IRP_MJ_WRITE or IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL;

    /// <summary>IRP_MJ_READ and so on.</summary>
    public static string Major(byte majorFunction) =>
        majorFunction < Majors.Length ? "IRP_MJ_" + Majors[majorFunction] : $"major function 0x{majorFunction:X2}";

    public override string ToString()
    {
        if (Use == 0) return $"the IRP at {Format.Address(Address)}";
        return Label.Number == 0 ? $"the IRP at {Format.Address(Address)} ({Major(MajorFunction)})" : $"{Label} ({Major(MajorFunction)})";
    }
}
