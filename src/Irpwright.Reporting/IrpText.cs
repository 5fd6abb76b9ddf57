using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>An IRP and its stack locations, in the order and the words of the debugger's <c>!irp</c>.</summary>
public static class IrpText
{
    /// <summary>Lines that describe an IRP; one line that says so when its memory is not readable.</summary>
    public static IReadOnlyList<string> Describe(ObjectNames names, PIRP irp)
    {
        string title = $"{names.Irp(irp)} at {Format.Address(irp.Address)}";
        if (!GuestMemory.IsAccessible(irp.Address, IRP.SizeOf, PageAccess.Read)) return [$"{title}: its memory is not readable any more"];
        if (irp.Type != IO_TYPE_IRP || irp.StackCount <= 0 || !GuestMemory.IsAccessible(irp.Address, irp.Size, PageAccess.Read))
            return [$"{title}: no IRP (any more); it was freed, or overwritten"];

        int current = irp.CurrentLocation;
        string state = current > irp.StackCount + 1 ? "completed" : current > irp.StackCount ? "with its originator" : $"location {current} is current";
        var lines = new List<string> { $"{title}: {irp.StackCount} stack locations, {state}" };
        lines.Add($"  IoStatus {irp.IoStatus.Status.Name}, Information {irp.IoStatus.Information}{(irp.PendingReturned ? ", PendingReturned" : "")}{(irp.Cancel ? ", Cancel" : "")}"
            + (irp.CancelRoutine.IsNull ? "" : $", cancel routine {names.Routine(irp.CancelRoutine.Address)}"));

        var rows = new List<string[]> { (string[])["", "major", "minor", "control", "driver", "device", "completion routine", "context"] };
        for (int index = 1; index <= irp.StackCount; index++)
            rows.Add(Row(names, index, index == current, new PIO_STACK_LOCATION(irp.Address + IRP.SizeOf + (ulong)(index - 1) * IO_STACK_LOCATION.SizeOf)));
        lines.AddRange(Align(rows).Select(row => "  " + row));
        return lines;
    }

    static string[] Row(ObjectNames names, int index, bool isCurrent, PIO_STACK_LOCATION location)
    {
        string driver = names.DriverOf(location.DeviceObject);
        bool hasRoutine = (location.Control & (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL)) != 0;
        return
        [
            $"{(isCurrent ? '>' : ' ')}{index,2}",
            RequestText.Major(location.MajorFunction),
            RequestText.Minor(location.MajorFunction, location.MinorFunction) is { Length: > 0 } minor ? minor : "0",
            Control(location.Control),
            driver,
            driver.Length > 0 ? names.Device(location.DeviceObject) : "",
            hasRoutine ? names.Routine(location.CompletionRoutine.Address) : "",
            hasRoutine && !location.Context.IsNull ? Format.Address(location.Context.Address) : "",
        ];
    }

    static string Control(SL_CONTROL control)
    {
        var words = new List<string>(5);
        if ((control & SL_PENDING_RETURNED) != 0) words.Add("pending");
        if ((control & SL_INVOKE_ON_SUCCESS) != 0) words.Add("success");
        if ((control & SL_INVOKE_ON_ERROR) != 0) words.Add("error");
        if ((control & SL_INVOKE_ON_CANCEL) != 0) words.Add("cancel");
        return string.Join('|', words);
    }

    internal static IEnumerable<string> Align(IReadOnlyList<string[]> rows)
    {
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        return rows.Select(row => string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }
}
