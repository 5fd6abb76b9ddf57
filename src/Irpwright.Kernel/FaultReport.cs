using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>An exception that nobody handled, as a bug check report shows it.</summary>
/// <param name="Code">What was raised.</param>
/// <param name="Address">The instruction that faulted, or behind the call that raised; 0 in C# code.</param>
/// <param name="Parameters">Of an access violation: 0 read, 1 write, 8 execute, and the address.</param>
/// <param name="Registers">Where it happened; empty in C# code.</param>
/// <param name="Instructions">Those around it; empty in C# code.</param>
public sealed record FaultReport(
    NTSTATUS Code, ulong Address, IReadOnlyList<ulong> Parameters, IReadOnlyList<RegisterValue> Registers, IReadOnlyList<CodeLine> Instructions);

/// <summary>A register by the name that debuggers give it.</summary>
public readonly record struct RegisterValue(string Name, ulong Value)
{
    /// <summary>The general registers in the order in which debuggers print them, then flags and selectors.</summary>
    public static IReadOnlyList<RegisterValue> Of(in CONTEXT context) =>
    [
        new("rax", context.Rax), new("rbx", context.Rbx), new("rcx", context.Rcx), new("rdx", context.Rdx), new("rsi", context.Rsi), new("rdi", context.Rdi),
        new("rip", context.Rip), new("rsp", context.Rsp), new("rbp", context.Rbp), new("r8", context.R8), new("r9", context.R9), new("r10", context.R10),
        new("r11", context.R11), new("r12", context.R12), new("r13", context.R13), new("r14", context.R14), new("r15", context.R15),
        new("efl", context.EFlags), new("cs", context.SegCs), new("ss", context.SegSs), new("ds", context.SegDs), new("es", context.SegEs),
        new("fs", context.SegFs), new("gs", context.SegGs),
    ];
}

/// <summary>One disassembled instruction.</summary>
/// <param name="Bytes">As debuggers print them: <c>488b01</c>.</param>
/// <param name="Text">In the syntax of WinDbg: <c>mov     rax,qword ptr [rcx]</c>.</param>
/// <param name="IsFault">Whether it is the one that the exception is about.</param>
public sealed record CodeLine(ulong Address, string Bytes, string Text, bool IsFault);
