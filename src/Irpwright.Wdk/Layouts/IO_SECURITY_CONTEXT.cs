using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Security of an IRP_MJ_CREATE request.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_security_context"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_SECURITY_CONTEXT
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public PVOID SecurityQos;
    [FieldOffset(0x08)] public PVOID AccessState; // ACCESS_STATE
    [FieldOffset(0x10)] public uint DesiredAccess;
    [FieldOffset(0x14)] public uint FullCreateOptions;
}
