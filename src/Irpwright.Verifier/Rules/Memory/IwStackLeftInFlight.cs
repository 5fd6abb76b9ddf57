namespace Irpwright.Verification.Rules;

/// <summary>
/// What an IRP in flight points to must outlive it. A local variable is gone when its routine returns, and its place used again (BUILD-14).
/// </summary>
/// <remarks>
/// A machine that checks memory sees it when the routine returns. Elsewhere, and in C#, it shows when the I/O manager is about to write there:
/// that is only known for threaded IRPs.
/// </remarks>
sealed class IwStackLeftInFlight : MemoryRule, IWatch<StackFrameLeft>, IWatch<IrpCompleted>
{
    public static RuleInfo Definition { get; } = new(nameof(IwStackLeftInFlight), RuleFamily.Memory, Error,
        Pages.IoVerification, Codes.Io(0xC),
        "A routine returns while an IRP that is not completed points to its local variables: as status block, event, buffer or completion context.",
        static () => new IwStackLeftInFlight())
    {
        Covers = ["DV-C9-0x0C", "DV-C9-0x0D"],
        Instead = "Wait for the request before the routine returns, without a timeout, or keep event, status block and buffer in nonpaged pool until it is completed.",
        Wrong = "KEVENT event;\nIO_STATUS_BLOCK ioStatus;\n...\nreturn IoCallDriver(lower, irp);",
        Right = "status = IoCallDriver(lower, irp);\nif (status == STATUS_PENDING) {\n    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);\n    status = ioStatus.Status;\n}\nreturn status;",
    };

    // Numbers of IRPs that have been reported when their routine returned.
    readonly HashSet<int> reported = [];

    public void On(in StackFrameLeft e)
    {
        IrpName name = NameOf(e.Irp.Address);
        reported.Add(name.Use);
        Report(PlaceOf(e.Instruction), name,
            $"{Code(e.Instruction)} returned while {name} is in flight, and its {e.Holder} is a local variable of that routine, at {Format.Address(e.Address)}.", e.Irp.Address);
    }

    public void On(in IrpCompleted e)
    {
        IrpRecord irp = Tracker.Irp;
        if (reported.Remove(irp.Name.Use) || irp.Origin != IrpOrigin.Threaded) return;
        ulong statusBlock = e.Irp.UserIosb.Address;
        ulong left = OwnerOfLeft(statusBlock) is not null ? statusBlock : e.Irp.UserEvent.Address;
        if (OwnerOfLeft(left) is not { } thread) return;
        CodePlace place = irp.Sent?.Place ?? Tracker.Caller;
        Report(place, irp.Name,
            $"{place} built {irp} with {(left == statusBlock ? "a status block" : "an event")} at {Format.Address(left)}, on a part of the stack of {thread} that has been left.");
    }

    /// <summary>The thread that an address lies on a left part of the stack of.</summary>
    KernelThread? OwnerOfLeft(ulong address)
    {
        foreach (ThreadContext thread in Tracker.Threads)
        {
            if (address >= thread.Thread.StackLimit && address < thread.Thread.StackBase) return address < StackPointerOf(thread.Thread) ? thread.Thread : null;
        }
        return null;
    }

    // No compiled code runs there: nothing of the stack is in use.
    ulong StackPointerOf(KernelThread thread)
    {
        CONTEXT context = default;
        Machine.Guest?.Frames?.Capture(thread, ref context);
        return context.Rsp == 0 ? thread.StackBase : context.Rsp;
    }
}
