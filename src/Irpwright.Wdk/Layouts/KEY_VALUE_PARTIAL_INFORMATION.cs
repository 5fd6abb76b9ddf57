using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A registry value without its name; the data starts at 0x0C.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_key_value_partial_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KEY_VALUE_PARTIAL_INFORMATION
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public uint TitleIndex;
    [FieldOffset(0x04)] public uint Type; // REG_*
    [FieldOffset(0x08)] public uint DataLength; // bytes
    [FieldOffset(0x0C)] public byte Data; // the first
}
