using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What a machine stopped with, as Windows would show it, and where it happened.</summary>
/// <param name="Code">The bug check code.</param>
/// <param name="Parameter1">First of the four parameters that the bug check's documentation page explains.</param>
/// <param name="Explanation">In words: what was done that must not be done.</param>
/// <param name="Thread">The thread that was running.</param>
/// <param name="Irql">Its IRQL.</param>
/// <param name="CallStack">Guest and C# driver frames, innermost first.</param>
public sealed record BugCheckReport(
    BugCheckCode Code,
    ulong Parameter1,
    ulong Parameter2,
    ulong Parameter3,
    ulong Parameter4,
    string Explanation,
    string Thread,
    byte Irql,
    IReadOnlyList<StackFrame> CallStack)
{
    /// <summary>The exception that it was stopped for; null for any other reason.</summary>
    public FaultReport? Fault { get; init; }

    public override string ToString() =>
        $"{Code} (0x{(uint)Code:X})  {Parameter1:x16} {Parameter2:x16} {Parameter3:x16} {Parameter4:x16}: {Explanation}";
}

/// <summary>One frame of a call stack.</summary>
/// <param name="Address">Guest address; 0 where a C# frame has none.</param>
/// <param name="Symbol">Such as <c>passthrough!PassDone+0x12</c> or <c>RamDisk!DispatchRead</c>.</param>
/// <param name="Line">The source line, such as <c>toaster.c @ 123</c>, where debug information tells.</param>
public sealed record StackFrame(ulong Address, string Symbol, string? Line = null)
{
    /// <summary>Whether it may be none: no exception table leads to it, only something on the stack that looks like a return address.</summary>
    public bool IsGuess { get; init; }

    /// <summary>As debuggers print it: <c>passthrough!PassDone+0x12 [toaster.c @ 123]</c>.</summary>
    public override string ToString() => (Line is null ? Symbol : $"{Symbol} [{Line}]") + (IsGuess ? "  (a guess)" : "");
}

/// <summary>Something of a driver that was at an address and is gone.</summary>
/// <param name="Description">What it was, and why it is gone: a clause.</param>
/// <param name="IsUnloadedDriver">Whether the whole driver is gone.</param>
public sealed record WithdrawnCode(string Description, bool IsUnloadedDriver);

/// <summary>The machine has stopped with a bug check. Thrown on every thread that is, or later goes, into the machine.</summary>
public sealed class BugCheckException(BugCheckReport report) : Exception(report.ToString())
{
    public BugCheckReport Report { get; } = report;
}

/// <summary>
/// No thread can run and none ever will: a request was never completed, or threads wait for each other.
/// </summary>
/// <remarks>Windows would hang; a machine says so.</remarks>
public sealed class MachineHungException(string message) : Exception(message);

/// <summary>The machine met something that it does not model; what the driver would have done is not known.</summary>
public sealed class MachineUnsupportedException(string message) : Exception(message);

/// <summary>Turns what went wrong in driver code into the bug check that Windows would end with.</summary>
public sealed class BugChecks
{
    readonly Machine machine;
    readonly Lock gate = new();
    const int MaximumFrames = 64;

    Exception? stopped;
    BugCheckException? stopping;
    volatile bool isTold;

    internal BugChecks(Machine machine) => this.machine = machine;

    /// <summary>Why the machine has stopped; null while it runs.</summary>
    public Exception? StopReason => stopped;

    public BugCheckReport? Report => (stopped as BugCheckException)?.Report;

    /// <summary>Gives frames of compiled drivers their names; set by whoever loads images.</summary>
    public Func<ulong, string?>? SymbolAt { get; set; }

    /// <summary>Gives frames of compiled drivers their source lines; set by whoever loads images.</summary>
    public Func<ulong, string?>? LineAt { get; set; }

    /// <summary>Says what is no longer at an address; set by whoever loads images.</summary>
    public Func<ulong, WithdrawnCode?>? WithdrawnAt { get; set; }

    /// <summary>Stops the machine. The first stop counts; every later one throws the first again.</summary>
    /// <param name="fault">The exception that it is stopped for.</param>
    public BugCheckException Stop(
        BugCheckCode code, ulong parameter1, ulong parameter2, ulong parameter3, ulong parameter4, string explanation, FaultReport? fault = null)
    {
        KernelThread? thread = machine.TryGetCurrentThread();
        var report = new BugCheckReport(code, parameter1, parameter2, parameter3, parameter4, explanation,
            thread?.Name ?? "host", thread?.Irql ?? 0, thread is null ? [] : CallStack(thread)) { Fault = fault };
        lock (gate)
        {
            if ((stopped as BugCheckException ?? stopping) is { } first) return first;
            stopping = new BugCheckException(report);
        }
        // Drivers' routines for this moment still find a kernel that works; what they do wrong changes nothing any more.
        if (stopped is null && thread is not null) machine.BugCheckCallbacks.Call(thread);
        lock (gate) stopped ??= stopping;
        machine.Events.Emit(new BugCheckRaised(report));
        isTold = true;
        machine.Scheduler.StopAll();
        return stopped as BugCheckException ?? new BugCheckException(report);
    }

