using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Raising exceptions, and what the tables of compiled drivers need to handle them.</summary>
/// <remarks>
/// An exception is a C# exception. On its way it meets the frames of C# drivers, which may catch it, and runs of compiled code; for those
/// the processor asks the language handlers that the image names, in the two passes that Windows and .NET have in common.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/cpp/build/exception-handling-x64"/>
public sealed class StructuredExceptions
{
    readonly Machine machine;

    internal StructuredExceptions(Machine machine) => this.machine = machine;

    // ---- Raising

    /// <summary>Raises a status that cannot be continued from. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="NtStatusException">Always.</exception>
    [KernelExport(MaxIrql = APC_LEVEL), DoesNotReturn]
    public void ExRaiseStatus(NTSTATUS Status, [Caller] ulong caller = 0) => throw new NtStatusException(Status) { Address = AddressOf(caller) };

    /// <inheritdoc cref="ExRaiseStatus"/>
    [KernelExport(MaxIrql = APC_LEVEL), DoesNotReturn]
    public void RtlRaiseStatus(NTSTATUS Status, [Caller] ulong caller = 0) => ExRaiseStatus(Status, caller);

    /// <summary>Raises STATUS_ACCESS_VIOLATION. IRQL = PASSIVE_LEVEL.</summary>
    /// <exception cref="NtStatusException">Always.</exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL), DoesNotReturn]
    public void ExRaiseAccessViolation([Caller] ulong caller = 0) => ExRaiseStatus(STATUS_ACCESS_VIOLATION, caller);

    /// <summary>Raises STATUS_DATATYPE_MISALIGNMENT. IRQL = PASSIVE_LEVEL.</summary>
    /// <exception cref="NtStatusException">Always.</exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL), DoesNotReturn]
    public void ExRaiseDatatypeMisalignment([Caller] ulong caller = 0) => ExRaiseStatus(STATUS_DATATYPE_MISALIGNMENT, caller);

    /// <summary>
    /// Raises what a record describes. Compiled code goes on behind the call if a filter says so and the record does not forbid it.
    /// </summary>
    /// <exception cref="NtStatusException">Always, with the record's status and parameters.</exception>
    [KernelExport]
    public void RtlRaiseException(PEXCEPTION_RECORD ExceptionRecord, [Caller] ulong caller = 0)
    {
        ref EXCEPTION_RECORD record = ref ExceptionRecord.Value;
        record.ExceptionAddress = new PVOID(caller);
        Span<ulong> information = record.ExceptionInformation;
        ulong[] parameters = information[..(int)Math.Min(record.NumberParameters, EXCEPTION_MAXIMUM_PARAMETERS)].ToArray();
        bool isContinuable = !record.ExceptionFlags.HasFlag(EXCEPTION_FLAGS.EXCEPTION_NONCONTINUABLE) && AddressOf(caller) != 0;
        throw new NtStatusException(record.ExceptionCode, null, parameters) { Address = AddressOf(caller), IsContinuable = isContinuable };
    }

    // A C# driver's address says only which driver it is, not where its code is.
    ulong AddressOf(ulong caller) => machine.Code.RoutineAt(caller) is null ? caller : 0;

    // ---- Handling, by the tables of the Microsoft compiler

    /// <summary>Flags of a handler that is called to clean up.</summary>
    const EXCEPTION_FLAGS Unwinding = EXCEPTION_FLAGS.EXCEPTION_UNWINDING | EXCEPTION_FLAGS.EXCEPTION_EXIT_UNWIND;

    /// <summary>
    /// The language handler of C code: __try, __except and __finally, as the function's scope table lists them, innermost first.
    /// </summary>
    [KernelExport]
    public EXCEPTION_DISPOSITION __C_specific_handler(
        PEXCEPTION_RECORD ExceptionRecord, PVOID EstablisherFrame, PCONTEXT ContextRecord, PDISPATCHER_CONTEXT DispatcherContext, CompiledCall call)
    {
        if ((ExceptionRecord.ExceptionFlags & Unwinding) != 0)
            RunTerminationHandlers(ExceptionRecord.ExceptionFlags, EstablisherFrame, DispatcherContext);
        else if (SearchScopes(ExceptionRecord, EstablisherFrame, ContextRecord, DispatcherContext, new PEXCEPTION_POINTERS(call.HomeSpace)))
            return EXCEPTION_DISPOSITION.ExceptionContinueExecution;
        return EXCEPTION_DISPOSITION.ExceptionContinueSearch;
    }

    /// <returns>Whether execution is to be continued; if a filter takes the exception, there is no return.</returns>
    bool SearchScopes(PEXCEPTION_RECORD exception, PVOID frame, PCONTEXT context, PDISPATCHER_CONTEXT dispatcher, PEXCEPTION_POINTERS pointers)
    {
        ulong pc = dispatcher.ControlPc - dispatcher.ImageBase;
        for (uint i = dispatcher.ScopeIndex; i < ScopeCount(dispatcher); i++)
        {
            Scope scope = ScopeAt(dispatcher, i);
            if (!scope.Contains(pc) || scope.IsTermination) continue;
            int answer = EXCEPTION_EXECUTE_HANDLER;
            if (scope.Handler != Scope.ExecuteAlways)
            {
                pointers.ExceptionRecord = exception;
                pointers.ContextRecord = context;
                answer = (int)machine.Code.Invoke(dispatcher.ImageBase + scope.Handler, pointers.Address, frame.Address, 0, 0);
            }
            if (answer < 0) return true;
            if (answer > 0) Unwind(frame, dispatcher.ImageBase + scope.Target, exception, (uint)exception.ExceptionCode);
        }
        return false;
    }

