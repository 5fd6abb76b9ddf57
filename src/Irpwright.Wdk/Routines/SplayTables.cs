namespace Irpwright.Wdk;

[Routine] public delegate RTL_GENERIC_COMPARE_RESULTS RTL_GENERIC_COMPARE_ROUTINE(PRTL_GENERIC_TABLE Table, PVOID FirstStruct, PVOID SecondStruct);

[Routine] public delegate PVOID RTL_GENERIC_ALLOCATE_ROUTINE(PRTL_GENERIC_TABLE Table, uint ByteSize);

[Routine] public delegate void RTL_GENERIC_FREE_ROUTINE(PRTL_GENERIC_TABLE Table, PVOID Buffer);
