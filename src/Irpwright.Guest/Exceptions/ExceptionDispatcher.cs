using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Guest.Unwinding;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;
using static Irpwright.Wdk.EXCEPTION_FLAGS;

namespace Irpwright.Guest.Exceptions;

/// <summary>Structured exceptions in compiled code, as RtlDispatchException and RtlUnwindEx treat them.</summary>
/// <remarks>
/// Compiled code and C# call each other, so the frames of a thread are runs of either, in turns (a <see cref="Level"/> is a run of compiled
/// code). An exception travels through the C# frames as a C# exception. .NET asks the exception filters of all frames before it unwinds
/// any, which is how structured exceptions work too: the search for a handler in a level is such a filter, and the level's frames are
/// unwound when .NET unwinds the C# frames around.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/cpp/build/exception-handling-x64"/>
sealed unsafe class ExceptionDispatcher(GuestProcessor processor, Machine machine, ulong returnAddress)
{
    readonly ConditionalWeakTable<NtStatusException, Raised> exceptions = [];

    // ---- First pass

    /// <summary>Looks at an exception before any frame is left because of it; for an exception filter, and always false.</summary>
    public static bool Note(GuestProcessor.GuestThread guest, Exception exception)
    {
        // PsTerminateSystemThread does not return, and that is all that compiled code sees of it.
        guest.IsEnding = exception is ThreadTerminatedException;
        if (exception is UnwindException unwind) guest.Passing = unwind.Record;
        return false;
    }

    /// <summary>Searches a level for a handler; for an exception filter.</summary>
    /// <returns>Whether the level goes on as its <see cref="Level.Next"/> says.</returns>
    public bool Search(GuestProcessor.GuestThread guest, int depth, ref Level? level, NtStatusException exception)
    {
        if (machine.BugChecks.StopReason is not null) return false;
        level ??= new Level();
        return Search(guest, depth, level, exception, nestedFrame: 0);
    }

    // What a filter throws, .NET ignores: everything becomes a way to go on.
    bool Search(GuestProcessor.GuestThread guest, int depth, Level level, NtStatusException exception, ulong nestedFrame)
    {
        try
        {
            Raised raised = exceptions.GetValue(exception, e => Raise(guest, depth, level, e));
            if (nestedFrame != 0) raised.NestedFrame = nestedFrame;
            // It is raised anew after its own search of this level.
            return raised.Searched > depth && SearchFrames(guest, depth, level, exception, raised);
        }
        catch (Exception next)
        {
            level.Next = next;
            return true;
        }
    }

    Raised Raise(GuestProcessor.GuestThread guest, int depth, Level level, NtStatusException exception)
    {
        var raised = new Raised { Origin = depth };
        Start(guest, depth, level, exception is ProcessorFault, null);
        raised.Context = level.Position;
        ref EXCEPTION_RECORD record = ref raised.Record;
        record.ExceptionCode = exception.Status;
        record.ExceptionAddress = new PVOID(exception.Address != 0 ? exception.Address : raised.Context.Rip);
        record.ExceptionFlags = exception.IsContinuable || IsFault(exception) ? 0 : EXCEPTION_NONCONTINUABLE;
        record.NumberParameters = (uint)exception.Parameters.Count;
        for (int i = 0; i < exception.Parameters.Count; i++) record.ExceptionInformation[i] = exception.Parameters[i];
        return raised;
    }

    static bool IsFault(NtStatusException exception) => exception is { Status: NTSTATUS.STATUS_ACCESS_VIOLATION, Parameters.Count: 2 };

