using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What ZwQuerySystemInformation says of the time; all in 100 ns.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/sysinfo/zwquerysysteminformation"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SYSTEM_TIMEOFDAY_INFORMATION
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public long BootTime;
    [FieldOffset(0x08)] public long CurrentTime;
    [FieldOffset(0x10)] public long TimeZoneBias;
    [FieldOffset(0x18)] public uint TimeZoneId;
    [FieldOffset(0x1C)] public uint Reserved;
    [FieldOffset(0x20)] public ulong BootTimeBias;
    [FieldOffset(0x28)] public ulong SleepTimeBias;
}
