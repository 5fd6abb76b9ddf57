using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Volume parameter block: binds a mounted file system's device to a storage device.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_vpb"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct VPB
{
    public const int SizeOf = 0x60;

    [FieldOffset(0x00)] public short Type; // IO_TYPE_VPB
    [FieldOffset(0x02)] public short Size;
    [FieldOffset(0x04)] public VPB_FLAGS Flags;
    [FieldOffset(0x06)] public ushort VolumeLabelLength; // bytes
    [FieldOffset(0x08)] public PDEVICE_OBJECT DeviceObject;
    [FieldOffset(0x10)] public PDEVICE_OBJECT RealDevice;
    [FieldOffset(0x18)] public uint SerialNumber;
    [FieldOffset(0x1C)] public uint ReferenceCount;
    [FieldOffset(0x20)] public VolumeLabelArray VolumeLabel;

    [InlineArray(32)]
    public struct VolumeLabelArray
    {
        char element;
    }
}
