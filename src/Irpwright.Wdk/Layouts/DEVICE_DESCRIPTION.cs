using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>How a device does DMA. Before version 3 it ends at <c>DmaAddressWidth</c>.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_device_description"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVICE_DESCRIPTION
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public uint Version; // DEVICE_DESCRIPTION_VERSION*
    [FieldOffset(0x04)] public BOOLEAN Master;
    [FieldOffset(0x05)] public BOOLEAN ScatterGather;
    [FieldOffset(0x06)] public BOOLEAN DemandMode;
    [FieldOffset(0x07)] public BOOLEAN AutoInitialize;
    [FieldOffset(0x08)] public BOOLEAN Dma32BitAddresses;
    [FieldOffset(0x09)] public BOOLEAN IgnoreCount;
    [FieldOffset(0x0A)] public BOOLEAN Reserved1;
    [FieldOffset(0x0B)] public BOOLEAN Dma64BitAddresses;
    [FieldOffset(0x0C)] public uint BusNumber;
    [FieldOffset(0x10)] public uint DmaChannel;
    [FieldOffset(0x14)] public INTERFACE_TYPE InterfaceType;
    [FieldOffset(0x18)] public DMA_WIDTH DmaWidth;
    [FieldOffset(0x1C)] public DMA_SPEED DmaSpeed;
    [FieldOffset(0x20)] public uint MaximumLength; // bytes of one transfer
    [FieldOffset(0x24)] public uint DmaPort;
    [FieldOffset(0x28)] public uint DmaAddressWidth; // bits
    [FieldOffset(0x2C)] public uint DmaControllerInstance;
    [FieldOffset(0x30)] public uint DmaRequestLine;
    [FieldOffset(0x38)] public long DeviceAddress;
}
