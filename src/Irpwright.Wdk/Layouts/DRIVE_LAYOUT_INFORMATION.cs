using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The partitions of a disk.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_drive_layout_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DRIVE_LAYOUT_INFORMATION
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public uint PartitionCount;
    [FieldOffset(0x04)] public uint Signature;
    [FieldOffset(0x08)] public EntryArray PartitionEntry; // as many as there are

    [InlineArray(1)]
    public struct EntryArray
    {
        PARTITION_INFORMATION element;
    }
}
