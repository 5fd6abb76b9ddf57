namespace Irpwright.Guest.Processor;

/// <summary>Why <see cref="Interpreter.Run"/> came back.</summary>
public enum StopReason
{
    /// <summary>Not stopped; never returned.</summary>
    None,
    /// <summary>The guest returned to <see cref="Interpreter.ReturnAddress"/>.</summary>
    Returned,
    /// <summary>
    /// An access failed: <see cref="Cpu.FaultAddress"/> and <see cref="Cpu.FaultAccess"/> say which. As on Windows, an address of all
    /// ones stands for a general protection fault that has no address of its own (a misaligned <c>movaps</c>).
    /// </summary>
    Fault,
    /// <summary>An access hit the guard page below the kernel stack; otherwise as <see cref="Fault"/>.</summary>
    KernelStackOverflow,
    /// <summary>Too many nested calls between guest and host: the host's own stack is nearly used up.</summary>
    HostStackOverflow,
    /// <summary>The instruction budget is spent. <see cref="Cpu.Rip"/> is where to go on.</summary>
    BudgetSpent,
    /// <summary>A callback asked to leave this run, with <see cref="Cpu.Stop"/>.</summary>
    Unwinding,
    /// <summary>Valid x64, but not modelled. <see cref="Interpreter.Describe"/> names it.</summary>
    Unimplemented,
    /// <summary>
    /// Floating-point arithmetic while mxcsr asks for another rounding than to nearest, for traps, or for subnormal numbers as zero.
    /// </summary>
    FloatingPointMode,
    /// <summary>Touches hardware that is not modelled: ports, model-specific registers, descriptor tables.</summary>
    Privileged,
    /// <summary><c>ud2</c>, or bytes that are no instruction.</summary>
    IllegalInstruction,
    /// <summary>Division by zero, or a quotient that does not fit.</summary>
    DivideError,
    /// <summary><c>hlt</c> with interrupts disabled: nothing would ever wake the processor.</summary>
    Halted,
    /// <summary><c>popfq</c> sets the trap flag.</summary>
    SingleStep,
    /// <summary><c>int 3</c>. <see cref="Cpu.Rip"/> is the instruction itself.</summary>
    Breakpoint,
    /// <summary><c>int 29h</c>, <c>__fastfail</c>: the code is in ecx.</summary>
    FastFail,
    /// <summary><c>int 2Ch</c>, <c>DbgRaiseAssertionFailure</c>.</summary>
    AssertionFailure,
}
