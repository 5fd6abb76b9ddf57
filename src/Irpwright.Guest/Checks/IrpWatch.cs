using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Checks;

/// <summary>
/// Follows IRPs for two questions. Which compiled driver has one at the moment: when a driver gets control back after it gave one away,
/// the IRP is marked (<see cref="ByteState.Lent"/>), and whoever has it next gets it without the mark. And which addresses in stack frames
/// of compiled drivers it holds: whoever leaves such a frame leaves a trap behind.
/// </summary>
/// <param name="imageOf">The image that code belongs to, by its base; 0 for the kernel and C# drivers.</param>
/// <param name="currentCpu">The processor of the current thread while compiled code called the kernel; null for none.</param>
sealed unsafe class IrpWatch(MemoryShadow shadow, Func<ulong, ulong> imageOf, IrpWatch.CurrentCpu currentCpu) : KernelObserver
{
    public delegate Cpu* CurrentCpu();

    /// <param name="Image">Of the driver in whose frame the address lies.</param>
    readonly record struct FrameAddress(string Holder, ulong Address, ulong Image);

    sealed class Packet
    {
        public ulong Start, Length;
        /// <summary>Base of the image of the driver that has it; 0 for anybody else.</summary>
        public ulong Holder;
        public bool IsMarked;
        public readonly List<FrameAddress> Frames = [];
    }

    // Held for a moment, on every step of every IRP.
    SpinLock gate = new(enableThreadOwnerTracking: false);
    readonly Dictionary<ulong, Packet> packets = [];
    readonly System.Collections.Generic.Stack<Packet> free = new(16);
    // Most events are about the IRP of the one before.
    Packet? latest;

    /// <summary>Of IRP.CancelRoutine.</summary>
    public const ulong CancelRoutineOffset = 0x68;

    public override void On(in IrpForwarded e)
    {
        Cpu* cpu = currentCpu();
        using (Hold())
        {
            Packet packet = Give(e.Irp, e.Routine.Address);
            if (cpu != null) WatchFrames(cpu, e.Irp, packet);
        }
    }

    public override void On(in CompletionRoutineCalled e)
    {
        using (Hold())
        {
            Packet packet = Give(e.Irp, e.Routine.Address);
            // A driver that gets its IRP back has what it put into it back, too, and may tell the thread whose frame it is.
            for (int i = packet.Frames.Count - 1; i >= 0; i--)
            {
                if (packet.Frames[i].Image == packet.Holder) packet.Frames.RemoveAt(i);
            }
        }
    }

    public override void On(in StartIoCalled e)
    {
        using (Hold()) Give(e.Irp, e.Routine.Address);
    }

    public override void On(in IrpCancelled e)
    {
        if (e.Routine.IsNull) return;
        using (Hold()) Give(e.Irp, e.Routine.Address);
    }

    public override void On(in CompletionRoutineReturned e)
    {
        if (e.Status != NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED) Take(e.Irp);
    }

    public override void On(in IrpCompleting e) => Take(e.Irp);

    public override void On(in IrpCompleted e)
    {
        using (Hold()) Find(e.Irp.Address)?.Frames.Clear();
    }

    public override void On(in IrpAllocated e)
    {
        Forget(e.Irp);
        shadow.Add(e.Irp.Address + CancelRoutineOffset, 8, ByteState.Exchanged);
    }

    public override void On(in IrpReused e) => Forget(e.Irp);

    public override void On(in IrpFreed e) => Forget(e.Irp);

    Held Hold() => new(ref gate);

    /// <summary>The lock, until the end of the block.</summary>
    readonly ref struct Held
    {
        readonly ref SpinLock gate;

        internal Held(ref SpinLock gate)
        {
            this.gate = ref gate;
            bool isTaken = false;
            gate.Enter(ref isTaken);
        }

        public void Dispose() => gate.Exit(useMemoryBarrier: false);
    }

    Packet? Find(ulong irp)
    {
        if (latest?.Start == irp) return latest;
        return packets.TryGetValue(irp, out Packet? packet) ? latest = packet : null;
    }

    Packet Give(PIRP irp, ulong routine)
    {
        Packet? packet = Find(irp.Address);
        if (packet is null)
        {
            packets.Add(irp.Address, packet = free.TryPop(out Packet? used) ? used : new Packet());
            (packet.Start, packet.Length) = (irp.Address, irp.Size);
        }
        packet.Holder = imageOf(routine);
        Unmark(packet);
        return packet;
    }

