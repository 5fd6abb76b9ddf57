using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What IoConnectInterruptEx is to connect.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_connect_interrupt_parameters"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_CONNECT_INTERRUPT_PARAMETERS
{
    public const int SizeOf = 0x50;

    [FieldOffset(0x00)] public uint Version; // CONNECT_*
    [FieldOffset(0x08)] public FullySpecifiedFields FullySpecified;
    [FieldOffset(0x08)] public LineBasedFields LineBased;
    [FieldOffset(0x08)] public MessageBasedFields MessageBased;

    [StructLayout(LayoutKind.Explicit, Size = 0x48)]
    public struct FullySpecifiedFields
    {
        [FieldOffset(0x00)] public PDEVICE_OBJECT PhysicalDeviceObject;
        [FieldOffset(0x08)] public PVOID InterruptObject; // PKINTERRUPT *
        [FieldOffset(0x10)] public PKSERVICE_ROUTINE ServiceRoutine;
        [FieldOffset(0x18)] public PVOID ServiceContext;
        [FieldOffset(0x20)] public PKSPIN_LOCK SpinLock;
        [FieldOffset(0x28)] public byte SynchronizeIrql;
        [FieldOffset(0x29)] public BOOLEAN FloatingSave;
        [FieldOffset(0x2A)] public BOOLEAN ShareVector;
        [FieldOffset(0x2C)] public uint Vector;
        [FieldOffset(0x30)] public byte Irql;
        [FieldOffset(0x34)] public KINTERRUPT_MODE InterruptMode;
        [FieldOffset(0x38)] public ulong ProcessorEnableMask;
        [FieldOffset(0x40)] public ushort Group;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x30)]
    public struct LineBasedFields
    {
        [FieldOffset(0x00)] public PDEVICE_OBJECT PhysicalDeviceObject;
        [FieldOffset(0x08)] public PVOID InterruptObject; // PKINTERRUPT *
        [FieldOffset(0x10)] public PKSERVICE_ROUTINE ServiceRoutine;
        [FieldOffset(0x18)] public PVOID ServiceContext;
        [FieldOffset(0x20)] public PKSPIN_LOCK SpinLock;
        [FieldOffset(0x28)] public byte SynchronizeIrql;
        [FieldOffset(0x29)] public BOOLEAN FloatingSave;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x38)]
    public struct MessageBasedFields
    {
        [FieldOffset(0x00)] public PDEVICE_OBJECT PhysicalDeviceObject;
        [FieldOffset(0x08)] public PVOID ConnectionContext; // points to a PKINTERRUPT or a PIO_INTERRUPT_MESSAGE_INFO
        [FieldOffset(0x10)] public PVOID MessageServiceRoutine; // KMESSAGE_SERVICE_ROUTINE
        [FieldOffset(0x18)] public PVOID ServiceContext;
        [FieldOffset(0x20)] public PKSPIN_LOCK SpinLock;
        [FieldOffset(0x28)] public byte SynchronizeIrql;
        [FieldOffset(0x29)] public BOOLEAN FloatingSave;
        [FieldOffset(0x30)] public PKSERVICE_ROUTINE FallBackServiceRoutine;
    }
}
