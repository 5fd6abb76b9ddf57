using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A processor: its group, and its number there.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/miniport/ns-miniport-_processor_number"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PROCESSOR_NUMBER
{
    public const int SizeOf = 0x4;

    [FieldOffset(0x00)] public ushort Group;
    [FieldOffset(0x02)] public byte Number;
    [FieldOffset(0x03)] public byte Reserved;
}
