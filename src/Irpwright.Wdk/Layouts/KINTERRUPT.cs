using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One interrupt service routine on one interrupt line. Opaque to drivers.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KINTERRUPT
{
    public const int SizeOf = 0x120;

    [FieldOffset(0x00)] public short Type; // KOBJECTS.InterruptObject
    [FieldOffset(0x02)] public short Size;
    [FieldOffset(0x18)] public PKSERVICE_ROUTINE ServiceRoutine;
    [FieldOffset(0x30)] public PVOID ServiceContext;
    [FieldOffset(0x38)] public KSPIN_LOCK SpinLock;
    [FieldOffset(0x48)] public PKSPIN_LOCK ActualLock; // the one above, or the driver's own
    [FieldOffset(0x58)] public uint Vector;
    [FieldOffset(0x5C)] public byte Irql;
    [FieldOffset(0x5D)] public byte SynchronizeIrql;
    [FieldOffset(0x5E)] public BOOLEAN FloatingSave;
    [FieldOffset(0x5F)] public BOOLEAN Connected;
    [FieldOffset(0x64)] public BOOLEAN ShareVector;
    [FieldOffset(0x6C)] public KINTERRUPT_MODE Mode;
    [FieldOffset(0x74)] public uint ServiceCount; // interrupts that the routine claimed
    [FieldOffset(0x78)] public uint DispatchCount; // calls of the routine
}