    /// <summary>Finds out where a level's frames begin.</summary>
    /// <param name="isFault">Whether the level itself is at a faulting instruction; otherwise it has called the kernel.</param>
    /// <param name="raised">Knows the registers that levels further in have saved, as long as these exist.</param>
    static void Start(GuestProcessor.GuestThread guest, int depth, Level level, bool isFault, Raised? raised)
    {
        if (level.HasPosition) return;
        ref CONTEXT position = ref level.Position;
        if (guest.Depth > depth && raised is not null)
        {
            position = raised.Walk;
            (position.Rip, position.Rsp, _) = guest.Callers[depth];
        }
        else
        {
            position.Save(guest.Cpu);
        }
        if (!isFault) FrameUnwinder.TryLeaveLeaf(ref position);
    }

    bool SearchFrames(GuestProcessor.GuestThread guest, int depth, Level level, NtStatusException exception, Raised raised)
    {
        Start(guest, depth, level, isFault: false, raised);
        Place(guest, raised, exception);
        guest.Passing = raised.Record;
        CONTEXT context = level.Position;
        for (uint scope = level.ScopeIndex; context.Rip != returnAddress; scope = 0)
        {
            CONTEXT caller = context;
            if (!TryLeave(guest, depth, UNW_FLAG_EHANDLER, ref caller, out FrameInfo frame))
                throw machine.BugChecks.Unhandled(exception);
            if (frame.Handler != 0)
            {
                raised.Record.ExceptionFlags = (raised.Record.ExceptionFlags & ~EXCEPTION_NESTED_CALL) | (raised.NestedFrame != 0 ? EXCEPTION_NESTED_CALL : 0);
                EXCEPTION_DISPOSITION disposition;
                try
                {
                    disposition = CallHandler(guest, raised.Area, frame, context, scope, targetIp: 0, ref raised.Record);
                }
                catch (NtStatusException nested) when (Search(guest, depth, level, nested, frame.Establisher))
                {
                    return true;
                }
                if (frame.Establisher == raised.NestedFrame) raised.NestedFrame = 0;
                switch (disposition)
                {
                    case EXCEPTION_DISPOSITION.ExceptionContinueSearch:
                        break;
                    case EXCEPTION_DISPOSITION.ExceptionContinueExecution:
                        level.Next = Continue(depth, exception, raised);
                        return true;
                    default:
                        throw new NtStatusException(NTSTATUS.STATUS_INVALID_DISPOSITION);
                }
            }
            context = caller;
        }
        raised.Walk = context;
        raised.Searched = depth;
        return false;
    }

    Exception Continue(int depth, NtStatusException exception, Raised raised)
    {
        if (raised.Record.ExceptionFlags.HasFlag(EXCEPTION_NONCONTINUABLE)) return new NtStatusException(NTSTATUS.STATUS_NONCONTINUABLE_EXCEPTION);
        if (!exception.IsContinuable || raised.Origin != depth)
        {
            return machine.BugChecks.StopUnsupported(
                $"A filter answered EXCEPTION_CONTINUE_EXECUTION to {exception.Status.Name}, which was raised in the kernel or another driver; that is not modelled.");
        }
        return new ContextRestoredException(raised.Area.Context.Value);
    }

    /// <summary>Gives an exception its place on the guest's stack, again if it was left since.</summary>
    void Place(GuestProcessor.GuestThread guest, Raised raised, NtStatusException exception)
    {
        if (raised.Area.Address != 0 && guest.Depth >= raised.AreaDepth) return;
        raised.Area = Allocate(guest);
        raised.AreaDepth = guest.Depth;
        raised.Area.Context.Value = raised.Context;
        raised.Area.Record.Value = raised.Record;
        exception.ExceptionRecord = raised.Area.Record;
        exception.ContextRecord = raised.Area.Context;
    }

    DispatchArea Allocate(GuestProcessor.GuestThread guest)
    {
        ulong address = (guest.Cpu->Rsp - DispatchArea.Size) & ~15UL;
        if (address < guest.Cpu->StackLimit) throw machine.BugChecks.KernelStackOverflow(guest.Cpu->Rip);
        return new DispatchArea(address);
    }

