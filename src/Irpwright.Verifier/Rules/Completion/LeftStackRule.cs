namespace Irpwright.Verification.Rules;

/// <summary>What the I/O manager writes to when a threaded IRP is over must not lie on a part of a stack that has been left (BUILD-14).</summary>
abstract class LeftStackRule(string what) : Rule, IWatch<IrpCompleted>
{
    public void On(in IrpCompleted e)
    {
        if (Tracker.Irp.Origin != IrpOrigin.Threaded) return;
        ulong address = AddressIn(e.Irp);
        if (address == 0 || OwnerOf(address) is not { } thread || address >= StackPointerOf(thread)) return;
        CodePlace place = Tracker.Irp.Sent?.Place ?? Tracker.Caller;
        Report(place, Tracker.Irp.Name,
            $"{place} built {Tracker.Irp} with {what} at {Format.Address(address)}, on a part of the stack of {thread} that has been left.");
    }

    protected abstract ulong AddressIn(PIRP irp);

    KernelThread? OwnerOf(ulong address)
    {
        foreach (ThreadContext thread in Tracker.Threads)
        {
            if (address >= thread.Thread.StackLimit && address < thread.Thread.StackBase) return thread.Thread;
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
