using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests;

/// <summary>
/// Writes down what happens to packets, in words that are the same for a compiled driver and its C# twin: packets by number,
/// devices by their place in the stack, routines by name.
/// </summary>
public sealed class IoRecorder(Machine machine) : KernelObserver
{
    readonly Lock gate = new();
    readonly List<string> events = [];
    readonly Dictionary<PIRP, int> packets = [];
    int lastPacket;

    public IReadOnlyList<string> Events
    {
        get { lock (gate) return [.. events]; }
    }

    /// <summary>Packets that were allocated and not freed.</summary>
    public IReadOnlyList<string> LivePackets
    {
        get { lock (gate) return [.. packets.Values.Select(n => $"irp#{n}")]; }
    }

    public override void On(in IrpAllocated e)
    {
        lock (gate) packets[e.Irp] = ++lastPacket;
        Write(e.Irp, $"allocated, {e.StackSize} locations, {e.Origin}");
    }

    public override void On(in IrpFreed e)
    {
        Write(e.Irp, "freed");
        lock (gate) packets.Remove(e.Irp);
    }

    public override void On(in IrpForwarded e)
    {
        PIO_STACK_LOCATION location = e.Irp.Tail.Overlay.CurrentStackLocation;
        string parameters = location.MajorFunction is IRP_MJ_READ or IRP_MJ_WRITE
            ? $" {location.Parameters.Read.Length} at {location.Parameters.Read.ByteOffset}" : "";
        string registered = location.Control == 0 ? "" : $", {Name(location.CompletionRoutine)} on 0x{(byte)location.Control:X2}";
        Write(e.Irp, $"to {Name(e.DeviceObject)} {Name(e.Routine)}, 0x{location.MajorFunction:X2}.{location.MinorFunction:X2}{parameters}{registered}");
    }

    public override void On(in DispatchReturned e) => Write(e.Irp, $"{Name(e.Routine)} returns {e.Status.Name}");

    public override void On(in IrpCompleting e) => Write(e.Irp, $"completing {e.Status.Name} {e.Information}");

    public override void On(in CompletionRoutineCalled e) =>
        Write(e.Irp, $"{Name(e.Routine)} of {Name(e.DeviceObject)}{(e.Irp.PendingReturned ? ", pending" : "")}");

    public override void On(in CompletionRoutineReturned e) => Write(e.Irp, $"{Name(e.Routine)} returns {e.Status.Name}");

    public override void On(in IrpCompleted e) => Write(e.Irp, $"completed {e.Status.Name} {e.Information}");

    public override void On(in IrpCancelled e) => Write(e.Irp, $"cancelled, {Name(e.Routine)}");

    public override void On(in CancelRoutineReturned e) => Write(e.Irp, $"{Name(e.Routine)} returns");

    void Write(PIRP irp, string what)
    {
        lock (gate) events.Add($"irp#{packets.GetValueOrDefault(irp)} {what}");
    }

    /// <summary>Device 0 is the lowest of its stack.</summary>
    static string Name(PDEVICE_OBJECT device) => device.IsNull ? "nobody" : $"device {device.StackSize - 1}";

    string Name(PVOID routine)
    {
        if (routine.IsNull) return "no routine";
        if (machine.Code.RoutineAt(routine.Address) is { } managed) return managed.Method.Name;
        string symbol = machine.BugChecks.SymbolAt?.Invoke(routine.Address) ?? routine.ToString();
        return symbol[(symbol.IndexOf('!', StringComparison.Ordinal) + 1)..];
    }
}
