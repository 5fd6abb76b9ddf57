using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Header of every interface that IRP_MN_QUERY_INTERFACE exports.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_interface"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct INTERFACE
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public ushort Size;
    [FieldOffset(0x02)] public ushort Version;
    [FieldOffset(0x08)] public PVOID Context;
    [FieldOffset(0x10)] public PINTERFACE_REFERENCE InterfaceReference;
    [FieldOffset(0x18)] public PINTERFACE_DEREFERENCE InterfaceDereference;
}
