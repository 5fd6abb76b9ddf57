using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a Plug and Play device can do.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_device_capabilities"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVICE_CAPABILITIES
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public ushort Size;
    [FieldOffset(0x02)] public ushort Version;
    [FieldOffset(0x04)] public DEVICE_CAPABILITY_FLAGS Flags; // bit fields in the WDK
    [ThroughValue]
    [FieldOffset(0x08)] public uint Address;
    [FieldOffset(0x0C)] public uint UINumber;
    [FieldOffset(0x10)] public DeviceStateArray DeviceState; // by SYSTEM_POWER_STATE
    [FieldOffset(0x2C)] public SYSTEM_POWER_STATE SystemWake;
    [FieldOffset(0x30)] public DEVICE_POWER_STATE DeviceWake;
    [FieldOffset(0x34)] public uint D1Latency; // 100 us
    [FieldOffset(0x38)] public uint D2Latency; // 100 us
    [FieldOffset(0x3C)] public uint D3Latency; // 100 us

    [InlineArray(7)]
    public struct DeviceStateArray
    {
        DEVICE_POWER_STATE element;
    }
}
