using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A device for the power management framework.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_po_fx_device_v1"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PO_FX_DEVICE_V1
{
    public const int SizeOf = 0x60;

    [FieldOffset(0x00)] public uint Version;
    [FieldOffset(0x04)] public uint ComponentCount;
    [FieldOffset(0x08)] public PPO_FX_COMPONENT_ACTIVE_CONDITION_CALLBACK ComponentActiveConditionCallback;
    [FieldOffset(0x10)] public PPO_FX_COMPONENT_IDLE_CONDITION_CALLBACK ComponentIdleConditionCallback;
    [FieldOffset(0x18)] public PPO_FX_COMPONENT_IDLE_STATE_CALLBACK ComponentIdleStateCallback;
    [FieldOffset(0x20)] public PPO_FX_DEVICE_POWER_REQUIRED_CALLBACK DevicePowerRequiredCallback;
    [FieldOffset(0x28)] public PPO_FX_DEVICE_POWER_NOT_REQUIRED_CALLBACK DevicePowerNotRequiredCallback;
    [FieldOffset(0x30)] public PPO_FX_POWER_CONTROL_CALLBACK PowerControlCallback;
    [FieldOffset(0x38)] public PVOID DeviceContext;
    [FieldOffset(0x40)] public ComponentArray Components; // as many as there are

    [InlineArray(1)]
    public struct ComponentArray
    {
        PO_FX_COMPONENT_V1 element;
    }
}
