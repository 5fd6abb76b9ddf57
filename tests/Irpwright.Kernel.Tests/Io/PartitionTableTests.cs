using System.Buffers.Binary;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>Goal: partition tables as disk drivers get them. Method: the test is the disk, and answers from an array.</summary>
public class PartitionTableTests : DriverTest
{
    const int Sector = 512;

    readonly byte[] disk = new byte[4096 * Sector];
    NTSTATUS readStatus = STATUS_SUCCESS;

    PDEVICE_OBJECT Disk() => Device((_, irp) =>
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        if (location.MajorFunction == IRP_MJ_READ)
        {
            if (readStatus < 0) return Complete(irp, readStatus);
            int length = (int)location.Parameters.Read.Length;
            disk.AsSpan((int)location.Parameters.Read.ByteOffset, length).CopyTo(GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, length));
            return Complete(irp, STATUS_SUCCESS, (ulong)length);
        }
        switch (location.Parameters.DeviceIoControl.IoControlCode)
        {
            case IOCTL_DISK_GET_DRIVE_GEOMETRY:
                new PDISK_GEOMETRY(irp.AssociatedIrp.SystemBuffer.Address).BytesPerSector = Sector;
                return Complete(irp, STATUS_SUCCESS, DISK_GEOMETRY.SizeOf);
            case IOCTL_DISK_GET_LENGTH_INFO:
                new PGET_LENGTH_INFORMATION(irp.AssociatedIrp.SystemBuffer.Address).Length = disk.Length;
                return Complete(irp, STATUS_SUCCESS, GET_LENGTH_INFORMATION.SizeOf);
            default:
                return Complete(irp, STATUS_INVALID_DEVICE_REQUEST);
        }
    }, flags: DO_BUFFERED_IO);

    void Table(int sector, params (byte Type, uint Start, uint Count)[] entries)
    {
        Span<byte> at = disk.AsSpan(sector * Sector, Sector);
        for (int i = 0; i < entries.Length; i++)
        {
            Span<byte> entry = at.Slice(0x1BE + 16 * i, 16);
            entry[0] = (byte)(sector == 0 && i == 0 ? 0x80 : 0);
            entry[4] = entries[i].Type;
            BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], entries[i].Start);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], entries[i].Count);
        }
        at[0x1FE] = 0x55;
        at[0x1FF] = 0xAA;
    }

    void Chain()
    {
        BinaryPrimitives.WriteUInt32LittleEndian(disk.AsSpan(0x1B8), 0x12345678);
        Table(0, (PARTITION_IFS, 63, 100), (PARTITION_EXTENDED, 1000, 2000), (0x83, 200, 10));
        Table(1000, (PARTITION_FAT32, 63, 50), (PARTITION_EXTENDED, 500, 300));
        Table(1500, (PARTITION_XINT13, 1, 20));
    }

    PDRIVE_LAYOUT_INFORMATION_EX Layout()
    {
        Assert.Equal(STATUS_SUCCESS, IoReadPartitionTableEx(Disk(), out PVOID layout));
        return new(layout.Address);
    }

    static PARTITION_INFORMATION_EX Partition(PDRIVE_LAYOUT_INFORMATION_EX layout, uint n) => GuestMemory.Ref<PARTITION_INFORMATION_EX>(layout.Address + 0x30 + 0x90 * (ulong)n);

    [Fact]
    public void Partitions_are_found_in_the_master_boot_record_and_in_extended_partitions() => Run(() =>
    {
        Chain();
        PDRIVE_LAYOUT_INFORMATION_EX layout = Layout();
        Assert.Equal((PARTITION_STYLE_MBR, 12u, 0x12345678u), (layout.PartitionStyle, layout.PartitionCount, layout.Mbr.Signature));
        (byte, long, uint, uint, bool, bool)[] found = [.. Enumerable.Range(0, 12).Select(i => Partition(layout, (uint)i)).Where(p => p.Mbr.PartitionType != 0)
            .Select(p => (p.Mbr.PartitionType, p.StartingOffset / Sector, (uint)(p.PartitionLength / Sector), p.PartitionNumber, (bool)p.Mbr.RecognizedPartition, (bool)p.Mbr.BootIndicator))];
        Assert.Equal(
        [
            (PARTITION_IFS, 63, 100u, 1u, true, true), (PARTITION_EXTENDED, 1000, 2000u, 0u, false, false), ((byte)0x83, 200, 10u, 2u, false, false),
            (PARTITION_FAT32, 1063, 50u, 3u, true, false), (PARTITION_EXTENDED, 1500, 300u, 0u, false, false), (PARTITION_XINT13, 1501, 20u, 4u, true, false),
        ], found);
        Assert.Equal(63u, Partition(layout, 4).Mbr.HiddenSectors);
        ExFreePool(layout);
    });

    [Theory]
    [InlineData(true, "7 11 14")]
    [InlineData(false, "7 5 131 0 11 5 0 0 14 0 0 0")]
    public void The_obsolete_form_returns_recognized_partitions_or_all_entries(bool recognized, string types) => Run(() =>
    {
        Chain();
        Assert.Equal(STATUS_SUCCESS, IoReadPartitionTable(Disk(), Sector, recognized, out PVOID buffer));
        PDRIVE_LAYOUT_INFORMATION layout = new(buffer.Address);
        Assert.Equal(types, string.Join(' ', Enumerable.Range(0, (int)layout.PartitionCount).Select(i => GuestMemory.Ref<PARTITION_INFORMATION>(buffer.Address + 8 + 0x20 * (ulong)i).PartitionType)));
        Assert.Equal(0x12345678u, layout.Signature);
        ExFreePool(buffer);
    });

    [Fact]
    public void A_disk_without_a_table_is_raw() => Run(() =>
    {
        PDRIVE_LAYOUT_INFORMATION_EX layout = Layout();
        Assert.Equal((PARTITION_STYLE_RAW, 0u), (layout.PartitionStyle, layout.PartitionCount));
    });

    [Fact]
    public void A_chain_of_tables_without_an_end_is_a_damaged_disk() => Run(() =>
    {
        Table(0, (PARTITION_EXTENDED, 10, 100));
        Table(10, (PARTITION_EXTENDED, 0, 100));
        Assert.Equal(STATUS_DISK_CORRUPT_ERROR, IoReadPartitionTableEx(Disk(), out PVOID layout));
        Assert.True(layout.IsNull);
    });

    [Fact]
    public void What_the_disk_fails_with_is_returned() => Run(() =>
    {
        readStatus = STATUS_DEVICE_DATA_ERROR;
        Assert.Equal(STATUS_DEVICE_DATA_ERROR, IoReadPartitionTableEx(Disk(), out _));
        PDEVICE_OBJECT noDisk = Device((_, irp) => Complete(irp, STATUS_NO_MEDIA_IN_DEVICE));
        Assert.Equal(STATUS_NO_MEDIA_IN_DEVICE, IoReadPartitionTableEx(noDisk, out _));
    });

    /// <summary>By the table, as the specification of EFI has it; the kernel goes bit by bit.</summary>
    static uint Crc(ReadOnlySpan<byte> data)
    {
        uint[] table = [.. Enumerable.Range(0, 256).Select(i => Enumerable.Range(0, 8).Aggregate((uint)i, (c, _) => (c & 1) != 0 ? 0xEDB88320 ^ (c >> 1) : c >> 1))];
        uint crc = 0xFFFFFFFF;
        foreach (byte b in data) crc = table[(byte)(crc ^ b)] ^ (crc >> 8);
        return crc ^ 0xFFFFFFFF;
    }

    [Fact]
    public void The_test_computes_the_published_check_value() => Assert.Equal(0xCBF43926u, Crc("123456789"u8));

    static readonly Guid DiskId = new("11111111-2222-3333-4444-555555555555"), BasicData = new("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");

    void Gpt(int headerSector, int entriesSector)
    {
        Span<byte> entries = disk.AsSpan(entriesSector * Sector, 128 * 128);
        Span<byte> second = entries[128..];
        BasicData.TryWriteBytes(second);
        DiskId.TryWriteBytes(second[0x10..]);
        BinaryPrimitives.WriteInt64LittleEndian(second[0x20..], 100);
        BinaryPrimitives.WriteInt64LittleEndian(second[0x28..], 199);
        BinaryPrimitives.WriteUInt64LittleEndian(second[0x30..], 0x8000_0000_0000_0000);
        System.Text.Encoding.Unicode.GetBytes("data").CopyTo(second[0x38..]);
        Span<byte> header = disk.AsSpan(headerSector * Sector, Sector);
        "EFI PART"u8.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header[0x08..], 0x10000);
        BinaryPrimitives.WriteInt32LittleEndian(header[0x0C..], 92);
        BinaryPrimitives.WriteInt64LittleEndian(header[0x18..], headerSector);
        BinaryPrimitives.WriteInt64LittleEndian(header[0x28..], 34);
        BinaryPrimitives.WriteInt64LittleEndian(header[0x30..], 4062);
        DiskId.TryWriteBytes(header[0x38..]);
        BinaryPrimitives.WriteInt64LittleEndian(header[0x48..], entriesSector);
        BinaryPrimitives.WriteInt32LittleEndian(header[0x50..], 128);
        BinaryPrimitives.WriteInt32LittleEndian(header[0x54..], 128);
        BinaryPrimitives.WriteUInt32LittleEndian(header[0x58..], Crc(entries));
        BinaryPrimitives.WriteUInt32LittleEndian(header[0x10..], Crc(header[..92]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_GUID_partition_table_is_read_from_its_copy_if_it_is_damaged(bool damaged) => Run(() =>
    {
        Table(0, (PARTITION_GPT, 1, uint.MaxValue));
        Gpt(1, 2);
        Gpt(4095, 4063);
        if (damaged) disk[Sector + 0x30] ^= 1;
        PDRIVE_LAYOUT_INFORMATION_EX layout = Layout();
        Assert.Equal((PARTITION_STYLE_GPT, 1u, DiskId, 128u), (layout.PartitionStyle, layout.PartitionCount, layout.Gpt.DiskId, layout.Gpt.MaxPartitionCount));
        Assert.Equal((34L * Sector, 4029L * Sector), (layout.Gpt.StartingUsableOffset, layout.Gpt.UsableLength));
        PARTITION_INFORMATION_EX partition = Partition(layout, 0);
        Assert.Equal((PARTITION_STYLE_GPT, 100L * Sector, 100L * Sector, 1u), (partition.PartitionStyle, partition.StartingOffset, partition.PartitionLength, partition.PartitionNumber));
        Assert.Equal((BasicData, DiskId, 0x8000_0000_0000_0000, "data"),
            (partition.Gpt.PartitionType, partition.Gpt.PartitionId, partition.Gpt.Attributes, new string(partition.Gpt.Name).TrimEnd('\0')));
    });

    [Fact]
    public void A_GUID_partition_table_that_is_damaged_twice_is_a_damaged_disk() => Run(() =>
    {
        Table(0, (PARTITION_GPT, 1, uint.MaxValue));
        Gpt(1, 2);
        Gpt(4095, 4063);
        disk[2 * Sector] ^= 1; // an entry: the header's sum of them is wrong
        disk[4095 * Sector] ^= 1;
        Assert.Equal(STATUS_DISK_CORRUPT_ERROR, IoReadPartitionTableEx(Disk(), out _));
    });
}
