using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A table of elements in a splay tree. Read-only for drivers.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_rtl_generic_table"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_GENERIC_TABLE
{
    public const int SizeOf = 0x48;

    [FieldOffset(0x00)] public PRTL_SPLAY_LINKS TableRoot;
    [FieldOffset(0x08)] public LIST_ENTRY InsertOrderList;
    [FieldOffset(0x18)] public PLIST_ENTRY OrderedPointer;
    [FieldOffset(0x20)] public uint WhichOrderedElement;
    [FieldOffset(0x24)] public uint NumberGenericTableElements;
    [FieldOffset(0x28)] public PRTL_GENERIC_COMPARE_ROUTINE CompareRoutine;
    [FieldOffset(0x30)] public PRTL_GENERIC_ALLOCATE_ROUTINE AllocateRoutine;
    [FieldOffset(0x38)] public PRTL_GENERIC_FREE_ROUTINE FreeRoutine;
    [FieldOffset(0x40)] public PVOID TableContext;
}
