using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Checks;

/// <summary>Addresses in stack frames of compiled drivers that IRPs in flight hold: whoever leaves such a frame leaves a trap behind.</summary>
/// <param name="imageOf">The image that code belongs to, by its base; 0 for the kernel and C# drivers.</param>
/// <param name="currentCpu">The processor of the current thread while compiled code called the kernel; null for none.</param>
sealed unsafe class WatchedFrames(Func<ulong, ulong> imageOf, WatchedFrames.CurrentCpu currentCpu) : KernelObserver
{
    public delegate Cpu* CurrentCpu();

    /// <param name="Image">Of the driver in whose frame the address lies.</param>
    readonly record struct Entry(PIRP Irp, string Holder, ulong Address, ulong Image);

    readonly Lock gate = new();
    readonly List<Entry> entries = [];

    public override void On(in IrpForwarded e)
    {
        Cpu* cpu = currentCpu();
        if (cpu == null) return;
        PIRP irp = e.Irp;
        PIO_STACK_LOCATION location = irp.Tail.Overlay.CurrentStackLocation;
        Watch(cpu, irp, "UserIosb", irp.UserIosb.Address);
        Watch(cpu, irp, "UserEvent", irp.UserEvent.Address);
        Watch(cpu, irp, "UserBuffer", irp.UserBuffer.Address);
        Watch(cpu, irp, "AssociatedIrp.SystemBuffer", irp.AssociatedIrp.SystemBuffer.Address);
        if (!location.CompletionRoutine.IsNull) Watch(cpu, irp, "completion context", location.Context.Address);
        for (PMDL mdl = irp.MdlAddress; !mdl.IsNull; mdl = mdl.Next) Watch(cpu, irp, "MdlAddress", mdl.StartVa.Address + mdl.ByteOffset);
    }

    void Watch(Cpu* cpu, PIRP irp, string holder, ulong address)
    {
        const ulong stackSize = 24 << 10;
        if (address < cpu->Rsp || address < cpu->StackLimit || address - cpu->StackLimit >= stackSize) return;
        if (!GuestMemory.TryTranslate(cpu->Rsp, 8, PageAccess.Read, out byte* stack, out _)) return;
        var entry = new Entry(irp, holder, address, imageOf(*(ulong*)stack));
        lock (gate)
        {
            if (!entries.Contains(entry)) entries.Add(entry);
        }
        ref ulong watched = ref CheckState.Of(cpu)->WatchedFrame;
        watched = Math.Min(watched, address);
    }

    // A driver that gets its IRP back has what it put into it back, too, and may tell the thread whose frame it is.
    public override void On(in CompletionRoutineCalled e)
    {
        if (entries.Count > 0 && imageOf(e.Routine.Address) is var image and not 0) Forget(e.Irp, image);
    }

    public override void On(in IrpCompleted e) => Forget(e.Irp);

    public override void On(in IrpReused e) => Forget(e.Irp);

    public override void On(in IrpFreed e) => Forget(e.Irp);

    /// <param name="image">Only of what lies in frames of this image.</param>
    void Forget(PIRP irp, ulong image = 0)
    {
        lock (gate)
        {
            for (int i = entries.Count - 1; i >= 0; i--)
            {
                if (entries[i].Irp == irp && (image == 0 || entries[i].Image == image)) entries.RemoveAt(i);
            }
        }
    }

    /// <summary>A routine returns: what IRPs hold of the frame that it leaves.</summary>
    public IReadOnlyList<(PIRP Irp, string Holder, ulong Address)> Leave(Cpu* cpu)
    {
        ulong top = cpu->Rsp, limit = cpu->StackLimit;
        List<(PIRP, string, ulong)> left = [];
        lock (gate)
        {
            entries.RemoveAll(entry =>
            {
                bool isLeft = entry.Address < top && entry.Address >= limit;
                if (isLeft) left.Add((entry.Irp, entry.Holder, entry.Address));
                return isLeft;
            });
            CheckState.Of(cpu)->WatchedFrame = entries.Where(e => e.Address >= top).Select(e => e.Address).DefaultIfEmpty(ulong.MaxValue).Min();
        }
        return left;
    }
}
