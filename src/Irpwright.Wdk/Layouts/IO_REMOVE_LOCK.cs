using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Remove lock of a free build; a checked build's is 0x58 bytes longer (IO_REMOVE_LOCK_DBG_BLOCK at 0x20).</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_REMOVE_LOCK
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public IO_REMOVE_LOCK_COMMON_BLOCK Common;
}
