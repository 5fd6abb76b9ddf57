using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The place of something in a splay tree.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_rtl_splay_links"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_SPLAY_LINKS
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public PRTL_SPLAY_LINKS Parent; // itself for the root
    [FieldOffset(0x08)] public PRTL_SPLAY_LINKS LeftChild;
    [FieldOffset(0x10)] public PRTL_SPLAY_LINKS RightChild;
}