    void Take(PIRP irp)
    {
        using (Hold())
        {
            if (Find(irp.Address) is { } packet) packet.Holder = 0;
        }
    }

    /// <summary>The packet belongs to whoever made it.</summary>
    void Forget(PIRP irp)
    {
        using (Hold())
        {
            if (!packets.Remove(irp.Address, out Packet? packet)) return;
            Unmark(packet);
            packet.Frames.Clear();
            (packet.Start, packet.Holder) = (0, 0);
            latest = null;
            free.Push(packet);
        }
    }

    void Unmark(Packet packet)
    {
        if (!packet.IsMarked) return;
        packet.IsMarked = false;
        shadow.Remove(packet.Start, packet.Length, ByteState.Lent);
    }

    /// <summary>A call that gave an IRP away returns to a driver.</summary>
    /// <param name="caller">The code that it returns to.</param>
    public void Returning(ulong irp, ulong caller)
    {
        using (Hold())
        {
            // No packet: it was freed, and the pool has marked it.
            if (Find(irp) is not { IsMarked: false } packet || packet.Holder == imageOf(caller)) return;
            packet.IsMarked = true;
            shadow.Add(packet.Start, packet.Length, ByteState.Lent);
        }
    }

    /// <summary>A kernel routine has sent an IRP for a driver, and gives it back.</summary>
    public void Returned(ulong irp, ulong caller)
    {
        using (Hold())
        {
            if (Find(irp) is not { } packet) return;
            packet.Holder = imageOf(caller);
            Unmark(packet);
        }
    }

    /// <summary>The IRP that a driver touches although another one has it; null if it may.</summary>
    public PIRP? TouchedWithoutRight(ulong address, ulong instruction)
    {
        using (Hold())
        {
            foreach (Packet packet in packets.Values)
            {
                if (address - packet.Start >= packet.Length) continue;
                return packet.Holder == imageOf(instruction) ? null : new PIRP(packet.Start);
            }
        }
        return null;
    }

    // ---- Stack frames

    void WatchFrames(Cpu* cpu, PIRP irp, Packet packet)
    {
        PIO_STACK_LOCATION location = irp.Tail.Overlay.CurrentStackLocation;
        Watch("UserIosb", irp.UserIosb.Address);
        Watch("UserEvent", irp.UserEvent.Address);
        Watch("UserBuffer", irp.UserBuffer.Address);
        Watch("AssociatedIrp.SystemBuffer", irp.AssociatedIrp.SystemBuffer.Address);
        if (!location.CompletionRoutine.IsNull) Watch("completion context", location.Context.Address);
        for (PMDL mdl = irp.MdlAddress; !mdl.IsNull; mdl = mdl.Next) Watch("MdlAddress", mdl.StartVa.Address + mdl.ByteOffset);

        void Watch(string holder, ulong address)
        {
            const ulong stackSize = 24 << 10;
            if (address < cpu->Rsp || address < cpu->StackLimit || address - cpu->StackLimit >= stackSize) return;
            if (!GuestMemory.TryTranslate(cpu->Rsp, 8, PageAccess.Read, out byte* stack, out _)) return;
            foreach (FrameAddress known in packet.Frames)
            {
                if (known.Holder == holder && known.Address == address) return;
            }
            packet.Frames.Add(new FrameAddress(holder, address, imageOf(*(ulong*)stack)));
            ref ulong watched = ref CheckState.Of(cpu)->WatchedFrame;
            watched = Math.Min(watched, address);
        }
    }

    /// <summary>A routine returns: what IRPs hold of the frame that it leaves.</summary>
    public IReadOnlyList<(PIRP Irp, string Holder, ulong Address)> Leave(Cpu* cpu)
    {
        ulong top = cpu->Rsp, limit = cpu->StackLimit, next = ulong.MaxValue;
        List<(PIRP, string, ulong)> left = [];
        using (Hold())
        {
            foreach (Packet packet in packets.Values)
            {
                for (int i = packet.Frames.Count - 1; i >= 0; i--)
                {
                    FrameAddress frame = packet.Frames[i];
                    if (frame.Address >= top) next = Math.Min(next, frame.Address);
                    if (frame.Address < limit || frame.Address >= top) continue;
                    left.Add((new PIRP(packet.Start), frame.Holder, frame.Address));
                    packet.Frames.RemoveAt(i);
                }
            }
        }
        CheckState.Of(cpu)->WatchedFrame = next;
        return left;
    }
}
