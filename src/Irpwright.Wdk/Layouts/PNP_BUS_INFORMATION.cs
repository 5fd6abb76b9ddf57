using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Answer to IRP_MN_QUERY_BUS_INFORMATION.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_pnp_bus_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PNP_BUS_INFORMATION
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public Guid BusTypeGuid;
    [FieldOffset(0x10)] public INTERFACE_TYPE LegacyBusType;
    [FieldOffset(0x14)] public uint BusNumber;
}
