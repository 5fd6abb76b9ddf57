using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A device's way to do DMA.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_dma_adapter"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DMA_ADAPTER
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public ushort Version;
    [FieldOffset(0x02)] public ushort Size;
    [FieldOffset(0x08)] public PDMA_OPERATIONS DmaOperations;
}
