using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Size of a disk, volume or partition.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_get_length_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct GET_LENGTH_INFORMATION
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public long Length; // bytes
}
