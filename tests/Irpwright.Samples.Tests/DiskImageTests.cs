using System.Buffers.Binary;
using System.Text;

namespace Irpwright.Samples.Tests;

/// <summary>samples/data/disk.img has the content that eng/disk-image.cs documents.</summary>
public sealed class DiskImageTests
{
    const int SectorSize = 512;
    const int SectorCount = 512;
    const int ChecksumOffset = SectorSize - sizeof(uint);

    static readonly byte[] Image = File.ReadAllBytes(SampleFiles.DiskImage);

    [Fact]
    public void The_disk_has_512_sectors_of_512_bytes() => Assert.Equal(SectorCount * SectorSize, Image.Length);

    [Fact]
    public void Every_sector_names_itself_and_carries_its_checksum()
    {
        for (int number = 0; number < SectorCount; number++)
        {
            ReadOnlySpan<byte> sector = Image.AsSpan(number * SectorSize, SectorSize);
            string header = $"IRPWRIGHT SECTOR {number:D6}\n";

            Assert.Equal(header, Encoding.ASCII.GetString(sector[..header.Length]));
            Assert.Equal(Crc32(sector[..ChecksumOffset]), BinaryPrimitives.ReadUInt32LittleEndian(sector[ChecksumOffset..]));
        }
    }

    /// <summary>CRC-32 of IEEE 802.3.</summary>
    static uint Crc32(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in data)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320 & (0 - (crc & 1)));
        }

        return ~crc;
    }
}
