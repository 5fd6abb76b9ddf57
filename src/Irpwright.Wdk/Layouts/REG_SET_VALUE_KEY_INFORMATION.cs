using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>RegNtPreSetValueKey.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_set_value_key_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_SET_VALUE_KEY_INFORMATION
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public PVOID Object; // the key
    [FieldOffset(0x08)] public PUNICODE_STRING ValueName;
    [FieldOffset(0x10)] public uint TitleIndex;
    [FieldOffset(0x14)] public uint Type; // REG_*
    [FieldOffset(0x18)] public PVOID Data;
    [FieldOffset(0x20)] public uint DataSize; // bytes
    [FieldOffset(0x28)] public PVOID CallContext; // of this operation, for the routine
    [FieldOffset(0x30)] public PVOID ObjectContext;
    [FieldOffset(0x38)] public PVOID Reserved;
}
