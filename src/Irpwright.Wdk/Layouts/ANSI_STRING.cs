using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Counted 8-bit string.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct ANSI_STRING
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public ushort Length; // bytes, without terminator
    [FieldOffset(0x02)] public ushort MaximumLength; // bytes
    [FieldOffset(0x08)] public PUCHAR Buffer;
}
