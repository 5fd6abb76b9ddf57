using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A component of a device.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_po_fx_component_v1"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PO_FX_COMPONENT_V1
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public Guid Id;
    [FieldOffset(0x10)] public uint IdleStateCount;
    [FieldOffset(0x14)] public uint DeepestWakeableIdleState;
    [FieldOffset(0x18)] public PPO_FX_COMPONENT_IDLE_STATE IdleStates; // an array; the first is F0
}
