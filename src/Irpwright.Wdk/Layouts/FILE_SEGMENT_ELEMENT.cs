using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One page of a buffer whose pages need not follow each other.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FILE_SEGMENT_ELEMENT
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public PVOID Buffer;
}
