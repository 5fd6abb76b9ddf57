using System.Runtime.InteropServices;
using System.Text;

namespace Irpwright.Guest.Images;

/// <summary>Reads from bytes that nobody vouches for: every offset may be wrong, and none of them throws.</summary>
static class BoundedReads
{
    extension(ReadOnlySpan<byte> bytes)
    {
        public bool TryRead<T>(ulong offset, out T value) where T : unmanaged
        {
            value = default;
            return offset <= (ulong)bytes.Length && MemoryMarshal.TryRead(bytes[(int)offset..], out value);
        }

        public bool TrySlice(ulong offset, ulong length, out ReadOnlySpan<byte> slice)
        {
            bool inside = offset <= (ulong)bytes.Length && length <= (ulong)bytes.Length - offset;
            slice = inside ? bytes.Slice((int)offset, (int)length) : default;
            return inside;
        }

        /// <summary>
        /// A NUL-terminated name of 1 to <paramref name="maxLength"/> printable ASCII characters: what linkers write, and
        /// safe to show on a terminal.
        /// </summary>
        public bool TryReadName(ulong offset, int maxLength, out string name)
        {
            name = "";
            if (offset >= (ulong)bytes.Length) return false;
            ReadOnlySpan<byte> rest = bytes[(int)offset..];
            int length = rest[..Math.Min(rest.Length, maxLength + 1)].IndexOf((byte)0);
            if (length <= 0 || !IsPrintable(rest[..length])) return false;
            name = Encoding.ASCII.GetString(rest[..length]);
            return true;
        }

        public bool IsPrintable() => !bytes.ContainsAnyExceptInRange((byte)0x20, (byte)0x7E);
    }
}
