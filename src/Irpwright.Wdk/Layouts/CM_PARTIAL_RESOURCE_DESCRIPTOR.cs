using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One hardware resource; packed to 4 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_cm_partial_resource_descriptor"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CM_PARTIAL_RESOURCE_DESCRIPTOR
{
    public const int SizeOf = 0x14;

    [FieldOffset(0x00)] public byte Type; // CmResourceType*
    [FieldOffset(0x01)] public byte ShareDisposition;
    [FieldOffset(0x02)] public ushort Flags;
    [FieldOffset(0x04)] public ResourceUnion u;

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct ResourceUnion
    {
        [FieldOffset(0x00)] public GenericFields Generic;
        [FieldOffset(0x00)] public GenericFields Port;
        [FieldOffset(0x00)] public GenericFields Memory;
        [FieldOffset(0x00)] public InterruptFields Interrupt;
        [FieldOffset(0x00)] public DmaFields Dma;
        [FieldOffset(0x00)] public BusNumberFields BusNumber;
        [FieldOffset(0x00)] public DevicePrivateFields DevicePrivate;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x0C)]
    public struct GenericFields
    {
        [FieldOffset(0x00)] public long Start; // physical address
        [FieldOffset(0x08)] public uint Length; // bytes
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct InterruptFields
    {
        [FieldOffset(0x00)] public uint Level;
        [FieldOffset(0x04)] public uint Vector;
        [FieldOffset(0x08)] public ulong Affinity;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x0C)]
    public struct DmaFields
    {
        [FieldOffset(0x00)] public uint Channel;
        [FieldOffset(0x04)] public uint Port;
        [FieldOffset(0x08)] public uint Reserved1;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x0C)]
    public struct BusNumberFields
    {
        [FieldOffset(0x00)] public uint Start;
        [FieldOffset(0x04)] public uint Length;
        [FieldOffset(0x08)] public uint Reserved;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x0C)]
    public struct DevicePrivateFields
    {
        [FieldOffset(0x00)] public DataArray Data;
    }

    [InlineArray(3)]
    public struct DataArray
    {
        uint element;
    }
}
