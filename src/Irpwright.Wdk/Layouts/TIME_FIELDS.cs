using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A calendar date and time.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_time_fields"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct TIME_FIELDS
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public short Year;
    [FieldOffset(0x02)] public short Month; // 1 to 12
    [FieldOffset(0x04)] public short Day;
    [FieldOffset(0x06)] public short Hour;
    [FieldOffset(0x08)] public short Minute;
    [FieldOffset(0x0A)] public short Second;
    [FieldOffset(0x0C)] public short Milliseconds;
    [FieldOffset(0x0E)] public short Weekday; // 0 is Sunday
}
