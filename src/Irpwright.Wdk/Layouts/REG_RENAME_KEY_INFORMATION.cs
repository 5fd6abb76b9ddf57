using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>RegNtPreRenameKey.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_rename_key_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_RENAME_KEY_INFORMATION
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public PVOID Object; // the key
    [FieldOffset(0x08)] public PUNICODE_STRING NewName;
    [FieldOffset(0x10)] public PVOID CallContext; // of this operation, for the routine
    [FieldOffset(0x18)] public PVOID ObjectContext;
    [FieldOffset(0x20)] public PVOID Reserved;
}
