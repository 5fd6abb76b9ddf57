using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The part of a remove lock that only checked builds have.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_REMOVE_LOCK_DBG_BLOCK
{
    public const int SizeOf = 0x58;

    [FieldOffset(0x00)] public int Signature; // 'COLR'
    [FieldOffset(0x04)] public uint HighWatermark;
    [FieldOffset(0x08)] public long MaxLockedTicks;
    [FieldOffset(0x10)] public int AllocateTag;
    [FieldOffset(0x18)] public LIST_ENTRY LockList;
    [FieldOffset(0x28)] public KSPIN_LOCK Spin;
    [FieldOffset(0x30)] public int LowMemoryCount;
    [FieldOffset(0x34)] public Reserved1Array Reserved1;
    [FieldOffset(0x48)] public PVOID Reserved2;
    [FieldOffset(0x50)] public PVOID Blocks;

    [InlineArray(4)]
    public struct Reserved1Array
    {
        uint element;
    }
}
