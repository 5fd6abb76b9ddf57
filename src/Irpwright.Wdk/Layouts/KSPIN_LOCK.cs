using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Spin lock, a ULONG_PTR in the WDK: 0 is free, bit 0 is held.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KSPIN_LOCK
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public ulong Word;
}
