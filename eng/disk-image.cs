// Writes samples/data/disk.img, the disk of the samples and tests:
//
//     dotnet run eng/disk-image.cs -- samples/data/disk.img
//
// 512 sectors of 512 bytes. Each says which one it is and proves that it is whole, so that a read which is cut short, shifted or mixed with
// another shows at once:
//
//     offset   0   24 bytes   "IRPWRIGHT SECTOR 000007\n" (decimal sector number)
//     offset  24  484 bytes   numbers of a 64-bit xorshift generator, little-endian, seeded from the sector number
//     offset 508    4 bytes   CRC-32 (IEEE 802.3) of the 508 bytes before, little-endian

using System.Buffers.Binary;
using System.Text;

const int SectorSize = 512;
const int SectorCount = 512;
const int HeaderSize = 24;
const int ChecksumOffset = SectorSize - sizeof(uint);

if (args is not [string path])
{
    Console.Error.WriteLine("usage: dotnet run eng/disk-image.cs -- PATH");
    return 2;
}

Span<byte> next = stackalloc byte[sizeof(ulong)];
byte[] image = new byte[SectorCount * SectorSize];
for (int number = 0; number < SectorCount; number++)
{
    Span<byte> sector = image.AsSpan(number * SectorSize, SectorSize);
    Encoding.ASCII.GetBytes($"IRPWRIGHT SECTOR {number:D6}\n", sector);

    ulong state = (ulong)(number + 1) * 0x9E3779B97F4A7C15;
    for (Span<byte> body = sector[HeaderSize..ChecksumOffset]; !body.IsEmpty;)
    {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        BinaryPrimitives.WriteUInt64LittleEndian(next, state);

        int length = Math.Min(body.Length, next.Length);
        next[..length].CopyTo(body);
        body = body[length..];
    }

    BinaryPrimitives.WriteUInt32LittleEndian(sector[ChecksumOffset..], Crc32(sector[..ChecksumOffset]));
}

File.WriteAllBytes(path, image);
return 0;

static uint Crc32(ReadOnlySpan<byte> data)
{
    uint crc = uint.MaxValue;
    foreach (byte value in data)
    {
        crc ^= value;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xEDB88320 & (0 - (crc & 1)));
    }

    return ~crc;
}
