using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>One request on an open file, as the system services receive it.</summary>
/// <param name="MajorFunction">IRP_MJ_READ, _WRITE, _DEVICE_CONTROL, _FLUSH_BUFFERS, ...</param>
/// <param name="Buffer">Address of the data buffer, of the output buffer for control requests.</param>
/// <param name="Length">Its length, bytes.</param>
/// <param name="Offset">Byte offset for read and write.</param>
/// <param name="ControlCode">For control requests.</param>
/// <param name="Input">Address of the input buffer of control requests.</param>
/// <param name="InputLength">Its length, bytes.</param>
public readonly record struct IoRequest(
    byte MajorFunction, ulong Buffer = 0, uint Length = 0, long Offset = 0, uint ControlCode = 0, ulong Input = 0, uint InputLength = 0)
{
    /// <summary>UserMode for a program, KernelMode for a driver: how far its buffers are trusted.</summary>
    public MODE RequestorMode { get; init; } = MODE.UserMode;

    /// <summary>An event object that is set when the request is over; the request takes over the caller's reference. Null for none.</summary>
    public PKEVENT Event { get; init; }

    /// <summary>Called with <see cref="ApcContext"/> and the status block when the request is over; null for none.</summary>
    public PIO_APC_ROUTINE ApcRoutine { get; init; }

    /// <summary>Of <see cref="ApcRoutine"/>; without one, reported to the file's completion port unless null.</summary>
    public PVOID ApcContext { get; init; }

    /// <summary>IRP_MN_*, for directory control.</summary>
    public byte MinorFunction { get; init; }

    /// <summary>Flags of the stack location.</summary>
    public SL_FLAGS Flags { get; init; }

    /// <summary>Of locked ranges, for read and write.</summary>
    public uint Key { get; init; }

    /// <summary>FILE_INFORMATION_CLASS or FS_INFORMATION_CLASS, for requests that query or set information.</summary>
    public int InformationClass { get; init; }

    /// <summary>Which files a directory is asked for; null for all.</summary>
    public string? FileName { get; init; }

    /// <summary>Whether the system service waits for the end whatever the file was opened for.</summary>
    public bool IsSynchronous { get; init; }
}

/// <summary>Called once when a request is over for its requestor, in the requesting thread at APC_LEVEL.</summary>
public interface IRequestCompletion
{
    void Finished(NTSTATUS status, ulong information);
}

/// <summary>Requests on file objects, as the system services send them for programs and drivers.</summary>
public sealed class FileRequests
{
    readonly Machine machine;

    internal FileRequests(Machine machine) => this.machine = machine;

    /// <summary>Sends a request and returns as the system service would (FILE-01, FILE-06, FILE-07).</summary>
    /// <param name="iosb">Receives the outcome.</param>
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

