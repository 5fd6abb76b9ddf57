using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Irpwright.Guest.Checks;
using Irpwright.Guest.Exceptions;
using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Guest.Unwinding;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest;

/// <summary>Runs compiled drivers in a machine: connects the interpreter with the machine's kernel.</summary>
/// <remarks>Each guest thread has its own processor state; calls nest (guest to kernel to guest) on one stack.</remarks>
[SkipLocalsInit] // copies of a processor's state are large
public sealed unsafe class GuestProcessor : IGuestProcessor, IGuestFrames, IDisposable
{
    /// <summary>Home space for the four register arguments, which every callee may use.</summary>
    const ulong HomeSpace = 0x20;

    /// <summary>Branches after which other threads get their turn, and the time that they take on the virtual processor.</summary>
    const long Quantum = 100_000, QuantumTicks = 1_000;

    readonly Machine machine;
    readonly Interpreter interpreter;
    ulong lastTimestamp;
    readonly ExceptionDispatcher exceptions;

    public GuestProcessor(Machine machine)
    {
        this.machine = machine;
        MemoryChecks? checks = machine.Shadow is { } shadow
            ? new MemoryChecks(shadow, new MisuseReports(machine, shadow, address => ImageAt?.Invoke(address), CurrentCpu)) : null;
        interpreter = new Interpreter(machine.Memory.SliceBase, machine.Memory.TrapBase, machine.Memory.TrapEnd,
            TailCalls.Work && !machine.Options.AvoidsTailCalls, checks)
        {
            ThunkAt = address => machine.Code.ExportAt(address) is { } export ? (nint)export.Thunk : 0,
            StopsAtInterlocked = machine.Scheduler.SwitchesAtIrps,
        };
        exceptions = new ExceptionDispatcher(this, machine, interpreter.ReturnAddress);
    }

    /// <summary>The image that holds an address; without it call stacks end early.</summary>
    public Func<ulong, DriverImage?>? ImageAt { get; init; }

    /// <summary>Says what an address stands for that is called although the kernel does not have it; null for anything else.</summary>
    public Func<ulong, string?>? DescribeMissing { get; set; }

    /// <summary>The processor that called the kernel last on the current thread; null if it never ran compiled code, or does not now.</summary>
    Cpu* CurrentCpu() => machine.TryGetCurrentThread()?.GuestState is GuestThread { Depth: > 0 } guest ? guest.Cpu : null;

    /// <summary>Code of a range goes away or has changed.</summary>
    public void Flush(ulong address, ulong length) => interpreter.Flush(address, length);

    /// <summary>Whether code at an address has run, and has not changed since.</summary>
    public bool HasRun(ulong address) => interpreter.HasReached(address);

    public bool IsCode(ulong address) => GuestMemory.IsAccessible(address, 1, PageAccess.Execute);

    /// <summary>Whether the current thread is just executing the instruction at an address.</summary>
    public bool IsAt(ulong address) => machine.TryGetCurrentThread()?.GuestState is GuestThread guest && guest.Cpu->Rip == address;

