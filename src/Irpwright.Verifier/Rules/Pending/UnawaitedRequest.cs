namespace Irpwright.Verification.Rules;

/// <summary>
/// Who sends a threaded IRP waits for its event, if IoCallDriver returns STATUS_PENDING: event, status block and buffers often lie on the
/// stack of the routine that built it (BUILD-14). A wait that ends with STATUS_ALERTED or STATUS_USER_APC is none: the request goes on.
/// </summary>
/// <param name="control">Of IoBuildDeviceIoControlRequest, not of IoBuildSynchronousFsdRequest.</param>
abstract class UnawaitedRequest(bool control) : Rule,
    IWatch<IrpForwarded>, IWatch<DispatchReturned>, IWatch<WaitStarted>, IWatch<WaitEnded>,
    IWatch<CompletionRoutineReturned>, IWatch<CancelRoutineReturned>, IWatch<DpcReturned>, IWatch<WorkItemReturned>
{
    sealed record Request(ThreadContext Thread, RoutineFrame Sender, ulong Event, IrpName Irp, CodePlace Place)
    {
        internal bool IsPending { get; set; }

        internal bool IsAwaited { get; set; }
    }

    readonly List<Request> requests = [];

    Situation IWatch<IrpForwarded>.When => Situation.Originator;

    public void On(in IrpForwarded e)
    {
        IrpRecord irp = Tracker.Irp;
        if (Tracker.Owner is not null || irp.Origin != IrpOrigin.Threaded || e.Irp.UserEvent.IsNull) return;
        if (Tracker.Thread.Frame is not { } sender || IsControl(irp.Name.MajorFunction) != control) return;
        requests.Add(new Request(Tracker.Thread, sender, e.Irp.UserEvent.Address, irp.Name, Tracker.Caller));
        HasNotes = true;
    }

    Situation IWatch<DispatchReturned>.When => Situation.Noted;

    Situation IWatch<CompletionRoutineReturned>.When => Situation.Noted;

    public void On(in DispatchReturned e)
    {
        for (int i = requests.Count - 1; i >= 0; i--)
        {
            if (requests[i].Irp.Use != Tracker.Visit.Irp.Use) continue;
            if (e.Status == NTSTATUS.STATUS_PENDING) requests[i].IsPending = true;
            else requests.RemoveAt(i);
        }
        Check();
    }

    public void On(in WaitStarted e) => Await(e.Object, true);

    public void On(in WaitEnded e)
    {
        if (e.Status is NTSTATUS.STATUS_ALERTED or NTSTATUS.STATUS_USER_APC) Await(e.Object, false);
    }

    void Await(PVOID target, bool isAwaited)
    {
        foreach (Request request in requests)
        {
            if (request.Event == target.Address) request.IsAwaited = isAwaited;
        }
    }

    public void On(in CompletionRoutineReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    public void On(in DpcReturned e) => Check();

    public void On(in WorkItemReturned e) => Check();

    // The routine that sent it returns.
    void Check()
    {
        for (int i = requests.Count - 1; i >= 0; i--)
        {
            Request request = requests[i];
            if (request.Sender != Tracker.Frame) continue;
            requests.RemoveAt(i);
            if (!request.IsPending || request.IsAwaited) continue;
            Report(request.Place, request.Irp,
                $"{request.Place} sent {request.Irp}, IoCallDriver returned STATUS_PENDING, and the routine returned without waiting for the "
                    + "IRP's event.");
        }
        HasNotes = requests.Count > 0;
    }

    static bool IsControl(byte majorFunction) => majorFunction is IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL;
}
