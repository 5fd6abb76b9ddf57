using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>A request that may still be on its way.</summary>
/// <remarks>Started by <see cref="DeviceHandle"/>; belongs to the guest thread that started it.</remarks>
public sealed class IoOperation : IRequestCompletion
{
    readonly DeviceHandle handle;
    readonly KernelThread thread;
    TaskCompletionSource<IoResult>? completion;
    PIRP irp;
    volatile bool isOver;

    internal IoOperation(DeviceHandle handle, UserBuffers buffers)
    {
        this.handle = handle;
        Buffers = buffers;
        Context = handle.NextContext();
        thread = handle.Machine.CurrentThread;
    }

    /// <summary>Tells the request from others of its handle where it is reported to a <see cref="CompletionPort"/>.</summary>
    public ulong Context { get; }

    /// <summary>What the system service returned: STATUS_PENDING if the request was not over at once.</summary>
    public NTSTATUS InitialStatus { get; private set; }

    public bool IsOver => isOver;

    /// <summary>The outcome; valid once the request is over.</summary>
    public IoResult Result { get; private set; }

    /// <summary>Completes with the outcome; awaitable inside <see cref="Scenario.RunAsync"/>.</summary>
    public Task<IoResult> Task
    {
        get
        {
            TaskCompletionSource<IoResult> source = LazyInitializer.EnsureInitialized(
                ref completion, static () => new(TaskCreationOptions.RunContinuationsAsynchronously));
            // Whoever came second, this or the end of the request, has seen the other.
            Interlocked.MemoryBarrier();
            if (isOver) source.TrySetResult(Result);
            return source.Task;
        }
    }

    internal UserBuffers Buffers { get; }

    /// <summary>Sends the request; returns this.</summary>
    internal IoOperation Start(in IoRequest request)
    {
        InitialStatus = handle.Machine.Requests.Send(
            handle.FileObject, request with { ApcContext = new PVOID(Context), ApcRoutine = handle.RegisterApc(this) }, Buffers.Iosb, this, out irp);
        // Refused before there was an IRP.
        if (irp.IsNull && !isOver) Finish(new IoResult(InitialStatus, 0));
        return this;
    }

    /// <summary>Waits in the guest thread that started the request.</summary>
    public IoResult Wait()
    {
        if (!isOver) handle.Machine.Requests.WaitUntil(() => isOver, "waits for a request that no driver has completed");
        return Result;
    }

    /// <summary>Asks for cancellation (IoCancelIrp); the request may still end in any way.</summary>
    /// <returns>False if it was over already.</returns>
    public bool Cancel() => !isOver && handle.Machine.Requests.Cancel(irp, this);

    void IRequestCompletion.Finished(NTSTATUS status, ulong information) => Finish(new IoResult(status, information));

    void Finish(IoResult result)
    {
        Result = result;
        Buffers.CopyOut(result);
        isOver = true;
        Interlocked.MemoryBarrier();
        completion?.TrySetResult(result);
        handle.Machine.Requests.Wake(thread);
    }
}
