using System.Text.Json.Serialization;

namespace Irpwright.Reporting;

/// <summary>One line of a JSON trace. docs/trace-json.md says which fields each event has; the others are absent.</summary>
public sealed record TraceRecord
{
    /// <summary>1 for the first event of the run.</summary>
    public long Step { get; init; }

    /// <summary>Guest thread that caused the event; absent outside the machine.</summary>
    public string? Thread { get; init; }

    /// <summary>Virtual time since the start, 100 ns; absent in a free-running machine.</summary>
    public long? Time { get; init; }

    public required string Event { get; init; }

    public string? Irp { get; init; }

    public string? Driver { get; init; }

    public string? Device { get; init; }

    public string? LowerDevice { get; init; }

    public string? Sender { get; init; }

    public string? File { get; init; }

    public string? Object { get; init; }

    public string? Routine { get; init; }

    public string? Caller { get; init; }

    public string? Ddi { get; init; }

    public int? Irql { get; init; }

    public string? Origin { get; init; }

    public int? StackCount { get; init; }

    public int? Location { get; init; }

    public string? Major { get; init; }

    public string? Minor { get; init; }

    public long? Offset { get; init; }

    public long? Length { get; init; }

    public string? ControlCode { get; init; }

    public long? InputLength { get; init; }

    public long? OutputLength { get; init; }

    public bool? MarkedPending { get; init; }

    public string? CompletionRoutine { get; init; }

    public IReadOnlyList<string>? InvokeOn { get; init; }

    public bool? PendingReturned { get; init; }

    public string? Status { get; init; }

    public ulong? Information { get; init; }

    public int? PriorityBoost { get; init; }

    public int? Adjustment { get; init; }

    public long? DueTime { get; init; }

    public bool? Claimed { get; init; }

    public string? Space { get; init; }

    public string? Address { get; init; }

    public ulong? Size { get; init; }

    public string? Value { get; init; }

    public string? Tag { get; init; }

    public string? PoolType { get; init; }

    public string? Before { get; init; }

    public string? State { get; init; }

    public string? Rule { get; init; }

    public string? Text { get; init; }

    public string? Code { get; init; }

    public IReadOnlyList<string>? Parameters { get; init; }

    public IReadOnlyList<string>? CallStack { get; init; }
}

/// <summary>Serialises <see cref="TraceRecord"/> without reflection.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(TraceRecord))]
public sealed partial class TraceJson : JsonSerializerContext;
