using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a load-image notify routine is told of an image.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_image_info"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IMAGE_INFO
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public uint Properties; // bits 0 to 7 addressing mode (3), 8 system mode image
    [FieldOffset(0x08)] public PVOID ImageBase;
    [FieldOffset(0x10)] public uint ImageSelector;
    [FieldOffset(0x18)] public ulong ImageSize; // bytes
    [FieldOffset(0x20)] public uint ImageSectionNumber;
}
