using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A registry value with its name, which starts at 0x14.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_key_value_full_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KEY_VALUE_FULL_INFORMATION
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public uint TitleIndex;
    [FieldOffset(0x04)] public uint Type; // REG_*
    [FieldOffset(0x08)] public uint DataOffset; // bytes from the start
    [FieldOffset(0x0C)] public uint DataLength; // bytes
    [FieldOffset(0x10)] public uint NameLength; // bytes
    [FieldOffset(0x14)] public char Name; // the first
}
