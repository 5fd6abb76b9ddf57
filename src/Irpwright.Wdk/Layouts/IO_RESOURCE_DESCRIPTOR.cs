using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A range of hardware resources a device can use.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_resource_descriptor"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_RESOURCE_DESCRIPTOR
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public byte Option; // IO_RESOURCE_*
    [FieldOffset(0x01)] public byte Type; // CmResourceType*
    [FieldOffset(0x02)] public byte ShareDisposition;
    [FieldOffset(0x03)] public byte Spare1;
    [FieldOffset(0x04)] public ushort Flags;
    [FieldOffset(0x06)] public ushort Spare2;
    [FieldOffset(0x08)] public ResourceUnion u;

    [StructLayout(LayoutKind.Explicit, Size = 0x18)]
    public struct ResourceUnion
    {
        [FieldOffset(0x00)] public RangeFields Generic;
        [FieldOffset(0x00)] public RangeFields Port;
        [FieldOffset(0x00)] public RangeFields Memory;
        [FieldOffset(0x00)] public InterruptFields Interrupt;
        [FieldOffset(0x00)] public DmaFields Dma;
        [FieldOffset(0x00)] public BusNumberFields BusNumber;
        [FieldOffset(0x00)] public DevicePrivateFields DevicePrivate;
        [FieldOffset(0x00)] public ConfigDataFields ConfigData;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x18)]
    public struct RangeFields
    {
        [FieldOffset(0x00)] public uint Length; // bytes
        [FieldOffset(0x04)] public uint Alignment;
        [FieldOffset(0x08)] public long MinimumAddress; // physical
        [FieldOffset(0x10)] public long MaximumAddress; // physical
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x8)]
    public struct InterruptFields
    {
        [FieldOffset(0x00)] public uint MinimumVector;
        [FieldOffset(0x04)] public uint MaximumVector;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x8)]
    public struct DmaFields
    {
        [FieldOffset(0x00)] public uint MinimumChannel;
        [FieldOffset(0x04)] public uint MaximumChannel;
    }

    [StructLayout(LayoutKind.Explicit, Size = 0x10)]
    public struct BusNumberFields
    {
        [FieldOffset(0x00)] public uint Length;
        [FieldOffset(0x04)] public uint MinBusNumber;
        [FieldOffset(0x08)] public uint MaxBusNumber;
        [FieldOffset(0x0C)] public uint Reserved;
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

    [StructLayout(LayoutKind.Explicit, Size = 0x0C)]
    public struct ConfigDataFields
    {
        [FieldOffset(0x00)] public uint Priority;
        [FieldOffset(0x04)] public uint Reserved1;
        [FieldOffset(0x08)] public uint Reserved2;
    }
}