    void RunTerminationHandlers(EXCEPTION_FLAGS flags, PVOID frame, PDISPATCHER_CONTEXT dispatcher)
    {
        ulong pc = dispatcher.ControlPc - dispatcher.ImageBase, target = dispatcher.TargetIp - dispatcher.ImageBase;
        bool isTarget = flags.HasFlag(EXCEPTION_FLAGS.EXCEPTION_TARGET_UNWIND);
        uint count = ScopeCount(dispatcher);
        for (uint i = dispatcher.ScopeIndex; i < count; i++)
        {
            Scope scope = ScopeAt(dispatcher, i);
            if (!scope.Contains(pc)) continue;
            // Scopes that the target lies in too are not left.
            if (isTarget && IsTargetInside(dispatcher, scope, target, count)) return;
            if (scope.IsTermination)
            {
                // A handler that raises must not be called again.
                dispatcher.ScopeIndex = i + 1;
                machine.Code.Invoke(dispatcher.ImageBase + scope.Handler, 1, frame.Address, 0, 0);
            }
            else if (isTarget && target == scope.Target)
            {
                return;
            }
        }
    }

    // A scope may be listed more than once, for parts of its code.
    static bool IsTargetInside(PDISPATCHER_CONTEXT dispatcher, Scope scope, ulong target, uint count)
    {
        for (uint i = 0; i < count; i++)
        {
            Scope other = ScopeAt(dispatcher, i);
            if (other.Contains(target) && other.Handler == scope.Handler && other.Target == scope.Target) return true;
        }
        return false;
    }

    /// <summary>A guarded range of code: SCOPE_TABLE_AMD64.ScopeRecord, addresses relative to the image.</summary>
    readonly record struct Scope(uint Begin, uint End, uint Handler, uint Target)
    {
        /// <summary>In place of a filter: the constant EXCEPTION_EXECUTE_HANDLER.</summary>
        public const uint ExecuteAlways = 1;

        public bool IsTermination => Target == 0;

        public bool Contains(ulong pc) => pc - Begin < End - (ulong)Begin;
    }

    static uint ScopeCount(PDISPATCHER_CONTEXT dispatcher) => GuestMemory.Ref<uint>(dispatcher.HandlerData.Address);

    static Scope ScopeAt(PDISPATCHER_CONTEXT dispatcher, uint index) => GuestMemory.Ref<Scope>(dispatcher.HandlerData.Address + 4 + 16UL * index);

    // ---- Leaving frames

    /// <summary>Leaves frames up to a target, running their termination handlers, and goes on there. Any IRQL.</summary>
    /// <param name="TargetFrame">
    /// The establisher frame; NULL to leave all frames of the thread, after which nobody is left to handle the exception: bug check 0x1E.
    /// </param>
    /// <param name="ExceptionRecord">
    /// What handlers are shown; NULL for STATUS_UNWIND. With STATUS_LONGJUMP its first parameter is the buffer of setjmp, which has the registers to go on with.
    /// </param>
    [KernelExport, DoesNotReturn]
    public void RtlUnwindEx(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue, PCONTEXT ContextRecord,
        PVOID HistoryTable, CompiledCall call) => Unwind(TargetFrame, TargetIp.Address, ExceptionRecord, ReturnValue.Address);

    /// <inheritdoc cref="RtlUnwindEx"/>
    [KernelExport, DoesNotReturn]
    public void RtlUnwind(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue, CompiledCall call) =>
        Unwind(TargetFrame, TargetIp.Address, ExceptionRecord, ReturnValue.Address);

    /// <summary>What a goto or return out of a __try block with a __finally compiles to. Any IRQL.</summary>
    [KernelExport, DoesNotReturn]
    public void _local_unwind(PVOID TargetFrame, PVOID TargetIp, CompiledCall call) => Unwind(TargetFrame, TargetIp.Address, default, 0);

    [DoesNotReturn]
    void Unwind(PVOID targetFrame, ulong targetIp, PEXCEPTION_RECORD exception, ulong returnValue)
    {
        EXCEPTION_RECORD record = exception.IsNull ? new EXCEPTION_RECORD { ExceptionCode = STATUS_UNWIND } : exception.Value;
        if (record.ExceptionCode == STATUS_UNWIND_CONSOLIDATE)
            throw machine.BugChecks.StopUnsupported("RtlUnwindEx was called with STATUS_UNWIND_CONSOLIDATE (C++ exceptions); that is not modelled.");
        if (targetFrame.IsNull) record.ExceptionFlags |= EXCEPTION_FLAGS.EXCEPTION_UNWINDING | EXCEPTION_FLAGS.EXCEPTION_EXIT_UNWIND;
        throw new UnwindException(targetFrame.Address, targetIp, record, returnValue);
    }

