using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>One request on an open file, as the system services would receive it.</summary>
/// <param name="MajorFunction">IRP_MJ_READ, _WRITE, _DEVICE_CONTROL, _INTERNAL_DEVICE_CONTROL or _FLUSH_BUFFERS.</param>
/// <param name="Buffer">User address of the data buffer, of the output buffer for control requests.</param>
/// <param name="Length">Its length, bytes.</param>
/// <param name="Offset">Byte offset for read and write.</param>
/// <param name="ControlCode">For control requests.</param>
/// <param name="Input">User address of the input buffer of control requests.</param>
/// <param name="InputLength">Its length, bytes.</param>
public readonly record struct IoRequest(
    byte MajorFunction, ulong Buffer = 0, uint Length = 0, long Offset = 0, uint ControlCode = 0, ulong Input = 0, uint InputLength = 0);

/// <summary>Called once when a request is over for its requestor, in the requesting thread at APC_LEVEL.</summary>
public interface IRequestCompletion
{
    void Finished(NTSTATUS status, ulong information);
}

/// <summary>Requests of user threads: reads, writes and control requests on file objects, and their cancellation.</summary>
public sealed class UserRequests
{
    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<PIRP, PendingRequest> pending = [];

    internal UserRequests(Machine machine) => this.machine = machine;

    sealed class PendingRequest(IRequestCompletion completion, KernelThread owner)
    {
        internal readonly IRequestCompletion Completion = completion;
        internal readonly KernelThread Owner = owner;
        internal KernelThread? Canceller;
    }

    /// <summary>Sends a request and returns as the system service would (FILE-01, FILE-06, FILE-07).</summary>
    /// <param name="iosb">Receives the outcome; user address.</param>
    /// <param name="completion">Told when the request is over; null for files opened for synchronous I/O.</param>
    /// <param name="irp">For <see cref="Cancel"/>; valid only until the request is over.</param>
    /// <returns>The final status for a synchronous file; otherwise possibly STATUS_PENDING.</returns>
    public NTSTATUS Send(PFILE_OBJECT file, in IoRequest request, PIO_STATUS_BLOCK iosb, IRequestCompletion? completion, out PIRP irp)
    {
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            return SendInKernel(file, in request, iosb, completion, out irp);
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }

    NTSTATUS SendInKernel(PFILE_OBJECT file, in IoRequest request, PIO_STATUS_BLOCK iosb, IRequestCompletion? completion, out PIRP irp)
    {
        irp = default;
        machine.Scheduler.Heartbeat++;
        bool isControl = request.MajorFunction is IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL;
        if (isControl && !HasAccess(file, request.ControlCode)) return NTSTATUS.STATUS_ACCESS_DENIED;
        bool synchronousFile = (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        PKEVENT fileEvent = new(file.Address + 0x98);
        if (synchronousFile) Wait(new PKEVENT(file.Address + 0x80));
        try
        {
            machine.Dispatcher.KeClearEvent(fileEvent);
            PDEVICE_OBJECT top = machine.Devices.IoGetAttachedDevice(file.DeviceObject);
            irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Request);
            if (irp.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
            PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
            location.MajorFunction = request.MajorFunction;
            location.FileObject = file;
            irp.UserIosb = iosb;
            NTSTATUS prepared = Prepare(irp, location, top, in request);
            if (prepared < 0)
            {
                irp = machine.Builders.Undo(irp);
                return prepared;
            }
            if (completion is not null)
            {
                lock (gate) pending.Add(irp, new PendingRequest(completion, machine.CurrentThread));
            }
            NTSTATUS status = SendAndOwn(file, irp, top, MODE.UserMode);
            if (status != NTSTATUS.STATUS_PENDING || !synchronousFile) return status;
            Wait(fileEvent);
            return file.FinalStatus;
        }
        finally
        {
            if (synchronousFile) machine.Dispatcher.Signal(new PDISPATCHER_HEADER(file.Address + 0x80));
        }
    }

    NTSTATUS Prepare(PIRP irp, PIO_STACK_LOCATION location, PDEVICE_OBJECT top, in IoRequest request)
    {
        switch (request.MajorFunction)
        {
            case IRP_MJ_READ or IRP_MJ_WRITE:
                location.Parameters.Read.Length = request.Length;
                location.Parameters.Read.ByteOffset = request.Offset;
                irp.Flags |= IRP_DEFER_IO_COMPLETION | (request.MajorFunction == IRP_MJ_READ ? IRP_READ_OPERATION : IRP_WRITE_OPERATION);
                return machine.Builders.AttachTransferBuffer(irp, top.Flags, request.MajorFunction, new PVOID(request.Buffer), request.Length, MODE.UserMode);
            case IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL:
                location.Parameters.DeviceIoControl.IoControlCode = request.ControlCode;
                location.Parameters.DeviceIoControl.InputBufferLength = request.InputLength;
                location.Parameters.DeviceIoControl.OutputBufferLength = request.Length;
                return machine.Builders.AttachControlBuffers(
                    irp, location, request.ControlCode, new PVOID(request.Input), request.InputLength, new PVOID(request.Buffer), request.Length, MODE.UserMode);
            default:
                return NTSTATUS.STATUS_SUCCESS;
        }
    }

    /// <summary>Makes a request the current thread's own, sends it, and finishes it here if that was deferred (COMPLETE-FINAL-08).</summary>
    internal NTSTATUS SendAndOwn(PFILE_OBJECT file, PIRP irp, PDEVICE_OBJECT top, MODE mode)
    {
        KernelThread thread = machine.CurrentThread;
        bool deferred = (irp.Flags & IRP_DEFER_IO_COMPLETION) != 0;
        irp.RequestorMode = mode;
        irp.Tail.Overlay.Thread = thread.Object;
        irp.Tail.Overlay.OriginalFileObject = file;
        if ((irp.Flags & IRP_CREATE_OPERATION) == 0) machine.Objects.ObfReferenceObject(file);
        IrpAllocation.QueueToThread(irp, thread);
        machine.Events.Emit(new RequestSent(irp, file, top));
        NTSTATUS status = machine.Dispatch.IoCallDriver(top, irp);
        if (deferred && status != NTSTATUS.STATUS_PENDING) machine.Completion.FinishInThread(thread, irp);
        return status;
    }

    /// <summary>Whether a request is synchronous for its requestor; also said of buffered control requests. Any IRQL. (FILE-08)</summary>
    [KernelExport]
    public BOOLEAN IoIsOperationSynchronous(PIRP Irp)
    {
        // Paging requests are synchronous only by a flag of their own, which means something else in other requests.
        if ((Irp.Flags & IRP_PAGING_IO) != 0) return (Irp.Flags & IRP_SYNCHRONOUS_PAGING_IO) != 0;
        if ((Irp.Flags & IRP_SYNCHRONOUS_API) != 0) return true;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetCurrentIrpStackLocation(Irp);
        bool isControl = location.MajorFunction is IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL or IRP_MJ_FILE_SYSTEM_CONTROL;
        if (isControl && (location.Parameters.DeviceIoControl.IoControlCode & 3) == METHOD_BUFFERED) return true;
        return !location.FileObject.IsNull && (location.FileObject.Flags & FO_SYNCHRONOUS_IO) != 0;
    }

    /// <summary>Cancels a request that was sent with a completion; false if it was over already. (CANCEL-02)</summary>
    public bool Cancel(PIRP irp)
    {
        PendingRequest? request;
        lock (gate)
        {
            if (!pending.TryGetValue(irp, out request) || request.Canceller is not null) return false;
            request.Canceller = machine.CurrentThread;
        }
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            machine.Cancellation.IoCancelIrp(irp);
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
        request.Canceller = null;
        machine.Scheduler.Unblock(request.Owner);
        return true;
    }

    /// <summary>Waits in the current guest thread until a condition holds that some request's end brings about.</summary>
    /// <param name="reason">Names what is missing, for the report of a hang: "waits for ...".</param>
    public void WaitUntil(Func<bool> condition, string reason) => machine.Dispatcher.WaitUntil(machine.CurrentThread, condition, reason);

    /// <summary>Lets a thread that is in <see cref="WaitUntil"/> look at its condition again.</summary>
    public void Wake(KernelThread thread) => machine.Scheduler.Unblock(thread);

    /// <summary>Keeps the packet alive while another thread is inside IoCancelIrp with it.</summary>
    internal void WaitForCancel(PIRP irp)
    {
        PendingRequest? request;
        lock (gate)
        {
            if (pending.Count == 0 || !pending.TryGetValue(irp, out request)) return;
        }
        KernelThread thread = machine.CurrentThread;
        while (request.Canceller is { } canceller && canceller != thread) machine.Scheduler.Block(thread, long.MaxValue);
        lock (gate) request.Canceller ??= thread;
    }

    internal void Finished(PIRP irp, NTSTATUS status, ulong information)
    {
        PendingRequest? request;
        lock (gate)
        {
            if (pending.Count == 0 || !pending.Remove(irp, out request)) return;
        }
        request.Completion.Finished(status, information);
    }

    /// <summary>BUF-07: the access bits of a control code against the access the handle was opened with.</summary>
    static bool HasAccess(PFILE_OBJECT file, uint controlCode)
    {
        uint access = (controlCode >> 14) & 3;
        return ((access & FILE_READ_ACCESS) == 0 || file.ReadAccess) && ((access & FILE_WRITE_ACCESS) == 0 || file.WriteAccess);
    }

    void Wait(PKEVENT signal) => machine.Dispatcher.KeWaitForSingleObject(signal, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
}
