using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Link or head of a doubly linked, circular list.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct LIST_ENTRY
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public PLIST_ENTRY Flink;
    [FieldOffset(0x08)] public PLIST_ENTRY Blink;
}
