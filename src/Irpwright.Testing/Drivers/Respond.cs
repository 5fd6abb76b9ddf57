using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>The ways in which a <see cref="ScriptedDevice"/> can answer a request.</summary>
/// <remarks>
/// Where no <c>information</c> is given, it is the length of the data if there is any, the requested length for a read or write
/// that does not fail, and 0 otherwise. Data goes into the requestor's buffer as far as it has room.
/// </remarks>
public static class Respond
{
    /// <summary>Completes in the dispatch routine and returns the status.</summary>
    public static Response Now(NTSTATUS status = NTSTATUS.STATUS_SUCCESS, ulong? information = null, ReadOnlyMemory<byte> data = default) =>
        new(ResponseKind.Now, new Outcome(status, information, data));

    /// <summary>Marks the request pending, yet completes it in the dispatch routine, and returns STATUS_PENDING: legal, and rare.</summary>
    public static Response PendingInline(
        NTSTATUS status = NTSTATUS.STATUS_SUCCESS, ulong? information = null, ReadOnlyMemory<byte> data = default) =>
        new(ResponseKind.PendingInline, new Outcome(status, information, data));

    /// <summary>Returns STATUS_PENDING, and completes from a DPC after a time: virtual time on the controlled scheduler.</summary>
    /// <param name="cancellable">False for a device that lets a cancelled request take its time.</param>
    public static Response After(
        TimeSpan delay, NTSTATUS status = NTSTATUS.STATUS_SUCCESS, ulong? information = null, ReadOnlyMemory<byte> data = default,
        bool cancellable = true) =>
        new(ResponseKind.After, new Outcome(status, information, data)) { Delay = delay, IsCancellable = cancellable };

    /// <summary>Returns STATUS_PENDING, and completes when the test says so.</summary>
    /// <inheritdoc cref="After" path="/param[@name='cancellable']"/>
    public static HeldResponse WhenTold(bool cancellable = true) => new() { IsCancellable = cancellable };
}

enum ResponseKind
{
    Now,
    PendingInline,
    After,
    WhenTold,
}

/// <param name="Information">Null: as <see cref="Respond"/> says.</param>
readonly record struct Outcome(NTSTATUS Status, ulong? Information, ReadOnlyMemory<byte> Data);

/// <summary>How one request is answered; made by <see cref="Respond"/>.</summary>
public class Response
{
    internal Response(ResponseKind kind, Outcome outcome)
    {
        Kind = kind;
        Outcome = outcome;
    }

    internal ResponseKind Kind { get; }

    internal Outcome Outcome { get; }

    internal TimeSpan Delay { get; init; }

    internal bool IsCancellable { get; init; }
}

/// <summary>An answer that waits for the test; good for one request.</summary>
public sealed class HeldResponse : Response
{
    ScriptedRequest? request;

    internal HeldResponse() : base(ResponseKind.WhenTold, default)
    {
    }

    /// <summary>The request that is held; null until it has arrived.</summary>
    public ScriptedRequest? Request => request;

    /// <summary>Waits in the current guest thread until the request has arrived at the device.</summary>
    public ScriptedRequest WaitForRequest(Machine machine)
    {
        waiting = machine.CurrentThread;
        // Whoever came second, this or the request, has seen the other.
        Interlocked.MemoryBarrier();
        if (request is null) machine.Requests.WaitUntil(() => request is not null, "waits for a request to arrive at a scripted device");
        return request!;
    }

    KernelThread? waiting;

    /// <summary>Completes the request in the calling thread.</summary>
    /// <returns>False if it was cancelled before.</returns>
    /// <exception cref="InvalidOperationException">No request has arrived.</exception>
    public bool Complete(NTSTATUS status = NTSTATUS.STATUS_SUCCESS, ulong? information = null, ReadOnlyMemory<byte> data = default)
    {
        if (request is null) throw new InvalidOperationException("No request has arrived for this response yet.");
        return request.Device.Complete(request, new Outcome(status, information, data));
    }

    internal void Hold(ScriptedRequest arrived)
    {
        if (Interlocked.CompareExchange(ref request, arrived, null) is not null)
            throw new InvalidOperationException("One Respond.WhenTold() answers one request; this one holds a request already.");
        if (waiting is { } thread) thread.Machine.Requests.Wake(thread);
    }
}