    /// <summary>For the host, which may look at what observers know: returns when they know of a bug check, in the ordinary course of things.</summary>
    internal void WaitUntilTold()
    {
        const int patience = 2000; // milliseconds
        if (stopping is not null && !isTold) SpinWait.SpinUntil(() => isTold, patience);
    }

    /// <summary>Stops the machine because nothing can ever run again.</summary>
    internal Exception StopHung(string message) => StopWith(new MachineHungException(message));

    /// <summary>Stops the machine because it cannot go on truthfully.</summary>
    public Exception StopUnsupported(string message) => StopWith(new MachineUnsupportedException(message));

    /// <summary>Stops the machine because its strategy ends the run.</summary>
    internal Exception StopSchedule(ScheduleException reason) => StopWith(reason);

    Exception StopWith(Exception reason)
    {
        lock (gate) stopped ??= reason;
        machine.Scheduler.StopAll();
        return stopped;
    }

    /// <summary>Stops the machine because driver code of a thread does not come to an end.</summary>
    public BugCheckException Looping(KernelThread thread, string explanation) => thread.Irql >= DISPATCH_LEVEL
        ? Stop(BugCheckCode.DPC_WATCHDOG_VIOLATION, 1, 0, 0, 0, explanation)
        : Stop(BugCheckCode.THREAD_STUCK_IN_DEVICE_DRIVER, thread.Object.Address, 0, 0, 0, explanation);

    internal void StopDisposed()
    {
        lock (gate) stopped ??= new ObjectDisposedException(nameof(Machine), "This machine was disposed.");
        machine.Scheduler.StopAll();
    }

    /// <summary>Throws if the machine has stopped; called wherever a thread enters or re-enters the kernel.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void ThrowIfStopped()
    {
        if (stopped is not null) Rethrow();
    }

    void Rethrow() => throw stopped switch
    {
        BugCheckException e => new BugCheckException(e.Report),
        MachineHungException e => new MachineHungException(e.Message),
        MachineUnsupportedException e => new MachineUnsupportedException(e.Message),
        var e => e!,
    };

    /// <summary>
    /// The exception to end a thread with after <paramref name="exception"/> escaped from driver code. An exception that
    /// is not a stop yet becomes one: memory faults and raised statuses the bug check that Windows would show.
    /// </summary>
    public Exception Convert(Exception exception)
    {
        return exception switch
        {
            BugCheckException or MachineHungException or MachineUnsupportedException or ScheduleException or ThreadTerminatedException => exception,
            ObjectDisposedException when stopped == exception => exception,
            GuestFaultException fault => FatalFault(fault.Address, fault.Access, 0, IsInKernel(fault))!,
            NtStatusException raised => Unhandled(raised),
            DivideByZeroException => Unhandled(new NtStatusException(NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO, "A C# driver divided by zero.")),
            OverflowException => Unhandled(new NtStatusException(NTSTATUS.STATUS_INTEGER_OVERFLOW, "A C# driver made a division whose quotient is too large.")),
            InsufficientExecutionStackException => KernelStackOverflow(0),
            UnwindException { IsExit: true } unwind => AllFramesLeft(unwind.Record),
            UnwindException or ContextRestoredException => Unhandled(new NtStatusException(NTSTATUS.STATUS_BAD_STACK, exception.Message)),
            _ => Unhandled(NTSTATUS.STATUS_UNHANDLED_EXCEPTION, 0, 0, 0,
                $"A C# driver threw {exception.GetType().Name}: {exception.Message}"),
        };
    }

    /// <summary>Stops the system because a driver found that it cannot go on. Any IRQL.</summary>
    [KernelExport, DoesNotReturn]
    public void KeBugCheckEx(BugCheckCode BugCheckCode, ulong BugCheckParameter1, ulong BugCheckParameter2, ulong BugCheckParameter3, ulong BugCheckParameter4) =>
        throw Stop(BugCheckCode, BugCheckParameter1, BugCheckParameter2, BugCheckParameter3, BugCheckParameter4, "A driver called KeBugCheckEx.");

