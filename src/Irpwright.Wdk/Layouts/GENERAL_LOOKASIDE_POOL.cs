using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Lookaside list, paged or nonpaged. Inline code of drivers counts in it and calls Allocate and Free. GENERAL_LOOKASIDE
/// has the same members, padded to 0x80 bytes.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct GENERAL_LOOKASIDE_POOL
{
    public const int SizeOf = 0x60;

    [FieldOffset(0x00)] public SLIST_HEADER ListHead;
    [FieldOffset(0x10)] public ushort Depth;
    [FieldOffset(0x12)] public ushort MaximumDepth;
    [FieldOffset(0x14)] public uint TotalAllocates;
    [FieldOffset(0x18)] public uint AllocateMisses;
    [FieldOffset(0x18)] public uint AllocateHits;
    [FieldOffset(0x1C)] public uint TotalFrees;
    [FieldOffset(0x20)] public uint FreeMisses;
    [FieldOffset(0x20)] public uint FreeHits;
    [FieldOffset(0x24)] public POOL_TYPE Type;
    [FieldOffset(0x28)] public uint Tag;
    [FieldOffset(0x2C)] public uint Size; // bytes of an entry
    [FieldOffset(0x30)] public PALLOCATE_FUNCTION_EX AllocateEx;
    [FieldOffset(0x30)] public PALLOCATE_FUNCTION Allocate;
    [FieldOffset(0x38)] public PFREE_FUNCTION_EX FreeEx;
    [FieldOffset(0x38)] public PFREE_FUNCTION Free;
    [FieldOffset(0x40)] public LIST_ENTRY ListEntry;
    [FieldOffset(0x50)] public uint LastTotalAllocates;
    [FieldOffset(0x54)] public uint LastAllocateMisses;
    [FieldOffset(0x54)] public uint LastAllocateHits;
    [FieldOffset(0x58)] public FutureArray Future;

    [InlineArray(2)]
    public struct FutureArray
    {
        uint element;
    }
}
