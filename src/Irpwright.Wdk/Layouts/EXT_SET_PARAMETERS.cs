using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Further parameters of ExSetTimer; ExInitializeSetTimerParameters fills them in.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_ext_set_parameters_v0"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EXT_SET_PARAMETERS
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public uint Version;
    [FieldOffset(0x04)] public uint Reserved;
    [FieldOffset(0x08)] public long NoWakeTolerance; // 100 ns units
}
