using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Head of an interlocked singly linked list, aligned to 16 bytes. Drivers reach it only through exports.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SLIST_HEADER
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public ulong Alignment; // Depth : 16, Sequence : 48
    [FieldOffset(0x08)] public ulong Region; // reserved : 4, address of the first entry >> 4 : 60
}
