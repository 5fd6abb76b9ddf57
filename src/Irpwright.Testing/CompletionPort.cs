using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>What a completion port tells about one request.</summary>
/// <param name="Key">That the handle was bound with, or that was posted.</param>
/// <param name="Context">The request's own (<see cref="IoOperation.Context"/>), or what was posted.</param>
public readonly record struct PortEntry(ulong Key, ulong Context, IoResult Result);

/// <summary>An I/O completion port, as a user program sees it. Used inside a scenario.</summary>
public sealed class CompletionPort(Machine machine) : IDisposable
{
    readonly PKQUEUE port = machine.Run(machine.Ports.Create) is { IsNull: false } created
        ? created
        : throw new InsufficientMemoryException("The nonpaged pool of the machine is exhausted.");

    bool disposed;

    /// <summary>Has the requests on a handle reported to this port.</summary>
    /// <exception cref="InvalidOperationException">The handle is synchronous, or bound already.</exception>
    public void Bind(DeviceHandle handle, ulong key = 0)
    {
        NTSTATUS status = machine.Run(() => machine.Ports.Associate(handle.FileObject, port, key));
        if (!status.IsSuccess) throw new InvalidOperationException($"The handle cannot be bound to the port: {status.Name}.");
    }

    /// <summary>Takes the oldest entry, waiting for one if there is none.</summary>
    /// <param name="timeout">Null waits without a limit.</param>
    /// <returns>Null when none came in time.</returns>
    public PortEntry? Take(TimeSpan? timeout = null) => machine.Run<PortEntry?>(() =>
        machine.Ports.Remove(port, timeout is { } limit ? -limit.Ticks : null, out CompletionPacket packet) == NTSTATUS.STATUS_SUCCESS
            ? new PortEntry(packet.Key, packet.ApcContext, new IoResult(packet.Status, packet.Information))
            : null);

    /// <summary>Adds an entry that belongs to no request.</summary>
    public void Post(ulong key, ulong context = 0, IoResult result = default)
    {
        NTSTATUS status = machine.Run(() => machine.Ports.Post(port, new CompletionPacket(key, context, result.Status, result.Information)));
        if (!status.IsSuccess) throw new InsufficientMemoryException("The nonpaged pool of the machine is exhausted.");
    }

    /// <summary>Closes the port; it lives on while handles are bound to it.</summary>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        if (machine.BugChecks.StopReason is null) machine.Run(() => machine.Objects.ObfDereferenceObject(port));
    }
}
