using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A system or a device power state; passed by value in a register.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_power_state"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct POWER_STATE
{
    public const int SizeOf = 0x4;

    [FieldOffset(0x00)] public SYSTEM_POWER_STATE SystemState;
    [FieldOffset(0x00)] public DEVICE_POWER_STATE DeviceState;
}
