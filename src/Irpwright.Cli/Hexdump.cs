using System.Text;

namespace Irpwright.Cli;

/// <summary>Bytes as offset, hexadecimal digits and characters.</summary>
static class Hexdump
{
    const int Width = 16;

    public static IEnumerable<string> Lines(byte[] data)
    {
        for (int start = 0; start < data.Length; start += Width)
        {
            var line = new StringBuilder($"{start:x8} ");
            ReadOnlySpan<byte> row = data.AsSpan(start, Math.Min(Width, data.Length - start));
            for (int i = 0; i < Width; i++)
            {
                if (i == Width / 2) line.Append(' ');
                line.Append(i < row.Length ? $" {row[i]:x2}" : "   ");
            }
            line.Append("  |");
            foreach (byte b in row) line.Append(b is >= 0x20 and < 0x7F ? (char)b : '.');
            yield return line.Append('|').ToString();
        }
    }
}
