using System.Collections.Concurrent;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>A request that a <see cref="ScriptedDevice"/> has received.</summary>
public sealed class ScriptedRequest
{
    internal ScriptedRequest(ScriptedDevice device, PIRP irp, PIO_STACK_LOCATION stack, byte[] data)
    {
        Device = device;
        Irp = irp;
        MajorFunction = stack.MajorFunction;
        MinorFunction = stack.MinorFunction;
        FileObject = stack.FileObject;
        Data = data;
        switch (MajorFunction)
        {
            case IRP_MJ_READ or IRP_MJ_WRITE:
                Offset = stack.Parameters.Read.ByteOffset;
                Length = stack.Parameters.Read.Length;
                break;
            case IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL:
                ControlCode = stack.Parameters.DeviceIoControl.IoControlCode;
                Length = stack.Parameters.DeviceIoControl.OutputBufferLength;
                break;
        }
    }

    internal ScriptedDevice Device { get; }

    internal PFILE_OBJECT FileObject { get; }

    internal bool IsCancellable { get; set; }

    /// <summary>The packet; gone as soon as the request is over.</summary>
    public PIRP Irp { get; }

    public byte MajorFunction { get; }

    public byte MinorFunction { get; }

    /// <summary>Of a read or write, bytes.</summary>
    public long Offset { get; }

    /// <summary>Of a read or write, or of a control request's output buffer; bytes.</summary>
    public uint Length { get; }

    public uint ControlCode { get; }

    /// <summary>What a write brought, or a control request's input.</summary>
    public ReadOnlyMemory<byte> Data { get; }

    /// <summary>How the device completed it; STATUS_PENDING until then, STATUS_CANCELLED if that was first.</summary>
    public NTSTATUS Status { get; internal set; } = NTSTATUS.STATUS_PENDING;

    public bool IsOver => Status != NTSTATUS.STATUS_PENDING;

    public override string ToString() => MajorFunction switch
    {
        IRP_MJ_READ => $"read {Length} bytes at {Offset}",
        IRP_MJ_WRITE => $"write {Length} bytes at {Offset}",
        IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL => $"control 0x{ControlCode:X8}",
        _ => $"major function 0x{MajorFunction:X2}",
    };
}

/// <summary>A lowest-level device that answers as its test tells it: at once, later, with an error, or on command.</summary>
/// <example>
/// <code>
/// var device = new ScriptedDevice();
/// HeldResponse held = Respond.WhenTold();
/// device.Enqueue(Respond.Now(STATUS_DEVICE_NOT_READY), held); // the first request fails, the second is held
/// ...
/// held.WaitForRequest(machine);
/// held.Complete(STATUS_SUCCESS, data: sector);
/// </code>
/// </example>
/// <param name="name">Of the device object.</param>
public sealed class ScriptedDevice(string name = @"\Device\Scripted0") : WdmDriver
{
    const byte DeviceIrql = 5;

    readonly ConcurrentQueue<Response> script = new();
    readonly ConcurrentQueue<ScriptedRequest> requests = new();
    readonly ConcurrentQueue<(ScriptedRequest Request, Outcome Outcome)> finished = new();
    // What the device holds; guarded by the lock in the device extension.
    readonly List<ScriptedRequest> held = [];
    PDEVICE_OBJECT device;
    PDEVICE_OBJECT below;
    int interruptsInService;
    volatile bool isGone;

    /// <summary>
    /// Whether it attaches to a device that a bus reports (AddDevice) and takes part in Plug and Play and power management there, in
    /// place of making a named device at once.
    /// </summary>
    public bool IsPlugAndPlay { get; init; }

    /// <summary>How the I/O manager describes read and write buffers: DO_DIRECT_IO, DO_BUFFERED_IO or none.</summary>
    public DO_FLAGS Buffering { get; init; } = DO_DIRECT_IO;

    /// <summary>Answers requests that no enqueued response is left for, or meant for; success at first.</summary>
    public Func<ScriptedRequest, Response> Otherwise { get; set; } = static _ => Respond.Now();

    /// <summary>The reads, writes, flushes and control requests so far, oldest first.</summary>
    public IReadOnlyList<ScriptedRequest> Requests => [.. requests];

    /// <summary>Answers the coming reads, writes, flushes and control requests, in this order.</summary>
    public void Enqueue(params ReadOnlySpan<Response> responses)
    {
        foreach (Response response in responses) script.Enqueue(response);
    }