    EXCEPTION_DISPOSITION CallHandler(GuestProcessor.GuestThread guest, DispatchArea area, in FrameInfo frame, in CONTEXT context, uint scope, ulong targetIp,
        ref EXCEPTION_RECORD record)
    {
        area.Record.Value = record;
        area.FrameContext.Value = context;
        area.Dispatcher.Value = new DISPATCHER_CONTEXT
        {
            ControlPc = context.Rip,
            FunctionEntry = processor.FindFunction(context.Rip, out ulong imageBase),
            ImageBase = imageBase,
            EstablisherFrame = frame.Establisher,
            TargetIp = targetIp,
            ContextRecord = area.FrameContext,
            LanguageHandler = new PEXCEPTION_ROUTINE(frame.Handler),
            HandlerData = new PVOID(frame.HandlerData),
            ScopeIndex = scope,
        };
        ulong disposition = processor.Call(guest, frame.Handler, area.Record.Address, frame.Establisher, area.Context.Address, area.Dispatcher.Address, default, area.Address);
        record.ExceptionFlags |= area.Record.ExceptionFlags & EXCEPTION_NONCONTINUABLE;
        return (EXCEPTION_DISPOSITION)(int)disposition;
    }

    // ---- Second pass

    /// <summary>Goes on in a level as the search has decided.</summary>
    /// <returns>Where the level's code goes on.</returns>
    public ulong Proceed(GuestProcessor.GuestThread guest, int depth, ref Level? level)
    {
        Exception next = level!.Next!;
        level.Next = null;
        switch (next)
        {
            case UnwindException unwind when IsInside(guest, depth, unwind.TargetFrame):
                Unwind(guest, depth, level, unwind);
                break;
            case ContextRestoredException restored when IsInside(guest, depth, restored.Context.Rsp):
                CONTEXT context = restored.Context;
                context.Load(guest.Cpu);
                break;
            default:
                ExceptionDispatchInfo.Throw(next);
                break;
        }
        level = null;
        return guest.Cpu->Rip;
    }

    /// <summary>Whether a place on the stack belongs to a level's frames.</summary>
    public static bool IsInside(GuestProcessor.GuestThread guest, int depth, ulong stack) =>
        stack >= (guest.Depth > depth ? guest.Callers[depth].Rsp : guest.Cpu->Rsp) && stack <= guest.Callers[depth - 1].Top;

    void Unwind(GuestProcessor.GuestThread guest, int depth, Level level, UnwindException unwind)
    {
        Start(guest, depth, level, isFault: false, null);
        if (!HasFrame(guest, depth, level.Position, unwind.TargetFrame))
            throw new NtStatusException(NTSTATUS.STATUS_BAD_STACK, $"RtlUnwindEx was called for a frame at {Format.Address(unwind.TargetFrame)}, which does not exist.");
        DispatchArea area = Allocate(guest);
        EXCEPTION_RECORD record = guest.Passing;
        bool isTarget = false;
        while (!isTarget)
        {
            CONTEXT caller = level.Position;
            TryLeave(guest, depth, UNW_FLAG_UHANDLER, ref caller, out FrameInfo frame);
            isTarget = frame.Establisher == unwind.TargetFrame;
            level.Position.Rax = unwind.ReturnValue;
            if (frame.Handler != 0) RunUnwindHandler(guest, level, area, frame, unwind.TargetIp, record, isTarget ? EXCEPTION_TARGET_UNWIND : 0);
            if (!isTarget) Leave(level, caller);
        }
        level.Position.Rip = unwind.TargetIp;
        JumpBuffer.OfJump(unwind.Record)?.Restore(ref level.Position);
        level.Position.Load(guest.Cpu);
    }

    bool HasFrame(GuestProcessor.GuestThread guest, int depth, CONTEXT context, ulong establisher)
    {
        while (context.Rip != returnAddress && TryLeave(guest, depth, UNW_FLAG_NHANDLER, ref context, out FrameInfo frame))
        {
            if (frame.Establisher == establisher) return true;
        }
        return false;
    }

