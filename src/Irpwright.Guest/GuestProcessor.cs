using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Guest.Unwinding;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest;

/// <summary>Runs compiled drivers in a machine: connects the interpreter with the machine's kernel.</summary>
/// <remarks>Each guest thread has its own processor state; calls nest (guest to kernel to guest) on one stack.</remarks>
public sealed unsafe class GuestProcessor : IGuestProcessor, IDisposable
{
    /// <summary>Home space for the four register arguments, which every callee may use.</summary>
    const ulong HomeSpace = 0x20;

    /// <summary>Branches after which other threads get their turn, and the time that they take on the virtual processor.</summary>
    const long Quantum = 100_000, QuantumTicks = 1_000;

    readonly Machine machine;
    readonly Interpreter interpreter;
    ulong lastTimestamp;

    public GuestProcessor(Machine machine)
    {
        this.machine = machine;
        interpreter = new Interpreter(machine.Memory.SliceBase, machine.Memory.TrapBase, machine.Memory.TrapEnd)
        {
            ThunkAt = address => machine.Code.ExportAt(address) is { } export ? (nint)export.Thunk : 0,
        };
    }

    /// <summary>The image that holds an address; without it call stacks end early.</summary>
    public Func<ulong, DriverImage?>? ImageAt { get; init; }

    /// <summary>Says what an address stands for that is called although the kernel does not have it; null for anything else.</summary>
    public Func<ulong, string?>? DescribeMissing { get; set; }

    /// <summary>Code of a range goes away or has changed.</summary>
    public void Flush(ulong address, ulong length) => interpreter.Flush(address, length);

    public bool IsCode(ulong address) => GuestMemory.IsAccessible(address, 1, PageAccess.Execute);

    /// <summary>Whether the current thread is just executing the instruction at an address.</summary>
    public bool IsAt(ulong address) => machine.TryGetCurrentThread()?.GuestState is GuestThread guest && guest.Cpu->Rip == address;

    public ulong Invoke(KernelThread thread, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments = default,
        ulong stackTop = 0, ulong stackLimit = 0)
    {
        GuestThread guest = thread.GuestState as GuestThread ?? new GuestThread(this, thread);
        Cpu* cpu = guest.Cpu;
        if (stackTop != 0)
        {
            Cpu interrupted = *cpu;
            cpu->StackLimit = stackLimit;
            ulong result = Call(guest, address, rcx, rdx, r8, r9, stackArguments, stackTop);
            Resume(cpu, &interrupted);
            return result;
        }
        return Call(guest, address, rcx, rdx, r8, r9, stackArguments, guest.Cpu->Rsp);
    }

    /// <summary>Whatever borrowed the processor between two instructions: everything is as before when it is done.</summary>
    static void Resume(Cpu* cpu, Cpu* interrupted)
    {
        interrupted->Budget = cpu->Budget;
        System.Buffer.MemoryCopy(interrupted, cpu, Cpu.ThreadSize, Cpu.ThreadSize);
    }

