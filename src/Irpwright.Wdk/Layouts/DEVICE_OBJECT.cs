using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A device; its extension follows at 0x150. Aligned to 16 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_device_object"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVICE_OBJECT
{
    public const int SizeOf = 0x150;

    [FieldOffset(0x000)] public short Type; // IO_TYPE_DEVICE
    [FieldOffset(0x002)] public ushort Size; // bytes, device extension included
    [FieldOffset(0x004)] public int ReferenceCount;
    [FieldOffset(0x008)] public PDRIVER_OBJECT DriverObject;
    [FieldOffset(0x010)] public PDEVICE_OBJECT NextDevice;
    [FieldOffset(0x018)] public PDEVICE_OBJECT AttachedDevice; // the device above
    [FieldOffset(0x020)] public PIRP CurrentIrp;
    [FieldOffset(0x028)] public PIO_TIMER Timer;
    [FieldOffset(0x030)] public DO_FLAGS Flags;
    [FieldOffset(0x034)] public DEVICE_CHARACTERISTICS Characteristics;
    [FieldOffset(0x038)] public PVPB Vpb;
    [FieldOffset(0x040)] public PVOID DeviceExtension;
    [FieldOffset(0x048)] public uint DeviceType; // FILE_DEVICE_*
    [FieldOffset(0x04C)] public sbyte StackSize;
    [FieldOffset(0x050)] public QueueUnion Queue;
    [FieldOffset(0x098)] public uint AlignmentRequirement; // FILE_*_ALIGNMENT
    [FieldOffset(0x0A0)] public KDEVICE_QUEUE DeviceQueue;
    [FieldOffset(0x0C8)] public KDPC Dpc;
    [FieldOffset(0x108)] public uint ActiveThreadCount;
    [FieldOffset(0x110)] public PVOID SecurityDescriptor;
    [FieldOffset(0x118)] public KEVENT DeviceLock;
    [FieldOffset(0x130)] public ushort SectorSize;
    [FieldOffset(0x132)] public ushort Spare1;
    [FieldOffset(0x138)] public PDEVOBJ_EXTENSION DeviceObjectExtension;
    [FieldOffset(0x140)] public PVOID Reserved;

    [StructLayout(LayoutKind.Explicit, Size = 0x48)]
    public struct QueueUnion
    {
        [FieldOffset(0x000)] public LIST_ENTRY ListEntry;
        [FieldOffset(0x000)] public WAIT_CONTEXT_BLOCK Wcb;
    }
}
