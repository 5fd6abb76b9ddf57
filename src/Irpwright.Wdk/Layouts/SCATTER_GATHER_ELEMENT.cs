using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A run of memory as a device sees it.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_scatter_gather_list"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SCATTER_GATHER_ELEMENT
{
    public const int SizeOf = 0x18;

    [ThroughValue]
    [FieldOffset(0x00)] public long Address; // logical
    [FieldOffset(0x08)] public uint Length; // bytes
    [FieldOffset(0x10)] public ulong Reserved; // opaque to drivers
}
