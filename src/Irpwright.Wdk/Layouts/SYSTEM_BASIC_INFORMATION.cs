using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What ZwQuerySystemInformation says of processors and memory.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/sysinfo/zwquerysysteminformation"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SYSTEM_BASIC_INFORMATION
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public uint Reserved;
    [FieldOffset(0x04)] public uint TimerResolution; // 100 ns
    [FieldOffset(0x08)] public uint PageSize; // bytes
    [FieldOffset(0x0C)] public uint NumberOfPhysicalPages;
    [FieldOffset(0x10)] public uint LowestPhysicalPageNumber;
    [FieldOffset(0x14)] public uint HighestPhysicalPageNumber;
    [FieldOffset(0x18)] public uint AllocationGranularity; // bytes
    [FieldOffset(0x20)] public ulong MinimumUserModeAddress;
    [FieldOffset(0x28)] public ulong MaximumUserModeAddress;
    [FieldOffset(0x30)] public ulong ActiveProcessorsAffinityMask;
    [FieldOffset(0x38)] public sbyte NumberOfProcessors;
}
