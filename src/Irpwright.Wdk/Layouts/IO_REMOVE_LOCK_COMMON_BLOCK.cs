using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The part of a remove lock that every build has.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_REMOVE_LOCK_COMMON_BLOCK
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public BOOLEAN Removed;
    [FieldOffset(0x04)] public int IoCount;
    [FieldOffset(0x08)] public KEVENT RemoveEvent;
}
