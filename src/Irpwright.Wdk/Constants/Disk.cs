namespace Irpwright.Wdk;

// From ntdddisk.h.

/// <summary><c>DISK_GEOMETRY.MediaType</c>; the many formats of floppy disks have the numbers between.</summary>
public enum MEDIA_TYPE
{
    Unknown = 0,
    RemovableMedia = 11,
    FixedMedia = 12,
}

public enum PARTITION_STYLE
{
    PARTITION_STYLE_MBR,
    PARTITION_STYLE_GPT,
    PARTITION_STYLE_RAW,
}

public static partial class Constants
{
    /// <summary><c>PartitionType</c> of an entry that describes no partition.</summary>
    public const byte PARTITION_ENTRY_UNUSED = 0x00;

    public const byte PARTITION_FAT_12 = 0x01;

    public const byte PARTITION_FAT_16 = 0x04;

    /// <summary>Contains other partitions.</summary>
    public const byte PARTITION_EXTENDED = 0x05;

    public const byte PARTITION_HUGE = 0x06;

    public const byte PARTITION_IFS = 0x07;

    public const byte PARTITION_FAT32 = 0x0B;

    public const byte PARTITION_FAT32_XINT13 = 0x0C;

    public const byte PARTITION_XINT13 = 0x0E;

    /// <summary>As PARTITION_EXTENDED.</summary>
    public const byte PARTITION_XINT13_EXTENDED = 0x0F;

    /// <summary>The whole disk, which has a GUID partition table.</summary>
    public const byte PARTITION_GPT = 0xEE;

    /// <summary>Bit of a partition that is part of a set.</summary>
    public const byte PARTITION_NTFT = 0x80;

    /// <summary>Output: a <see cref="DISK_GEOMETRY"/>.</summary>
    public const uint IOCTL_DISK_GET_DRIVE_GEOMETRY = 0x00070000;

    /// <summary>No data: the status tells.</summary>
    public const uint IOCTL_DISK_IS_WRITABLE = 0x00070024;

    /// <summary>Output: a <see cref="GET_LENGTH_INFORMATION"/>.</summary>
    public const uint IOCTL_DISK_GET_LENGTH_INFO = 0x0007405C;
}
