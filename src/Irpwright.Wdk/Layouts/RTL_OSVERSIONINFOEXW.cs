using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What RtlGetVersion reports.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_osversioninfoexw"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_OSVERSIONINFOEXW
{
    public const int SizeOf = 0x11C;

    [FieldOffset(0x000)] public uint dwOSVersionInfoSize; // bytes; the caller fills it in
    [FieldOffset(0x004)] public uint dwMajorVersion;
    [FieldOffset(0x008)] public uint dwMinorVersion;
    [FieldOffset(0x00C)] public uint dwBuildNumber;
    [FieldOffset(0x010)] public uint dwPlatformId; // 2 is Windows NT
    [FieldOffset(0x014)] public CSDVersionArray szCSDVersion;
    [FieldOffset(0x114)] public ushort wServicePackMajor;
    [FieldOffset(0x116)] public ushort wServicePackMinor;
    [FieldOffset(0x118)] public ushort wSuiteMask;
    [FieldOffset(0x11A)] public byte wProductType;
    [FieldOffset(0x11B)] public byte wReserved;

    [InlineArray(128)]
    public struct CSDVersionArray
    {
        char element;
    }
}
