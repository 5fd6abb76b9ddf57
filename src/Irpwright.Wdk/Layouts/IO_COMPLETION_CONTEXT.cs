using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The completion port of a file object.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_COMPLETION_CONTEXT
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public PVOID Port;
    [FieldOffset(0x08)] public PVOID Key;
}
