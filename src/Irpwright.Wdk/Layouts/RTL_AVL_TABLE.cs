using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A table of elements in an AVL tree. Read-only for drivers.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_rtl_avl_table"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_AVL_TABLE
{
    public const int SizeOf = 0x68;

    [FieldOffset(0x00)] public RTL_BALANCED_LINKS BalancedRoot; // its right child is the root of the tree
    [FieldOffset(0x20)] public PVOID OrderedPointer;
    [FieldOffset(0x28)] public uint WhichOrderedElement;
    [FieldOffset(0x2C)] public uint NumberGenericTableElements;
    [FieldOffset(0x30)] public uint DepthOfTree;
    [FieldOffset(0x38)] public PRTL_BALANCED_LINKS RestartKey;
    [FieldOffset(0x40)] public uint DeleteCount;
    [FieldOffset(0x48)] public PRTL_AVL_COMPARE_ROUTINE CompareRoutine;
    [FieldOffset(0x50)] public PRTL_AVL_ALLOCATE_ROUTINE AllocateRoutine;
    [FieldOffset(0x58)] public PRTL_AVL_FREE_ROUTINE FreeRoutine;
    [FieldOffset(0x60)] public PVOID TableContext;
}
