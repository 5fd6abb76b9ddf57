using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Start of every notification structure (IoRegisterPlugPlayNotification).</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_plugplay_notification_header"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PLUGPLAY_NOTIFICATION_HEADER
{
    public const int SizeOf = 0x14;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Size;
    [FieldOffset(0x04)] public Guid Event;
}
