using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a GUID partition table says of the whole disk.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_drive_layout_information_gpt"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DRIVE_LAYOUT_INFORMATION_GPT
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public Guid DiskId;
    [FieldOffset(0x10)] public long StartingUsableOffset; // bytes
    [FieldOffset(0x18)] public long UsableLength; // bytes
    [FieldOffset(0x20)] public uint MaxPartitionCount;
}
