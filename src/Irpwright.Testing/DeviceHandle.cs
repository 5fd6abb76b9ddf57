using System.Collections.Concurrent;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>An open device, as a user program sees it.</summary>
/// <remarks>
/// Used inside a scenario (<see cref="Machine.Run(Action, string)"/>), calls run on that guest thread; from anywhere else each call
/// runs as a guest thread of its own.
/// </remarks>
public sealed class DeviceHandle : IDisposable
{
    readonly UserMemory memory;
    readonly ConcurrentDictionary<ulong, (IoOperation Operation, Action<IoOperation> Routine)> apcs = [];
    PIO_APC_ROUTINE apcRoutine;
    ulong lastContext;
    bool closed;

    DeviceHandle(Machine machine, PFILE_OBJECT fileObject)
    {
        Machine = machine;
        FileObject = fileObject;
        memory = new UserMemory(machine);
    }

    public Machine Machine { get; }

    public PFILE_OBJECT FileObject { get; }

    /// <summary>Opens a device by its name or a symbolic link's.</summary>
    /// <param name="name">Such as <c>\Device\Disk0</c> or <c>\\.\Disk0</c>.</param>
    /// <exception cref="IOException">With the status, when the driver or the I/O manager refuses.</exception>
    public static DeviceHandle Open(Machine machine, string name)
    {
        NTSTATUS status = TryOpen(machine, name, out DeviceHandle? handle);
        return handle ?? throw new IOException($"{name} cannot be opened: {status.Name}.");
    }

    /// <summary>Opens a device and returns the status.</summary>
    public static NTSTATUS TryOpen(Machine machine, string name, out DeviceHandle? handle)
    {
        PFILE_OBJECT file = default;
        NTSTATUS status = machine.Run(() => machine.Files.Open(name, GENERIC_READ | GENERIC_WRITE, FILE_NON_DIRECTORY_FILE, MODE.UserMode, out file));
        handle = status.IsSuccess ? new DeviceHandle(machine, file) : null;
        return status;
    }

    /// <summary>Reads, and waits until the request is over.</summary>
    public IoResult Read(Memory<byte> buffer, long offset = 0) =>
        Run((buffer, offset), static (handle, request) => handle.StartRead(request.buffer, request.offset));

    /// <summary>Writes, and waits until the request is over.</summary>
    public IoResult Write(ReadOnlyMemory<byte> data, long offset = 0) =>
        Run((data, offset), static (handle, request) => handle.StartWrite(request.data, request.offset));

    /// <summary>Sends a device control request, and waits until it is over.</summary>
    public IoResult Control(uint code, ReadOnlyMemory<byte> input = default, Memory<byte> output = default) =>
        Run((code, input, output), static (handle, request) => handle.StartControl(request.code, request.input, request.output));

    /// <summary>Flushes, and waits until the request is over.</summary>
    public IoResult Flush() => Run(0, static (handle, _) => handle.StartFlush());

    public ValueTask<IoResult> ReadAsync(Memory<byte> buffer, long offset = 0, CancellationToken cancellationToken = default) =>
        RunAsync(() => StartRead(buffer, offset), cancellationToken);

    public ValueTask<IoResult> WriteAsync(ReadOnlyMemory<byte> data, long offset = 0, CancellationToken cancellationToken = default) =>
        RunAsync(() => StartWrite(data, offset), cancellationToken);

    public ValueTask<IoResult> ControlAsync(uint code, ReadOnlyMemory<byte> input = default, Memory<byte> output = default, CancellationToken cancellationToken = default) =>
        RunAsync(() => StartControl(code, input, output), cancellationToken);

    /// <summary>Sends a read and comes back at once. Only inside a scenario.</summary>
    public IoOperation StartRead(Memory<byte> buffer, long offset = 0)
    {
        IoOperation operation = New(default, buffer, buffer.Length);
        return operation.Start(new IoRequest(IRP_MJ_READ, operation.Buffers.Output, (uint)buffer.Length, offset));
    }

    /// <summary>Sends a write and comes back at once. Only inside a scenario.</summary>
    public IoOperation StartWrite(ReadOnlyMemory<byte> data, long offset = 0)
    {
        IoOperation operation = New(data.Span, default, 0);
        return operation.Start(new IoRequest(IRP_MJ_WRITE, operation.Buffers.Input, (uint)data.Length, offset));
    }

