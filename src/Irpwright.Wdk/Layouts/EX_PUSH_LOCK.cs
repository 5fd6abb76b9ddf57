using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Push lock: a lock of one word that may lie in paged memory; 0 is free.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exinitializepushlock"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EX_PUSH_LOCK
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00), ThroughValue] public ulong Value; // bit 0: locked; bit 1: somebody waits; above bit 3: how often it is shared
}
