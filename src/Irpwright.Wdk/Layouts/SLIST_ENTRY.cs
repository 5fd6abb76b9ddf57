using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Link of an interlocked singly linked list, aligned to 16 bytes.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SLIST_ENTRY
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public PSLIST_ENTRY Next;
}
