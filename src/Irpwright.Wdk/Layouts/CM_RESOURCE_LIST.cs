using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Count full descriptors from List on; packed to 4 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_cm_resource_list"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CM_RESOURCE_LIST
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public uint Count;
    [FieldOffset(0x04)] public CM_FULL_RESOURCE_DESCRIPTOR List; // the first
}
