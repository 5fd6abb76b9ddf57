using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The bus: leads reads and writes of ports and of physical memory to the device models behind them.</summary>
/// <remarks>
/// As on a PC, what nobody answers reads as ones, and writes to it vanish; an access that reaches beyond the range of its device is
/// answered by nobody. Physical memory that is no device's is the machine's own: offsets in its slice.
/// </remarks>
public sealed class Hardware
{
    /// <summary>What one access takes on a controlled scheduler, 100 ns units; so a driver that polls lets time pass.</summary>
    public const long AccessTime = 10;

    const ulong PortCount = 0x1_0000;

    readonly Machine machine;
    readonly Lock gate = new();
    // Replaced as a whole, so that accesses need no lock.
    Range[] ports = [];
    Range[] memory = [];

    readonly record struct Range(ulong First, ulong Size, IDeviceModel Model)
    {
        public bool Contains(ulong address, int size) => address >= First && address - First <= Size - (ulong)size && (ulong)size <= Size;

        public bool Overlaps(Range other) => First < other.First + other.Size && other.First < First + Size;
    }

    internal Hardware(Machine machine) => this.machine = machine;

    /// <summary>Connects a device to I/O ports.</summary>
    /// <param name="count">Bytes of the port space.</param>
    /// <exception cref="ArgumentException">Another device is there, or the range is empty or too long.</exception>
    public void ConnectPorts(ushort first, int count, IDeviceModel model)
    {
        if (count <= 0 || (ulong)first + (ulong)count > PortCount) throw new ArgumentException($"There are no {count} ports from 0x{first:X} on.", nameof(count));
        Connect(ref ports, new Range(first, (ulong)count, model), "Port");
    }

    /// <summary>Connects a device to physical memory; drivers reach it through MmMapIoSpace.</summary>
    /// <param name="physicalAddress">May lie in the machine's own memory, which it hides then.</param>
    /// <param name="size">Bytes.</param>
    /// <exception cref="ArgumentException">Another device is there, or the range is empty or too long.</exception>
    public void ConnectMemory(ulong physicalAddress, ulong size, IDeviceModel model)
    {
        if (size == 0 || physicalAddress + size < physicalAddress) throw new ArgumentException($"There are no {size} bytes from 0x{physicalAddress:X} on.", nameof(size));
        Connect(ref memory, new Range(physicalAddress, size, model), "Physical address");
    }

    void Connect(ref Range[] ranges, Range added, string what)
    {
        lock (gate)
        {
            foreach (Range other in ranges)
            {
                if (other.Overlaps(added)) throw new ArgumentException($"{what} 0x{Math.Max(other.First, added.First):X} belongs to another device.");
            }
            ranges = [.. ranges, added];
        }
    }

    /// <summary>Takes a device away, as pulling it out does: its registers read as ones from then on.</summary>
    public void Disconnect(IDeviceModel model)
    {
        lock (gate)
        {
            ports = [.. ports.Where(r => r.Model != model)];
            memory = [.. memory.Where(r => r.Model != model)];
        }
    }

    /// <summary>Has a device do something after a time, for example raise its interrupt when the work is done.</summary>
    /// <param name="model">Not called by anybody else meanwhile.</param>
    public void After(IDeviceModel model, TimeSpan latency, Action action) =>
        machine.Scheduler.Schedule(new Interrupt("device", PASSIVE_LEVEL, () => { lock (model) action(); }), machine.Scheduler.InterruptTime + latency.Ticks);

    /// <summary>What the instruction IN does.</summary>
    /// <param name="size">1, 2 or 4 bytes.</param>
    public ulong ReadPort(ushort port, int size) => Read(ports, port, size, isPort: true);

    /// <summary>What the instruction OUT does.</summary>
    /// <inheritdoc cref="ReadPort"/>
    public void WritePort(ushort port, int size, ulong value) => Write(ports, port, size, value, isPort: true);

    /// <summary>Reads through a mapping that MmMapIoSpace made; false when the address is in none that may be read.</summary>
    /// <param name="size">1, 2, 4 or 8 bytes.</param>
    public bool TryRead(ulong address, int size, out ulong value)
    {
        value = 0;
        if (!machine.IoSpace.TryTranslate(address, size, PageAccess.Read, out ulong physical)) return false;
        value = ReadMemory(physical, size);
        return true;
    }

