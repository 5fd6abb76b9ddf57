using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One value RtlQueryRegistryValues reads; a row of zeros ends the table.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_rtl_query_registry_table"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_QUERY_REGISTRY_TABLE
{
    public const int SizeOf = 0x38;

    [FieldOffset(0x00)] public PRTL_QUERY_REGISTRY_ROUTINE QueryRoutine;
    [FieldOffset(0x08)] public uint Flags; // RTL_QUERY_REGISTRY_*
    [FieldOffset(0x10)] public PWSTR Name;
    [FieldOffset(0x18)] public PVOID EntryContext;
    [FieldOffset(0x20)] public uint DefaultType; // REG_*
    [FieldOffset(0x28)] public PVOID DefaultData;
    [FieldOffset(0x30)] public uint DefaultLength; // bytes
}
