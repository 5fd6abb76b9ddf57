using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The device behind a file object is about to go, stays, or has gone.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_target_device_removal_notification"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct TARGET_DEVICE_REMOVAL_NOTIFICATION
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Size;
    [FieldOffset(0x04)] public Guid Event;
    [FieldOffset(0x18)] public PFILE_OBJECT FileObject;
}