    /// <summary>The same without parameters. Any IRQL.</summary>
    [KernelExport, DoesNotReturn]
    public void KeBugCheck(BugCheckCode BugCheckCode) => throw Stop(BugCheckCode, 0, 0, 0, 0, "A driver called KeBugCheck.");

    /// <summary>
    /// For an exception filter where user code calls the kernel: whether an exception comes from driver code and has to be replaced
    /// by the stop that it means. Runs before the stack is unwound, so that the report shows it.
    /// </summary>
    internal bool Escaped(Exception exception, out Exception stop)
    {
        // An exit unwind goes on to the beginning of the thread.
        stop = exception is UnwindException { IsExit: true } ? exception : Convert(exception);
        return stop != exception;
    }

    // The debugger and the system are asked once more about what the unwind was for, and neither takes it.
    BugCheckException AllFramesLeft(in EXCEPTION_RECORD record)
    {
        ref readonly EXCEPTION_RECORD raised = ref record;
        return Stop(BugCheckCode.KMODE_EXCEPTION_NOT_HANDLED, (uint)raised.ExceptionCode, raised.ExceptionAddress.Address,
            raised.ExceptionInformation[0], raised.ExceptionInformation[1],
            "RtlUnwindEx was called without a target frame, and all frames of the thread have been left.");
    }

    /// <summary>The bug check for running out of kernel stack: a double fault.</summary>
    public BugCheckException KernelStackOverflow(ulong instruction) =>
        Stop(BugCheckCode.UNEXPECTED_KERNEL_MODE_TRAP, 8, 0, 0, instruction, "The kernel stack overflowed: calls are nested without end, or need too much stack.");

    /// <summary>
    /// The bug check that a failed access ends in before any exception handler is asked; null for one that raises
    /// STATUS_ACCESS_VIOLATION instead: to an address that is not of the kernel, below DISPATCH_LEVEL.
    /// </summary>
    /// <param name="instruction">Address of the faulting instruction, 0 in C# code.</param>
    /// <param name="inKernel">Whether a kernel routine did it rather than a driver.</param>
    public BugCheckException? FatalFault(ulong address, PageAccess access, ulong instruction, bool inKernel)
    {
        byte irql = machine.TryGetCurrentThread()?.Irql ?? 0;
        bool isKernelAddress = address >= GuestMemory.KernelHalf;
        if (!isKernelAddress && (irql < DISPATCH_LEVEL || address >> 47 != 0)) return null;
        string what = access switch { PageAccess.Execute => "executed", PageAccess.Read => "read", _ => "written" };
        string place = $"{Format.Address(address)} was {what}";
        FaultReport fault = ReportOf(new NtStatusException(STATUS_ACCESS_VIOLATION, null, FaultOperation(access), address) { Address = instruction });
        bool mapped = isKernelAddress && GuestMemory.IsAccessible(address, 1, PageAccess.Read);
        if (machine.IoSpace.TryTranslate(address, 1, PageAccess.None, out _))
            place += ", where device registers are mapped (C# drivers reach them by READ_REGISTER_ULONG, WRITE_REGISTER_ULONG and their relatives)";
        if (mapped && access == PageAccess.Execute)
            return Stop(BugCheckCode.ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, address, 0, 0, 0, $"{place}, but that memory holds data, not code.", fault);
        if (mapped)
            return Stop(BugCheckCode.ATTEMPTED_WRITE_TO_READONLY_MEMORY, address, 0, instruction, 0, $"{place}, but that memory is read-only.", fault);
        WithdrawnCode? withdrawn = WithdrawnAt?.Invoke(address);
        string nothing = withdrawn?.Description ?? "nothing is mapped there";
        ulong operation = access switch { PageAccess.Execute => 0x10UL, PageAccess.Read => 0, _ => 2 };
        if (withdrawn is { IsUnloadedDriver: true })
        {
            return Stop(BugCheckCode.DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS, address, operation, instruction, 0,
                $"{place}, but {nothing}.", fault);
        }
        if (irql >= DISPATCH_LEVEL)
        {
            return Stop(inKernel ? BugCheckCode.IRQL_NOT_LESS_OR_EQUAL : BugCheckCode.DRIVER_IRQL_NOT_LESS_OR_EQUAL, address, irql,
                FaultOperation(access), instruction,
                isKernelAddress || address < 0x10000
                    ? $"{place} at IRQL {irql}, but {nothing}."
                    : $"{place} at IRQL {irql}, where no access to user memory may fail.", fault);
        }
        return Stop(BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, address, operation, instruction, 0, $"{place}, but {nothing}.", fault);
    }

