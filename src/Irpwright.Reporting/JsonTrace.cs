using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Irpwright.Kernel;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>Writes every event of a machine as one JSON object per line (JSON Lines), as docs/trace-json.md describes.</summary>
/// <param name="names">Attached to the same machine, before this.</param>
public sealed class JsonTrace(Machine machine, ObjectNames names, TextWriter output) : KernelObserver
{
    static readonly TraceJson Context = new(
        new JsonSerializerOptions(TraceJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    readonly Lock gate = new();
    long step;

    void Write(TraceRecord record)
    {
        lock (gate)
        {
            record = record with
            {
                Step = ++step,
                Thread = record.Thread ?? (machine.TryGetCurrentThread() is { } thread ? ObjectNames.Thread(thread) : null),
                Time = machine.Scheduler is ControlledScheduler scheduler ? scheduler.InterruptTime : null,
            };
            output.Write(JsonSerializer.Serialize(record, Context.TraceRecord));
            output.Write('\n');
        }
    }

    // ---- IRPs

    public override void On(in IrpAllocated e) =>
        Write(new() { Event = "irpAllocated", Irp = names.Irp(e.Irp), Origin = CamelCase(e.Origin.ToString()), StackCount = e.StackSize });

    public override void On(in IrpReused e) => Write(new() { Event = "irpReused", Irp = names.Irp(e.Irp), Status = e.Status.Name });

    public override void On(in IrpFreed e) => Write(new() { Event = "irpFreed", Irp = names.Irp(e.Irp) });

    public override void On(in IrpForwarding e) =>
        Write(new() { Event = "irpForwarding", Irp = names.Irp(e.Irp), Device = Name(e.DeviceObject) });

    public override void On(in IrpForwarded e)
    {
        PIO_STACK_LOCATION location = e.Irp.Tail.Overlay.CurrentStackLocation;
        byte major = location.MajorFunction;
        bool isTransfer = major is IRP_MJ_READ or IRP_MJ_WRITE;
        bool isControl = major is IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL;
        ref IO_STACK_LOCATION.ParametersUnion parameters = ref location.Value.Parameters;
        IReadOnlyList<string> outcomes = RequestText.InvokeOn(location.Control);
        PIO_STACK_LOCATION senders = new(location.Address + IO_STACK_LOCATION.SizeOf);
        Write(new()
        {
            Event = "irpForwarded",
            Irp = names.Irp(e.Irp),
            Sender = Name(e.Sender),
            Device = Name(e.DeviceObject),
            Driver = names.DriverOf(e.DeviceObject),
            Routine = names.Routine(e.Routine.Address),
            Location = e.Irp.CurrentLocation,
            StackCount = e.Irp.StackCount,
            Major = Format.MajorFunction(major),
            Minor = Optional(RequestText.Minor(major, location.MinorFunction)),
            Offset = isTransfer ? parameters.Read.ByteOffset : null,
            Length = isTransfer ? parameters.Read.Length : null,
            ControlCode = isControl ? $"0x{parameters.DeviceIoControl.IoControlCode:x8}" : null,
            InputLength = isControl ? parameters.DeviceIoControl.InputBufferLength : null,
            OutputLength = isControl ? parameters.DeviceIoControl.OutputBufferLength : null,
            MarkedPending = e.Sender.IsNull ? null : (senders.Control & SL_PENDING_RETURNED) != 0,
            CompletionRoutine = outcomes.Count > 0 ? names.Routine(location.CompletionRoutine.Address) : null,
            InvokeOn = outcomes.Count > 0 ? outcomes : null,
        });
    }

    public override void On(in DispatchReturned e) => Write(new()
    {
        Event = "dispatchReturned",
        Irp = names.Irp(e.Irp),
        Device = Name(e.DeviceObject),
        Driver = Optional(names.DriverOf(e.DeviceObject)),
        Routine = names.Routine(e.Routine.Address),
        Status = e.Status.Name,
    });

    public override void On(in IrpCompleting e)
    {
        PDEVICE_OBJECT device = RequestText.Owner(e.Irp);
        Write(new()
        {
            Event = "irpCompleting",
            Irp = names.Irp(e.Irp),
            Device = Name(device),
            Driver = Optional(names.DriverOf(device)),
            Status = e.Status.Name,
            Information = e.Information,
            PriorityBoost = e.PriorityBoost,
        });
    }

    public override void On(in CompletionRoutineCalled e) => Write(new()
    {
        Event = "completionRoutineCalled",
        Irp = names.Irp(e.Irp),
        Device = Name(e.DeviceObject),
        Driver = DriverOf(e.DeviceObject, e.Routine.Address),
        Routine = names.Routine(e.Routine.Address),
        Status = e.Irp.IoStatus.Status.Name,
        Information = e.Irp.IoStatus.Information,
        PendingReturned = e.Irp.PendingReturned,
    });

    public override void On(in CompletionRoutineReturned e) => Write(new()
    {
        Event = "completionRoutineReturned",
        Irp = names.Irp(e.Irp),
        Device = Name(e.DeviceObject),
        Driver = DriverOf(e.DeviceObject, e.Routine.Address),
        Routine = names.Routine(e.Routine.Address),
        Status = RequestText.CompletionAnswer(e.Status),
    });

    public override void On(in IrpCompleted e) =>
        Write(new() { Event = "irpCompleted", Irp = names.Irp(e.Irp), Status = e.Status.Name, Information = e.Information });

    public override void On(in IrpCompletionReturned e) => Write(new() { Event = "irpCompletionReturned", Irp = names.Irp(e.Irp) });

    public override void On(in IrpCancelled e) => Write(new()
    {
        Event = "irpCancelled",
        Irp = names.Irp(e.Irp),
        Device = Name(e.DeviceObject),
        Driver = Optional(names.DriverOf(e.DeviceObject)),
        Routine = e.Routine.IsNull ? null : names.Routine(e.Routine.Address),
    });

    public override void On(in CancelRoutineReturned e) =>
        Write(new() { Event = "cancelRoutineReturned", Irp = names.Irp(e.Irp), Routine = names.Routine(e.Routine.Address) });

    public override void On(in StartIoCalled e) => WriteStartIo("startIoCalled", e.Irp, e.DeviceObject, e.Routine);

    public override void On(in StartIoReturned e) => WriteStartIo("startIoReturned", e.Irp, e.DeviceObject, e.Routine);

    void WriteStartIo(string name, PIRP irp, PDEVICE_OBJECT device, PDRIVER_STARTIO routine) => Write(new()
    {
        Event = name,
        Irp = names.Irp(irp),
        Device = Name(device),
        Driver = names.DriverOf(device),
        Routine = names.Routine(routine.Address),
    });

    public override void On(in RequestSent e) =>
        Write(new() { Event = "requestSent", Irp = names.Irp(e.Irp), File = names.File(e.FileObject), Device = Name(e.DeviceObject) });

    public override void On(in RequestFinished e) =>
        Write(new() { Event = "requestFinished", Irp = names.Irp(e.Irp), Status = e.Status.Name, Information = e.Information });

    public override void On(in InformationTooLarge e) =>
        Write(new() { Event = "informationTooLarge", Irp = names.Irp(e.Irp), Information = e.Information, Length = (long)e.BufferLength });

    public override void On(in FastIoCalled e) => Write(new()
    {
        Event = "fastIoCalled", Device = Name(e.DeviceObject), Driver = names.DriverOf(e.DeviceObject), Routine = names.Routine(e.Routine), Object = e.Name,
    });

    public override void On(in FastIoReturned e) => Write(new()
    {
        Event = "fastIoReturned", Routine = names.Routine(e.Routine), Object = e.Name, Status = e.Status?.Name,
    });

    // ---- Drivers and devices

    public override void On(in DriverLoaded e) => Write(new() { Event = "driverLoaded", Driver = e.Name, Status = e.Status.Name });

    public override void On(in DriverUnloading e) => Write(new() { Event = "driverUnloading", Driver = e.Name });

    public override void On(in DriverUnloaded e) => Write(new() { Event = "driverUnloaded", Driver = e.Name });

    public override void On(in DeviceCreated e) =>
        Write(new() { Event = "deviceCreated", Device = Name(e.DeviceObject), Driver = names.DriverOf(e.DeviceObject) });

    public override void On(in AddDeviceCalled e) => Write(new()
    {
        Event = "addDeviceCalled", Device = Name(e.PhysicalDeviceObject), Routine = names.Routine(e.Routine.Address),
    });

    public override void On(in AddDeviceReturned e) => Write(new()
    {
        Event = "addDeviceReturned", Device = Name(e.PhysicalDeviceObject), Routine = names.Routine(e.Routine.Address), Status = e.Status.Name,
    });

    public override void On(in DeviceAttached e) => Write(new()
    {
        Event = "deviceAttached", Device = Name(e.SourceDevice), Driver = names.DriverOf(e.SourceDevice), LowerDevice = Name(e.LowerDevice),
    });

    public override void On(in DeviceDetached e) => Write(new() { Event = "deviceDetached", LowerDevice = Name(e.LowerDevice) });

    public override void On(in DeviceDeleted e) => Write(new() { Event = "deviceDeleted", Device = Name(e.DeviceObject) });

    // ---- Plug and Play, power

    public override void On(in DeviceNodeChanged e) => Write(new()
    {
        Event = "deviceNodeChanged",
        Object = e.Node.InstancePath,
        Device = Name(e.Node.PhysicalDevice),
        Before = CamelCase(e.Before.ToString()),
        State = CamelCase(e.State.ToString()),
    });

    public override void On(in PowerStateSet e) => Write(new()
    {
        Event = "powerStateSet",
        Device = Name(e.DeviceObject),
        Driver = Optional(names.DriverOf(e.DeviceObject)),
        Before = RequestText.PowerState(e.Type, e.Before),
        State = RequestText.PowerState(e.Type, e.State),
    });

    public override void On(in SystemPowerChanged e) =>
        Write(new() { Event = "systemPowerChanged", Before = RequestText.PowerState(e.Before), State = RequestText.PowerState(e.State) });

    public override void On(in ErrorLogged e) => Write(new()
    {
        Event = "errorLogged", Driver = e.Entry.Driver, Device = e.Entry.Device, Status = e.Entry.FinalStatus.Name,
        Code = $"0x{(uint)e.Entry.ErrorCode:X8}", Text = e.Entry.Strings.Count == 0 ? null : string.Join(' ', e.Entry.Strings),
    });

    // ---- Execution

    public override void On(in DdiCalled e) =>
        Write(new() { Event = "ddiCalled", Ddi = e.Export.Name, Caller = names.Caller(e.Caller), Irql = e.Irql });

    public override void On(in DdiReturned e) =>
        Write(new() { Event = "ddiReturned", Ddi = e.Export.Name, Caller = names.Caller(e.Caller), Irql = e.Irql });

    public override void On(in ThreadStarted e) =>
        Write(new() { Event = "threadStarted", Thread = ObjectNames.Thread(e.Thread), Text = e.Thread.Name });

    public override void On(in ThreadEnded e) => Write(new() { Event = "threadEnded", Thread = ObjectNames.Thread(e.Thread) });

    public override void On(in WaitStarted e) => Write(new() { Event = "waitStarted", Object = names.DispatcherObject(e.Object) });

    public override void On(in WaitEnded e) => Write(new()
    {
        Event = "waitEnded",
        Object = names.DispatcherObject(e.Object),
        Status = e.Status == NTSTATUS.STATUS_WAIT_0 ? nameof(NTSTATUS.STATUS_WAIT_0) : e.Status.Name,
    });

    public override void On(in EventSet e) =>
        Write(new() { Event = "eventSet", Object = names.Numbered("event", e.Event.Address), PriorityBoost = Boost(e.Increment) });

    public override void On(in SemaphoreReleased e) => Write(new()
    {
        Event = "semaphoreReleased",
        Object = names.Numbered("semaphore", e.Semaphore.Address),
        Adjustment = e.Adjustment,
        PriorityBoost = Boost(e.Increment),
    });

    static int? Boost(int increment) => increment == 0 ? null : increment;

    public override void On(in SpinLockAcquired e) => Write("spinLockAcquired", names.Numbered("lock", e.SpinLock.Address));

    public override void On(in SpinLockReleased e) => Write("spinLockReleased", names.Numbered("lock", e.SpinLock.Address));

    public override void On(in TimerSet e) =>
        Write(new() { Event = "timerSet", Object = names.Numbered("timer", e.Timer.Address), DueTime = e.DueTime });

    public override void On(in TimerExpired e) => Write("timerExpired", names.Numbered("timer", e.Timer.Address));

    public override void On(in TimerCancelled e) => Write("timerCancelled", names.Numbered("timer", e.Timer.Address));

    public override void On(in DpcRemoved e) => Write("dpcRemoved", names.Numbered("dpc", e.Dpc.Address));

    public override void On(in DpcQueued e) => Write("dpcQueued", names.Numbered("dpc", e.Dpc.Address));

    public override void On(in DpcStarted e) => Write("dpcStarted", names.Numbered("dpc", e.Dpc.Address), e.Routine.Address);

    public override void On(in DpcReturned e) => Write("dpcReturned", names.Numbered("dpc", e.Dpc.Address), e.Routine.Address);

    public override void On(in InterruptServiceStarted e) =>
        Write("interruptServiceStarted", names.Numbered("interrupt", e.Interrupt.Address), e.Routine.Address);

    public override void On(in InterruptServiceReturned e) => Write(new()
    {
        Event = "interruptServiceReturned",
        Object = names.Numbered("interrupt", e.Interrupt.Address),
        Driver = names.ModuleOf(e.Routine.Address),
        Routine = names.Routine(e.Routine.Address),
        Claimed = e.Claimed,
    });

    public override void On(in WorkItemQueued e) => Write("workItemQueued", names.Numbered("workitem", e.WorkItem.Address), e.Routine);

    public override void On(in WorkItemStarted e) => Write("workItemStarted", names.Numbered("workitem", e.WorkItem.Address), e.Routine);

    public override void On(in WorkItemReturned e) => Write("workItemReturned", names.Numbered("workitem", e.WorkItem.Address), e.Routine);

    void Write(string name, string item) => Write(new() { Event = name, Object = item });

    void Write(string name, string item, ulong routine) =>
        Write(new() { Event = name, Object = item, Driver = names.ModuleOf(routine), Routine = names.Routine(routine) });

    // ---- Hardware

    public override void On(in DeviceRead e) => WriteAccess("deviceRead", e.IsPort, e.Address, e.Size, e.Value);

    public override void On(in DeviceWritten e) => WriteAccess("deviceWritten", e.IsPort, e.Address, e.Size, e.Value);

    void WriteAccess(string name, bool isPort, ulong address, int size, ulong value) => Write(new()
    {
        Event = name,
        Space = isPort ? "port" : "memory",
        Address = $"0x{address:x}",
        Size = (ulong)size,
        Value = $"0x{value:x}",
    });

    // ---- Memory, words and ends

    public override void On(in PoolAllocated e) => Write(new()
    {
        Event = "poolAllocated",
        Object = names.Numbered("pool", e.Address),
        Size = e.Size,
        Tag = PoolTag(e.Tag),
        PoolType = e.PoolType.ToString(),
        Caller = e.Owner == 0 ? null : names.Caller(e.Owner),
    });

    public override void On(in PoolFreed e) =>
        Write(new() { Event = "poolFreed", Object = names.Numbered("pool", e.Address), Tag = PoolTag(e.Tag) });

    public override void On(in LookasideInitialized e) =>
        Write(new() { Event = "lookasideInitialized", Object = names.Numbered("lookaside", e.Lookaside.Address), Size = e.BlockSize });

    public override void On(in LookasideDeleted e) => Write("lookasideDeleted", names.Numbered("lookaside", e.Lookaside.Address));

    public override void On(in PagesLocked e) =>
        Write(new() { Event = "pagesLocked", Object = names.Numbered("mdl", e.Mdl.Address), Length = e.Length });

    public override void On(in PagesUnlocked e) => Write("pagesUnlocked", names.Numbered("mdl", e.Mdl.Address));

    public override void On(in MdlMapped e) => Write("mdlMapped", names.Numbered("mdl", e.Mdl.Address));

    public override void On(in MdlUnmapping e) => Write("mdlUnmapping", names.Numbered("mdl", e.Mdl.Address));

    public override void On(in HandleOpened e) => Write("handleOpened", names.Numbered("handle", e.Handle.Value));

    public override void On(in HandleClosed e) => Write("handleClosed", names.Numbered("handle", e.Handle.Value));

    // What the processor sees byte by byte; the rules say what is wrong with it.

    public override void On(in PoolBlockMisused e) => Write(new() { Event = "poolBlockMisused", Caller = names.Caller(e.Instruction) });

    public override void On(in UninitializedUsed e) => Write(new() { Event = "uninitializedUsed", Caller = names.Caller(e.Instruction) });

    public override void On(in PageableTouched e) => Write(new() { Event = "pageableTouched", Caller = names.Caller(e.Instruction), Irql = e.Irql });

    public override void On(in LentIrpTouched e) =>
        Write(new() { Event = "lentIrpTouched", Irp = names.Irp(e.Irp), Caller = names.Caller(e.Instruction) });

    public override void On(in StackFrameLeft e) =>
        Write(new() { Event = "stackFrameLeft", Irp = names.Irp(e.Irp), Caller = names.Caller(e.Instruction), Text = e.Holder });

    public override void On(in CancelRoutineStored e) =>
        Write(new() { Event = "cancelRoutineStored", Irp = names.Irp(e.Irp), Caller = names.Caller(e.Instruction) });

    public override void On(in UserMemoryTouched e) => Write(new() { Event = "userMemoryTouched", Caller = names.Caller(e.Instruction) });

    public override void On(in DebugPrinted e) => Write(new() { Event = "debugPrinted", Text = e.Text, Caller = names.Caller(e.Caller) });

    public override void On(in CallMadeToFail e) =>
        Write(new() { Event = "callMadeToFail", Routine = e.Export.SourceName, Caller = e.Place });

    public override void On(in BugCheckRaised e) => Write(new()
    {
        Event = "bugCheckRaised",
        Code = e.Report.Code.ToString(),
        Parameters = [.. BugCheckText.ParametersOf(e.Report).Select(Format.Address)],
        Text = e.Report.Explanation,
        Irql = e.Report.Irql,
        CallStack = [.. e.Report.CallStack.Select(frame => frame.ToString())],
    });

    /// <summary>Writes a broken rule where it was broken.</summary>
    public void Show(Violation violation) => Write(new()
    {
        Event = "ruleBroken",
        Irp = violation.Irp == 0 ? null : names.Irp(new PIRP(violation.Irp)),
        Driver = violation.Driver,
        Routine = violation.Symbol,
        Irql = violation.Irql,
        Rule = violation.Rule.Name,
        Text = violation.Sentence,
    });

    // ---- Names

    string? Name(PDEVICE_OBJECT device) => Optional(names.Device(device));

    string DriverOf(PDEVICE_OBJECT device, ulong routine) => device.IsNull ? names.ModuleOf(routine) : names.DriverOf(device);

    static string? Optional(string text) => text.Length == 0 ? null : text;

    static string CamelCase(string name) => char.ToLowerInvariant(name[0]) + name[1..];

    static string PoolTag(uint tag)
    {
        var text = new StringBuilder(4);
        for (int shift = 0; shift < 32; shift += 8)
        {
            char c = (char)(byte)(tag >> shift);
            text.Append(c is >= ' ' and < '\x7f' ? c : '.');
        }
        return text.ToString();
    }
}
