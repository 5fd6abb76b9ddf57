using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Fast mutex; ExInitializeFastMutex is inline and writes Count, Owner and Contention itself.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exinitializefastmutex"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FAST_MUTEX
{
    public const int SizeOf = 0x38;

    [FieldOffset(0x00)] public int Count; // 1 is free
    [FieldOffset(0x08)] public PVOID Owner;
    [FieldOffset(0x10)] public uint Contention;
    [FieldOffset(0x18)] public KEVENT Event;
    [FieldOffset(0x30)] public uint OldIrql;
}
