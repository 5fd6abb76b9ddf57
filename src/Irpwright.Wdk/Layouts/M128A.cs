using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One 16-byte register.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-m128a"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct M128A
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public ulong Low;
    [FieldOffset(0x08)] public long High;
}
