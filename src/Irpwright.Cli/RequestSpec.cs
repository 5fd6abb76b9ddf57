using System.Buffers;
using System.Globalization;
using Irpwright.Wdk;

namespace Irpwright.Cli;

enum RequestKind : byte
{
    Read,
    Write,
    Control,
    Flush,
    PlugAndPlay,
    Power,
}

/// <summary>What a <c>pnp:</c> request asks the PnP manager for.</summary>
enum PnpOperation : byte
{
    Start,
    Stop,
    QueryStop,
    CancelStop,
    Remove,
    QueryRemove,
    CancelRemove,
    Surprise,
    Eject,
}

/// <summary>One <c>--request</c>: what to send, how often, and whether to cancel it.</summary>
sealed record RequestSpec(string Text, RequestKind Kind)
{
    const int MaximumLength = 256 << 20;
    const int MaximumRepeat = 100_000_000;

    static readonly SearchValues<char> HexadecimalDigits = SearchValues.Create("0123456789abcdefABCDEF");

    public long Offset { get; private init; }

    /// <summary>Bytes to read; output buffer of a control request.</summary>
    public int Length { get; private init; }

    public uint Code { get; private init; }

    /// <summary>Bytes to write; input buffer of a control request.</summary>
    public ReadOnlyMemory<byte> Data { get; private init; }

    public PnpOperation Operation { get; private init; }

    /// <summary>Of a <c>power:</c> request: a device state; unspecified for a system state.</summary>
    public DEVICE_POWER_STATE DeviceState { get; private init; }

    public SYSTEM_POWER_STATE SystemState { get; private init; }

    /// <summary>Whether it goes to the device that is open, not to the PnP or power manager.</summary>
    public bool IsForHandle => Kind is not (RequestKind.PlugAndPlay or RequestKind.Power);

    public bool Cancel { get; private set; }

    public bool Async { get; private set; }

    public int Repeat { get; private set; } = 1;

    /// <summary>
    /// Parses <c>read:OFFSET:LENGTH</c>, <c>write:OFFSET:HEX|@FILE</c>, <c>ioctl:CODE[:IN-HEX|@FILE][:OUT-LENGTH]</c> or <c>flush</c>,
    /// with the suffixes <c>:cancel</c>, <c>:async</c> and <c>:x1000</c>.
    /// </summary>
    /// <exception cref="CommandException">Says which part is wrong.</exception>
    public static RequestSpec Parse(string text)
    {
        string rest = text;
        bool cancel = false, async = false;
        int repeat = 1;
        while (rest.LastIndexOf(':') is > 0 and int colon)
        {
            string suffix = rest[(colon + 1)..];
            if (suffix == "cancel") cancel = true;
            else if (suffix == "async") async = true;
            else if (suffix.StartsWith('x')) repeat = (int)Number(text, "the count after x", suffix[1..], 1, MaximumRepeat);
            else break;
            rest = rest[..colon];
        }
        RequestSpec spec = ParseOperation(text, rest);
        if (!spec.IsForHandle && (cancel || async)) throw Bad(text, "PnP and power requests are waited for, and cannot be cancelled");
        spec.Cancel = cancel;
        spec.Async = async;
        spec.Repeat = repeat;
        return spec;
    }

    static RequestSpec ParseOperation(string text, string operation)
    {
        string[] parts = operation.Split(':', 3);
        switch (parts[0])
        {
            case "read":
                if (parts.Length != 3) throw Bad(text, "a read is read:OFFSET:LENGTH");
                return new RequestSpec(text, RequestKind.Read)
                {
                    Offset = Number(text, "OFFSET", parts[1], 0, long.MaxValue),
                    Length = (int)Number(text, "LENGTH", parts[2], 0, MaximumLength),
                };
            case "write":
                if (parts.Length != 3) throw Bad(text, "a write is write:OFFSET:HEX or write:OFFSET:@FILE");
                return new RequestSpec(text, RequestKind.Write)
                {
                    Offset = Number(text, "OFFSET", parts[1], 0, long.MaxValue),
                    Data = Bytes(text, parts[2]),
                };
            case "ioctl":
                return ParseControl(text, parts);
            case "flush":
                if (parts.Length != 1) throw Bad(text, $"flush takes no '{parts[1]}'");
                return new RequestSpec(text, RequestKind.Flush);
            case "pnp":
                return new RequestSpec(text, RequestKind.PlugAndPlay) { Operation = ParsePnp(text, operation[(operation.IndexOf(':') + 1)..]) };
            case "power":
                return ParsePower(text, parts);
            default:
                throw Bad(text, $"'{parts[0]}' is no request; there are read, write, ioctl, flush, pnp and power");
        }
    }

