using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>I/O request packet: this header, then StackCount locations from 0xD0 on. Aligned to 16 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_irp"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IRP
{
    public const int SizeOf = 0xD0;

    [FieldOffset(0x00)] public short Type; // IO_TYPE_IRP
    [FieldOffset(0x02)] public ushort Size; // bytes, stack locations included
    [FieldOffset(0x04)] public ushort AllocationProcessorNumber;
    [FieldOffset(0x06)] public ushort Reserved;
    [FieldOffset(0x08)] public PMDL MdlAddress;
    [FieldOffset(0x10)] public IRP_FLAGS Flags;
    [FieldOffset(0x18)] public AssociatedIrpUnion AssociatedIrp;
    [FieldOffset(0x20)] public LIST_ENTRY ThreadListEntry;
    [FieldOffset(0x30)] public IO_STATUS_BLOCK IoStatus;
    [FieldOffset(0x40)] public MODE RequestorMode;
    [FieldOffset(0x41)] public BOOLEAN PendingReturned;
    [FieldOffset(0x42)] public sbyte StackCount;
    [FieldOffset(0x43)] public sbyte CurrentLocation; // 1-based, counts down; StackCount + 1 while nobody owns the packet
    [FieldOffset(0x44)] public BOOLEAN Cancel;
    [FieldOffset(0x45)] public byte CancelIrql;
    [FieldOffset(0x46)] public sbyte ApcEnvironment;
    [FieldOffset(0x47)] public IRP_ALLOCATION_FLAGS AllocationFlags;
    [FieldOffset(0x48)] public PIO_STATUS_BLOCK UserIosb;
    [FieldOffset(0x50)] public PKEVENT UserEvent;
    [FieldOffset(0x58)] public OverlayUnion Overlay;
    [FieldOffset(0x68)] public PDRIVER_CANCEL CancelRoutine;
    [FieldOffset(0x70)] public PVOID UserBuffer;
    [FieldOffset(0x78)] public TailUnion Tail;

    [StructLayout(LayoutKind.Explicit, Size = 0x8)]
    public struct AssociatedIrpUnion
    {
        [FieldOffset(0x00)] public PIRP MasterIrp;
        [FieldOffset(0x00)] public int IrpCount;
        [FieldOffset(0x00)] public PVOID SystemBuffer;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct OverlayUnion
    {
        [FieldOffset(0x00)] public AsynchronousParametersFields AsynchronousParameters;
        [FieldOffset(0x00)] public long AllocationSize;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct AsynchronousParametersFields
    {
        [FieldOffset(0x00)] public PIO_APC_ROUTINE UserApcRoutine;
        [FieldOffset(0x00)] public PVOID IssuingProcess;
        [FieldOffset(0x08)] public PVOID UserApcContext;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x58)]
    public struct TailUnion
    {
        [FieldOffset(0x00)] public OverlayFields Overlay;
        [FieldOffset(0x00)] public KAPC Apc; // during the last stage of completion
        [FieldOffset(0x00)] public PVOID CompletionKey;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x58)]
    public struct OverlayFields
    {
        [FieldOffset(0x00)] public KDEVICE_QUEUE_ENTRY DeviceQueueEntry;
        [FieldOffset(0x00)] public DriverContextArray DriverContext; // [3] belongs to a cancel-safe queue while the packet is in one
        [FieldOffset(0x20)] public PETHREAD Thread;
        [FieldOffset(0x28)] public PVOID AuxiliaryBuffer;
        [FieldOffset(0x30)] public LIST_ENTRY ListEntry;
        [FieldOffset(0x40)] public PIO_STACK_LOCATION CurrentStackLocation;
        [FieldOffset(0x40)] public uint PacketType;
        [FieldOffset(0x48)] public PFILE_OBJECT OriginalFileObject;
        [FieldOffset(0x50)] public PVOID IrpExtension;
    }

    [InlineArray(4)]
    public struct DriverContextArray
    {
        PVOID element;
    }
}
