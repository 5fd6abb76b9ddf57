using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The name of an object; the characters follow in the same buffer.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-obquerynamestring"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct OBJECT_NAME_INFORMATION
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public UNICODE_STRING Name;
}
