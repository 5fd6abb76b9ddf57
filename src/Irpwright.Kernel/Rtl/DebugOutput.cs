using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What drivers say to a debugger. Every message becomes a <see cref="DebugPrinted"/> event; nothing is filtered here.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/reading-and-filtering-debugging-messages"/>
public sealed class DebugOutput
{
    const int LongestMessage = 512; // what Windows sends at once; the rest is cut off

    readonly Machine machine;

    internal DebugOutput(Machine machine)
    {
        this.machine = machine;
        machine.Variables.DefineValue<BOOLEAN>("KdDebuggerEnabled", false);
        machine.Variables.DefineValue<BOOLEAN>("KdDebuggerNotPresent", true);
    }

    /// <summary>Prints a message. IRQL &lt;= DIRQL; with wide text PASSIVE_LEVEL.</summary>
    [KernelExport]
    public NTSTATUS DbgPrint(PUCHAR Format, [Caller] ulong caller, VariadicArguments arguments) =>
        Print(PrintFormat.Format(Strings.Read(Format), arguments, isWide: false), caller);

    /// <summary>Prints a message of a component and level. IRQL &lt;= DIRQL; with wide text PASSIVE_LEVEL.</summary>
    [KernelExport]
    public NTSTATUS DbgPrintEx(uint ComponentId, uint Level, PUCHAR Format, [Caller] ulong caller, VariadicArguments arguments) =>
        Print(PrintFormat.Format(Strings.Read(Format), arguments, isWide: false), caller);

    /// <summary>The same with the arguments as a va_list. IRQL &lt;= DIRQL; with wide text PASSIVE_LEVEL.</summary>
    [KernelExport]
    public NTSTATUS vDbgPrintEx(uint ComponentId, uint Level, PUCHAR Format, PVOID arglist, [Caller] ulong caller = 0) =>
        Print(PrintFormat.Format(Strings.Read(Format), VariadicArguments.FromList(arglist), isWide: false), caller);

    /// <summary>The same with a text before the message. IRQL &lt;= DIRQL; with wide text PASSIVE_LEVEL.</summary>
    [KernelExport]
    public NTSTATUS vDbgPrintExWithPrefix(PUCHAR Prefix, uint ComponentId, uint Level, PUCHAR Format, PVOID arglist,
        [Caller] ulong caller = 0) =>
        Print(Strings.Read(Prefix) + PrintFormat.Format(Strings.Read(Format), VariadicArguments.FromList(arglist), isWide: false), caller);

    /// <summary>Prints a message; C# has its own way to format one.</summary>
    [WdkInline]
    public NTSTATUS DbgPrint(string Text, [Caller] ulong caller = 0) => Print(Text, caller);

    /// <summary>Prints a message of a component and level.</summary>
    [WdkInline]
    public NTSTATUS DbgPrintEx(uint ComponentId, uint Level, string Text, [Caller] ulong caller = 0) => Print(Text, caller);

    /// <summary>Prints a message, as in a driver built for debugging.</summary>
    [WdkInline]
    public NTSTATUS KdPrint(string Text, [Caller] ulong caller = 0) => Print(Text, caller);

    /// <summary>An exception that only a debugger or an exception handler takes.</summary>
    /// <exception cref="NtStatusException">STATUS_BREAKPOINT.</exception>
    [KernelExport, DoesNotReturn]
    public void DbgBreakPoint() => throw new NtStatusException(STATUS_BREAKPOINT);

    /// <inheritdoc cref="DbgBreakPoint"/>
    [KernelExport, DoesNotReturn]
    public void DbgBreakPointWithStatus(uint Status) => DbgBreakPoint();

    /// <summary>What ASSERT calls when its condition is false: says so, then raises, since no debugger can tell it to go on.</summary>
    /// <exception cref="NtStatusException">STATUS_ASSERTION_FAILURE.</exception>
    [KernelExport, DoesNotReturn]
    public void RtlAssert(PVOID VoidFailedAssertion, PVOID VoidFileName, uint LineNumber, PUCHAR MutableMessage, [Caller] ulong caller = 0)
    {
        string message = MutableMessage.IsNull ? "" : Strings.Read(MutableMessage);
        string place = $"{Strings.Read((PUCHAR)VoidFileName)}, line {LineNumber}";
        Print($"*** Assertion failed: {message}{Strings.Read((PUCHAR)VoidFailedAssertion)}\n***   Source File: {place}\n", caller);
        throw new NtStatusException(STATUS_ASSERTION_FAILURE);
    }

    internal NTSTATUS Print(string text, ulong caller)
    {
        machine.Events.Emit(new DebugPrinted(text.Length <= LongestMessage ? text : text[..LongestMessage], caller));
        return STATUS_SUCCESS;
    }
}
