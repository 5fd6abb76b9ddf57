using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The kernel's part of a device object. Opaque to drivers from 0x10 on; AttachedTo is what non-compliant drivers read.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVOBJ_EXTENSION
{
    public const int SizeOf = 0x70;

    [FieldOffset(0x00)] public short Type; // IO_TYPE_DEVICE_OBJECT_EXTENSION
    [FieldOffset(0x02)] public ushort Size; // 0
    [FieldOffset(0x08)] public PDEVICE_OBJECT DeviceObject;
    [FieldOffset(0x10)] public uint PowerFlags;
    [FieldOffset(0x18)] public PVOID Dope;
    [FieldOffset(0x20)] public DOE_FLAGS ExtensionFlags;
    [FieldOffset(0x28)] public PVOID DeviceNode;
    [FieldOffset(0x30)] public PDEVICE_OBJECT AttachedTo; // the device below
    [FieldOffset(0x38)] public int StartIoCount;
    [FieldOffset(0x3C)] public int StartIoKey;
    [FieldOffset(0x40)] public uint StartIoFlags;
    [FieldOffset(0x48)] public PVPB Vpb;
    [FieldOffset(0x50)] public PVOID DependencyNode;
    [FieldOffset(0x58)] public PVOID InterruptContext;
    [FieldOffset(0x60)] public int InterruptCount;
    [FieldOffset(0x68)] public PVOID VerifierContext;
}