    static PnpOperation ParsePnp(string text, string operation) => operation switch
    {
        "start" => PnpOperation.Start,
        "stop" => PnpOperation.Stop,
        "query-stop" => PnpOperation.QueryStop,
        "cancel-stop" => PnpOperation.CancelStop,
        "remove" => PnpOperation.Remove,
        "query-remove" => PnpOperation.QueryRemove,
        "cancel-remove" => PnpOperation.CancelRemove,
        "surprise" => PnpOperation.Surprise,
        "eject" => PnpOperation.Eject,
        _ => throw Bad(text, "a PnP request is pnp:start, stop, query-stop, cancel-stop, remove, query-remove, cancel-remove, surprise or eject"),
    };

    static RequestSpec ParsePower(string text, string[] parts)
    {
        if (parts is not [_, [var kind, var digit]] || kind is not ('D' or 'S') || digit < '0' || digit > (kind == 'D' ? '3' : '5'))
            throw Bad(text, "a power request is power:D0 to power:D3 for the device, or power:S0 to power:S5 for the system");
        int state = digit - '0' + 1;
        return kind == 'D'
            ? new RequestSpec(text, RequestKind.Power) { DeviceState = (DEVICE_POWER_STATE)state }
            : new RequestSpec(text, RequestKind.Power) { SystemState = (SYSTEM_POWER_STATE)state };
    }

    static RequestSpec ParseControl(string text, string[] parts)
    {
        if (parts.Length < 2) throw Bad(text, "a control request is ioctl:CODE[:IN-HEX][:OUT-LENGTH]");
        string input = parts.Length > 2 ? parts[2] : "";
        string output = "";
        // A path may hold colons, a length cannot.
        if (input.LastIndexOf(':') is >= 0 and int colon && (!input.StartsWith('@') || TryNumber(input[(colon + 1)..], out _)))
            (input, output) = (input[..colon], input[(colon + 1)..]);
        return new RequestSpec(text, RequestKind.Control)
        {
            Code = (uint)Number(text, "CODE", parts[1], 0, uint.MaxValue),
            Data = input.Length == 0 ? default : Bytes(text, input),
            Length = output.Length == 0 ? 0 : (int)Number(text, "OUT-LENGTH", output, 0, MaximumLength),
        };
    }

    static long Number(string text, string part, string digits, long least, long most)
    {
        if (!TryNumber(digits, out long value))
            throw Bad(text, digits.Length == 0 ? $"{part} is missing" : $"{part} '{digits}' is no number; write 4096, 0x1000 or 4KiB");
        if (value < least || value > most) throw Bad(text, $"{part} '{digits}' is outside {least}..{most}");
        return value;
    }

    /// <summary>A decimal or 0x number, with KiB, MiB or GiB behind it.</summary>
    public static bool TryNumber(string text, out long value)
    {
        value = 0;
        int shift = text switch
        {
            _ when text.EndsWith("KiB", StringComparison.OrdinalIgnoreCase) => 10,
            _ when text.EndsWith("MiB", StringComparison.OrdinalIgnoreCase) => 20,
            _ when text.EndsWith("GiB", StringComparison.OrdinalIgnoreCase) => 30,
            _ => 0,
        };
        ReadOnlySpan<char> digits = shift == 0 ? text : text.AsSpan(0, text.Length - 3);
        bool isHexadecimal = digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        if (!(isHexadecimal
            ? long.TryParse(digits[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
            : long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out value)))
            return false;
        if (value < 0 || value > long.MaxValue >> shift) return false;
        value <<= shift;
        return true;
    }

    static byte[] Bytes(string text, string value)
    {
        if (value.StartsWith('@')) return FileBytes(text, value[1..]);
        ReadOnlySpan<char> digits = value.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? value.AsSpan(2) : value;
        if (digits.Length % 2 != 0) throw Bad(text, $"'{value}' has an odd number of hexadecimal digits; two make a byte");
        int wrong = digits.IndexOfAnyExcept(HexadecimalDigits);
        if (wrong >= 0) throw Bad(text, $"'{digits[wrong]}' in '{value}' is no hexadecimal digit; write bytes as 00ff10, or @FILE");
        return Convert.FromHexString(digits);
    }

    static byte[] FileBytes(string text, string path)
    {
        try
        {
            var file = new FileInfo(path);
            if (Directory.Exists(path)) throw Bad(text, $"{path} is a directory");
            if (file.Exists && file.Length > MaximumLength) throw Bad(text, $"{path} is larger than {MaximumLength} bytes");
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw Bad(text, $"no such file: {path}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw Bad(text, $"{path} cannot be read: {e.Message}");
        }
    }

    static CommandException Bad(string text, string problem) => CommandException.BadInput($"--request {text}: {problem}.");
}
