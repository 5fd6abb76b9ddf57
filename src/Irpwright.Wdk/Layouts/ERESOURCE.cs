using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Executive resource: shared or exclusive. Opaque to drivers.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct ERESOURCE
{
    public const int SizeOf = 0x68;

    [FieldOffset(0x00)] public LIST_ENTRY SystemResourcesList;
    [FieldOffset(0x10)] public POWNER_ENTRY OwnerTable;
    [FieldOffset(0x18)] public short ActiveCount;
    [FieldOffset(0x1A)] public ushort Flag;
    [FieldOffset(0x20)] public PVOID SharedWaiters;
    [FieldOffset(0x28)] public PVOID ExclusiveWaiters;
    [FieldOffset(0x30)] public OWNER_ENTRY OwnerEntry;
    [FieldOffset(0x40)] public uint ActiveEntries;
    [FieldOffset(0x44)] public uint ContentionCount;
    [FieldOffset(0x48)] public uint NumberOfSharedWaiters;
    [FieldOffset(0x4C)] public uint NumberOfExclusiveWaiters;
    [FieldOffset(0x50)] public PVOID Reserved2;
    [ThroughValue]
    [FieldOffset(0x58)] public PVOID Address;
    [FieldOffset(0x58)] public ulong CreatorBackTraceIndex;
    [FieldOffset(0x60)] public KSPIN_LOCK SpinLock;
}
