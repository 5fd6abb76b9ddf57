using System.Buffers.Binary;
using System.Text;

namespace Irpwright.Guest.Symbols;

/// <summary>Reads debug information front to back. Nobody vouches for it: past the end everything reads as zero, and it is at its end.</summary>
ref struct ByteCursor(ReadOnlySpan<byte> bytes)
{
    ReadOnlySpan<byte> rest = bytes;

    public readonly bool AtEnd => rest.IsEmpty;

    public readonly int Left => rest.Length;

    public byte U8() => Take(1) is [var value] ? value : (byte)0;

    public ushort U16() => Take(2) is { Length: 2 } value ? BinaryPrimitives.ReadUInt16LittleEndian(value) : (ushort)0;

    public uint U32() => Take(4) is { Length: 4 } value ? BinaryPrimitives.ReadUInt32LittleEndian(value) : 0;

    public ulong U64() => Take(8) is { Length: 8 } value ? BinaryPrimitives.ReadUInt64LittleEndian(value) : 0;

    /// <summary>Seven bits per byte, lowest first; bits beyond 64 are dropped.</summary>
    public ulong Leb128()
    {
        ulong value = 0;
        for (int shift = 0; !AtEnd; shift += 7)
        {
            byte next = U8();
            if (shift < 64) value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) break;
        }
        return value;
    }

    public long SignedLeb128()
    {
        ulong value = 0;
        for (int shift = 0; !AtEnd; shift += 7)
        {
            byte next = U8();
            if (shift < 64) value |= (ulong)(next & 0x7F) << shift;
            if (next >= 0x80) continue;
            if ((next & 0x40) != 0 && shift + 7 < 64) value |= ulong.MaxValue << (shift + 7);
            break;
        }
        return (long)value;
    }

    /// <summary>Text up to a NUL, which is taken too.</summary>
    public string Text()
    {
        int length = rest.IndexOf((byte)0);
        ReadOnlySpan<byte> text = length < 0 ? rest : rest[..length];
        rest = length < 0 ? default : rest[(length + 1)..];
        return Encoding.UTF8.GetString(text);
    }

    /// <summary>The next bytes; all that is left when there are fewer.</summary>
    public ReadOnlySpan<byte> Take(ulong count)
    {
        int length = (int)Math.Min(count, (ulong)rest.Length);
        ReadOnlySpan<byte> taken = rest[..length];
        rest = rest[length..];
        return taken;
    }
}
