using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>RegNtPreQueryValueKey.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_query_value_key_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_QUERY_VALUE_KEY_INFORMATION
{
    public const int SizeOf = 0x48;

    [FieldOffset(0x00)] public PVOID Object; // the key
    [FieldOffset(0x08)] public PUNICODE_STRING ValueName;
    [FieldOffset(0x10)] public KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass;
    [FieldOffset(0x18)] public PVOID KeyValueInformation;
    [FieldOffset(0x20)] public uint Length; // bytes
    [FieldOffset(0x28)] public PULONG ResultLength;
    [FieldOffset(0x30)] public PVOID CallContext; // of this operation, for the routine
    [FieldOffset(0x38)] public PVOID ObjectContext;
    [FieldOffset(0x40)] public PVOID Reserved;
}
