using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A timer that the system allocated. Opaque to drivers, which may wait for it.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EX_TIMER
{
    public const int SizeOf = 0x98;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
}
