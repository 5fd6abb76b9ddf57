using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One alternative: Count ranges from Descriptors on.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_resource_list"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_RESOURCE_LIST
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Revision;
    [FieldOffset(0x04)] public uint Count;
    [FieldOffset(0x08)] public IO_RESOURCE_DESCRIPTOR Descriptors; // the first
}
