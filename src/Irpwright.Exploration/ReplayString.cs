using System.IO.Compression;
using System.Numerics;
using System.Text;
using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Schedules as text that survives a terminal, a shell, a log and a commit message.</summary>
/// <remarks>
/// <c>iw1</c>, then 64 letters of base64url in groups: 15 that carry data, and one that checks everything up to there, so that
/// damage has a place. The data: flags, length of the steps, the steps (compressed where that is shorter), CRC-32C of the steps.
/// </remarks>
static class ReplayString
{
    const string Prefix = "iw1";
    const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const int GroupLength = 15;
    const int MaximumLength = 1 << 24;

    // Of a step's first byte: the kind, the count if it is small, and what follows.
    const int SiteKind = 15, KindMask = 15, OtherAnswer = 16, CountShift = 5, CountMask = 3, OtherThread = 128;

    [Flags]
    enum Contents : byte
    {
        MovesTimeEarly = 1,
        Compressed = 2,
    }

    internal static string Encode(Schedule schedule)
    {
        byte[] steps = Write(schedule);
        byte[] packed = Pack(steps);
        Contents contents = (schedule.MovesTimeEarly ? Contents.MovesTimeEarly : 0) | (packed.Length < steps.Length ? Contents.Compressed : 0);
        var data = new MemoryStream();
        data.WriteByte((byte)contents);
        Write(data, steps.Length);
        data.Write(packed.Length < steps.Length ? packed : steps);
        data.Write(BitConverter.GetBytes(Checksum(steps)));
        return Print(data.ToArray());
    }

    internal static Schedule Decode(string text)
    {
        text = text.Trim();
        if (!text.StartsWith(Prefix, StringComparison.Ordinal))
        {
            throw new FormatException(text.StartsWith("iw", StringComparison.Ordinal)
                ? $"The replay string begins with '{text[..Math.Min(3, text.Length)]}': it was made by another version, which this one cannot read."
                : $"This is no replay string: it must begin with '{Prefix}'.");
        }
        byte[] data = Scan(text);
        int position = 1;
        if (data.Length < 6 || Read(data, ref position) is not (>= 0 and <= MaximumLength and var length) || position > data.Length - 4)
            throw Incomplete(text);
        var contents = (Contents)data[0];
        ReadOnlySpan<byte> body = data.AsSpan()[position..^4];
        byte[] steps = new byte[length];
        if (contents.HasFlag(Contents.Compressed)
            ? !BrotliDecoder.TryDecompress(body, steps, out int written) || written != length
            : !body.TryCopyTo(steps) || body.Length != length) throw Incomplete(text);
        if (Checksum(steps) != BitConverter.ToUInt32(data.AsSpan()[^4..])) throw Incomplete(text);
        return new Schedule(ReadSteps(steps) ?? throw Incomplete(text), contents.HasFlag(Contents.MovesTimeEarly));
    }

    static FormatException Incomplete(string text) => new($"The replay string is incomplete: it ends too early, after character {text.Length}.");

    static byte[] Pack(byte[] steps)
    {
        byte[] packed = new byte[BrotliEncoder.GetMaxCompressedLength(steps.Length)];
        return BrotliEncoder.TryCompress(steps, packed, out int length, quality: 9, window: 18) ? packed[..length] : steps;
    }

