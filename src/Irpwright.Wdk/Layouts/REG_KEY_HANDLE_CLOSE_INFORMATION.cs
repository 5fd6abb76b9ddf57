using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>RegNtPreKeyHandleClose.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_key_handle_close_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_KEY_HANDLE_CLOSE_INFORMATION
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public PVOID Object; // the key
    [FieldOffset(0x08)] public PVOID CallContext; // of this operation, for the routine
    [FieldOffset(0x10)] public PVOID ObjectContext;
    [FieldOffset(0x18)] public PVOID Reserved;
}
