using System.Buffers.Binary;

namespace Irpwright.Guest.Tests.Images;

/// <summary>
/// Damages images where it hurts: fields of headers, of the section table and of whatever the data directories lead to get values that
/// a reader may not expect. The same seed makes the same image.
/// </summary>
sealed class ImageMutator
{
    readonly List<byte[]> originals;
    /// <summary>For each original: places of fields, offset and size in the file.</summary>
    readonly List<List<(int Offset, int Size)>> fields = [];

    public ImageMutator(IEnumerable<byte[]> originals)
    {
        this.originals = [.. originals];
        foreach (byte[] bytes in this.originals) fields.Add(FieldsOf(bytes));
    }

    public byte[] Mutate(int seed)
    {
        var random = new Random(seed);
        int chosen = random.Next(originals.Count);
        byte[] bytes = [.. originals[chosen]];
        for (int change = random.Next(1, 5); change > 0; change--)
        {
            (int offset, int size) = fields[chosen][random.Next(fields[chosen].Count)];
            Write(bytes, offset, size, Interesting(bytes, offset, size, random));
        }
        if (random.Next(16) == 0) bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
        if (random.Next(16) == 0) Array.Resize(ref bytes, random.Next(bytes.Length + 1));
        else if (random.Next(32) == 0) Array.Resize(ref bytes, bytes.Length + random.Next(8192));
        return bytes;
    }

    static ulong Interesting(byte[] bytes, int offset, int size, Random random)
    {
        ulong old = Read(bytes, offset, size);
        return random.Next(12) switch
        {
            0 => 0,
            1 => ulong.MaxValue,
            2 => 1UL << (size * 8 - 1),
            3 => (1UL << (size * 8 - 1)) - 1,
            4 => old + 1,
            5 => old - 1,
            6 => old ^ 1UL << random.Next(size * 8),
            7 => old + (ulong)random.Next(-0x2000, 0x2000),
            8 => (ulong)random.Next(0x10000),
            9 => (ulong)bytes.Length + (ulong)random.Next(-16, 16),
            10 => 1UL << random.Next(size * 8),
            _ => (ulong)random.NextInt64(),
        };
    }

    static ulong Read(byte[] bytes, int offset, int size)
    {
        ulong value = 0;
        for (int i = size - 1; i >= 0; i--) value = value << 8 | bytes[offset + i];
        return value;
    }

    static void Write(byte[] bytes, int offset, int size, ulong value)
    {
        for (int i = 0; i < size; i++, value >>= 8) bytes[offset + i] = (byte)value;
    }

    static List<(int, int)> FieldsOf(byte[] bytes)
    {
        var found = new List<(int, int)>();
        int pe = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(0x3C));
        int sectionCount = BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(pe + 6));
        int optional = pe + 24, table = optional + BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(pe + 20));
        found.Add((0x3C, 4));
        for (int at = pe; at < optional; at += 2) found.Add((at, 2));
        for (int at = optional; at < table; at += 4) found.Add((at, 4));
        for (int at = table; at < table + sectionCount * 40; at += 4) found.Add((at, 4));
        for (int directory = 0; directory < 16; directory++)
        {
            int entry = optional + 112 + directory * 8;
            uint rva = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(entry)), size = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(entry + 4));
            if (rva == 0) continue;
            // The directories are few fields in a big file: each counts several times.
            for (int i = 0; i < 4; i++) found.AddRange([(entry, 4), (entry + 4, 4)]);
            for (int section = table; section < table + sectionCount * 40; section += 40)
            {
                uint start = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(section + 12)), length = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(section + 16));
                if (rva < start || rva >= start + length) continue;
                int first = (int)(rva - start) + BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(section + 20));
                int last = (int)Math.Min(first + Math.Min(size, 0x400), bytes.Length - 8);
                for (int at = first; at < last; at += 4) found.AddRange([(at, 4), (at, 2), (at, 8)]);
            }
        }
        found.RemoveAll(field => field.Item1 + field.Item2 > bytes.Length);
        return found;
    }
}
