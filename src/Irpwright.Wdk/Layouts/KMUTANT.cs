using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Mutex: SignalState 1 is free, recursive acquisition makes it 0 or less.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KMUTANT
{
    public const int SizeOf = 0x38;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
    [FieldOffset(0x18)] public LIST_ENTRY MutantListEntry;
    [FieldOffset(0x28)] public PKTHREAD OwnerThread;
    [FieldOffset(0x30)] public byte Abandoned;
    [FieldOffset(0x31)] public byte ApcDisable;
}