    // ---- Looking at frames

    /// <summary>Stores the caller's registers. Any IRQL.</summary>
    [KernelExport]
    public void RtlCaptureContext(PCONTEXT ContextRecord, CompiledCall call) => machine.Guest?.Frames?.Capture(machine.CurrentThread, ref ContextRecord.Value);

    /// <summary>Goes on with other registers; frames that this leaves are not told. Any IRQL.</summary>
    [KernelExport, DoesNotReturn]
    public void RtlRestoreContext(PCONTEXT ContextRecord, PEXCEPTION_RECORD ExceptionRecord, CompiledCall call)
    {
        CONTEXT context = ContextRecord.Value;
        if (!ExceptionRecord.IsNull)
        {
            if (ExceptionRecord.ExceptionCode == STATUS_UNWIND_CONSOLIDATE)
                throw machine.BugChecks.StopUnsupported("RtlRestoreContext was called with STATUS_UNWIND_CONSOLIDATE (C++ exceptions); that is not modelled.");
            JumpBuffer.OfJump(ExceptionRecord.Value)?.Restore(ref context);
        }
        throw new ContextRestoredException(context);
    }

    /// <summary>Remembers where it is called, for <see cref="longjmp"/>. Any IRQL.</summary>
    /// <param name="Frame">The caller's establisher frame, which the compiler passes; NULL for a jump that leaves frames without a word to them.</param>
    /// <returns>0; what longjmp was given when that comes here.</returns>
    [KernelExport]
    public int _setjmpex(PVOID Buffer, PVOID Frame, CompiledCall call)
    {
        var context = new CONTEXT();
        machine.Guest?.Frames?.Capture(machine.CurrentThread, ref context);
        GuestMemory.Ref<JumpBuffer>(Buffer.Address).Save(context, Frame.Address);
        return 0;
    }

    /// <inheritdoc cref="_setjmpex"/>
    [KernelExport]
    public int _setjmp(PVOID Buffer, PVOID Frame, CompiledCall call) => _setjmpex(Buffer, Frame, call);

    /// <summary>Goes on where the buffer was filled, running the termination handlers of the frames that this leaves. Any IRQL.</summary>
    /// <param name="Value">What _setjmpex returns; 1 in place of 0.</param>
    [KernelExport, DoesNotReturn]
    public void longjmp(PVOID Buffer, int Value, CompiledCall call)
    {
        JumpBuffer buffer = GuestMemory.Ref<JumpBuffer>(Buffer.Address);
        ulong value = Value == 0 ? 1 : (uint)Value;
        if (buffer.Frame == 0)
        {
            var context = new CONTEXT();
            machine.Guest?.Frames?.Capture(machine.CurrentThread, ref context);
            buffer.Restore(ref context);
            context.Rax = value;
            throw new ContextRestoredException(context);
        }
        var record = new EXCEPTION_RECORD { ExceptionCode = STATUS_LONGJUMP, NumberParameters = 1 };
        record.ExceptionInformation[0] = Buffer.Address;
        throw new UnwindException(buffer.Frame, buffer.Rip, record, value);
    }

    /// <summary>The exception table row of an address; NULL for leaf functions and addresses outside of images. Any IRQL.</summary>
    [KernelExport]
    public PRUNTIME_FUNCTION RtlLookupFunctionEntry(ulong ControlPc, out ulong ImageBase, PVOID HistoryTable)
    {
        ImageBase = 0;
        return machine.Guest?.Frames?.FindFunction(ControlPc, out ImageBase) ?? default;
    }

    /// <summary>Turns the registers of a function into those of its caller. Any IRQL.</summary>
    /// <returns>The function's handler if it has one of the kind asked for and the address is in its body.</returns>
    /// <exception cref="NtStatusException">STATUS_BAD_FUNCTION_TABLE or STATUS_BAD_STACK.</exception>
    [KernelExport]
    public PEXCEPTION_ROUTINE RtlVirtualUnwind(uint HandlerType, ulong ImageBase, ulong ControlPc, PRUNTIME_FUNCTION FunctionEntry, PCONTEXT ContextRecord,
        out PVOID HandlerData, out ulong EstablisherFrame, PKNONVOLATILE_CONTEXT_POINTERS ContextPointers)
    {
        HandlerData = default;
        EstablisherFrame = 0;
        ref CONTEXT context = ref ContextRecord.Value;
        context.Rip = ControlPc;
        return machine.Guest?.Frames?.Unwind(HandlerType, ImageBase, FunctionEntry.Value, ref context, out HandlerData, out EstablisherFrame, ContextPointers) ?? default;
    }

    /// <summary>The image that holds an address; NULL for none. Any IRQL.</summary>
    [KernelExport]
    public PVOID RtlPcToFileHeader(PVOID PcValue, out PVOID BaseOfImage) =>
        BaseOfImage = machine.Guest?.Frames?.FindImage(PcValue.Address) ?? default;
}
