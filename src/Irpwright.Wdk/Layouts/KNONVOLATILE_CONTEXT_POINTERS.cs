using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Where a frame has saved registers: what RtlVirtualUnwind reports.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KNONVOLATILE_CONTEXT_POINTERS
{
    public const int SizeOf = 0x100;

    [FieldOffset(0x00)] public FloatingContextArray FloatingContext;
    [FieldOffset(0x80)] public IntegerContextArray IntegerContext;

    [InlineArray(16)]
    public struct FloatingContextArray
    {
        PM128A element;
    }

    [InlineArray(16)]
    public struct IntegerContextArray
    {
        PVOID element;
    }
}
