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
        string state = current > irp.StackCount + 1 ? "completed"
            : current > irp.StackCount ? "with its originator"
            : current < 1 ? "none left"
            : $"location {current} is current";
        string status = $"  IoStatus {irp.IoStatus.Status.Name}, Information {irp.IoStatus.Information}";
        if (irp.PendingReturned) status += ", PendingReturned";
        if (irp.Cancel) status += ", Cancel";
        if (!irp.CancelRoutine.IsNull) status += $", cancel routine {names.Routine(irp.CancelRoutine.Address)}";
        var lines = new List<string> { $"{title}: {RequestText.StackLocations(irp.StackCount)}, {state}", status };

        List<string[]> rows = [["", "major", "minor", "control", "driver", "device", "completion routine", "context"]];
        for (int index = 1; index <= irp.StackCount; index++)
            rows.Add(Row(names, index, index == current, RequestText.Location(irp, index)));
        lines.AddRange(Align(rows).Select(row => "  " + row));
        return lines;
    }

    static string[] Row(ObjectNames names, int index, bool isCurrent, PIO_STACK_LOCATION location)
    {
        string driver = names.DriverOf(location.DeviceObject);
        bool hasRoutine = RequestText.InvokeOn(location.Control).Count > 0;
        // A location that nobody was sent to holds zeros, which would read as IRP_MJ_CREATE.
        if (driver.Length == 0 && location.MajorFunction == 0 && !hasRoutine) return [$" {index,2}", "-", "", "", "", "", "", ""];
        return
        [
            $"{(isCurrent ? '>' : ' ')}{index,2}",
            Format.MajorFunction(location.MajorFunction),
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
        IReadOnlyList<string> outcomes = RequestText.InvokeOn(control);
        return string.Join('|', (control & SL_PENDING_RETURNED) != 0 ? outcomes.Prepend("pending") : outcomes);
    }

    internal static IEnumerable<string> Align(IReadOnlyList<string[]> rows)
    {
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        return rows.Select(row => string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }
}
