using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The hardware resources of a device on one bus; packed to 4 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_cm_full_resource_descriptor"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CM_FULL_RESOURCE_DESCRIPTOR
{
    public const int SizeOf = 0x24;

    [FieldOffset(0x00)] public INTERFACE_TYPE InterfaceType;
    [FieldOffset(0x04)] public uint BusNumber;
    [FieldOffset(0x08)] public CM_PARTIAL_RESOURCE_LIST PartialResourceList;
}
