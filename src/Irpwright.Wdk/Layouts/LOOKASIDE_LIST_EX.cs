using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Lookaside list with allocation routines of the driver's own.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exinitializelookasidelistex"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct LOOKASIDE_LIST_EX
{
    public const int SizeOf = 0x60;

    [FieldOffset(0x00)] public GENERAL_LOOKASIDE_POOL L;
}
