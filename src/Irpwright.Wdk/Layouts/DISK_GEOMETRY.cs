using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Shape of a disk, as old programs think of it.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_disk_geometry"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DISK_GEOMETRY
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public long Cylinders;
    [FieldOffset(0x08)] public MEDIA_TYPE MediaType;
    [FieldOffset(0x0C)] public uint TracksPerCylinder;
    [FieldOffset(0x10)] public uint SectorsPerTrack;
    [FieldOffset(0x14)] public uint BytesPerSector;
}
