namespace Irpwright.Verification.Rules;

/// <summary>Handles of registry keys that one routine opened.</summary>
abstract class RegistryHandleRule : Rule, IWatch<HandleOpened>, IWatch<HandleClosed>, IWatchCalls, IWatch<DispatchReturned>, IWatch<CancelRoutineReturned>
{
    readonly KernelExport[] openers;
    // Who opened it, for which packet, and which key.
    readonly Dictionary<ulong, (CodePlace By, int Irp, ulong Key)> open = [];
    readonly HashSet<ulong> closed = [];

    protected RegistryHandleRule(params KernelExport[] openers) => this.openers = openers;

    public IReadOnlyList<KernelExport> Calls { get; } =
    [
        .. KernelExports.All.Where(export => export.Name is "ZwDeleteKey" or "ZwEnumerateKey" or "ZwEnumerateValueKey" or "ZwFlushKey" or "ZwQueryKey"
            or "ZwQueryValueKey" or "ZwSetValueKey" or "ZwClose"),
    ];

    public void On(in HandleOpened e)
    {
        closed.Remove(e.Handle.Value);
        if (!openers.Contains(Tracker.Thread.Call.Export)) return;
        ulong key = e.Object.Address;
        foreach ((CodePlace by, _, ulong other) in open.Values)
        {
            if (other != key || by.DriverName != Tracker.Caller.DriverName) continue;
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} opened a registry key of which {by} has a handle that is still open.");
            break;
        }
        open[e.Handle.Value] = (Tracker.Caller, Tracker.Thread.Frame is { Kind: RoutineKind.Dispatch or RoutineKind.Cancel } frame ? frame.Irp.Use : 0, key);
        HasNotes = true;
    }

    public void On(in HandleClosed e)
    {
        if (open.Remove(e.Handle.Value)) closed.Add(e.Handle.Value);
        HasNotes = open.Count > 0;
    }

    public void Called(in DdiCalled e)
    {
        if (!closed.Contains(e.Arguments[0])) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} with handle 0x{e.Arguments[0]:x} of a registry key, which is closed.", (ulong)e.Export.Index);
    }

    Situation IWatch<DispatchReturned>.When => Situation.Noted;

    public void On(in DispatchReturned e) => Check(Tracker.Frame);

    public void On(in CancelRoutineReturned e) => Check(Tracker.Frame);

    void Check(RoutineFrame returned)
    {
        foreach ((ulong handle, (CodePlace by, int irp, _)) in open)
        {
            if (irp == 0 || irp != returned.Irp.Use || by.Key.Routine != returned.Routine) continue;
            open[handle] = open[handle] with { Irp = 0 };
            Report(by, returned.Irp, $"{returned} returned with the registry key open that {by} opened for {returned.Irp}.");
        }
    }
}