    /// <summary>Sends a device control request and comes back at once. Only inside a scenario.</summary>
    public IoOperation StartControl(uint code, ReadOnlyMemory<byte> input = default, Memory<byte> output = default)
    {
        IoOperation operation = New(input.Span, output, output.Length);
        UserBuffers buffers = operation.Buffers;
        return operation.Start(new IoRequest(
            IRP_MJ_DEVICE_CONTROL, output.IsEmpty ? 0 : buffers.Output, (uint)output.Length, 0, code, input.IsEmpty ? 0 : buffers.Input, (uint)input.Length));
    }

    /// <summary>Sends a flush and comes back at once. Only inside a scenario.</summary>
    public IoOperation StartFlush() => New(default, default, 0).Start(new IoRequest(IRP_MJ_FLUSH_BUFFERS));

    /// <summary>
    /// Has a routine called, as an APC, at the end of each request that is sent from now on: in the thread that sent it, while that
    /// sleeps alertably (<see cref="Scenario.SleepAlertable"/>).
    /// </summary>
    /// <remarks>A handle that is bound to a <see cref="CompletionPort"/> takes no such requests.</remarks>
    public Action<IoOperation>? Apc { get; set; }

    internal PIO_APC_ROUTINE RegisterApc(IoOperation operation)
    {
        if (Apc is not { } routine) return default;
        if (apcRoutine.IsNull) apcRoutine = Machine.Code.Routine(new IO_APC_ROUTINE((context, _, _) => CallApc(context.Address)));
        apcs[operation.Context] = (operation, routine);
        return apcRoutine;
    }

    void CallApc(ulong context)
    {
        if (apcs.TryRemove(context, out (IoOperation Operation, Action<IoOperation> Routine) apc)) apc.Routine(apc.Operation);
    }

    internal ulong NextContext() => Interlocked.Increment(ref lastContext);

    /// <summary>Asks for cancellation of every request on the handle (CancelIoEx); each may still end in any way.</summary>
    /// <returns>False if there is none.</returns>
    public bool CancelAll() => Machine.Run(() => Machine.Cancellation.CancelRequests(FileObject)).IsSuccess;

    /// <summary>Asks for cancellation of the requests that the current guest thread sent (CancelIo).</summary>
    public void CancelOfThisThread() => Machine.Run(() => Machine.Cancellation.CancelThreadRequests(FileObject));

    /// <summary>Leaves notifications out (SetFileCompletionNotificationModes); they cannot be had back.</summary>
    /// <param name="portOnSuccess">No entry in the completion port for requests that are over at once.</param>
    /// <param name="fileEvent">The file object's event is not set.</param>
    public void Skip(bool portOnSuccess = false, bool fileEvent = false) => Machine.Run(() => Machine.Ports.SetNotificationModes(FileObject,
        (portOnSuccess ? FILE_SKIP_COMPLETION_PORT_ON_SUCCESS : 0) | (fileEvent ? FILE_SKIP_SET_EVENT_ON_HANDLE : 0)));

    IoOperation New(ReadOnlySpan<byte> input, Memory<byte> output, int outputLength)
    {
        ObjectDisposedException.ThrowIf(closed, this);
        return new IoOperation(this, new UserBuffers(memory, input, output, outputLength));
    }

    // Inside a scenario nothing is allocated but the operation and its buffers.
    IoResult Run<T>(T request, Func<DeviceHandle, T, IoOperation> start) =>
        Machine.TryGetCurrentThread() is null ? RunOutside(request, start) : start(this, request).Wait();

    IoResult RunOutside<T>(T request, Func<DeviceHandle, T, IoOperation> start) => Machine.Run(() => start(this, request).Wait());

    async ValueTask<IoResult> RunAsync(Func<IoOperation> start, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (Machine.TryGetCurrentThread() is null)
        {
            return await Task.Run(() => Machine.Run(() =>
            {
                Machine.CurrentThread.CanBeWokenFromOutside = cancellationToken.CanBeCanceled;
                return Scenario.Await(Machine, () => RunAsync(start, cancellationToken).AsTask());
            }), CancellationToken.None).ConfigureAwait(false);
        }
        IoOperation operation = start();
        using CancellationTokenRegistration registration = cancellationToken.Register(() => Machine.Run(operation.Cancel, "canceller"));
        return await operation.Task.ConfigureAwait(true);
    }

    /// <summary>Closes the handle: IRP_MJ_CLEANUP, and IRP_MJ_CLOSE once no request is outstanding.</summary>
    public void Dispose()
    {
        if (closed) return;
        closed = true;
        if (Machine.BugChecks.StopReason is not null) return;
        Machine.Run(() => Machine.Files.Close(FileObject));
        memory.Dispose();
    }
}
