using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>An event of a device that its driver defines; the driver's data follow.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_target_device_custom_notification"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct TARGET_DEVICE_CUSTOM_NOTIFICATION
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Size;
    [FieldOffset(0x04)] public Guid Event;
    [FieldOffset(0x18)] public PFILE_OBJECT FileObject;
    [FieldOffset(0x20)] public int NameBufferOffset;
    [FieldOffset(0x24)] public byte CustomDataBuffer; // the first
}