    /// <summary>The same for a caller in the kernel.</summary>
    internal NTSTATUS SendInKernel(PFILE_OBJECT file, in IoRequest request, PIO_STATUS_BLOCK iosb, IRequestCompletion? completion, out PIRP irp)
    {
        irp = default;
        machine.Scheduler.Heartbeat++;
        bool synchronousFile = (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        if (synchronousFile) machine.Files.Lock(file);
        try
        {
            NTSTATUS refusal = RefusalOf(file, in request);
            PDEVICE_OBJECT top = default;
            if (refusal >= 0)
            {
                if (!request.Event.IsNull) machine.Dispatcher.KeClearEvent(request.Event);
                top = machine.Devices.IoGetRelatedDeviceObject(file);
                if (machine.FastIo.Try(file, in request, top) is { } outcome) return Finish(file, in request, outcome, iosb, completion);
                refusal = Prepare(file, in request, top, out irp);
            }
            if (refusal < 0)
            {
                if (!request.Event.IsNull) machine.Objects.ObfDereferenceObject(request.Event);
                return refusal;
            }
            irp.UserIosb = iosb;
            irp.UserEvent = request.Event;
            irp.Overlay.AsynchronousParameters.UserApcRoutine = request.ApcRoutine;
            irp.Overlay.AsynchronousParameters.UserApcContext = request.ApcContext;
            machine.Dispatcher.KeClearEvent(FileObjects.EventOf(file));
            if (!synchronousFile && request.IsSynchronous) return SendAndWait(file, irp, top, request.RequestorMode, iosb);
            NTSTATUS status = SendAndOwn(file, irp, top, request.RequestorMode, new Requestor(completion, request.Event));
            if (status != NTSTATUS.STATUS_PENDING || !synchronousFile) return status;
            WaitForEnd(file, irp);
            return file.FinalStatus;
        }
        finally
        {
            if (synchronousFile) machine.Files.Unlock(file);
        }
    }

    /// <summary>A service that is synchronous on asynchronous files too: the caller never sees the request's own event and status block.</summary>
    NTSTATUS SendAndWait(PFILE_OBJECT file, PIRP irp, PDEVICE_OBJECT top, MODE mode, PIO_STATUS_BLOCK iosb)
    {
        using var block = new RequestBlock(machine);
        irp.Flags |= IRP_SYNCHRONOUS_API;
        irp.UserIosb = block.Iosb;
        irp.UserEvent = block.Event;
        NTSTATUS status = SendAndOwn(file, irp, top, mode);
        bool wasPending = status == NTSTATUS.STATUS_PENDING;
        if (wasPending)
        {
            Wait(block.Event);
            status = block.Iosb.Status;
        }
        // An error that the dispatch routine returned was written nowhere (COMPLETE-FINAL-18, -19).
        if (wasPending || !status.IsError) iosb.Value = block.Iosb.Value;
        return status;
    }

    /// <summary>FILE_SYNCHRONOUS_IO_ALERT: an alert or a user APC cancels what is waited for.</summary>
    void WaitForEnd(PFILE_OBJECT file, PIRP irp)
    {
        bool alertable = (file.Flags & FO_ALERTABLE_IO) != 0;
        PKEVENT end = FileObjects.EventOf(file);
        MODE mode = alertable ? MODE.UserMode : MODE.KernelMode;
        if (machine.Dispatcher.KeWaitForSingleObject(end, KWAIT_REASON.Executive, mode, alertable, null) == NTSTATUS.STATUS_SUCCESS) return;
        machine.Outstanding.Cancel([machine.CurrentThread.IrpList], other => other == irp);
        Wait(end);
    }

    static NTSTATUS RefusalOf(PFILE_OBJECT file, in IoRequest request)
    {
        if (request.RequestorMode == MODE.UserMode && !HasAccess(file, in request)) return NTSTATUS.STATUS_ACCESS_DENIED;
        bool hasPort = !file.CompletionContext.IsNull;
        // One IRP cannot both wait in the port and call a routine.
        return hasPort && !request.ApcRoutine.IsNull ? NTSTATUS.STATUS_INVALID_PARAMETER : NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>A request that needed no IRP: neither the file's event nor an APC tells of its end.</summary>
    NTSTATUS Finish(PFILE_OBJECT file, in IoRequest request, FastIoOutcome outcome, PIO_STATUS_BLOCK iosb, IRequestCompletion? completion)
    {
        IO_STATUS_BLOCK result = outcome.IoStatus;
        if (!outcome.IsRefused)
        {
            iosb.Value = result;
            if (!request.Event.IsNull && (file.Flags & FO_SKIP_SET_FAST_IO) == 0) machine.Dispatcher.KeSetEvent(request.Event, IO_NO_INCREMENT, false);
            if (!machine.Ports.Report(file, request.ApcContext, result)) result.Status = NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        }
        if (!request.Event.IsNull) machine.Objects.ObfDereferenceObject(request.Event);
        completion?.Finished(result.Status, result.Information);
        return result.Status;
    }

    /// <summary>Makes the IRP of a request; an error, and no IRP, when it cannot be sent.</summary>
    NTSTATUS Prepare(PFILE_OBJECT file, in IoRequest request, PDEVICE_OBJECT top, out PIRP irp)
    {
        irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Request);
        if (irp.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = request.MajorFunction;
        location.MinorFunction = request.MinorFunction;
        location.Flags = request.Flags;
        location.FileObject = file;
        NTSTATUS status = FillIn(irp, location, top, in request);
        if (status < 0) irp = machine.Builders.Undo(irp);
        return status;
    }

    NTSTATUS FillIn(PIRP irp, PIO_STACK_LOCATION location, PDEVICE_OBJECT top, in IoRequest request)
    {
        switch (request.MajorFunction)
        {
            case IRP_MJ_READ or IRP_MJ_WRITE:
                location.Parameters.Read.Length = request.Length;
                location.Parameters.Read.Key = request.Key;
                location.Parameters.Read.ByteOffset = request.Offset;
                irp.Flags |= IRP_DEFER_IO_COMPLETION | (request.MajorFunction == IRP_MJ_READ ? IRP_READ_OPERATION : IRP_WRITE_OPERATION);
                if ((location.FileObject.Flags & FO_NO_INTERMEDIATE_BUFFERING) != 0) irp.Flags |= IRP_NOCACHE;
                return machine.Builders.AttachTransferBuffer(
                    irp, top.Flags, request.MajorFunction, new PVOID(request.Buffer), request.Length, request.RequestorMode);
            case IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL or IRP_MJ_FILE_SYSTEM_CONTROL:
                if (request.MajorFunction == IRP_MJ_FILE_SYSTEM_CONTROL) irp.Flags |= IRP_DEFER_IO_COMPLETION;
                location.Parameters.DeviceIoControl.IoControlCode = request.ControlCode;
                location.Parameters.DeviceIoControl.InputBufferLength = request.InputLength;
                location.Parameters.DeviceIoControl.OutputBufferLength = request.Length;
                return machine.Builders.AttachControlBuffers(irp, location, request.ControlCode,
                    new PVOID(request.Input), request.InputLength, new PVOID(request.Buffer), request.Length, request.RequestorMode);
            case IRP_MJ_QUERY_INFORMATION or IRP_MJ_QUERY_VOLUME_INFORMATION or IRP_MJ_SET_INFORMATION or IRP_MJ_SET_VOLUME_INFORMATION:
                // Length and class lie at the same place for all four.
                location.Parameters.QueryFile.Length = request.Length;
                location.Parameters.QueryFile.FileInformationClass = (FILE_INFORMATION_CLASS)request.InformationClass;
                irp.Flags |= IRP_DEFER_IO_COMPLETION;
                bool isQuery = request.MajorFunction is IRP_MJ_QUERY_INFORMATION or IRP_MJ_QUERY_VOLUME_INFORMATION;
                return machine.Builders.AttachSystemBuffer(irp, new PVOID(request.Buffer), request.Length, request.RequestorMode, isQuery);
            case IRP_MJ_DIRECTORY_CONTROL:
                location.Parameters.QueryDirectory.Length = request.Length;
                location.Parameters.QueryDirectory.FileInformationClass = (FILE_INFORMATION_CLASS)request.InformationClass;
                if (request.FileName is { } pattern && !AttachFileName(irp, location, pattern)) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
                return machine.Builders.AttachTransferBuffer(irp, top.Flags, IRP_MJ_READ, new PVOID(request.Buffer), request.Length, request.RequestorMode);
            default:
                return NTSTATUS.STATUS_SUCCESS;
        }
    }

    /// <summary>The pattern of a directory query lies in the auxiliary buffer, which is freed with the request.</summary>
    bool AttachFileName(PIRP irp, PIO_STACK_LOCATION location, string pattern)
    {
        const uint tag = 0x61466F49; // "IoFa"
        ushort bytes = (ushort)(pattern.Length * 2);
        ulong buffer = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, UNICODE_STRING.SizeOf + (ulong)bytes, tag, 0);
        if (buffer == 0) return false;
        irp.Tail.Overlay.AuxiliaryBuffer = new PVOID(buffer);
        PUNICODE_STRING name = new(buffer);
        name.Length = name.MaximumLength = bytes;
        name.Buffer = new(buffer + UNICODE_STRING.SizeOf);
        System.Runtime.InteropServices.MemoryMarshal.AsBytes(pattern.AsSpan()).CopyTo(GuestMemory.Write(name.Buffer.Address, bytes));
        location.Parameters.QueryDirectory.FileName = name;
        return true;
    }

    /// <summary>Makes a request the current thread's own, sends it, and finishes it here if that was deferred (COMPLETE-FINAL-08).</summary>
    internal NTSTATUS SendAndOwn(PFILE_OBJECT file, PIRP irp, PDEVICE_OBJECT top, MODE mode, Requestor requestor = default)
    {
        KernelThread thread = machine.CurrentThread;
        bool deferred = (irp.Flags & IRP_DEFER_IO_COMPLETION) != 0;
        irp.RequestorMode = mode;
        irp.Tail.Overlay.Thread = thread.Object;
        irp.Tail.Overlay.OriginalFileObject = file;
        if ((irp.Flags & IRP_CREATE_OPERATION) == 0) machine.Objects.ObfReferenceObject(file);
        machine.Outstanding.Add(irp, BelongsToFile(irp, file) ? FileObjects.IrpListOf(file) : thread.IrpList, requestor);
        machine.Events.Emit(new RequestSent(irp, file, top));
        NTSTATUS status = machine.Dispatch.IoCallDriver(top, irp);
        if (deferred && status != NTSTATUS.STATUS_PENDING) machine.Completion.FinishInThread(thread, irp);
        return status;
    }

    /// <summary>CANCEL-17: asynchronous requests on a file with a completion port outlive the thread that sent them.</summary>
    internal static bool BelongsToFile(PIRP irp, PFILE_OBJECT file) =>
        !file.CompletionContext.IsNull && (irp.Flags & IRP_SYNCHRONOUS_API) == 0 && (file.Flags & (FO_SYNCHRONOUS_IO | FO_QUEUE_IRP_TO_THREAD)) == 0;

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
    public bool Cancel(PIRP irp, IRequestCompletion completion)
    {
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            return machine.Outstanding.Cancel(irp, completion);
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }

    /// <summary>Waits in the current guest thread until a condition holds that some request's end brings about.</summary>
    /// <param name="reason">Names what is missing, for the report of a hang: "waits for ...".</param>
    public void WaitUntil(Func<bool> condition, string reason) => machine.Dispatcher.WaitUntil(machine.CurrentThread, condition, reason);

    /// <summary>NtDelayExecution of a user thread: it sleeps alertably, and user APCs run before this returns.</summary>
    /// <param name="interval">100 ns units: negative = relative, positive = system time.</param>
    /// <returns>STATUS_USER_APC when APCs ended the sleep.</returns>
    public NTSTATUS SleepAlertable(in long interval)
    {
        using SystemCall call = machine.CurrentThread.Enter();
        return machine.Dispatcher.KeDelayExecutionThread(MODE.UserMode, true, in interval);
    }

    /// <summary>Lets a thread that is in <see cref="WaitUntil"/> look at its condition again.</summary>
    public void Wake(KernelThread thread) => machine.Scheduler.Unblock(thread);

    /// <summary>What a program may do by the access that it opened the file with (BUF-07 for control codes).</summary>
    static bool HasAccess(PFILE_OBJECT file, in IoRequest request)
    {
        uint access = request.MajorFunction switch
        {
            IRP_MJ_READ => FILE_READ_ACCESS,
            IRP_MJ_WRITE => FILE_WRITE_ACCESS,
            IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL or IRP_MJ_FILE_SYSTEM_CONTROL => (request.ControlCode >> 14) & 3,
            _ => FILE_ANY_ACCESS,
        };
        return ((access & FILE_READ_ACCESS) == 0 || file.ReadAccess) && ((access & FILE_WRITE_ACCESS) == 0 || file.WriteAccess);
    }

    void Wait(PKEVENT signal) => machine.Dispatcher.KeWaitForSingleObject(signal, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
}
