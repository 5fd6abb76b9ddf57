using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A functional power state of a component.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_po_fx_component_idle_state"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PO_FX_COMPONENT_IDLE_STATE
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public ulong TransitionLatency; // 100 ns
    [FieldOffset(0x08)] public ulong ResidencyRequirement; // 100 ns
    [FieldOffset(0x10)] public uint NominalPower; // microwatts
}
