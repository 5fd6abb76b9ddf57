using System.Globalization;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The kernel's printf: the C run-time's conversions without floating point, and %Z and %wZ for counted strings.</summary>
/// <remarks>A conversion that it does not know is printed as it stands.</remarks>
static class PrintFormat
{
    const int Int32Bytes = 4;

    /// <param name="isWide">Whether the routine is one for wide characters, in which %s and %c mean wide ones, too.</param>
    /// <exception cref="GuestFaultException">An argument points to memory that cannot be read.</exception>
    internal static string Format(string format, VariadicArguments arguments, bool isWide)
    {
        var text = new StringBuilder(format.Length + 32);
        int used = 0;
        for (int i = 0; i < format.Length;)
        {
            int percent = format.IndexOf('%', i);
            if (percent < 0) percent = format.Length;
            text.Append(format, i, percent - i);
            if (percent == format.Length) break;
            i = percent + 1;
            Conversion conversion = default;
            if (conversion.TryParse(format, ref i, arguments, ref used))
                conversion.Append(text, arguments, ref used, isWide, format.AsSpan(percent, i - percent));
            else
                text.Append(format, percent, i - percent);
        }
        return text.ToString();
    }

    /// <summary>One conversion: %, flags, width, precision, size, type.</summary>
    struct Conversion
    {
        bool left, sign, space, alternate, zero;
        int width;
        int precision; // -1: none given
        int bytes; // of an integer argument
        bool? wide; // of a text argument, where given
        char type;

        internal bool TryParse(string format, ref int i, VariadicArguments arguments, ref int used)
        {
            precision = -1;
            bytes = Int32Bytes;
            for (; i < format.Length; i++)
            {
                switch (format[i])
                {
                    case '-': left = true; continue;
                    case '+': sign = true; continue;
                    case ' ': space = true; continue;
                    case '#': alternate = true; continue;
                    case '0': zero = true; continue;
                }
                break;
            }
            width = Number(format, ref i, arguments, ref used);
            if (width < 0)
            {
                left = true;
                width = -width;
            }
            if (i < format.Length && format[i] == '.')
            {
                i++;
                precision = Math.Max(Number(format, ref i, arguments, ref used), -1);
            }
            ParseSize(format, ref i);
            if (i == format.Length) return false;
            type = format[i++];
            return true;
        }

        static int Number(string format, ref int i, VariadicArguments arguments, ref int used)
        {
            if (i < format.Length && format[i] == '*')
            {
                i++;
                return (int)arguments[used++];
            }
            int value = 0;
            // A width beyond reason is no width; nobody prints megabytes of blanks on purpose.
            for (; i < format.Length && char.IsAsciiDigit(format[i]); i++) value = Math.Min(value * 10 + format[i] - '0', 4096);
            return value;
        }

        void ParseSize(string format, ref int i)
        {
            ReadOnlySpan<char> rest = format.AsSpan(i);
            (int length, int size, bool? text) = rest switch
            {
                ['I', '6', '4', ..] => (3, 8, (bool?)null),
                ['I', '3', '2', ..] => (3, 4, null),
                ['I' or 'z' or 't' or 'j', ..] => (1, 8, null),
                ['l', 'l', ..] => (2, 8, true),
                ['l', ..] => (1, 4, true),
                ['h', 'h', ..] => (2, 1, false),
                ['h', ..] => (1, 2, false),
                ['w', ..] => (1, 4, true),
                _ => (0, 4, null),
            };
            i += length;
            bytes = size;
            wide = text;
        }

