using System.Security.Cryptography;
using Irpwright.Kernel;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>
/// Tells what happens to each IRP, one line per step: <c>v</c> into a driver, <c>^</c> back through its completion routine, <c>&lt;</c> a
/// routine returns something of its own, <c>.</c> other steps, <c>x</c> cancellation.
/// </summary>
/// <remarks>
/// The text of a controlled run is the same every time, byte for byte. A line waits until what its driver does with the IRP is known
/// or something else happens; a dispatch routine that returns what it received from below gets no line for that.
/// </remarks>
public sealed class TextTrace : KernelObserver
{
    const int Margin = 8;
    const int RoutineColumn = Margin + 26;
    const int TextColumn = RoutineColumn + 26;
    const int RecentCount = 12;

    readonly Machine machine;
    readonly ObjectNames names;
    readonly TextWriter? output;
    readonly bool colours;
    readonly Lock gate = new();
    readonly InkedLine line = new();
    readonly Dictionary<ulong, IrpStory> stories = [];
    readonly Dictionary<KernelThread, Stack<Frame>> frames = [];
    readonly Queue<string> recent = [];
    Held? held;
    string marginOfLastLine = "";
    long lastTime;

    /// <summary>A line about a routine that was entered, and has not done anything that shows yet.</summary>
    sealed record Held(string Margin, int Depth, char Mark, string Driver, string Routine, string Before, string? Time, Frame Frame);

    /// <param name="names">Attached to the same machine, before this.</param>
    /// <param name="output">Null to keep only <see cref="Recent"/>.</param>
    /// <param name="colours">Whether <paramref name="output"/> is a terminal.</param>
    public TextTrace(Machine machine, ObjectNames names, TextWriter? output, bool colours = false)
    {
        this.machine = machine;
        this.names = names;
        this.output = output;
        this.colours = colours;
    }

    /// <summary>The last lines, oldest first.</summary>
    public IReadOnlyList<string> Recent
    {
        get { lock (gate) return [.. recent]; }
    }

    /// <summary>IRPs that were sent and have not come to an end, oldest first.</summary>
    public IReadOnlyList<PIRP> Outstanding
    {
        get { lock (gate) return [.. stories.Values.Where(s => s.IsTold && !s.IsCompleted && !s.IsFreed).Select(s => s.Irp)]; }
    }


    /// <summary>The IRP that the bug check happened in the middle of; null if it had to do with none.</summary>
    public PIRP BrokenIrp { get; private set; }

    /// <summary>The driver routine that the bug check happened in, such as <c>retry!RetryDone</c>; empty for none.</summary>
    public string BrokenRoutine { get; private set; } = "";

    /// <summary>Whether an address is that of an IRP which was seen and not freed.</summary>
    public bool IsIrp(ulong address)
    {
        lock (gate) return stories.TryGetValue(address, out IrpStory? story) && !story.IsFreed;
    }

    /// <summary>Writes a line that still waits for its end.</summary>
    public void Flush()
    {
        lock (gate) Release();
    }

    // ---- IRPs

    public override void On(in IrpAllocated e)
    {
        lock (gate)
        {
            Frame? creator = e.Origin == IrpOrigin.Request ? null : Current();
            stories[e.Irp.Address] = new IrpStory(e.Irp, names.Irp(e.Irp), e.Origin)
            {
                Sender = creator?.Driver ?? "",
                BaseDepth = creator is null ? 0 : creator.Depth + 1,
            };
        }
    }

    public override void On(in IrpReused e)
    {
        lock (gate) StoryOf(e.Irp).Restart();
    }

    public override void On(in IrpFreed e)
    {
        lock (gate) StoryOf(e.Irp).IsFreed = true;
    }

