using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The runs of memory that a transfer consists of; the array <c>Elements</c> of SCATTER_GATHER_ELEMENT follows.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_scatter_gather_list"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SCATTER_GATHER_LIST
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public uint NumberOfElements;
    [FieldOffset(0x08)] public ulong Reserved; // opaque to drivers
}