    public ulong Invoke(KernelThread thread, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments = default,
        ulong stackTop = 0, ulong stackLimit = 0)
    {
        GuestThread guest = thread.GuestState as GuestThread ?? new GuestThread(this, thread);
        return stackTop != 0 ? Borrow(guest, address, rcx, rdx, r8, r9, stackArguments, stackTop, stackLimit)
            : Call(guest, address, rcx, rdx, r8, r9, stackArguments, guest.Cpu->Rsp);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    ulong Borrow(GuestThread guest, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments, ulong stackTop, ulong stackLimit)
    {
        Cpu* cpu = guest.Cpu;
        Cpu interrupted = *cpu;
        cpu->StackLimit = stackLimit;
        ulong result = Call(guest, address, rcx, rdx, r8, r9, stackArguments, stackTop);
        Resume(cpu, &interrupted);
        return result;
    }

    /// <summary>Whatever borrowed the processor between two instructions: everything is as before when it is done.</summary>
    static void Resume(Cpu* cpu, Cpu* interrupted)
    {
        if (CheckState.Of(cpu)->Memory != null) CheckState.Forget(cpu);
        interrupted->Budget = cpu->Budget;
        System.Buffer.MemoryCopy(interrupted, cpu, Cpu.ThreadSize, Cpu.ThreadSize);
    }

    /// <summary>Calls guest code on a stack of the thread's. Exceptions that guest code handles go on inside; all others leave.</summary>
    internal ulong Call(GuestThread guest, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments, ulong stack)
    {
        Cpu* cpu = guest.Cpu;
        ulong rsp = cpu->Rsp;
        ulong rip = cpu->Rip;
        if (guest.Depth == 0)
        {
            guest.Left = machine.Options.InstructionBudget;
            cpu->Budget = Quantum;
        }
        guest.Enter(rip, rsp, stack);
        cpu->Rsp = stack;
        PushFrame(cpu, stackArguments);
        if (machine.Shadow is not null) CheckState.Forget(cpu);
        cpu->Rcx = rcx;
        cpu->Rdx = rdx;
        cpu->Gpr[8] = r8;
        cpu->Gpr[9] = r9;
        RunHandled(guest, address);
        guest.Depth--;
        cpu->Rsp = rsp;
        cpu->Rip = rip;
        return cpu->Rax;
    }

    /// <inheritdoc/>
    /// <remarks>Callers of <see cref="RunHandled"/> may be inlined, or end in a jump.</remarks>
    public bool IsRun(MethodBase method) => method.Name == nameof(RunHandled) && method.DeclaringType == typeof(GuestProcessor);

    // Inlined, it would have all that its caller needs kept in memory, where exception handlers look for it.
    [MethodImpl(MethodImplOptions.NoInlining)]
    void RunHandled(GuestThread guest, ulong address)
    {
        int depth = guest.Depth;
        Level? level = null;
        bool returned = false;
        try
        {
            while (!returned)
            {
                try
                {
                    if (level?.Next is not null) address = exceptions.Proceed(guest, depth, ref level);
                    Run(guest, address);
                    returned = true;
                }
                catch (Exception e) when (ExceptionDispatcher.Note(guest, e))
                {
                }
                catch (NtStatusException e) when (exceptions.Search(guest, depth, ref level, e))
                {
                }
                catch (UnwindException e) when (ExceptionDispatcher.IsInside(guest, depth, e.TargetFrame))
                {
                    (level ??= new Level()).Next = e;
                }
                catch (ContextRestoredException e) when (ExceptionDispatcher.IsInside(guest, depth, e.Context.Rsp))
                {
                    (level ??= new Level()).Next = e;
                }
            }
        }
        finally
        {
            if (!returned) exceptions.Abandon(guest, depth, level);
        }
    }

    // Returns when the guest code does.
    [MethodImpl(MethodImplOptions.NoInlining)] // for the same reason
    void Run(GuestThread guest, ulong address)
    {
        Cpu* cpu = guest.Cpu;
        StopReason reason = Interpreter.Run(cpu, address);
        while (reason == StopReason.BudgetSpent && (guest.Left -= Quantum) > 0)
        {
            cpu->Budget = Quantum;
            Preempt(guest);
            reason = Interpreter.Run(cpu, cpu->Rip);
        }
        if (reason != StopReason.Returned) throw Stopped(cpu, reason);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    void Preempt(GuestThread guest)
    {
        Cpu interrupted = *guest.Cpu;
        machine.Scheduler.Preempt(guest.Thread, QuantumTicks);
        Resume(guest.Cpu, &interrupted);
    }

    /// <summary>
    /// 1 GHz: the machine's time, and what has been executed since it was last looked at. It never stands still, nor goes back.
    /// </summary>
    ulong NextTimestamp(Cpu* cpu)
    {
        ulong time = (ulong)(machine.Scheduler.InterruptTime * 100 + (Quantum - cpu->Budget));
        while (true)
        {
            ulong last = Volatile.Read(ref lastTimestamp), next = Math.Max(last + 1, time);
            if (Interlocked.CompareExchange(ref lastTimestamp, next, last) == last) return next;
        }
    }

    // At the callee's first instruction rsp + 8 is a multiple of 16: [rsp] return address, home space, further arguments.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    void PushFrame(Cpu* cpu, ReadOnlySpan<ulong> stackArguments)
    {
        ulong size = (HomeSpace + 8 * (ulong)stackArguments.Length + 15) & ~15UL;
        ulong top = (cpu->Rsp & ~15UL) - size;
        if (top - 8 < cpu->StackLimit) throw machine.BugChecks.KernelStackOverflow(cpu->Rip);
        for (int i = 0; i < stackArguments.Length; i++) GuestMemory.Ref<ulong>(top + HomeSpace + 8 * (ulong)i) = stackArguments[i];
        GuestMemory.Ref<ulong>(top - 8) = interpreter.ReturnAddress;
        cpu->Rsp = top - 8;
    }

    /// <summary>What Windows would end with, or that we do not know.</summary>
    Exception Stopped(Cpu* cpu, StopReason reason)
    {
        ulong rip = cpu->Rip;
        BugChecks bugChecks = machine.BugChecks;
        switch (reason)
        {
            case StopReason.Fault when (DescribeMissing?.Invoke(cpu->FaultAddress) ?? DescriptorTables.Describe(cpu->FaultAddress - cpu->CodeBase)) is { } missing:
                // The instruction of a call is over, and only the return address tells who called.
                bool isCall = cpu->FaultAccess == PageAccess.Execute && GuestMemory.IsAccessible(cpu->Rsp, 8, PageAccess.Read);
                ulong user = isCall ? GuestMemory.Ref<ulong>(cpu->Rsp) : rip;
                return bugChecks.StopUnsupported($"{Place(user)} {(isCall ? "calls" : "uses")} {missing}, which this version does not have.");
            case StopReason.Fault when cpu->FaultAccess == PageAccess.None:
                return AccessViolation(cpu);
            case StopReason.Fault:
                return bugChecks.FatalFault(cpu->FaultAddress, cpu->FaultAccess, rip, inKernel: false) ?? (Exception)AccessViolation(cpu);
            case StopReason.KernelStackOverflow or StopReason.HostStackOverflow:
                return bugChecks.KernelStackOverflow(rip);
            case StopReason.BudgetSpent:
                return bugChecks.Looping(machine.CurrentThread, $"{Place(rip)} is still running after {machine.Options.InstructionBudget:N0} branches and calls: the driver loops.");
            case StopReason.Unimplemented or StopReason.Privileged:
                return bugChecks.StopUnsupported($"{Place(rip)} executes {Interpreter.Describe(rip)}{ModelSpecificRegister(cpu)}, which this version does not model.");
            case StopReason.FloatingPointMode:
                return bugChecks.StopUnsupported($"{Place(rip)} executes {Interpreter.Describe(rip)} while mxcsr is {cpu->Mxcsr:X}: this version only models rounding to nearest, with exceptions masked and subnormal numbers.");
            case StopReason.SingleStep:
                return bugChecks.StopUnsupported($"{Place(rip)} executes {Interpreter.Describe(rip)} to set the trap flag, and this version does not execute step by step.");
            case StopReason.Halted:
                return bugChecks.Looping(machine.CurrentThread, $"{Place(rip)} halts the processor with interrupts disabled: nothing would ever wake it.");
            case StopReason.IllegalInstruction:
                return Fault(cpu, NTSTATUS.STATUS_ILLEGAL_INSTRUCTION, $"{Place(rip)} executes {Interpreter.Describe(rip)}, which is no valid instruction.");
            case StopReason.DivideError when Divisor.IsZero(cpu, rip):
                return Fault(cpu, NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO, $"{Place(rip)} divides by zero: {Interpreter.Describe(rip)}.");
            case StopReason.DivideError:
                return Fault(cpu, NTSTATUS.STATUS_INTEGER_OVERFLOW, $"{Place(rip)} makes a division whose quotient is too large: {Interpreter.Describe(rip)}.");
            case StopReason.Breakpoint:
                return Fault(cpu, NTSTATUS.STATUS_BREAKPOINT, $"{Place(rip)} executes a breakpoint, and no debugger is attached.", 0);
            case StopReason.FastFail:
                return FastFail(cpu);
            case StopReason.AssertionFailure:
                return Fault(cpu, NTSTATUS.STATUS_ASSERTION_FAILURE, $"An assertion failed at {Place(rip)}.");
            default:
                throw new InvalidOperationException($"The interpreter stopped with {reason}, which nothing asked for.");
        }
    }

    // As Windows does it, on the stack of the code that gave up: a trap frame, and below it the record of an exception that nobody is asked about.
    BugCheckException FastFail(Cpu* cpu)
    {
        const ulong recordOffset = 0xA8;
        ulong code = (uint)cpu->Rcx;
        ulong frame = (cpu->Rsp & ~15UL) - 0x200, record = frame - recordOffset;
        var exception = new NtStatusException(NTSTATUS.STATUS_STACK_BUFFER_OVERRUN, null, code) { Address = cpu->Rip };
        if (record < cpu->StackLimit || !GuestMemory.TryTranslate(record, recordOffset + KTRAP_FRAME.SizeOf, PageAccess.Write, out _, out _))
        {
            (frame, record) = (0, 0);
        }
        else
        {
            var context = new CONTEXT();
            context.Save(cpu);
            GuestMemory.Ref<KTRAP_FRAME>(frame) = Registers.TrapFrameOf(context);
            ref EXCEPTION_RECORD raised = ref GuestMemory.Ref<EXCEPTION_RECORD>(record);
            raised = new EXCEPTION_RECORD
            {
                ExceptionCode = exception.Status,
                ExceptionFlags = EXCEPTION_FLAGS.EXCEPTION_NONCONTINUABLE,
                ExceptionAddress = new PVOID(cpu->Rip),
                NumberParameters = 1,
            };
            raised.ExceptionInformation[0] = code;
        }
        return machine.BugChecks.Stop(BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, code, frame, record, 0,
            $"{Place(cpu->Rip)} ended the system with __fastfail({code}): {FastFailMeaning(code)}.", machine.BugChecks.ReportOf(exception));
    }

    /// <summary>For rdmsr and wrmsr: the number of the register, which the instruction does not show.</summary>
    static string ModelSpecificRegister(Cpu* cpu) =>
        GuestMemory.TryTranslate(cpu->Rip, 2, PageAccess.Execute, out byte* code, out _) && code[0] == 0x0F && code[1] is 0x30 or 0x32
            ? $" (register {(uint)cpu->Rcx:X})" : "";

    string Place(ulong rip) => new StackFrame(rip, machine.BugChecks.SymbolAt?.Invoke(rip) ?? Format.Address(rip), machine.BugChecks.LineAt?.Invoke(rip)).ToString();

    static ProcessorFault Fault(Cpu* cpu, NTSTATUS status, string message, params ulong[] parameters) =>
        new(status, message, parameters) { Address = cpu->Rip, IsContinuable = true };

    static ProcessorFault AccessViolation(Cpu* cpu)
    {
        // A general protection fault does not say which address it is about.
        var fault = GuestMemory.Fault(cpu->FaultAddress, cpu->FaultAccess) as NtStatusException;
        return fault is null
            ? Fault(cpu, NTSTATUS.STATUS_ACCESS_VIOLATION, $"{Interpreter.Describe(cpu->Rip)} is not allowed with these operands.", 0, ulong.MaxValue)
            : Fault(cpu, fault.Status, fault.Message, [.. fault.Parameters]);
    }

    static string FastFailMeaning(ulong code) => code switch
    {
        2 => "a stack cookie was overwritten",
        3 => "a list entry is corrupt",
        6 => "the image was started without a security cookie",
        10 => "an indirect call went to an address that is no valid target",
        _ => "see the documentation of bug check 0x139",
    };

    /// <inheritdoc/>
    /// <remarks>The first frame of a run is the instruction that stopped or called out, the others are return addresses.</remarks>
    public IEnumerable<IReadOnlyList<GuestFrame>> CallStack(KernelThread thread)
    {
        var runs = new List<IReadOnlyList<GuestFrame>>();
        if (thread.GuestState is not GuestThread guest) return runs;
        var context = new CONTEXT();
        context.Save(guest.Cpu);
        for (int depth = guest.Depth - 1; depth >= 0; depth--)
        {
            runs.Add([.. new StackWalk(ImageAt, interpreter.ReturnAddress, guest.Callers[depth].Top).Walk(context)]);
            (context.Rip, context.Rsp, _) = guest.Callers[depth];
        }
        return runs;
    }

    /// <inheritdoc/>
    public IReadOnlyList<CodeLine> Disassemble(KernelThread thread, ulong address)
    {
        bool isAt = thread.GuestState is GuestThread guest && guest.Cpu->Rip == address;
        return ImageAt?.Invoke(address) is { IsLoaded: true } image ? Disassembler.Around(image, address, isAt, machine.BugChecks.SymbolAt) : [];
    }

    // ---- Frames of compiled code

    public IGuestFrames Frames => this;

    void IGuestFrames.Save(KernelThread thread, ref CONTEXT context)
    {
        if (thread.GuestState is GuestThread guest) context.Save(guest.Cpu);
    }

    void IGuestFrames.Capture(KernelThread thread, ref CONTEXT context)
    {
        if (thread.GuestState is not GuestThread guest) return;
        context.Save(guest.Cpu);
        FrameUnwinder.TryLeaveLeaf(ref context);
    }

    PVOID IGuestFrames.FindImage(ulong address) => new(ImageAt?.Invoke(address) is { IsLoaded: true } image ? image.Base : 0);

    public PRUNTIME_FUNCTION FindFunction(ulong address, out ulong imageBase)
    {
        imageBase = 0;
        if (ImageAt?.Invoke(address) is not { IsLoaded: true } image) return default;
        imageBase = image.Base;
        return image.File.FunctionAt((uint)(address - image.Base)) is { } function && image.File.AddressOf(function) is { } rva
            ? new PRUNTIME_FUNCTION(image.Base + rva) : default;
    }

    PEXCEPTION_ROUTINE IGuestFrames.Unwind(uint handlerType, ulong imageBase, in RUNTIME_FUNCTION function, ref CONTEXT context,
        out PVOID handlerData, out ulong establisherFrame, PKNONVOLATILE_CONTEXT_POINTERS saved)
    {
        var row = new RuntimeFunction(function.BeginAddress, function.EndAddress, function.UnwindData);
        if (ImageAt?.Invoke(imageBase) is not { IsLoaded: true } image || !FrameUnwinder.TryLeave(image, row, handlerType, ref context, out FrameInfo frame, saved))
            throw new NtStatusException(NTSTATUS.STATUS_BAD_FUNCTION_TABLE);
        handlerData = new PVOID(frame.HandlerData);
        establisherFrame = frame.Establisher;
        return new PEXCEPTION_ROUTINE(frame.Handler);
    }

    public void Dispose() => interpreter.Dispose();

    /// <summary>The processor state of one guest thread.</summary>
    internal sealed class GuestThread : IDisposable
    {
        readonly GuestProcessor owner;
        readonly Machine machine;
        GCHandle self;
        (ulong Rip, ulong Rsp, ulong Top)[] callers = new (ulong, ulong, ulong)[16];

        internal GuestThread(GuestProcessor owner, KernelThread thread)
        {
            this.owner = owner;
            machine = owner.machine;
            Thread = thread;
            thread.GuestState = this;
            self = GCHandle.Alloc(this);
            Cpu = owner.interpreter.CreateCpu();
            Cpu->Rsp = thread.StackBase;
            Cpu->StackLimit = thread.StackLimit;
            Cpu->AmpleStack = thread.HostStackLimit;
            Cpu->GsBase = thread.Pcr.Address;
            Cpu->Irql = thread.IrqlCell;
            Cpu->SharedUserData = owner.machine.Memory.SharedUserData;
            Cpu->Owner = GCHandle.ToIntPtr(self);
            Cpu->OnTrap = &OnTrap;
            Cpu->OnThunk = &OnThunk;
            Cpu->OnIrqlWrite = &OnIrqlWrite;
            Cpu->OnPause = &OnPause;
            Cpu->OnInterlocked = &OnInterlocked;
            Cpu->OnInterruptFlag = &OnInterruptFlag;
            Cpu->OnDeviceRead = &OnDeviceRead;
            Cpu->OnDeviceWrite = &OnDeviceWrite;
            Cpu->OnPortRead = &OnPortRead;
            Cpu->OnPortWrite = &OnPortWrite;
            Cpu->Number = thread.Pcr.Prcb.Number;
            Cpu->OnTimestamp = &OnTimestamp;
        }

        internal KernelThread Thread { get; }

        internal Cpu* Cpu { get; }

        /// <summary>Nesting of calls from the kernel into the guest.</summary>
        internal int Depth { get; set; }

        /// <summary>For each nested call: where the guest was when it called the kernel, and where the stack of the call begins.</summary>
        internal (ulong Rip, ulong Rsp, ulong Top)[] Callers => callers;

        internal void Enter(ulong rip, ulong rsp, ulong top)
        {
            if (Depth == callers.Length) Array.Resize(ref callers, 2 * Depth);
            callers[Depth++] = (rip, rsp, top);
        }

        /// <summary>The exception for which frames are being left.</summary>
        internal EXCEPTION_RECORD Passing { get; set; }

        /// <summary>Whether the thread ends itself: its frames are dropped, not unwound.</summary>
        internal bool IsEnding { get; set; }

        /// <summary>What remains of the instruction budget, without the current quantum.</summary>
        internal long Left { get; set; }

        // The handle holds nothing else.
        static GuestThread Of(Cpu* cpu) => Unsafe.As<GuestThread>(GCHandle.FromIntPtr(cpu->Owner).Target!);

        static void OnTrap(Cpu* cpu, ulong address)
        {
            if (Of(cpu).owner.machine.Code.InvokeTrap(address, cpu->Gpr)) return;
            cpu->FaultAddress = address;
            cpu->FaultAccess = PageAccess.Execute;
            cpu->Stop = StopReason.Fault;
        }

        static void OnThunk(Cpu* cpu, nint thunk) => ((delegate*<Machine, ulong*, void>)thunk)(Of(cpu).machine, cpu->Gpr);

        static void OnIrqlWrite(Cpu* cpu, byte irql)
        {
            GuestThread guest = Of(cpu);
            bool rises = irql >= guest.Thread.Irql;
            if (rises)
            {
                guest.owner.machine.Irqls.Write(guest.Thread, irql);
                return;
            }
            Cpu interrupted = *cpu;
            guest.owner.machine.Irqls.Write(guest.Thread, irql);
            Resume(cpu, &interrupted);
        }

        static void OnInterruptFlag(Cpu* cpu, bool enabled)
        {
            GuestThread guest = Of(cpu);
            Cpu interrupted = *cpu;
            guest.owner.machine.Irqls.EnableInterrupts(guest.Thread, enabled);
            Resume(cpu, &interrupted);
        }

        static void OnPause(Cpu* cpu) => Yield(cpu, SchedulingPoint.Spin);

        static void OnInterlocked(Cpu* cpu) => Yield(cpu, SchedulingPoint.Interlocked);

        static void Yield(Cpu* cpu, SchedulingPoint point)
        {
            GuestThread guest = Of(cpu);
            Cpu interrupted = *cpu;
            guest.owner.machine.Scheduler.Yield(guest.Thread, point);
            Resume(cpu, &interrupted);
        }

        // Time passes while a device is accessed: interrupts and DPCs may come.
        static bool OnDeviceRead(Cpu* cpu, ulong address, int size, ulong* value)
        {
            Cpu interrupted = *cpu;
            bool done = Of(cpu).owner.machine.Hardware.TryRead(address, size, out *value);
            Resume(cpu, &interrupted);
            return done;
        }

        static bool OnDeviceWrite(Cpu* cpu, ulong address, int size, ulong value)
        {
            Cpu interrupted = *cpu;
            bool done = Of(cpu).owner.machine.Hardware.TryWrite(address, size, value);
            Resume(cpu, &interrupted);
            return done;
        }

        static ulong OnPortRead(Cpu* cpu, ushort port, int size)
        {
            Cpu interrupted = *cpu;
            ulong value = Of(cpu).owner.machine.Hardware.ReadPort(port, size);
            Resume(cpu, &interrupted);
            return value;
        }

        static void OnPortWrite(Cpu* cpu, ushort port, int size, ulong value)
        {
            Cpu interrupted = *cpu;
            Of(cpu).owner.machine.Hardware.WritePort(port, size, value);
            Resume(cpu, &interrupted);
        }

        static ulong OnTimestamp(Cpu* cpu) => Of(cpu).owner.NextTimestamp(cpu);

        public void Dispose()
        {
            Interpreter.FreeCpu(Cpu);
            self.Free();
        }
    }
}
