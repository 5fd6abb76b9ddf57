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

    /// <summary>In the order in which they came first, with how often.</summary>
    public IReadOnlyCollection<KeyValuePair<RequestOutcome, int>> Outcomes => outcomes;

    public int Count { get; private set; }

    /// <summary>The data of the last one, if it is short.</summary>
    public byte[]? Data { get; private set; }

    /// <summary>How many were cancelled while they were pending.</summary>
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
}
