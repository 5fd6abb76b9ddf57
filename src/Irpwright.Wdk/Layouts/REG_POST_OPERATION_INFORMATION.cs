using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What became of an operation on the registry.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_post_operation_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_POST_OPERATION_INFORMATION
{
    public const int SizeOf = 0x38;

    [FieldOffset(0x00)] public PVOID Object; // the key
    [FieldOffset(0x08)] public NTSTATUS Status;
    [FieldOffset(0x10)] public PVOID PreInformation; // what the routine was called with before
    [FieldOffset(0x18)] public NTSTATUS ReturnStatus; // instead of Status, with STATUS_CALLBACK_BYPASS
    [FieldOffset(0x20)] public PVOID CallContext;
    [FieldOffset(0x28)] public PVOID ObjectContext;
    [FieldOffset(0x30)] public PVOID Reserved;
}
