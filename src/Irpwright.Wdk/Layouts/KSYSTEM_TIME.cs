using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A 64-bit time that is read without a lock: high part, low part, high part again.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KSYSTEM_TIME
{
    public const int SizeOf = 0xC;

    [FieldOffset(0x00)] public uint LowPart;
    [FieldOffset(0x04)] public int High1Time;
    [FieldOffset(0x08)] public int High2Time;
}
