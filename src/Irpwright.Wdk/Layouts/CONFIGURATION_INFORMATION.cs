using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>How many devices of each kind there are; drivers count theirs.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-configuration_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CONFIGURATION_INFORMATION
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public uint DiskCount;
    [FieldOffset(0x04)] public uint FloppyCount;
    [FieldOffset(0x08)] public uint CdRomCount;
    [FieldOffset(0x0C)] public uint TapeCount;
    [FieldOffset(0x10)] public uint ScsiPortCount;
    [FieldOffset(0x14)] public uint SerialCount;
    [FieldOffset(0x18)] public uint ParallelCount;
    [FieldOffset(0x1C)] public BOOLEAN AtDiskPrimaryAddressClaimed;
    [FieldOffset(0x1D)] public BOOLEAN AtDiskSecondaryAddressClaimed;
    [FieldOffset(0x20)] public uint Version; // bytes of this structure
    [FieldOffset(0x24)] public uint MediumChangerCount;
}