    public override void On(in IrpForwarded e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            if (story.Holder.IsNull)
                Release(held is { Frame: { Kind: FrameKind.Dispatch } parent } && parent == Current() ? $"{MarkOf(parent)}sends {story.Name}" : "");
            else if (held is not { Frame: var frame } || frame.Story != story || frame.Device != story.Holder)
                Step(story, story.Holder, Context(), $"IoCallDriver, {DescribeForward(e.Irp, story)}");
            else if (frame.Kind == FrameKind.Completion)
                Release($", sends it again, {DescribeForward(e.Irp, story)}");
            else
                Release(MarkOf(e.Irp, story) + DescribeForward(e.Irp, story));
            if (!story.IsTold) Header(story, e.Irp.Tail.Overlay.CurrentStackLocation, e.Irp.StackCount);

            string driver = names.DriverOf(e.DeviceObject);
            int depth = story.Forward(e.DeviceObject, e.Irp);
            Enter('v', new Frame(FrameKind.Dispatch, e.Routine.Address, story, e.DeviceObject, depth, driver), "");
        }
    }

    public override void On(in DispatchReturned e)
    {
        lock (gate)
        {
            if (Leave(FrameKind.Dispatch, e.Routine.Address) is not { } frame) return;
            if (held?.Frame == frame) Release($"-> {e.Status.Name}");
            else if (frame.Expected != e.Status) Returned(frame, e.Status.Name);
            if (Current() is { Kind: FrameKind.Dispatch } caller) caller.Expected = e.Status;
        }
    }

    public override void On(in IrpCompleting e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            PDEVICE_OBJECT device = RequestText.Owner(e.Irp);
            string text = $"IoCompleteRequest  {Outcome(story, e.Status, e.Information)}";
            if (held is { Frame: { Kind: FrameKind.Dispatch } frame } && frame.Story == story && frame.Device == device)
                Release(text, InkOf(e.Status));
            else
                Step(story, device, Context(), text, InkOf(e.Status));
            if (Current() is { Kind: FrameKind.Dispatch } completer && completer.Story == story) completer.Expected = e.Status;
        }
    }

    public override void On(in CompletionRoutineCalled e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            if (!e.DeviceObject.IsNull) story.Holder = e.DeviceObject;
            string driver = e.DeviceObject.IsNull ? names.ModuleOf(e.Routine.Address) : names.DriverOf(e.DeviceObject);
            var frame = new Frame(FrameKind.Completion, e.Routine.Address, story, e.DeviceObject, story.DepthOf(e.DeviceObject), driver);
            Enter('^', frame, e.Irp.IoStatus.Status.Name + (e.Irp.PendingReturned ? ", pending" : ""));
        }
    }

    public override void On(in CompletionRoutineReturned e)
    {
        lock (gate)
        {
            if (Leave(FrameKind.Completion, e.Routine.Address) is not { } frame) return;
            bool keeps = e.Status == NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED;
            string answer = RequestText.CompletionAnswer(e.Status);
            if (held?.Frame != frame) Returned(frame, answer);
            else Release($"{(keeps ? "" : Propagation(e.Irp, e.DeviceObject))} -> {answer}");
        }
    }

    // Whether the mark that came from below went on upwards: forgetting that is the classic error of completion routines.
    static string Propagation(PIRP irp, PDEVICE_OBJECT device)
    {
        if (device.IsNull || !irp.PendingReturned || irp.CurrentLocation > irp.StackCount) return "";
        return IsMarkedPending(irp.Tail.Overlay.CurrentStackLocation) ? " propagated" : " not propagated";
    }

    public override void On(in IrpCompleted e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            // A request is over when its requestor is told.
            story.IsCompleted = story.Origin != IrpOrigin.Request;
            if (story.IsCompleted) Ended(story, e.Status, e.Information);
            else if (output is not null) story.Digest = DigestOfResult(e.Irp, e.Status, e.Information);
        }
    }

    public override void On(in RequestFinished e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            story.IsCompleted = true;
            Ended(story, e.Status, e.Information);
        }
    }

    public override void On(in IrpCancelled e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            if (e.Routine.IsNull)
            {
                Step(story, story.Holder, "", "IoCancelIrp sets Cancel; there is no cancel routine", Ink.Waiting, 'x');
                return;
            }
            string driver = e.DeviceObject.IsNull ? names.ModuleOf(e.Routine.Address) : names.DriverOf(e.DeviceObject);
            string routine = names.RoutineIn(driver, e.Routine.Address);
            Step(story, e.DeviceObject, routine, "IoCancelIrp calls the cancel routine", Ink.Waiting, 'x');
            Push(new Frame(FrameKind.Cancel, e.Routine.Address, story, e.DeviceObject, story.DepthOf(e.DeviceObject), driver));
        }
    }

    public override void On(in CancelRoutineReturned e)
    {
        lock (gate) Leave(FrameKind.Cancel, e.Routine.Address);
    }

    public override void On(in InformationTooLarge e)
    {
        string text = $"{e.Information} bytes reported, but the requestor has room for {e.BufferLength}: the rest is not copied";
        lock (gate) Step(StoryOf(e.Irp), default, "", text, Ink.Bad, '!');
    }

    // ---- Contexts

    public override void On(in StartIoCalled e)
    {
        lock (gate)
        {
            IrpStory story = StoryOf(e.Irp);
            string driver = names.DriverOf(e.DeviceObject);
            Step(story, e.DeviceObject, names.RoutineIn(driver, e.Routine.Address), "StartIo gets the IRP");
            Push(new Frame(FrameKind.StartIo, e.Routine.Address, story, e.DeviceObject, story.DepthOf(e.DeviceObject), driver));
        }
    }

    public override void On(in StartIoReturned e)
    {
        lock (gate) Leave(FrameKind.StartIo, e.Routine.Address);
    }

    public override void On(in InterruptServiceStarted e)
    {
        lock (gate) Push(new Frame(FrameKind.Interrupt, e.Routine.Address, null, default, 0, names.ModuleOf(e.Routine.Address)));
    }

    public override void On(in InterruptServiceReturned e)
    {
        lock (gate) Leave(FrameKind.Interrupt, e.Routine.Address);
    }

    public override void On(in DpcStarted e)
    {
        lock (gate) Push(new Frame(FrameKind.Dpc, e.Routine.Address, null, default, 0, names.ModuleOf(e.Routine.Address)));
    }

    public override void On(in DpcReturned e)
    {
        lock (gate) Leave(FrameKind.Dpc, e.Routine.Address);
    }

    public override void On(in WorkItemStarted e)
    {
        lock (gate) Push(new Frame(FrameKind.WorkItem, e.Routine, null, default, 0, names.ModuleOf(e.Routine)));
    }

    public override void On(in WorkItemReturned e)
    {
        lock (gate) Leave(FrameKind.WorkItem, e.Routine);
    }

    public override void On(in FastIoCalled e)
    {
        lock (gate)
        {
            string driver = names.DriverOf(e.DeviceObject);
            Remark("f", driver, names.RoutineIn(driver, e.Routine), e.FileObject.IsNull ? $"{e.Name} for {names.Device(e.DeviceObject)}" : e.Name);
            Push(new Frame(FrameKind.FastIo, e.Routine, null, e.DeviceObject, (Current()?.Depth ?? -1) + 1, driver));
        }
    }

    public override void On(in FastIoReturned e)
    {
        lock (gate)
        {
            Frame? frame = Current();
            Leave(FrameKind.FastIo, e.Routine);
            if (frame is not { Kind: FrameKind.FastIo } || e.Name == "FastIoDetachDevice") return;
            string routine = names.RoutineIn(frame.Driver, e.Routine);
            if (e.Status is { } status) Remark("f", frame.Driver, routine, $"-> TRUE, {status.Name}", InkOf(status));
            else Remark("f", frame.Driver, routine, "-> FALSE: an IRP is needed", Ink.Waiting);
        }
    }

    public override void On(in ThreadEnded e)
    {
        lock (gate) frames.Remove(e.Thread);
    }

    // ---- Drivers and devices

    public override void On(in DriverLoaded e)
    {
        lock (gate) Remark("+", e.Name, "DriverEntry", $"-> {e.Status.Name}", InkOf(e.Status));
    }

    public override void On(in DriverUnloaded e)
    {
        lock (gate) Remark("-", e.Name, "DriverUnload", "");
    }

    public override void On(in DeviceCreated e)
    {
        lock (gate) Remark("+", names.DriverOf(e.DeviceObject), "IoCreateDevice", names.Device(e.DeviceObject));
    }

    public override void On(in DeviceAttached e)
    {
        string text = $"{names.Device(e.SourceDevice)} above {names.Device(e.LowerDevice)}";
        lock (gate) Remark("+", names.DriverOf(e.SourceDevice), "IoAttachDevice", text);
    }

    public override void On(in DeviceDeleted e)
    {
        lock (gate) Remark("-", names.DriverOf(e.DeviceObject), "IoDeleteDevice", names.Device(e.DeviceObject));
    }

    // ---- Plug and Play, power

    public override void On(in DeviceNodeChanged e)
    {
        if (e.Before == e.State) return;
        Ink ink = e.State is DeviceNodeState.SurpriseRemoved ? Ink.Bad : e.State is DeviceNodeState.Started ? Ink.Good : Ink.Plain;
        lock (gate) Remark("=", "pnp", e.Node.InstancePath, e.State.ToString(), ink);
    }

    public override void On(in PowerStateSet e)
    {
        string text = $"{names.Device(e.DeviceObject)}  {RequestText.PowerState(e.Type, e.Before)} -> {RequestText.PowerState(e.Type, e.State)}";
        lock (gate) Remark("=", names.DriverOf(e.DeviceObject), "PoSetPowerState", text);
    }

    public override void On(in SystemPowerChanged e)
    {
        lock (gate) Remark("=", "system", "power", $"{RequestText.PowerState(e.Before)} -> {RequestText.PowerState(e.State)}");
    }

    // ---- Words and ends

    public override void On(in DebugPrinted e)
    {
        lock (gate)
        {
            string driver = Current()?.Driver ?? names.ModuleOf(e.Caller);
            foreach (string text in e.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries)) Remark("\"", driver, "", text.TrimEnd());
        }
    }

    public override void On(in CallMadeToFail e)
    {
        // Without what names the driver, which stands before it.
        string routine = e.Place[(e.Place.IndexOf('!') + 1)..];
        if (routine.StartsWith(e.Driver.Name + "+", StringComparison.OrdinalIgnoreCase)) routine = routine[e.Driver.Name.Length..];
        lock (gate) Remark("x", e.Driver.Name, routine, $"{e.Export.SourceName} is made to fail");
    }

    public override void On(in ErrorLogged e)
    {
        lock (gate)
        {
            string code = $"0x{(uint)e.Entry.ErrorCode:X8}", status = e.Entry.FinalStatus == NTSTATUS.STATUS_SUCCESS ? "" : $" {e.Entry.FinalStatus.Name}";
            Remark("!", e.Entry.Driver, "", $"writes to the error log: {string.Join(' ', [code + status, .. e.Entry.Strings])}");
        }
    }

    /// <summary>Shows a broken rule where it was broken.</summary>
    public void Show(Violation violation)
    {
        lock (gate)
        {
            Release();
            BeginLine("");
            line.Add($"!! {violation}", Ink.Bad);
            EndLine();
        }
    }

    public override void On(in BugCheckRaised e)
    {
        lock (gate)
        {
            BrokenIrp = FramesOfThread()?.FirstOrDefault(f => f.Story is not null)?.Story?.Irp ?? default;
            BrokenRoutine = Current() is { } frame ? names.Routine(frame.Routine) : "";
            Release();
            BeginLine("");
            line.Add($"!! bug check 0x{(uint)e.Report.Code:X}  {e.Report.Code}", Ink.Bad);
            EndLine();
        }
    }

    // ---- Lines

    void Header(IrpStory story, PIO_STACK_LOCATION location, int stackCount)
    {
        story.IsTold = true;
        Release();
        BeginLine(story.Name);
        line.Add(new string(' ', 2 * story.BaseDepth)).Add(Format.MajorFunction(location.MajorFunction), Ink.Strong);
        if (RequestText.Minor(location.MajorFunction, location.MinorFunction) is { Length: > 0 } minor) line.Add($"  {minor}");
        if (RequestText.Parameters(location) is { Length: > 0 } parameters) line.Add($"  {parameters}");
        if (story.Sender.Length > 0) line.Add($"  from {story.Sender}");
        line.PadTo(TextColumn).Add(RequestText.StackLocations(stackCount), Ink.Faint);
        EndLine();
    }

    void Ended(IrpStory story, NTSTATUS status, ulong information)
    {
        if (!story.IsTold) return;
        Release();
        marginOfLastLine = "";
        BeginLine(story.Name);
        line.Add(new string(' ', 2 * story.BaseDepth)).Add("done  ", Ink.Strong).Add(Outcome(story, status, information), InkOf(status));
        if (story.Digest is { } digest) line.Add($"  sha256 {digest}");
        EndLine();
    }

    void Enter(char mark, Frame frame, string before)
    {
        Release();
        string routine = names.RoutineIn(frame.Driver, frame.Routine);
        held = new Held(frame.Story!.Name, frame.Depth, mark, frame.Driver, routine, before, TimeIfPassed(), frame);
        Push(frame);
    }

    void Returned(Frame frame, string status)
    {
        Release();
        Row(frame.Story!.Name, frame.Depth, '<', frame.Driver, names.RoutineIn(frame.Driver, frame.Routine), $"-> {status}");
    }

    void Step(IrpStory story, PDEVICE_OBJECT device, string context, string text, Ink ink = Ink.Plain, char mark = '.')
    {
        Release();
        string driver = device.IsNull ? story.Sender : names.DriverOf(device);
        Row(story.Name, Math.Max(0, story.DepthOf(device)), mark, driver, context, text, ink);
    }

    void Remark(string mark, string driver, string routine, string text, Ink ink = Ink.Plain)
    {
        Release();
        Row("", Current()?.Depth ?? -1, mark[0], driver, routine, text, ink);
    }

    void Row(string margin, int depth, char mark, string driver, string routine, string text, Ink ink = Ink.Plain) =>
        Row(margin, depth, mark, driver, routine, text, ink, TimeIfPassed());

    void Row(string margin, int depth, char mark, string driver, string routine, string text, Ink ink, string? time)
    {
        BeginLine(margin);
        line.Add(new string(' ', 2 * Math.Max(0, depth + 1))).Add($"{mark}  ", Ink.Faint).Add(driver);
        line.PadTo(RoutineColumn).Add(routine);
        if (text.Length > 0) line.PadTo(TextColumn).Add(text, ink);
        if (time is not null) line.Add("  at " + time, Ink.Faint);
        EndLine();
    }

    /// <summary>Writes the held line, with what is known by now about what its routine does.</summary>
    void Release(string what = "", Ink ink = Ink.Plain)
    {
        if (held is not { } h) return;
        held = null;
        Row(h.Margin, h.Depth, h.Mark, h.Driver, h.Routine, h.Before + what, ink, h.Time);
    }

    void BeginLine(string margin)
    {
        line.Clear();
        // The name stands where the trace turns to another IRP.
        string shown = margin == marginOfLastLine ? "" : margin;
        marginOfLastLine = margin;
        line.Add(shown, Ink.Strong).Add(new string(' ', Math.Max(1, Margin - shown.Length)));
    }

    void EndLine()
    {
        string text = line.ToString();
        if (recent.Count == RecentCount) recent.Dequeue();
        recent.Enqueue(text);
        if (output is null) return;
        output.Write(colours ? line.ToAnsi() : text);
        output.Write('\n');
    }

    // Virtual time belongs to the run; the host's does not.
    string? TimeIfPassed()
    {
        if (machine.Scheduler is not ControlledScheduler scheduler || scheduler.InterruptTime == lastTime) return null;
        lastTime = scheduler.InterruptTime;
        return $"{lastTime / 10_000m:0.####} ms";
    }

    // ---- What is known

    string DescribeForward(PIRP irp, IrpStory story)
    {
        if (irp.CurrentLocation == story.HolderLocation) return "skips its stack location";
        PIO_STACK_LOCATION location = irp.Tail.Overlay.CurrentStackLocation;
        IReadOnlyList<string> outcomes = RequestText.InvokeOn(location.Control);
        if (outcomes.Count == 0) return "no completion routine";
        string routine = names.RoutineIn(names.DriverOf(story.Holder), location.CompletionRoutine.Address);
        return $"routine {routine} on {string.Join('|', outcomes)}";
    }

    // The sender's mark. Where it skips its location, the one above is not its own.
    static string MarkOf(PIRP irp, IrpStory story)
    {
        bool has = irp.CurrentLocation < story.HolderLocation;
        return has && IsMarkedPending(RequestText.Location(irp, irp.CurrentLocation + 1)) ? "marks pending, " : "";
    }

    // A driver that sends IRPs of its own usually marks the one they are for.
    static string MarkOf(Frame frame)
    {
        IrpStory story = frame.Story!;
        bool has = story.Holder == frame.Device && story.Irp.CurrentLocation == story.HolderLocation;
        return has && IsMarkedPending(story.Irp.Tail.Overlay.CurrentStackLocation) ? "marks pending, " : "";
    }

    static bool IsMarkedPending(PIO_STACK_LOCATION location) => (location.Control & SL_PENDING_RETURNED) != 0;

    string Context() => Current() switch
    {
        { Kind: FrameKind.Dpc } f => $"dpc {names.RoutineIn(f.Driver, f.Routine)}",
        { Kind: FrameKind.Interrupt } f => $"isr {names.RoutineIn(f.Driver, f.Routine)}",
        { Kind: FrameKind.WorkItem } f => $"worker {names.RoutineIn(f.Driver, f.Routine)}",
        { } f => names.RoutineIn(f.Driver, f.Routine),
        null => "",
    };

    static string Outcome(IrpStory story, NTSTATUS status, ulong information) =>
        RequestText.Answer(story.MajorFunction, story.MinorFunction, information) is { Length: > 0 } answer ? $"{status.Name}  {answer}" : status.Name;

    static Ink InkOf(NTSTATUS status)
    {
        if (status.IsError) return Ink.Bad;
        return status == NTSTATUS.STATUS_PENDING || status.IsWarning ? Ink.Waiting : Ink.Good;
    }

    /// <summary>Hash of the bytes that a request brings back to its requestor; null if it brings none.</summary>
    static string? DigestOfResult(PIRP irp, NTSTATUS status, ulong information)
    {
        if (status.IsError || information is 0 or > int.MaxValue) return null;
        if (RequestText.Location(irp, irp.StackCount).MajorFunction is not (IRP_MJ_READ or IRP_MJ_DEVICE_CONTROL)) return null;
        PMDL mdl = irp.MdlAddress;
        ulong data = !mdl.IsNull ? mdl.StartVa.Address + mdl.ByteOffset
            : (irp.Flags & IRP_BUFFERED_IO) != 0 ? irp.AssociatedIrp.SystemBuffer.Address : irp.UserBuffer.Address;
        if (!GuestMemory.IsAccessible(data, information, PageAccess.Read)) return null;
        return Convert.ToHexStringLower(SHA256.HashData(GuestMemory.Read(data, (int)information)));
    }

    IrpStory StoryOf(PIRP irp)
    {
        if (!stories.TryGetValue(irp.Address, out IrpStory? story))
            stories[irp.Address] = story = new IrpStory(irp, names.Irp(irp), IrpOrigin.Request);
        return story;
    }

    // ---- Routines that threads are in

    Stack<Frame>? FramesOfThread() => machine.TryGetCurrentThread() is { } thread ? frames.GetValueOrDefault(thread) : null;

    Frame? Current() => FramesOfThread() is { Count: > 0 } stack ? stack.Peek() : null;

    void Push(Frame frame)
    {
        if (machine.TryGetCurrentThread() is not { } thread) return;
        if (!frames.TryGetValue(thread, out Stack<Frame>? stack)) frames[thread] = stack = [];
        stack.Push(frame);
    }

    // Frames above the one that returns were left by an exception.
    Frame? Leave(FrameKind kind, ulong routine)
    {
        Stack<Frame>? stack = FramesOfThread();
        while (stack is { Count: > 0 })
        {
            Frame frame = stack.Pop();
            if (frame.Kind == kind && frame.Routine == routine) return frame;
        }
        return null;
    }
}