    static uint Checksum(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte b in data) crc = BitOperations.Crc32C(crc, b);
        return ~crc;
    }

    // ---- Letters

    static string Print(byte[] data)
    {
        var text = new StringBuilder(Prefix);
        uint crc = 0;
        int inGroup = 0;
        int bits = 0, count = 0;
        foreach (byte b in data)
        {
            bits = bits << 8 | b;
            for (count += 8; count >= 6; count -= 6) Letter(bits >> (count - 6) & 63);
        }
        if (count > 0) Letter(bits << (6 - count) & 63);
        if (inGroup > 0) text.Append(Letters[(int)(crc & 63)]);
        return text.ToString();

        void Letter(int value)
        {
            text.Append(Letters[value]);
            crc = BitOperations.Crc32C(crc, (byte)value);
            if (++inGroup < GroupLength) return;
            text.Append(Letters[(int)(crc & 63)]);
            inGroup = 0;
        }
    }

    static byte[] Scan(string text)
    {
        var data = new List<byte>();
        uint crc = 0;
        int bits = 0, count = 0;
        for (int start = Prefix.Length; start < text.Length; start += GroupLength + 1)
        {
            ReadOnlySpan<char> group = text.AsSpan()[start..Math.Min(text.Length, start + GroupLength + 1)];
            for (int i = 0; i < group.Length; i++)
            {
                int value = Letters.IndexOf(group[i], StringComparison.Ordinal);
                if (value < 0)
                    throw new FormatException($"The replay string is damaged at character {start + i + 1}: '{group[i]}' does not occur in one.");
                if (i == group.Length - 1)
                {
                    if ((crc & 63) != value)
                        throw new FormatException($"The replay string is damaged between characters {start + 1} and {start + group.Length}.");
                    continue;
                }
                crc = BitOperations.Crc32C(crc, (byte)value);
                bits = bits << 6 | value;
                if ((count += 6) < 8) continue;
                data.Add((byte)(bits >> (count -= 8)));
            }
        }
        return [.. data];
    }

    // ---- Steps

    static byte[] Write(Schedule schedule)
    {
        var data = new MemoryStream();
        string[] sites = [.. schedule.Steps.Where(s => s.Site is not null).Select(s => s.Site!).Distinct()];
        Write(data, sites.Length);
        foreach (string site in sites)
        {
            byte[] name = Encoding.UTF8.GetBytes(site);
            Write(data, name.Length);
            data.Write(name);
        }
        Write(data, schedule.Steps.Count);
        int thread = 0;
        foreach (ScheduleStep step in schedule.Steps)
        {
            int count = Math.Min(step.Count - 1, CountMask);
            data.WriteByte((byte)((step.Point is { } point ? (int)point : SiteKind) | (step.Answer != 0 ? OtherAnswer : 0)
                | count << CountShift | (step.Thread != thread ? OtherThread : 0)));
            if (step.Thread != thread) Write(data, thread = step.Thread);
            if (step.Site is { } site) Write(data, Array.IndexOf(sites, site));
            if (count == CountMask) Write(data, step.Count);
            if (step.Answer != 0) Write(data, step.Answer);
        }
        return data.ToArray();
    }

    /// <returns>Null if this cannot be steps.</returns>
    static List<ScheduleStep>? ReadSteps(byte[] data)
    {
        int position = 0;
        int siteCount = Read(data, ref position);
        if (siteCount < 0 || siteCount > data.Length) return null;
        var sites = new List<string>();
        for (int i = 0; i < siteCount; i++)
        {
            int length = Read(data, ref position);
            if (length < 0 || length > data.Length - position) return null;
            sites.Add(Encoding.UTF8.GetString(data, position, length));
            position += length;
        }
        int count = Read(data, ref position);
        if (count < 0 || count > data.Length - position) return null;
        var steps = new List<ScheduleStep>(count);
        int thread = 0;
        for (int i = 0; i < count; i++)
        {
            if (position == data.Length) return null;
            int head = data[position++];
            if ((head & OtherThread) != 0) thread = Read(data, ref position);
            int kind = head & KindMask;
            int site = kind == SiteKind ? Read(data, ref position) : -1;
            int choices = head >> CountShift & CountMask;
            choices = choices == CountMask ? Read(data, ref position) : choices + 1;
            int answer = (head & OtherAnswer) != 0 ? Read(data, ref position) : 0;
            bool isKnown = kind == SiteKind ? site >= 0 && site < sites.Count : Enum.IsDefined((SchedulingPoint)kind);
            if (!isKnown || thread < 0 || answer < 0 || answer >= choices) return null;
            steps.Add(new(kind == SiteKind ? null : (SchedulingPoint)kind, thread, kind == SiteKind ? sites[site] : null, choices, answer));
        }
        return position == data.Length ? steps : null;
    }

    static void Write(MemoryStream data, int value)
    {
        for (; value >= 128; value >>= 7) data.WriteByte((byte)(value | 128));
        data.WriteByte((byte)value);
    }

    /// <returns>-1 if there is no number.</returns>
    static int Read(ReadOnlySpan<byte> data, ref int position)
    {
        int value = 0;
        for (int shift = 0; shift < 28 && position < data.Length; shift += 7)
        {
            byte b = data[position++];
            value |= (b & 127) << shift;
            if (b < 128) return value;
        }
        return -1;
    }
}