    static void Leave(Level level, in CONTEXT caller)
    {
        level.Position = caller;
        level.ScopeIndex = 0;
        level.IsCollided = false;
    }

    void RunUnwindHandler(GuestProcessor.GuestThread guest, Level level, DispatchArea area, in FrameInfo frame, ulong targetIp, EXCEPTION_RECORD record, EXCEPTION_FLAGS flags)
    {
        record.ExceptionFlags = (record.ExceptionFlags & (EXCEPTION_NONCONTINUABLE | EXCEPTION_EXIT_UNWIND)) | EXCEPTION_UNWINDING | flags
            | (level.IsCollided ? EXCEPTION_COLLIDED_UNWIND : 0);
        area.Context.Value = level.Position;
        EXCEPTION_DISPOSITION disposition;
        try
        {
            disposition = CallHandler(guest, area, frame, level.Position, level.ScopeIndex, targetIp, ref record);
        }
        catch (Exception) when (NoteCollision(level, area))
        {
            throw;
        }
        if (disposition != EXCEPTION_DISPOSITION.ExceptionContinueSearch) throw new NtStatusException(NTSTATUS.STATUS_INVALID_DISPOSITION);
    }

    // Before anybody else is asked about the new exception: the frame's handlers that have run must not run again.
    static bool NoteCollision(Level level, DispatchArea area)
    {
        level.ScopeIndex = area.Dispatcher.ScopeIndex;
        level.IsCollided = true;
        return false;
    }

    /// <summary>Unwinds all frames of a level that an exception leaves.</summary>
    public void Abandon(GuestProcessor.GuestThread guest, int depth, Level? level)
    {
        // After a stop nothing of the guest runs any more, and its state stays for the report.
        if (machine.BugChecks.StopReason is not null) return;
        if (guest.IsEnding)
        {
            Drop(guest, depth);
            return;
        }
        level ??= new Level();
        Start(guest, depth, level, isFault: false, null);
        DispatchArea area = Allocate(guest);
        EXCEPTION_RECORD record = guest.Passing;
        while (level.Position.Rip != returnAddress)
        {
            CONTEXT caller = level.Position;
            if (!TryLeave(guest, depth, UNW_FLAG_UHANDLER, ref caller, out FrameInfo frame)) break;
            if (frame.Handler != 0)
            {
                try
                {
                    RunUnwindHandler(guest, level, area, frame, targetIp: 0, record, flags: 0);
                }
                catch (Exception e) when (e is NtStatusException or UnwindException)
                {
                    throw machine.BugChecks.StopUnsupported(
                        $"A termination handler of compiled code was left by an exception ({e.Message.TrimEnd('.')}) while frames of several drivers were unwound; that is not modelled.");
                }
            }
            Leave(level, caller);
        }
        level.Position.Load(guest.Cpu);
        // A termination handler may have met, and handled, an exception of its own.
        guest.Passing = record;
        Drop(guest, depth);
    }

    static void Drop(GuestProcessor.GuestThread guest, int depth)
    {
        (guest.Cpu->Rip, guest.Cpu->Rsp, _) = guest.Callers[depth - 1];
        guest.Depth = depth - 1;
    }

    // ---- Frames

    /// <summary>Goes to the caller; false where stack or tables cannot be right.</summary>
    bool TryLeave(GuestProcessor.GuestThread guest, int depth, uint handlerType, ref CONTEXT context, out FrameInfo frame)
    {
        frame = default;
        ulong before = context.Rsp;
        DriverImage? image = processor.ImageAt?.Invoke(context.Rip);
        bool done = image?.File.FunctionAt((uint)(context.Rip - image.Base)) is { } function
            ? FrameUnwinder.TryLeave(image, function, handlerType, ref context, out frame)
            : FrameUnwinder.TryLeaveLeaf(ref context);
        return done && context.Rsp > before && context.Rsp <= guest.Callers[depth - 1].Top && (context.Rsp & 7) == 0;
    }
}
