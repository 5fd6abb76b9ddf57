using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>An entry of a partition table of either kind.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_partition_information_ex"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PARTITION_INFORMATION_EX
{
    public const int SizeOf = 0x90;

    [FieldOffset(0x00)] public PARTITION_STYLE PartitionStyle;
    [FieldOffset(0x08)] public long StartingOffset; // bytes
    [FieldOffset(0x10)] public long PartitionLength; // bytes
    [FieldOffset(0x18)] public uint PartitionNumber; // 0 for an entry that is no partition of its own
    [FieldOffset(0x1C)] public BOOLEAN RewritePartition;
    [FieldOffset(0x1D)] public BOOLEAN IsServicePartition;
    [FieldOffset(0x20)] public PARTITION_INFORMATION_MBR Mbr;
    [FieldOffset(0x20)] public PARTITION_INFORMATION_GPT Gpt;
}
