namespace Irpwright.Checking;

/// <summary>A request of the battery. A driver may keep it for as long as it likes, but must give it back once it is cancelled.</summary>
sealed class CheckRequest(CheckBench bench, DeviceHandle handle) : IRequestCompletion
{
    PIRP irp;
    KernelThread? waiting;
    volatile bool isOver;

    public NTSTATUS Status { get; private set; } = NTSTATUS.STATUS_PENDING;

    public bool IsOver => isOver;

    internal void Send(in IoRequest request)
    {
        PIO_STATUS_BLOCK iosb = new(bench.UserBuffer(IO_STATUS_BLOCK.SizeOf));
        NTSTATUS status = bench.Machine.Requests.Send(handle.FileObject, request with { ApcContext = new PVOID(1) }, iosb, this, out irp);
        if (irp.IsNull && !isOver) Finished(status, 0);
    }

    /// <summary>Asks for cancellation.</summary>
    public void Cancel()
    {
        if (!isOver) bench.Machine.Requests.Cancel(irp, this);
    }

    /// <summary>Waits for a while, then cancels, and waits until the request is over.</summary>
    public NTSTATUS Finish()
    {
        if (!isOver) bench.Rest();
        if (!isOver) Cancel();
        if (!isOver) bench.Rest();
        waiting = bench.Machine.CurrentThread;
        if (!isOver) bench.Machine.Requests.WaitUntil(() => isOver, "waits for a request that was cancelled and that no driver has completed");
        return Status;
    }

    public void Finished(NTSTATUS status, ulong information)
    {
        Status = status;
        isOver = true;
        if (waiting is { } thread) bench.Machine.Requests.Wake(thread);
    }
}