        internal readonly void Append(StringBuilder text, VariadicArguments arguments, ref int used, bool isWide,
            ReadOnlySpan<char> verbatim)
        {
            switch (type)
            {
                case '%':
                    text.Append('%');
                    break;
                case 'd' or 'i':
                    long value = Signed(arguments[used++]);
                    AppendNumber(text, Magnitude(value), value < 0 ? "-" : sign ? "+" : space ? " " : "", 10);
                    break;
                case 'u':
                    AppendNumber(text, Unsigned(arguments[used++]), "", 10);
                    break;
                case 'o':
                    ulong octal = Unsigned(arguments[used++]);
                    AppendNumber(text, octal, alternate && octal != 0 ? "0" : "", 8);
                    break;
                case 'x' or 'X':
                    ulong hexadecimal = Unsigned(arguments[used++]);
                    AppendNumber(text, hexadecimal, alternate && hexadecimal != 0 ? type == 'x' ? "0x" : "0X" : "", 16);
                    break;
                case 'p':
                    AppendPadded(text, (alternate ? "0X" : "") + arguments[used++].ToString("X16"));
                    break;
                case 'c' or 'C':
                    ulong character = arguments[used++];
                    AppendPadded(text, IsWide(isWide) ? ((char)character).ToString() : Strings.Ansi.GetString([(byte)character]));
                    break;
                case 's' or 'S':
                    AppendPadded(text, Text(arguments[used++], IsWide(isWide)));
                    break;
                case 'Z':
                    AppendPadded(text, Counted(arguments[used++], wide ?? false));
                    break;
                case 'e' or 'E' or 'f' or 'g' or 'G' or 'a' or 'A':
                    // Takes its argument, so that those behind it come out right.
                    used++;
                    text.Append(verbatim);
                    break;
                default:
                    text.Append(verbatim);
                    break;
            }
        }

        // The capital letter means the other kind of text than the routine's own.
        readonly bool IsWide(bool isWide) => wide ?? isWide ^ type is 'S' or 'C';

        readonly long Signed(ulong value) => bytes switch { 1 => (sbyte)value, 2 => (short)value, 4 => (int)value, _ => (long)value };

        readonly ulong Unsigned(ulong value) => bytes switch { 1 => (byte)value, 2 => (ushort)value, 4 => (uint)value, _ => value };

        static ulong Magnitude(long value) => value < 0 ? unchecked(0 - (ulong)value) : (ulong)value;

        readonly void AppendNumber(StringBuilder text, ulong value, string prefix, int numberBase)
        {
            string digits = numberBase switch
            {
                8 => value == 0 ? "0" : Octal(value),
                16 => value.ToString(type == 'X' ? "X" : "x", CultureInfo.InvariantCulture),
                _ => value.ToString(CultureInfo.InvariantCulture),
            };
            if (precision == 0 && value == 0) digits = "";
            if (precision >= 0) digits = digits.PadLeft(precision, '0');
            else if (zero && !left) digits = digits.PadLeft(Math.Max(0, width - prefix.Length), '0');
            AppendPadded(text, prefix + digits);
        }

        static string Octal(ulong value)
        {
            string digits = "";
            for (; value != 0; value >>= 3) digits = (char)('0' + (value & 7)) + digits;
            return digits;
        }

        readonly string Text(ulong address, bool isWideText)
        {
            if (address == 0) return Cut("(null)");
            ulong maximum = precision < 0 ? int.MaxValue : (ulong)precision;
            if (isWideText)
            {
                int length = (int)Strings.LengthOf<char>(address, maximum);
                return new string(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, char>(GuestMemory.Read(address, 2 * length)));
            }
            return Strings.Ansi.GetString(GuestMemory.Read(address, (int)Strings.LengthOf<byte>(address, maximum)));
        }

        readonly string Counted(ulong address, bool isWideText)
        {
            if (address == 0) return "(null)";
            if (isWideText) return new PUNICODE_STRING(address).Buffer.IsNull ? "(null)" : Cut(Strings.Read(new PUNICODE_STRING(address)));
            return new PANSI_STRING(address).Buffer.IsNull ? "(null)" : Cut(Strings.Read(new PANSI_STRING(address)));
        }

        readonly string Cut(string value) => precision >= 0 && value.Length > precision ? value[..precision] : value;

        readonly void AppendPadded(StringBuilder text, string value)
        {
            int padding = Math.Max(0, width - value.Length);
            if (!left) text.Append(' ', padding);
            text.Append(value);
            if (left) text.Append(' ', padding);
        }
    }
}
