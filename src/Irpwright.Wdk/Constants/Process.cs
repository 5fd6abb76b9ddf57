namespace Irpwright.Wdk;

/// <summary>What ZwQueryInformationProcess is asked for.</summary>
public enum PROCESSINFOCLASS
{
    ProcessBasicInformation = 0,
    ProcessDebugPort = 7,
    ProcessWow64Information = 26,
    ProcessImageFileName = 27,
    ProcessBreakOnTermination = 29,
}

/// <summary>What ZwQuerySystemInformation is asked for.</summary>
public enum SYSTEM_INFORMATION_CLASS
{
    SystemBasicInformation = 0,
    SystemProcessorInformation = 1,
    SystemTimeOfDayInformation = 3,
    SystemProcessInformation = 5,
    SystemKernelDebuggerInformation = 35,
}

public static partial class Constants
{
    // What RtlVerifyVersionInfo compares
    public const uint VER_MINORVERSION = 0x0000001;
    public const uint VER_MAJORVERSION = 0x0000002;
    public const uint VER_BUILDNUMBER = 0x0000004;
    public const uint VER_PLATFORMID = 0x0000008;
    public const uint VER_SERVICEPACKMINOR = 0x0000010;
    public const uint VER_SERVICEPACKMAJOR = 0x0000020;
    public const uint VER_SUITENAME = 0x0000040;
    public const uint VER_PRODUCT_TYPE = 0x0000080;

    // How
    public const byte VER_EQUAL = 1;
    public const byte VER_GREATER = 2;
    public const byte VER_GREATER_EQUAL = 3;
    public const byte VER_LESS = 4;
    public const byte VER_LESS_EQUAL = 5;
    public const byte VER_AND = 6;
    public const byte VER_OR = 7;

    public const uint VER_PLATFORM_WIN32_NT = 2;
    public const byte VER_NT_WORKSTATION = 1;

    public const uint PROCESS_DUP_HANDLE = 0x0040;
    public const uint PROCESS_QUERY_INFORMATION = 0x0400;
    public const uint PROCESS_ALL_ACCESS = 0x001FFFFF;
    public const uint THREAD_ALL_ACCESS = 0x001FFFFF;
}
