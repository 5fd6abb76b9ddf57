using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The partitions of a disk, whatever kind of table it has.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_drive_layout_information_ex"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DRIVE_LAYOUT_INFORMATION_EX
{
    public const int SizeOf = 0xC0;

    [FieldOffset(0x00)] public PARTITION_STYLE PartitionStyle;
    [FieldOffset(0x04)] public uint PartitionCount;
    [FieldOffset(0x08)] public DRIVE_LAYOUT_INFORMATION_MBR Mbr;
    [FieldOffset(0x08)] public DRIVE_LAYOUT_INFORMATION_GPT Gpt;
    [FieldOffset(0x30)] public EntryArray PartitionEntry; // as many as there are

    [InlineArray(1)]
    public struct EntryArray
    {
        PARTITION_INFORMATION_EX element;
    }
}
