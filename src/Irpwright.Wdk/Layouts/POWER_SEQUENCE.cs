using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>How often a device has entered each power state.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_power_sequence"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct POWER_SEQUENCE
{
    public const int SizeOf = 0xC;

    [FieldOffset(0x00)] public uint SequenceD1;
    [FieldOffset(0x04)] public uint SequenceD2;
    [FieldOffset(0x08)] public uint SequenceD3;
}
