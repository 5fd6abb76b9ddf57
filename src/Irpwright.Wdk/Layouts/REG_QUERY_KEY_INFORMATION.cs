using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>RegNtPreQueryKey.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_query_key_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_QUERY_KEY_INFORMATION
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public PVOID Object; // the key
    [FieldOffset(0x08)] public KEY_INFORMATION_CLASS KeyInformationClass;
    [FieldOffset(0x10)] public PVOID KeyInformation;
    [FieldOffset(0x18)] public uint Length; // bytes
    [FieldOffset(0x20)] public PULONG ResultLength;
    [FieldOffset(0x28)] public PVOID CallContext; // of this operation, for the routine
    [FieldOffset(0x30)] public PVOID ObjectContext;
    [FieldOffset(0x38)] public PVOID Reserved;
}
