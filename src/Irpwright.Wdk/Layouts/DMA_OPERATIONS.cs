using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a driver can do with a DMA adapter; as many of the routines as the version has that it asked for.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_dma_operations"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DMA_OPERATIONS
{
    public const int SizeOf = 0x138;

    [FieldOffset(0x000)] public uint Size; // bytes of the version
    [FieldOffset(0x008)] public PPUT_DMA_ADAPTER PutDmaAdapter;
    [FieldOffset(0x010)] public PALLOCATE_COMMON_BUFFER AllocateCommonBuffer;
    [FieldOffset(0x018)] public PFREE_COMMON_BUFFER FreeCommonBuffer;
    [FieldOffset(0x020)] public PALLOCATE_ADAPTER_CHANNEL AllocateAdapterChannel;
    [FieldOffset(0x028)] public PFLUSH_ADAPTER_BUFFERS FlushAdapterBuffers;
    [FieldOffset(0x030)] public PFREE_ADAPTER_CHANNEL FreeAdapterChannel;
    [FieldOffset(0x038)] public PFREE_MAP_REGISTERS FreeMapRegisters;
    [FieldOffset(0x040)] public PMAP_TRANSFER MapTransfer;
    [FieldOffset(0x048)] public PGET_DMA_ALIGNMENT GetDmaAlignment;
    [FieldOffset(0x050)] public PREAD_DMA_COUNTER ReadDmaCounter;
    [FieldOffset(0x058)] public PGET_SCATTER_GATHER_LIST GetScatterGatherList;
    [FieldOffset(0x060)] public PPUT_SCATTER_GATHER_LIST PutScatterGatherList;
    [FieldOffset(0x068)] public PCALCULATE_SCATTER_GATHER_LIST_SIZE CalculateScatterGatherList; // version 2 from here
    [FieldOffset(0x070)] public PBUILD_SCATTER_GATHER_LIST BuildScatterGatherList;
    [FieldOffset(0x078)] public PBUILD_MDL_FROM_SCATTER_GATHER_LIST BuildMdlFromScatterGatherList;
    [FieldOffset(0x080)] public PVOID GetDmaAdapterInfo; // version 3 from here
    [FieldOffset(0x088)] public PVOID GetDmaTransferInfo;
    [FieldOffset(0x090)] public PVOID InitializeDmaTransferContext;
    [FieldOffset(0x098)] public PVOID AllocateCommonBufferEx;
    [FieldOffset(0x0A0)] public PVOID AllocateAdapterChannelEx;
    [FieldOffset(0x0A8)] public PVOID ConfigureAdapterChannel;
    [FieldOffset(0x0B0)] public PVOID CancelAdapterChannel;
    [FieldOffset(0x0B8)] public PVOID MapTransferEx;
    [FieldOffset(0x0C0)] public PVOID GetScatterGatherListEx;
    [FieldOffset(0x0C8)] public PVOID BuildScatterGatherListEx;
    [FieldOffset(0x0D0)] public PVOID FlushAdapterBuffersEx;
    [FieldOffset(0x0D8)] public PVOID FreeAdapterObject;
    [FieldOffset(0x0E0)] public PVOID CancelMappedTransfer;
    [FieldOffset(0x0E8)] public PVOID AllocateDomainCommonBuffer;
    [FieldOffset(0x0F0)] public PVOID FlushDmaBuffer;
    [FieldOffset(0x0F8)] public PVOID JoinDmaDomain;
    [FieldOffset(0x100)] public PVOID LeaveDmaDomain;
    [FieldOffset(0x108)] public PVOID GetDmaDomain;
    [FieldOffset(0x110)] public PVOID AllocateCommonBufferWithBounds;
    [FieldOffset(0x118)] public PVOID AllocateCommonBufferVector;
    [FieldOffset(0x120)] public PVOID GetCommonBufferFromVectorByIndex;
    [FieldOffset(0x128)] public PVOID FreeCommonBufferFromVector;
    [FieldOffset(0x130)] public PVOID FreeCommonBufferVector;
}
