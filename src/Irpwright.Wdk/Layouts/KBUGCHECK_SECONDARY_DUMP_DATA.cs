using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a driver adds to a dump.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KBUGCHECK_SECONDARY_DUMP_DATA
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public PVOID InBuffer; // offered by the system
    [FieldOffset(0x08)] public uint InBufferLength;
    [FieldOffset(0x0C)] public uint MaximumAllowed;
    [FieldOffset(0x10)] public Guid Guid;
    [FieldOffset(0x20)] public PVOID OutBuffer; // set by the driver: its own, InBuffer, or null
    [FieldOffset(0x28)] public uint OutBufferLength;
}
