using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Guarded mutex.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KGUARDED_MUTEX
{
    public const int SizeOf = 0x38;

    [FieldOffset(0x00)] public int Count; // 1 is free
    [FieldOffset(0x08)] public PVOID Owner;
    [FieldOffset(0x10)] public uint Contention;
    [FieldOffset(0x18)] public KGATE Gate;
    [FieldOffset(0x30)] public short KernelApcDisable;
    [FieldOffset(0x32)] public short SpecialApcDisable;
    [FieldOffset(0x30)] public uint CombinedApcDisable;
}
