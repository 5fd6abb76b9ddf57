using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Cli;

/// <summary>One way in which a request ended.</summary>
/// <param name="Digest">SHA-256 of the data that came back, null if none could.</param>
readonly record struct RequestOutcome(NTSTATUS Status, ulong Information, string? Digest);

/// <summary>How a request, or its repetitions, ended.</summary>
sealed class RequestResult(RequestSpec spec)
{
    /// <summary>Data of at most this many bytes is shown.</summary>
    public const int ShownData = 64;

    readonly Dictionary<RequestOutcome, int> outcomes = [];

    public RequestSpec Spec => spec;

    /// <summary>With how often; the first first.</summary>
    public IReadOnlyCollection<KeyValuePair<RequestOutcome, int>> Outcomes => outcomes;

    public int Count { get; private set; }

    /// <summary>The data of the last one, if it is short.</summary>
    public byte[]? Data { get; private set; }

    /// <summary>For how many IoCancelIrp was called while they were pending; they may have ended in any way.</summary>
    public int Cancelled { get; set; }

    public void Add(IoResult result, ReadOnlyMemory<byte> buffer)
    {
        Count++;
        string? digest = null;
        if (spec.Kind is RequestKind.Read or RequestKind.Control && !result.Status.IsError && result.Information > 0)
        {
            ReadOnlySpan<byte> data = buffer.Span[..(int)Math.Min(result.Information, (ulong)buffer.Length)];
            if (data.Length > 0) digest = Convert.ToHexStringLower(SHA256.HashData(data));
            Data = data.Length is > 0 and <= ShownData ? data.ToArray() : null;
        }
        CollectionsMarshal.GetValueRefOrAddDefault(outcomes, new RequestOutcome(result.Status, result.Information, digest), out _)++;
    }

    /// <summary>Lines for people.</summary>
    public IEnumerable<string> Describe()
    {
        if (Count == 0) yield return $"{spec.Text}  not finished";
        foreach ((RequestOutcome outcome, int count) in outcomes)
        {
            string times = Count > 1 ? $"{count} times  " : "";
            if (!spec.IsForHandle)
            {
                yield return $"{spec.Text}  {times}{outcome.Status.Name}";
                continue;
            }
            string digest = outcome.Digest is null ? "" : $"  sha256 {outcome.Digest}";
            yield return $"{spec.Text}  {times}{outcome.Status.Name}  {outcome.Information} bytes{digest}";
        }
        if (spec.Cancel && Count > 0) yield return "  " + DescribeCancellation();
        if (Data is null) yield break;
        foreach (string line in Hexdump.Lines(Data)) yield return "  " + line;
    }

    string DescribeCancellation()
    {
        if (Cancelled == 0) return "over before it could be cancelled";
        const string called = "IoCancelIrp was called";
        return Count == 1 ? $"{called} while it was pending" : $"{called} for {Cancelled} while they were pending";
    }
}
