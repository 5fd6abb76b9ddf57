using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Checks;

/// <summary>
/// Which compiled driver has an IRP at the moment. When a driver gets control back after it gave one away, the IRP is marked
/// (<see cref="ByteState.Lent"/>), and whoever has it next gets it without the mark.
/// </summary>
/// <param name="imageOf">The image that code belongs to, by its base; 0 for the kernel and C# drivers.</param>
sealed class IrpOwners(MemoryShadow shadow, Func<ulong, ulong> imageOf) : KernelObserver
{
    sealed class Packet
    {
        public ulong Start, Length;
        /// <summary>Base of the image of the driver that has it; 0 for anybody else.</summary>
        public ulong Holder;
        public bool IsMarked;
    }

    readonly Lock gate = new();
    readonly Dictionary<ulong, Packet> packets = [];
    readonly Stack<Packet> free = new(16);

    public override void On(in IrpForwarded e) => Give(e.Irp, e.Routine.Address);

    public override void On(in CompletionRoutineCalled e) => Give(e.Irp, e.Routine.Address);

    public override void On(in StartIoCalled e) => Give(e.Irp, e.Routine.Address);

    public override void On(in IrpCancelled e)
    {
        if (!e.Routine.IsNull) Give(e.Irp, e.Routine.Address);
    }

    public override void On(in CompletionRoutineReturned e)
    {
        if (e.Status != NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED) Take(e.Irp);
    }

    public override void On(in IrpCompleting e) => Take(e.Irp);

    public override void On(in IrpAllocated e) => Forget(e.Irp);

    public override void On(in IrpReused e) => Forget(e.Irp);

    public override void On(in IrpFreed e) => Forget(e.Irp);

    void Give(PIRP irp, ulong routine)
    {
        ulong image = imageOf(routine);
        lock (gate)
        {
            if (!packets.TryGetValue(irp.Address, out Packet? packet))
            {
                packets.Add(irp.Address, packet = free.TryPop(out Packet? used) ? used : new Packet());
                (packet.Start, packet.Length) = (irp.Address, irp.Size);
            }
            packet.Holder = image;
            Unmark(packet);
        }
    }

    void Take(PIRP irp)
    {
        lock (gate)
        {
            if (packets.TryGetValue(irp.Address, out Packet? packet)) packet.Holder = 0;
        }
    }

    /// <summary>The packet belongs to whoever made it.</summary>
    void Forget(PIRP irp)
    {
        lock (gate)
        {
            if (!packets.Remove(irp.Address, out Packet? packet)) return;
            Unmark(packet);
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
        lock (gate)
        {
            // No packet: it was freed, and the pool has marked it.
            if (!packets.TryGetValue(irp, out Packet? packet) || packet.IsMarked || packet.Holder == imageOf(caller)) return;
            packet.IsMarked = true;
            shadow.Add(packet.Start, packet.Length, ByteState.Lent);
        }
    }

    /// <summary>The IRP that a driver touches although another one has it; null if it may.</summary>
    public PIRP? TouchedWithoutRight(ulong address, ulong instruction)
    {
        lock (gate)
        {
            foreach (Packet packet in packets.Values)
            {
                if (address - packet.Start >= packet.Length) continue;
                return packet.Holder == imageOf(instruction) ? null : new PIRP(packet.Start);
            }
        }
        return null;
    }
}
