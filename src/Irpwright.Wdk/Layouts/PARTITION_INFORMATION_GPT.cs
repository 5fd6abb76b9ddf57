using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What is known of a partition by a GUID partition table.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_partition_information_gpt"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PARTITION_INFORMATION_GPT
{
    public const int SizeOf = 0x70;

    [FieldOffset(0x00)] public Guid PartitionType;
    [FieldOffset(0x10)] public Guid PartitionId;
    [FieldOffset(0x20)] public ulong Attributes;
    [FieldOffset(0x28)] public NameArray Name; // ends with a null if it is shorter

    [InlineArray(36)]
    public struct NameArray
    {
        char element;
    }
}