    PKSPIN_LOCK Lock => new(device.DeviceExtension.Address);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
        DriverObject.DriverUnload = Routine(Unload);
        if (!IsPlugAndPlay) return CreateDevice(DriverObject, RTL_CONSTANT_STRING(name));
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(DispatchPnp);
        DriverObject.MajorFunction[IRP_MJ_POWER] = DriverObject.MajorFunction[IRP_MJ_SYSTEM_CONTROL] = Routine(PassDown);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        return STATUS_SUCCESS;
    }

    NTSTATUS CreateDevice(PDRIVER_OBJECT DriverObject, PUNICODE_STRING DeviceName)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, KSPIN_LOCK.SizeOf, DeviceName, FILE_DEVICE_DISK, 0, false, out device);
        if (!status.IsSuccess) return status;
        device.Flags |= Buffering;
        KeInitializeSpinLock(Lock);
        IoInitializeDpcRequest(device, DpcForIsr);
        return STATUS_SUCCESS;
    }

    void Unload(PDRIVER_OBJECT DriverObject)
    {
        if (IsPlugAndPlay) return;
        StopInterrupts();
        IoDeleteDevice(device);
    }

    // ---- Plug and Play

    NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = CreateDevice(DriverObject, default);
        if (!status.IsSuccess) return status;
        below = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
        device.Flags |= below.Flags & (DO_POWER_PAGABLE | DO_POWER_INRUSH);
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return STATUS_SUCCESS;
    }

    NTSTATUS DispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        byte minorFunction = IoGetCurrentIrpStackLocation(Irp).MinorFunction;
        if (minorFunction is IRP_MN_SURPRISE_REMOVAL or IRP_MN_REMOVE_DEVICE or IRP_MN_STOP_DEVICE) CancelHeld(_ => true);
        if (minorFunction is IRP_MN_START_DEVICE or IRP_MN_SURPRISE_REMOVAL or IRP_MN_REMOVE_DEVICE or IRP_MN_STOP_DEVICE
            or IRP_MN_CANCEL_STOP_DEVICE or IRP_MN_CANCEL_REMOVE_DEVICE or IRP_MN_QUERY_STOP_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE)
            Irp.IoStatus.Status = STATUS_SUCCESS;
        NTSTATUS status = PassDown(DeviceObject, Irp);
        if (minorFunction != IRP_MN_REMOVE_DEVICE) return status;
        StopInterrupts();
        IoDetachDevice(below);
        IoDeleteDevice(DeviceObject);
        return status;
    }

    NTSTATUS PassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(below, Irp);
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        bool isScripted = stack.MajorFunction is
            IRP_MJ_READ or IRP_MJ_WRITE or IRP_MJ_FLUSH_BUFFERS or IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL;
        var request = new ScriptedRequest(this, Irp, stack, Input(Irp, stack).ToArray());
        if (isScripted) requests.Enqueue(request);
        if (stack.MajorFunction == IRP_MJ_CLEANUP)
        {
            PFILE_OBJECT closed = stack.FileObject;
            CancelHeld(r => r.FileObject == closed && r.IsCancellable);
        }
        Response response = isScripted && script.TryDequeue(out Response? next) ? next : Otherwise(request);
        NTSTATUS status = response.Outcome.Status;
        switch (response.Kind)
        {
            case ResponseKind.Now:
                CompleteIrp(request, response.Outcome);
                return status;
            case ResponseKind.PendingInline:
                IoMarkIrpPending(Irp);
                CompleteIrp(request, response.Outcome);
                return STATUS_PENDING;
        }
        if (!Hold(request, response.IsCancellable))
        {
            CompleteIrp(request, new Outcome(STATUS_CANCELLED, 0, default));
        }
        else if (response is HeldResponse told)
        {
            told.Hold(request);
        }
        else
        {
            var interrupt = new Interrupt(name, DeviceIrql, () => InterruptService(request, response.Outcome));
            Machine.Scheduler.Schedule(interrupt, Machine.Scheduler.InterruptTime + response.Delay.Ticks);
        }
        return STATUS_PENDING;
    }

    void InterruptService(ScriptedRequest request, Outcome outcome)
    {
        Interlocked.Increment(ref interruptsInService);
        if (!isGone)
        {
            finished.Enqueue((request, outcome));
            IoRequestDpc(device, default, default);
        }
        Interlocked.Decrement(ref interruptsInService);
    }

    /// <summary>Requests that were cancelled leave their interrupts behind: on return none of them, and no DPC, touches the device object.</summary>
    void StopInterrupts()
    {
        isGone = true;
        Interlocked.MemoryBarrier();
        while (Volatile.Read(ref interruptsInService) > 0) Machine.Scheduler.Yield(Machine.CurrentThread, SchedulingPoint.Spin);
        KeFlushQueuedDpcs();
    }

    void DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        while (finished.TryDequeue(out (ScriptedRequest Request, Outcome Outcome) done)) Complete(done.Request, done.Outcome);
    }

    // ---- What the device holds. A request leaves the list under the lock, and who takes it out completes it.

    /// <returns>False if the request is cancelled already; it is not held then.</returns>
    bool Hold(ScriptedRequest request, bool cancellable)
    {
        PIRP irp = request.Irp;
        request.IsCancellable = cancellable;
        KeAcquireSpinLock(Lock, out KIRQL irql);
        IoMarkIrpPending(irp);
        bool isHeld = true;
        if (cancellable)
        {
            IoSetCancelRoutine(irp, CancelHeld);
            // Cancelled before the routine was set: nobody will call it. Cancelled since: it waits for the lock.
            isHeld = !irp.Cancel || IoSetCancelRoutine(irp, null).IsNull;
        }
        if (isHeld) held.Add(request);
        KeReleaseSpinLock(Lock, irql);
        return isHeld;
    }

    internal bool Complete(ScriptedRequest request, Outcome outcome)
    {
        if (Machine.TryGetCurrentThread() is null) return Machine.Run(() => Complete(request, outcome), "device");
        KeAcquireSpinLock(Lock, out KIRQL irql);
        // A cancel routine that is on its way finds the request in the list and completes it.
        bool mine = held.Contains(request) && (!request.IsCancellable || !IoSetCancelRoutine(request.Irp, null).IsNull);
        if (mine) held.Remove(request);
        KeReleaseSpinLock(Lock, irql);
        if (mine) CompleteIrp(request, outcome);
        return mine;
    }

    void CancelHeld(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoReleaseCancelSpinLock(Irp.CancelIrql);
        KeAcquireSpinLock(Lock, out KIRQL irql);
        ScriptedRequest request = held.Find(r => r.Irp == Irp)!;
        held.Remove(request);
        KeReleaseSpinLock(Lock, irql);
        CompleteIrp(request, new Outcome(STATUS_CANCELLED, 0, default));
    }

    /// <summary>Gives up what nobody waits for any more, as the handle is closed, or what the device cannot do any more.</summary>
    void CancelHeld(Predicate<ScriptedRequest> match)
    {
        KeAcquireSpinLock(Lock, out KIRQL irql);
        ScriptedRequest[] abandoned =
            [.. held.Where(r => match(r) && (!r.IsCancellable || !IoSetCancelRoutine(r.Irp, null).IsNull))];
        foreach (ScriptedRequest request in abandoned) held.Remove(request);
        KeReleaseSpinLock(Lock, irql);
        foreach (ScriptedRequest request in abandoned) CompleteIrp(request, new Outcome(STATUS_CANCELLED, 0, default));
    }

    void CompleteIrp(ScriptedRequest request, Outcome outcome)
    {
        PIRP irp = request.Irp;
        bool isTransfer = request.MajorFunction is IRP_MJ_READ or IRP_MJ_WRITE;
        ulong information = outcome.Information
            ?? (!outcome.Data.IsEmpty ? (ulong)outcome.Data.Length : isTransfer && !outcome.Status.IsError ? request.Length : 0);
        if (!outcome.Data.IsEmpty)
        {
            Span<byte> buffer = Output(irp, IoGetCurrentIrpStackLocation(irp), request.Length);
            outcome.Data.Span[..Math.Min(buffer.Length, outcome.Data.Length)].CopyTo(buffer);
            if (outcome.Information is null) information = Math.Min(information, (ulong)buffer.Length);
        }
        request.Status = outcome.Status;
        irp.IoStatus.Status = outcome.Status;
        irp.IoStatus.Information = information;
        IoCompleteRequest(irp, IO_NO_INCREMENT);
    }

    // ---- Where a request's bytes are.

    ReadOnlySpan<byte> Input(PIRP irp, PIO_STACK_LOCATION stack)
    {
        switch (stack.MajorFunction)
        {
            case IRP_MJ_WRITE:
                return Transfer(irp, stack.Parameters.Write.Length);
            case IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL:
                bool neither = METHOD_FROM_CTL_CODE(stack.Parameters.DeviceIoControl.IoControlCode) == METHOD_NEITHER;
                PVOID input = neither ? stack.Parameters.DeviceIoControl.Type3InputBuffer : irp.AssociatedIrp.SystemBuffer;
                return Bytes(input, stack.Parameters.DeviceIoControl.InputBufferLength);
            default:
                return default;
        }
    }

    Span<byte> Output(PIRP irp, PIO_STACK_LOCATION stack, uint length) => stack.MajorFunction switch
    {
        IRP_MJ_READ => Transfer(irp, length),
        IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL => Output(irp, stack.Parameters.DeviceIoControl.IoControlCode, length),
        _ => default,
    };

    Span<byte> Output(PIRP irp, uint controlCode, uint length) => METHOD_FROM_CTL_CODE(controlCode) switch
    {
        METHOD_BUFFERED => Bytes(irp.AssociatedIrp.SystemBuffer, length),
        METHOD_NEITHER => Bytes(irp.UserBuffer, length),
        _ => Mapped(irp.MdlAddress, length),
    };

    Span<byte> Transfer(PIRP irp, uint length) =>
        (Buffering & DO_BUFFERED_IO) != 0 ? Bytes(irp.AssociatedIrp.SystemBuffer, length)
        : (Buffering & DO_DIRECT_IO) != 0 ? Mapped(irp.MdlAddress, length)
        : Bytes(irp.UserBuffer, length);

    Span<byte> Mapped(PMDL mdl, uint length) =>
        mdl.IsNull ? default : Bytes(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority), length);

    // A program may name any address; a device that only plays a part does not fall for it.
    static Span<byte> Bytes(PVOID address, uint length) =>
        address.IsNull || length == 0 || !GuestMemory.IsAccessible(address.Address, length, PageAccess.Write)
            ? default
            : GuestMemory.Write(address.Address, (int)length);
}
