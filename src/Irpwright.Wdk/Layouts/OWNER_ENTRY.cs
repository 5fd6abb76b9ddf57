using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A thread's hold on an ERESOURCE.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct OWNER_ENTRY
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public ulong OwnerThread; // ERESOURCE_THREAD
    [FieldOffset(0x08)] public uint TableSize; // in the table's first entry; in others 3 flag bits and the owner count
}
