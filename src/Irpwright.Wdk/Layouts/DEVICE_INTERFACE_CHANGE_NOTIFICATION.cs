using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A device interface came or went.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_device_interface_change_notification"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVICE_INTERFACE_CHANGE_NOTIFICATION
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Size;
    [FieldOffset(0x04)] public Guid Event;
    [FieldOffset(0x14)] public Guid InterfaceClassGuid;
    [FieldOffset(0x28)] public PUNICODE_STRING SymbolicLinkName;
}
