namespace Irpwright.Kernel;

/// <summary>How values are written for people who read kernel debuggers.</summary>
public static class Format
{
    static readonly string[] MajorFunctions =
    [
        "CREATE", "CREATE_NAMED_PIPE", "CLOSE", "READ", "WRITE", "QUERY_INFORMATION", "SET_INFORMATION", "QUERY_EA", "SET_EA",
        "FLUSH_BUFFERS", "QUERY_VOLUME_INFORMATION", "SET_VOLUME_INFORMATION", "DIRECTORY_CONTROL", "FILE_SYSTEM_CONTROL",
        "DEVICE_CONTROL", "INTERNAL_DEVICE_CONTROL", "SHUTDOWN", "LOCK_CONTROL", "CLEANUP", "CREATE_MAILSLOT", "QUERY_SECURITY",
        "SET_SECURITY", "POWER", "SYSTEM_CONTROL", "DEVICE_CHANGE", "QUERY_QUOTA", "SET_QUOTA", "PNP",
    ];

    /// <summary>A 64-bit address as WinDbg prints it: <c>ffffa000`00012340</c>.</summary>
    public static string Address(ulong address) => $"{address >> 32:x8}`{(uint)address:x8}";

    /// <summary>Such as <c>IRP_MJ_READ</c>; a code that does not exist as a number.</summary>
    public static string MajorFunction(byte major) => major < MajorFunctions.Length ? "IRP_MJ_" + MajorFunctions[major] : $"IRP_MJ 0x{major:x2}";
}
