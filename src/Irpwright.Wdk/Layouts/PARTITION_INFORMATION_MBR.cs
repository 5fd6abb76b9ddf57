using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What is known of a partition by the master boot record.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_partition_information_mbr"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PARTITION_INFORMATION_MBR
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public byte PartitionType; // PARTITION_*
    [FieldOffset(0x01)] public BOOLEAN BootIndicator;
    [FieldOffset(0x02)] public BOOLEAN RecognizedPartition;
    [FieldOffset(0x04)] public uint HiddenSectors;
    [FieldOffset(0x08)] public Guid PartitionId; // Windows 10
}
