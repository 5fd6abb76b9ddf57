using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The name of an object's type; the characters follow in the same buffer.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-__public_object_type_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PUBLIC_OBJECT_TYPE_INFORMATION
{
    public const int SizeOf = 0x68;

    [FieldOffset(0x00)] public UNICODE_STRING TypeName;
    [FieldOffset(0x10)] public ReservedArray Reserved;

    [InlineArray(22)]
    public struct ReservedArray
    {
        uint element;
    }
}