    /// <summary>The bug check for an exception that no handler took; which one depends on what the thread was called for.</summary>
    public BugCheckException Unhandled(NtStatusException exception)
    {
        // The C# frames between fault and handler are not asked on Windows: at DISPATCH_LEVEL a page fault is the end.
        if (exception is { Status: NTSTATUS.STATUS_ACCESS_VIOLATION, Parameters: [var mode, not ulong.MaxValue and var address] }
            && FatalFault(address, mode switch { 0 => PageAccess.Read, 8 => PageAccess.Execute, _ => PageAccess.Write }, exception.Address, IsInKernel(exception)) is { } stop)
            return stop;
        ulong code = (uint)exception.Status;
        ulong record = exception.ExceptionRecord.Address, context = exception.ContextRecord.Address;
        string explanation = exception.Message;
        FaultReport fault = ReportOf(exception);
        return machine.TryGetCurrentThread() switch
        {
            null or { InterruptDepth: > 0 } => Stop(BugCheckCode.KMODE_EXCEPTION_NOT_HANDLED, code, exception.Address,
                exception.Parameters.ElementAtOrDefault(0), exception.Parameters.ElementAtOrDefault(1), explanation, fault),
            { Kind: ThreadKind.User } => Stop(BugCheckCode.SYSTEM_SERVICE_EXCEPTION, code, exception.Address, context, 0, explanation, fault),
            _ => Stop(BugCheckCode.SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, code, exception.Address, record, context, explanation, fault),
        };
    }

    /// <summary>An exception as a report shows it, with registers and instructions where compiled code raised it.</summary>
    public FaultReport ReportOf(NtStatusException exception)
    {
        if (exception.Address == 0 || machine.Guest is not { } guest || machine.TryGetCurrentThread() is not { } thread)
            return new FaultReport(exception.Status, exception.Address, exception.Parameters, [], []);
        var context = new CONTEXT();
        if (!exception.ContextRecord.IsNull) context = exception.ContextRecord.Value;
        else guest.Frames?.Save(thread, ref context);
        IReadOnlyList<CodeLine> instructions = guest.Disassemble(thread, exception.Address);
        // Where a wild jump went there is no code; who jumped is on top of the stack.
        if (instructions.Count == 0 && guest.CallStack(thread).FirstOrDefault() is [var innermost, ..]) instructions = guest.Disassemble(thread, innermost.Address);
        return new FaultReport(exception.Status, exception.Address, exception.Parameters, RegisterValue.Of(context), instructions);
    }

    static ulong FaultOperation(PageAccess access) => access switch { PageAccess.Execute => 8UL, PageAccess.Read => 0, _ => 1 };

    StackFrame FrameAt(GuestFrame frame) =>
        new(frame.Address, SymbolAt?.Invoke(frame.Address) ?? Format.Address(frame.Address), LineAt?.Invoke(frame.Address)) { IsGuess = frame.IsGuess };

    /// <inheritdoc cref="Unhandled(NtStatusException)"/>
    public BugCheckException Unhandled(NTSTATUS status, ulong instruction, ulong information0, ulong information1, string explanation) =>
        Unhandled(new NtStatusException(status, explanation, information0, information1) { Address = instruction });

    // The innermost frame that is not an access to memory itself tells: a routine of the kernel, or of a driver.
    static bool IsInKernel(Exception exception)
    {
        foreach (System.Diagnostics.StackFrame frame in new System.Diagnostics.StackTrace(exception).GetFrames())
        {
            if (frame.GetMethod()?.DeclaringType is { } type && type.Assembly != typeof(GuestMemory).Assembly)
                return type.Assembly == typeof(BugChecks).Assembly && !type.IsAssignableTo(typeof(WdmDriver)) && type.Namespace == typeof(BugChecks).Namespace;
        }
        return false;
    }

    // Frames of C# drivers are read from the host stack; wherever that passes through the processor, the compiled frames of that
    // run come in between.
    List<StackFrame> CallStack(KernelThread thread)
    {
        var frames = new List<StackFrame>();
        using IEnumerator<IReadOnlyList<GuestFrame>>? runs = machine.Guest?.CallStack(thread).GetEnumerator();
        foreach (System.Diagnostics.StackFrame frame in new System.Diagnostics.StackTrace().GetFrames())
        {
            if (frame.GetMethod() is not { DeclaringType: { } type } method || frames.Count >= MaximumFrames) continue;
            if (type.IsSubclassOf(typeof(WdmDriver)))
                frames.Add(new StackFrame(0, $"{type.Name}!{method.Name}"));
            else if (runs is not null && machine.Guest!.IsRun(method) && runs.MoveNext())
                frames.AddRange(runs.Current.Select(FrameAt));
        }
        return frames;
    }
}
