using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>An entry of a partition table.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_partition_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PARTITION_INFORMATION
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public long StartingOffset; // bytes
    [FieldOffset(0x08)] public long PartitionLength; // bytes
    [FieldOffset(0x10)] public uint HiddenSectors;
    [FieldOffset(0x14)] public uint PartitionNumber; // 0 for an entry that is no partition of its own
    [FieldOffset(0x18)] public byte PartitionType; // PARTITION_*
    [FieldOffset(0x19)] public BOOLEAN BootIndicator;
    [FieldOffset(0x1A)] public BOOLEAN RecognizedPartition;
    [FieldOffset(0x1B)] public BOOLEAN RewritePartition;
}
