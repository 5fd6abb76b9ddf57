using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What ZwQueryObject says of a handle and its object.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_public_object_basic_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PUBLIC_OBJECT_BASIC_INFORMATION
{
    public const int SizeOf = 0x38;

    [FieldOffset(0x00)] public OBJ_FLAGS Attributes;
    [FieldOffset(0x04)] public uint GrantedAccess;
    [FieldOffset(0x08)] public uint HandleCount;
    [FieldOffset(0x0C)] public uint PointerCount;
    [FieldOffset(0x10)] public ReservedArray Reserved;

    [InlineArray(10)]
    public struct ReservedArray
    {
        uint element;
    }
}
