using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>FilePositionInformation.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_position_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FILE_POSITION_INFORMATION
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public long CurrentByteOffset;
}
