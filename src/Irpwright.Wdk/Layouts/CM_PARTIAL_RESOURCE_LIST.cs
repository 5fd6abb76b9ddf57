using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Count hardware resources from PartialDescriptors on; packed to 4 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_cm_partial_resource_list"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CM_PARTIAL_RESOURCE_LIST
{
    public const int SizeOf = 0x1C;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Revision;
    [FieldOffset(0x04)] public uint Count;
    [FieldOffset(0x08)] public CM_PARTIAL_RESOURCE_DESCRIPTOR PartialDescriptors; // the first
}