    /// <summary>Writes through a mapping that MmMapIoSpace made; false when the address is in none that may be written.</summary>
    /// <inheritdoc cref="TryRead"/>
    public bool TryWrite(ulong address, int size, ulong value)
    {
        if (!machine.IoSpace.TryTranslate(address, size, PageAccess.Write, out ulong physical)) return false;
        if (MachineMemory(physical, size, PageAccess.ReadWrite) is { } own) StoreOwn(own, size, value);
        else Write(memory, physical, size, value, isPort: false);
        return true;
    }

    /// <summary>What a device does that is a bus master: takes data out of the machine's memory. What nobody answers for reads as ones.</summary>
    /// <param name="address">Logical, which is physical.</param>
    public void ReadMemory(ulong address, Span<byte> data)
    {
        for (int done = 0, count; done < data.Length; done += count)
        {
            count = (int)Math.Min((ulong)(data.Length - done), GuestMemory.PageSize - (address + (ulong)done) % GuestMemory.PageSize);
            if (MachineMemory(address + (ulong)done, count, PageAccess.Read) is { } own) GuestMemory.Read(own, count).CopyTo(data[done..]);
            else data.Slice(done, count).Fill(byte.MaxValue);
        }
    }

    /// <summary>What a device does that is a bus master: puts data into the machine's memory. What nobody answers for vanishes.</summary>
    /// <inheritdoc cref="ReadMemory(ulong, Span{byte})"/>
    public void WriteMemory(ulong address, ReadOnlySpan<byte> data)
    {
        for (int done = 0, count; done < data.Length; done += count)
        {
            count = (int)Math.Min((ulong)(data.Length - done), GuestMemory.PageSize - (address + (ulong)done) % GuestMemory.PageSize);
            if (MachineMemory(address + (ulong)done, count, PageAccess.ReadWrite) is { } own) data.Slice(done, count).CopyTo(GuestMemory.Write(own, count));
        }
    }

    ulong ReadMemory(ulong physical, int size) =>
        MachineMemory(physical, size, PageAccess.Read) is { } own ? LoadOwn(own, size) : Read(memory, physical, size, isPort: false);

    /// <summary>The guest address of physical memory that belongs to no device, if the machine has that.</summary>
    ulong? MachineMemory(ulong physical, int size, PageAccess access)
    {
        var wanted = new Range(physical, (ulong)size, null!);
        foreach (Range range in memory)
        {
            if (range.Overlaps(wanted)) return null;
        }
        if (physical > GuestMemory.SliceSize - (ulong)size) return null;
        ulong kernel = machine.Memory.SliceBase + physical, user = machine.Memory.UserSliceBase + physical;
        return GuestMemory.IsAccessible(kernel, (ulong)size, access) ? kernel : GuestMemory.IsAccessible(user, (ulong)size, access) ? user : null;
    }

    static ulong LoadOwn(ulong address, int size) => size switch
    {
        1 => GuestMemory.Ref<byte>(address),
        2 => GuestMemory.Ref<ushort>(address),
        4 => GuestMemory.Ref<uint>(address),
        _ => GuestMemory.Ref<ulong>(address),
    };

    static void StoreOwn(ulong address, int size, ulong value)
    {
        switch (size)
        {
            case 1: GuestMemory.Ref<byte>(address) = (byte)value; break;
            case 2: GuestMemory.Ref<ushort>(address) = (ushort)value; break;
            case 4: GuestMemory.Ref<uint>(address) = (uint)value; break;
            default: GuestMemory.Ref<ulong>(address) = value; break;
        }
    }

    ulong Read(Range[] ranges, ulong address, int size, bool isPort)
    {
        PassTime();
        ulong value = ulong.MaxValue;
        foreach (Range range in ranges)
        {
            if (!range.Contains(address, size)) continue;
            lock (range.Model) value = range.Model.Read(address - range.First, size);
            break;
        }
        if (size < 8) value &= (1UL << (8 * size)) - 1;
        machine.Events.Emit(new DeviceRead(isPort, address, size, value));
        return value;
    }

    void Write(Range[] ranges, ulong address, int size, ulong value, bool isPort)
    {
        PassTime();
        if (size < 8) value &= (1UL << (8 * size)) - 1;
        machine.Events.Emit(new DeviceWritten(isPort, address, size, value));
        foreach (Range range in ranges)
        {
            if (!range.Contains(address, size)) continue;
            lock (range.Model) range.Model.Write(address - range.First, size, value);
            break;
        }
    }

    void PassTime()
    {
        if (machine.TryGetCurrentThread() is { } thread) machine.Scheduler.PassTime(thread, AccessTime);
    }
}
