using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A node of an AVL tree; the element's data follows.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_rtl_balanced_links"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_BALANCED_LINKS
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public PRTL_BALANCED_LINKS Parent;
    [FieldOffset(0x08)] public PRTL_BALANCED_LINKS LeftChild;
    [FieldOffset(0x10)] public PRTL_BALANCED_LINKS RightChild;
    [FieldOffset(0x18)] public sbyte Balance; // depth of the right subtree minus that of the left one
}
