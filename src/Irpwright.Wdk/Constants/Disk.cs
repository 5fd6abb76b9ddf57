namespace Irpwright.Wdk;

// From ntdddisk.h.

/// <summary><c>DISK_GEOMETRY.MediaType</c>; the many formats of floppy disks have the numbers between.</summary>
public enum MEDIA_TYPE
{
    Unknown = 0,
    RemovableMedia = 11,
    FixedMedia = 12,
}

public static partial class Constants
{
    /// <summary>Output: a <see cref="DISK_GEOMETRY"/>.</summary>
    public const uint IOCTL_DISK_GET_DRIVE_GEOMETRY = 0x00070000;

    /// <summary>No data: the status tells.</summary>
    public const uint IOCTL_DISK_IS_WRITABLE = 0x00070024;

    /// <summary>Output: a <see cref="GET_LENGTH_INFORMATION"/>.</summary>
    public const uint IOCTL_DISK_GET_LENGTH_INFO = 0x0007405C;
}
