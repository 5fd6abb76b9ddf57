using System.Globalization;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A line of a registration file cannot be understood.</summary>
public sealed class RegistrationFileException(string file, int line, string problem) : FormatException($"{file}, line {line}: {problem}")
{
    public string File { get; } = file;

    /// <summary>Counted from 1.</summary>
    public int Line { get; } = line;
}

/// <summary>Registration files (<c>.reg</c>): what regedit exports, keys and values as text.</summary>
public static class RegistrationFile
{
    const string CurrentHeader = "Windows Registry Editor Version 5.00";
    const string OldHeader = "REGEDIT4";

    static readonly (string Name, string Path)[] Roots =
    [
        ("HKEY_LOCAL_MACHINE", @"\Registry\Machine"), ("HKLM", @"\Registry\Machine"), ("HKEY_USERS", @"\Registry\User"), ("HKU", @"\Registry\User"),
        ("HKEY_CURRENT_USER", @"\Registry\User\.Default"), ("HKCU", @"\Registry\User\.Default"),
        ("HKEY_CLASSES_ROOT", @"\Registry\Machine\Software\Classes"), ("HKCR", @"\Registry\Machine\Software\Classes"),
        ("HKEY_CURRENT_CONFIG", @"\Registry\Machine\System\CurrentControlSet\Hardware Profiles\Current"),
    ];

    /// <summary>Puts the keys and values of a file into a registry, and deletes those it names with a minus sign.</summary>
    /// <param name="path">UTF-16 or UTF-8 text.</param>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="RegistrationFileException">A line is wrong; what stands before it has been put into the registry.</exception>
    public static void Load(Registry registry, string path) => Read(registry, File.ReadAllText(path), path);

    /// <summary>As <see cref="Load"/>, from text.</summary>
    /// <param name="name">Of the text, for error messages.</param>
    public static void Read(Registry registry, string text, string name) => new Reader(registry, text, name).Read();

    sealed class Reader(Registry registry, string text, string file)
    {
        readonly string[] lines = text.ReplaceLineEndings("\n").Split('\n');
        int next;
        int number;
        RegistryKey? key;
        bool isDeletedKey;

        internal void Read()
        {
            string? header = NextLine();
            if (header is not (CurrentHeader or OldHeader)) throw Wrong($"a registration file begins with \"{CurrentHeader}\".");
            while (NextLine() is { } line)
            {
                if (line.StartsWith('[')) ReadKey(line);
                else ReadValue(line);
            }
        }

        RegistrationFileException Wrong(string problem) => new(file, Math.Max(1, number), problem);

        /// <summary>The next line that says something, with its continuations; null at the end.</summary>
        string? NextLine()
        {
            while (next < lines.Length)
            {
                number = next + 1;
                string line = lines[next++].Trim('\uFEFF', ' ', '\t');
                if (line.Length == 0 || line.StartsWith(';')) continue;
                while (line.EndsWith('\\') && !line.StartsWith('[') && next < lines.Length) line = line[..^1] + lines[next++].Trim(' ', '\t');
                return line;
            }
            return null;
        }

        void ReadKey(string line)
        {
            if (!line.EndsWith(']')) throw Wrong("the name of a key ends with ].");
            string name = line[1..^1];
            isDeletedKey = name.StartsWith('-');
            if (isDeletedKey) name = name[1..];
            string path = PathOf(name);
            if (!isDeletedKey) key = registry.Create(path);
            else if (registry.Find(path) is { } doomed) registry.Delete(doomed);
        }

        string PathOf(string name)
        {
            foreach ((string root, string path) in Roots)
            {
                if (name.Equals(root, StringComparison.OrdinalIgnoreCase)) return path;
                if (name.StartsWith(root + '\\', StringComparison.OrdinalIgnoreCase)) return path + name[root.Length..];
            }
            throw Wrong($"{name} does not begin with the name of a root key, such as HKEY_LOCAL_MACHINE.");
        }

        void ReadValue(string line)
        {
            if (isDeletedKey) throw Wrong("a key that is deleted has no values.");
            if (key is null) throw Wrong("a value stands before the first key.");
            string name;
            int at = 0;
            if (line[0] == '@')
            {
                name = "";
                at = 1;
            }
            else if (line[0] == '"')
            {
                name = Quoted(line, ref at);
            }
            else
            {
                throw Wrong("expected [key], \"name\"=value or @=value.");
            }
            if (at >= line.Length || line[at] != '=') throw Wrong("expected = behind the name of a value.");
            string value = line[(at + 1)..].Trim();
            if (value == "-") registry.RemoveValue(key, name);
            else SetValue(key, name, value);
        }

        void SetValue(RegistryKey target, string name, string value)
        {
            if (value.StartsWith('"'))
            {
                int at = 0;
                string data = Quoted(value, ref at);
                if (value[at..].TrimStart() is { Length: > 0 } rest && !rest.StartsWith(';')) throw Wrong($"{rest} stands behind the end of the text.");
                registry.SetValue(target, name, data);
            }
            else if (value.StartsWith("dword:", StringComparison.OrdinalIgnoreCase))
            {
                if (!uint.TryParse(value[6..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint number))
                    throw Wrong($"{value} is no dword: expected up to eight hexadecimal digits.");
                registry.SetValue(target, name, number);
            }
            else if (value.StartsWith("hex", StringComparison.OrdinalIgnoreCase))
            {
                int colon = value.IndexOf(':');
                if (colon < 0) throw Wrong($"{value} has no colon.");
                registry.SetValue(target, name, TypeOf(value[3..colon]), BytesOf(value[(colon + 1)..]));
            }
            else
            {
                throw Wrong($"{value} is none of \"text\", dword:, hex:, hex(type): and -.");
            }
        }

        uint TypeOf(string suffix)
        {
            if (suffix.Length == 0) return REG_BINARY;
            if (suffix.StartsWith('(') && suffix.EndsWith(')') &&
                uint.TryParse(suffix[1..^1], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint type)) return type;
            throw Wrong($"hex{suffix} is no type: expected hex(n) with a hexadecimal number.");
        }

        byte[] BytesOf(string digits)
        {
            string[] parts = digits.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            var bytes = new byte[parts.Length];
            for (int i = 0; i < parts.Length; i++)
            {
                if (!byte.TryParse(parts[i], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out bytes[i]))
                    throw Wrong($"{parts[i]} is no byte: expected two hexadecimal digits.");
            }
            return bytes;
        }

        /// <summary>A text in quotation marks; a backslash takes the next character as it is.</summary>
        string Quoted(string line, ref int at)
        {
            var result = new StringBuilder();
            for (at++; at < line.Length; at++)
            {
                char c = line[at];
                if (c == '"')
                {
                    at++;
                    return result.ToString();
                }
                if (c == '\\' && at + 1 < line.Length) c = line[++at];
                result.Append(c);
            }
            throw Wrong("a text has no closing quotation mark.");
        }
    }
}
