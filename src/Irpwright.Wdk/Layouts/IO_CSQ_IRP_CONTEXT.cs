using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Finds one request in a cancel-safe queue again.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_csq_irp_context"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_CSQ_IRP_CONTEXT
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public uint Type; // IO_TYPE_CSQ_IRP_CONTEXT
    [FieldOffset(0x08)] public PIRP Irp;
    [FieldOffset(0x10)] public PIO_CSQ Csq;
}
