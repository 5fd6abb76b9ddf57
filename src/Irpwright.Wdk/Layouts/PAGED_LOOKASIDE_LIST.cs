using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Lookaside list of paged blocks, aligned to 64 bytes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exinitializepagedlookasidelist"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PAGED_LOOKASIDE_LIST
{
    public const int SizeOf = 0x80;

    [FieldOffset(0x00)] public GENERAL_LOOKASIDE_POOL L;
}
