using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Cancel-safe queue: the driver's callbacks. Opaque to drivers.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_csq"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_CSQ
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public uint Type; // IO_TYPE_CSQ or IO_TYPE_CSQ_EX
    [FieldOffset(0x08)] public PIO_CSQ_INSERT_IRP CsqInsertIrp; // IO_CSQ_INSERT_IRP_EX for IO_TYPE_CSQ_EX
    [FieldOffset(0x10)] public PIO_CSQ_REMOVE_IRP CsqRemoveIrp;
    [FieldOffset(0x18)] public PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp;
    [FieldOffset(0x20)] public PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock;
    [FieldOffset(0x28)] public PIO_CSQ_RELEASE_LOCK CsqReleaseLock;
    [FieldOffset(0x30)] public PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp;
    [FieldOffset(0x38)] public PVOID ReservePointer;
}