    ulong Call(GuestThread guest, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments, ulong stack)
    {
        Cpu* cpu = guest.Cpu;
        ulong rsp = cpu->Rsp;
        ulong rip = cpu->Rip;
        guest.Callers[guest.Depth] = (rip, rsp);
        cpu->Rsp = stack;
        if (guest.Depth++ == 0)
        {
            guest.Left = machine.Options.InstructionBudget;
            cpu->Budget = Quantum;
        }
        PushFrame(cpu, stackArguments);
        cpu->Rcx = rcx;
        cpu->Rdx = rdx;
        cpu->Gpr[8] = r8;
        cpu->Gpr[9] = r9;
        StopReason reason = Interpreter.Run(cpu, address);
        while (reason == StopReason.BudgetSpent && (guest.Left -= Quantum) > 0)
        {
            cpu->Budget = Quantum;
            Cpu interrupted = *cpu;
            machine.Scheduler.Preempt(guest.Thread, QuantumTicks);
            Resume(cpu, &interrupted);
            reason = Interpreter.Run(cpu, cpu->Rip);
        }
        if (reason != StopReason.Returned) throw Stopped(cpu, reason);
        guest.Depth--;
        cpu->Rsp = rsp;
        cpu->Rip = rip;
        return cpu->Rax;
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
    void PushFrame(Cpu* cpu, ReadOnlySpan<ulong> stackArguments)
    {
        ulong size = (HomeSpace + 8 * (ulong)stackArguments.Length + 15) & ~15UL;
        ulong top = (cpu->Rsp & ~15UL) - size;
        if (top - 8 < cpu->StackLimit) throw machine.BugChecks.KernelStackOverflow(cpu->Rip);
        for (int i = 0; i < stackArguments.Length; i++) GuestMemory.Ref<ulong>(top + HomeSpace + 8 * (ulong)i) = stackArguments[i];
        cpu->Rsp = top - 8;
        GuestMemory.Ref<ulong>(cpu->Rsp) = interpreter.ReturnAddress;
    }

    /// <summary>What Windows would end with, or that we do not know.</summary>
    Exception Stopped(Cpu* cpu, StopReason reason)
    {
        ulong rip = cpu->Rip;
        BugChecks bugChecks = machine.BugChecks;
        switch (reason)
        {
            case StopReason.Fault when DescribeMissing?.Invoke(cpu->FaultAddress) is { } missing:
                // The instruction of a call is over, and only the return address tells who called.
                bool isCall = cpu->FaultAccess == PageAccess.Execute && GuestMemory.IsAccessible(cpu->Rsp, 8, PageAccess.Read);
                ulong user = isCall ? GuestMemory.Ref<ulong>(cpu->Rsp) : rip;
                return bugChecks.StopUnsupported($"{Place(user)} {(isCall ? "calls" : "uses")} {missing}, which this version does not have.");
            case StopReason.Fault:
                return bugChecks.PageFault(cpu->FaultAddress, cpu->FaultAccess, rip);
            case StopReason.KernelStackOverflow or StopReason.HostStackOverflow:
                return bugChecks.KernelStackOverflow(rip);
            case StopReason.BudgetSpent:
                return bugChecks.Looping(machine.CurrentThread, $"{Place(rip)} is still running after {machine.Options.InstructionBudget:N0} branches and calls: the driver loops.");
            case StopReason.Unimplemented or StopReason.Privileged:
                return bugChecks.StopUnsupported($"{Place(rip)} executes {Interpreter.Describe(rip)}{ModelSpecificRegister(cpu)}, which this version does not model.");
            case StopReason.FloatingPointMode:
                return bugChecks.StopUnsupported($"{Place(rip)} executes {Interpreter.Describe(rip)} while mxcsr is {cpu->Mxcsr:X}: this version only models rounding to nearest, with exceptions masked and subnormal numbers.");
            case StopReason.SingleStep:
                return bugChecks.StopUnsupported($"{Place(rip)} sets the trap flag, and this version does not execute step by step.");
            case StopReason.Halted:
                return bugChecks.Looping(machine.CurrentThread, $"{Place(rip)} halts the processor with interrupts disabled: nothing would ever wake it.");
            case StopReason.IllegalInstruction:
                return bugChecks.Unhandled(NTSTATUS.STATUS_ILLEGAL_INSTRUCTION, rip, 0, 0, $"{Place(rip)} executes {Interpreter.Describe(rip)}, which is no valid instruction.");
            case StopReason.DivideError:
                return bugChecks.Unhandled(NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO, rip, 0, 0, $"{Place(rip)} divides by zero, or the quotient is too large: {Interpreter.Describe(rip)}.");
            case StopReason.Breakpoint:
                return bugChecks.Unhandled(NTSTATUS.STATUS_BREAKPOINT, rip, 0, 0, $"{Place(rip)} executes a breakpoint, and no debugger is attached.");
            case StopReason.FastFail:
                ulong code = (uint)cpu->Rcx;
                return bugChecks.Stop(BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, code, 0, 0, 0, $"{Place(rip)} ended the system with __fastfail({code}): {FastFailMeaning(code)}.");
            case StopReason.AssertionFailure:
                return bugChecks.Unhandled(NTSTATUS.STATUS_ASSERTION_FAILURE, rip, 0, 0, $"An assertion failed at {Place(rip)}.");
            default:
                throw new InvalidOperationException($"The interpreter stopped with {reason}, which nothing asked for.");
        }
    }

    /// <summary>For rdmsr and wrmsr: the number of the register, which the instruction does not show.</summary>
    static string ModelSpecificRegister(Cpu* cpu) =>
        GuestMemory.TryTranslate(cpu->Rip, 2, PageAccess.Execute, out byte* code, out _) && code[0] == 0x0F && code[1] is 0x30 or 0x32
            ? $" (register {(uint)cpu->Rcx:X})" : "";

    string Place(ulong rip) => new StackFrame(rip, machine.BugChecks.SymbolAt?.Invoke(rip) ?? Format.Address(rip), machine.BugChecks.LineAt?.Invoke(rip)).ToString();

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
    public IEnumerable<IReadOnlyList<ulong>> CallStack(KernelThread thread)
    {
        const int enough = 256;
        var runs = new List<IReadOnlyList<ulong>>();
        if (thread.GuestState is not GuestThread guest) return runs;
        Span<ulong> registers = stackalloc ulong[16];
        new ReadOnlySpan<ulong>(guest.Cpu->Gpr, 16).CopyTo(registers);
        var unwinder = new StackUnwinder(address => ImageAt?.Invoke(address), guest.Cpu->Rip, registers);
        for (int depth = guest.Depth - 1; depth >= 0; depth--)
        {
            var frames = new List<ulong>();
            while (unwinder.Rip != interpreter.ReturnAddress && frames.Count < enough)
            {
                // In the kernel, or at a wild address, there is no function: its caller is on top of the stack.
                if (ImageAt?.Invoke(unwinder.Rip) is not null) frames.Add(unwinder.Rip);
                if (!unwinder.Unwind()) return [.. runs, frames];
            }
            runs.Add(frames);
            (ulong rip, ulong rsp) = guest.Callers[depth];
            unwinder.Resume(rip, rsp);
        }
        return runs;
    }

    public void Dispose() => interpreter.Dispose();

    /// <summary>The processor state of one guest thread.</summary>
    sealed class GuestThread : IDisposable
    {
        readonly GuestProcessor owner;
        readonly Machine machine;
        GCHandle self;
        (ulong Rip, ulong Rsp)[] callers = new (ulong, ulong)[16];

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
            Cpu->GsBase = thread.Pcr.Address;
            Cpu->Irql = thread.IrqlCell;
            Cpu->SharedUserData = owner.machine.Memory.SharedUserData;
            Cpu->Owner = GCHandle.ToIntPtr(self);
            Cpu->OnTrap = &OnTrap;
            Cpu->OnThunk = &OnThunk;
            Cpu->OnIrqlWrite = &OnIrqlWrite;
            Cpu->OnPause = &OnPause;
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
        internal int Depth
        {
            get;
            set
            {
                if (value == Callers.Length) Array.Resize(ref callers, 2 * value);
                field = value;
            }
        }

        /// <summary>For each nested call: where the guest was when it called the kernel.</summary>
        internal (ulong Rip, ulong Rsp)[] Callers => callers;

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

        static void OnPause(Cpu* cpu)
        {
            GuestThread guest = Of(cpu);
            Cpu interrupted = *cpu;
            guest.owner.machine.Scheduler.Yield(guest.Thread, SchedulingPoint.Spin);
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
