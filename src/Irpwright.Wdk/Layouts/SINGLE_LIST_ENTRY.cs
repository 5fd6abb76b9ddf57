using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Link or head of a singly linked list.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SINGLE_LIST_ENTRY
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public PSINGLE_LIST_ENTRY Next;
}
