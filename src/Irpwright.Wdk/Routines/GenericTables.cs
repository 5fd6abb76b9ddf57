namespace Irpwright.Wdk;

/// <summary>How two elements of a generic table compare.</summary>
public enum RTL_GENERIC_COMPARE_RESULTS
{
    GenericLessThan,
    GenericGreaterThan,
    GenericEqual,
}

[Routine] public delegate RTL_GENERIC_COMPARE_RESULTS RTL_AVL_COMPARE_ROUTINE(PRTL_AVL_TABLE Table, PVOID FirstStruct, PVOID SecondStruct);

[Routine] public delegate PVOID RTL_AVL_ALLOCATE_ROUTINE(PRTL_AVL_TABLE Table, uint ByteSize);

[Routine] public delegate void RTL_AVL_FREE_ROUTINE(PRTL_AVL_TABLE Table, PVOID Buffer);
