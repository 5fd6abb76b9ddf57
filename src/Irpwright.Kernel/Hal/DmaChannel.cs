using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// A channel that one driver at a time has: of the system DMA controller, or of a bus master's own. The model of a device that is wired
/// to the controller moves its data through it.
/// </summary>
public sealed class DmaChannel
{
    readonly Machine machine;
    readonly List<PhysicalRun> runs = [];
    bool toDevice;

    internal DmaChannel(Machine machine) => this.machine = machine;

    /// <summary>Guards the queue and the transfer.</summary>
    internal Lock Gate { get; } = new();

    internal Queue<DmaRequest> Waiting { get; } = [];

    internal DmaRequest? Owner { get; set; }

    /// <summary>Bytes that the driver's transfer still has to move; 0 when there is none.</summary>
    public uint Remaining
    {
        get { lock (Gate) return (uint)runs.Sum(r => r.Length); }
    }

    /// <summary>Whether the transfer goes from memory to the device.</summary>
    public bool IsWriteToDevice
    {
        get { lock (Gate) return toDevice; }
    }

    /// <summary>The device takes data out of memory.</summary>
    /// <returns>How many bytes the transfer had for it; 0 for a transfer in the other direction.</returns>
    public int Take(Span<byte> data)
    {
        int moved = 0;
        while (moved < data.Length && Next(data.Length - moved, wantsToDevice: true) is { Length: > 0 } run)
        {
            machine.Hardware.ReadMemory((ulong)run.Address, data.Slice(moved, (int)run.Length));
            moved += (int)run.Length;
        }
        return moved;
    }

    /// <summary>The device puts data into memory.</summary>
    /// <returns>How many bytes the transfer had room for; 0 for a transfer in the other direction.</returns>
    public int Give(ReadOnlySpan<byte> data)
    {
        int moved = 0;
        while (moved < data.Length && Next(data.Length - moved, wantsToDevice: false) is { Length: > 0 } run)
        {
            machine.Hardware.WriteMemory((ulong)run.Address, data.Slice(moved, (int)run.Length));
            moved += (int)run.Length;
        }
        return moved;
    }

    PhysicalRun Next(int length, bool wantsToDevice)
    {
        lock (Gate)
        {
            if (runs.Count == 0 || toDevice != wantsToDevice) return default;
            PhysicalRun first = runs[0];
            uint moved = Math.Min((uint)length, first.Length);
            if (moved == first.Length) runs.RemoveAt(0);
            else runs[0] = new PhysicalRun(first.Address + moved, first.Length - moved);
            return first with { Length = moved };
        }
    }

    /// <summary>Has the controller move the next bytes from or to here.</summary>
    internal void Program(PhysicalRun run, bool writeToDevice)
    {
        lock (Gate)
        {
            if (toDevice != writeToDevice) runs.Clear();
            toDevice = writeToDevice;
            runs.Add(run);
        }
    }

    /// <summary>Masks the channel: what was not moved yet never will be.</summary>
    internal void Stop()
    {
        lock (Gate) runs.Clear();
    }
}

/// <summary>Bytes that follow each other in physical memory.</summary>
readonly record struct PhysicalRun(long Address, uint Length);

/// <summary>A call of AllocateAdapterChannel; the rest of it is in the device object.</summary>
sealed record DmaRequest(DmaAdapter Adapter, PDEVICE_OBJECT Device, MapRegisters Registers);
