using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>The page that stands for a blue screen: what happened, where, to which IRP, and how to see it again.</summary>
public static class BugCheckText
{
    /// <param name="trace">Of the same machine; gives the last steps and the IRP in question.</param>
    /// <param name="reproduce">The command line that leads here again; empty for none.</param>
    public static IReadOnlyList<string> Describe(BugCheckReport report, ObjectNames names, TextTrace trace, string reproduce)
    {
        var lines = new List<string> { $"BUG CHECK 0x{(uint)report.Code:X}  {report.Code}", "", Indent(report.Explanation), "" };
        ulong[] parameters = ParametersOf(report);
        for (int i = 0; i < parameters.Length; i++)
            lines.Add($"  parameter {i + 1}  {Format.Address(parameters[i])}{Meaning(names, trace, parameters[i])}");
        lines.Add("");
        if (Place(report, trace) is { Length: > 0 } place) lines.Add($"  in           {place}");
        lines.Add($"  thread       {report.Thread}, IRQL {report.Irql}");
        if (report.CallStack.Count > 1)
        {
            lines.Add("  call stack");
            lines.AddRange(Folded([.. report.CallStack.Select(frame => frame.ToString())]).Select(frame => $"    {frame}"));
        }
        if (report.Fault is { } fault) AddFault(lines, fault, names);

        if (IrpInQuestion(report, trace) is { IsNull: false } irp)
        {
            lines.Add("");
            lines.AddRange(IrpText.Describe(names, irp).Select(Indent));
        }
        AddTail(lines, trace, reproduce);
        return lines;
    }

    /// <summary>The same for a machine in which nothing can ever run again.</summary>
    public static IReadOnlyList<string> DescribeHang(string message, ObjectNames names, TextTrace trace, string reproduce)
    {
        var lines = new List<string> { "HANG", "", Indent(message) };
        foreach (PIRP irp in trace.Outstanding)
        {
            lines.Add("");
            lines.AddRange(IrpText.Describe(names, irp).Select(Indent));
        }
        AddTail(lines, trace, reproduce);
        return lines;
    }

    // As WinDbg's .exr, r and u print it.
    static void AddFault(List<string> lines, FaultReport fault, ObjectNames names)
    {
        lines.AddRange(["", $"  exception    0x{(uint)fault.Code:X8}  {fault.Code.Name}{(fault.Address == 0 ? "" : $"  at {names.Routine(fault.Address)}")}"]);
        for (int i = 0; i < fault.Parameters.Count; i++) lines.Add($"    parameter[{i}]  {Format.Address(fault.Parameters[i])}");
        if (fault.Registers.Count > 0) lines.AddRange(["  registers", .. Registers(fault.Registers).Select(line => $"    {line}")]);
        if (fault.Instructions.Count == 0) return;
        lines.Add("  instructions");
        int width = fault.Instructions.Max(line => line.Bytes.Length);
        lines.AddRange(fault.Instructions.Select(line => $"  {(line.IsFault ? '>' : ' ')} {Format.Address(line.Address)}  {line.Bytes.PadRight(width)}  {line.Text}"));
    }

    static IEnumerable<string> Registers(IReadOnlyList<RegisterValue> registers)
    {
        const int perLine = 3, general = 17;
        foreach (RegisterValue[] line in registers.Take(general).Chunk(perLine))
            yield return string.Join(' ', line.Select(register => $"{register.Name,3}={register.Value:x16}"));
        yield return string.Join("  ", registers.Skip(general).Select(register => register.Name == "efl" ? $"efl={register.Value:x8}" : $"{register.Name}={register.Value:x4}"));
    }

    static void AddTail(List<string> lines, TextTrace trace, string reproduce)
    {
        if (trace.Recent.Count > 0)
        {
            lines.AddRange(["", "  last steps"]);
            lines.AddRange(trace.Recent.Select(step => $"    {step}"));
        }
        if (reproduce.Length > 0) lines.AddRange(["", "  to see it again", $"    {reproduce}"]);
    }

    internal static ulong[] ParametersOf(BugCheckReport report) =>
        [report.Parameter1, report.Parameter2, report.Parameter3, report.Parameter4];

    // The routine that the kernel called, with the offset in it where the call stack knows one.
    static string Place(BugCheckReport report, TextTrace trace)
    {
        if (trace.BrokenRoutine is not { Length: > 0 } routine) return report.CallStack is [{ } innermost, ..] ? innermost.ToString() : "";
        // Without symbols a routine is a driver and an offset, of which the frames have others.
        string begin = routine.Contains('!') ? routine + "+" : routine[..(routine.LastIndexOf('+') + 1)];
        StackFrame? frame = begin.Length == 0 ? null : report.CallStack.FirstOrDefault(f => f.Symbol.StartsWith(begin, StringComparison.OrdinalIgnoreCase));
        return frame?.ToString() ?? routine;
    }

    static PIRP IrpInQuestion(BugCheckReport report, TextTrace trace) =>
        trace.IsIrp(report.Parameter1) ? new PIRP(report.Parameter1) : trace.BrokenIrp;

    static string Meaning(ObjectNames names, TextTrace trace, ulong value)
    {
        if (trace.IsIrp(value)) return $"  {names.Irp(new PIRP(value))}";
        string symbol = names.Routine(value);
        return symbol == Format.Address(value) ? "" : $"  {symbol}";
    }

    /// <summary>A recursion as one frame and how often it repeats.</summary>
    static IEnumerable<string> Folded(IReadOnlyList<string> frames)
    {
        for (int i = 0; i < frames.Count;)
        {
            int next = i + 1;
            while (next < frames.Count && frames[next] == frames[i]) next++;
            yield return next - i > 2 ? $"{frames[i]}  ({next - i} times)" : frames[i];
            i = next - i > 2 ? next : i + 1;
        }
    }

    static string Indent(string text) => text.Length == 0 ? "" : "  " + text;
}
