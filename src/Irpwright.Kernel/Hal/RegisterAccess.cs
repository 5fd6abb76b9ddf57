using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Reading and writing device registers under the WDK's names, for C# drivers; compiled ones carry the instructions.</summary>
/// <remarks>A register may also be ordinary memory that a driver shares with its device. A port is a number, not an address.</remarks>
public sealed class RegisterAccess
{
    readonly Machine machine;

    internal RegisterAccess(Machine machine) => this.machine = machine;

    // ---- Memory-mapped registers. The buffer forms go from one register to the next.

    /// <summary>Reads a register. Any IRQL.</summary>
    [WdkInline]
    public byte READ_REGISTER_UCHAR(PUCHAR Register) => (byte)Read(Register.Address, 1);

    /// <summary>Reads a register. Any IRQL.</summary>
    [WdkInline]
    public ushort READ_REGISTER_USHORT(PUSHORT Register) => (ushort)Read(Register.Address, 2);

    /// <summary>Reads a register. Any IRQL.</summary>
    [WdkInline]
    public uint READ_REGISTER_ULONG(PULONG Register) => (uint)Read(Register.Address, 4);

    /// <summary>Reads a register. Any IRQL.</summary>
    [WdkInline]
    public ulong READ_REGISTER_ULONG64(PULONG64 Register) => Read(Register.Address, 8);

    /// <summary>Writes a register. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_UCHAR(PUCHAR Register, byte Value) => Write(Register.Address, 1, Value);

    /// <summary>Writes a register. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_USHORT(PUSHORT Register, ushort Value) => Write(Register.Address, 2, Value);

    /// <summary>Writes a register. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_ULONG(PULONG Register, uint Value) => Write(Register.Address, 4, Value);

    /// <summary>Writes a register. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_ULONG64(PULONG64 Register, ulong Value) => Write(Register.Address, 8, Value);

    /// <summary>Reads registers one after the other into memory. Any IRQL.</summary>
    [WdkInline]
    public void READ_REGISTER_BUFFER_UCHAR(PUCHAR Register, PUCHAR Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<byte>(Buffer.Address + 1 * i) = (byte)Read(Register.Address + 1 * i, 1);
    }

    /// <summary>Reads registers one after the other into memory. Any IRQL.</summary>
    [WdkInline]
    public void READ_REGISTER_BUFFER_USHORT(PUSHORT Register, PUSHORT Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<ushort>(Buffer.Address + 2 * i) = (ushort)Read(Register.Address + 2 * i, 2);
    }

    /// <summary>Reads registers one after the other into memory. Any IRQL.</summary>
    [WdkInline]
    public void READ_REGISTER_BUFFER_ULONG(PULONG Register, PULONG Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<uint>(Buffer.Address + 4 * i) = (uint)Read(Register.Address + 4 * i, 4);
    }

    /// <summary>Reads registers one after the other into memory. Any IRQL.</summary>
    [WdkInline]
    public void READ_REGISTER_BUFFER_ULONG64(PULONG64 Register, PULONG64 Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<ulong>(Buffer.Address + 8 * i) = Read(Register.Address + 8 * i, 8);
    }

    /// <summary>Writes registers one after the other from memory. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_BUFFER_UCHAR(PUCHAR Register, PUCHAR Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) Write(Register.Address + 1 * i, 1, GuestMemory.Ref<byte>(Buffer.Address + 1 * i));
    }

    /// <summary>Writes registers one after the other from memory. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_BUFFER_USHORT(PUSHORT Register, PUSHORT Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) Write(Register.Address + 2 * i, 2, GuestMemory.Ref<ushort>(Buffer.Address + 2 * i));
    }

    /// <summary>Writes registers one after the other from memory. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_BUFFER_ULONG(PULONG Register, PULONG Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) Write(Register.Address + 4 * i, 4, GuestMemory.Ref<uint>(Buffer.Address + 4 * i));
    }

    /// <summary>Writes registers one after the other from memory. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_REGISTER_BUFFER_ULONG64(PULONG64 Register, PULONG64 Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) Write(Register.Address + 8 * i, 8, GuestMemory.Ref<ulong>(Buffer.Address + 8 * i));
    }

    // ---- Ports. The buffer forms read or write the same port again and again.

    /// <summary>Reads a port. Any IRQL.</summary>
    [WdkInline]
    public byte READ_PORT_UCHAR(PUCHAR Port) => (byte)machine.Hardware.ReadPort((ushort)Port.Address, 1);

    /// <summary>Reads a port. Any IRQL.</summary>
    [WdkInline]
    public ushort READ_PORT_USHORT(PUSHORT Port) => (ushort)machine.Hardware.ReadPort((ushort)Port.Address, 2);

    /// <summary>Reads a port. Any IRQL.</summary>
    [WdkInline]
    public uint READ_PORT_ULONG(PULONG Port) => (uint)machine.Hardware.ReadPort((ushort)Port.Address, 4);

    /// <summary>Writes a port. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_PORT_UCHAR(PUCHAR Port, byte Value) => machine.Hardware.WritePort((ushort)Port.Address, 1, Value);

    /// <summary>Writes a port. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_PORT_USHORT(PUSHORT Port, ushort Value) => machine.Hardware.WritePort((ushort)Port.Address, 2, Value);

    /// <summary>Writes a port. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_PORT_ULONG(PULONG Port, uint Value) => machine.Hardware.WritePort((ushort)Port.Address, 4, Value);

    /// <summary>Reads a port into memory, <paramref name="Count"/> times. Any IRQL.</summary>
    [WdkInline]
    public void READ_PORT_BUFFER_UCHAR(PUCHAR Port, PUCHAR Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<byte>(Buffer.Address + 1 * i) = READ_PORT_UCHAR(Port);
    }

    /// <summary>Reads a port into memory, <paramref name="Count"/> times. Any IRQL.</summary>
    [WdkInline]
    public void READ_PORT_BUFFER_USHORT(PUSHORT Port, PUSHORT Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<ushort>(Buffer.Address + 2 * i) = READ_PORT_USHORT(Port);
    }

    /// <summary>Reads a port into memory, <paramref name="Count"/> times. Any IRQL.</summary>
    [WdkInline]
    public void READ_PORT_BUFFER_ULONG(PULONG Port, PULONG Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) GuestMemory.Ref<uint>(Buffer.Address + 4 * i) = READ_PORT_ULONG(Port);
    }

    /// <summary>Writes memory to a port, <paramref name="Count"/> times. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_PORT_BUFFER_UCHAR(PUCHAR Port, PUCHAR Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) WRITE_PORT_UCHAR(Port, GuestMemory.Ref<byte>(Buffer.Address + 1 * i));
    }

    /// <summary>Writes memory to a port, <paramref name="Count"/> times. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_PORT_BUFFER_USHORT(PUSHORT Port, PUSHORT Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) WRITE_PORT_USHORT(Port, GuestMemory.Ref<ushort>(Buffer.Address + 2 * i));
    }

    /// <summary>Writes memory to a port, <paramref name="Count"/> times. Any IRQL.</summary>
    [WdkInline]
    public void WRITE_PORT_BUFFER_ULONG(PULONG Port, PULONG Buffer, uint Count)
    {
        for (uint i = 0; i < Count; i++) WRITE_PORT_ULONG(Port, GuestMemory.Ref<uint>(Buffer.Address + 4 * i));
    }

    ulong Read(ulong address, int size)
    {
        if (machine.Hardware.TryRead(address, size, out ulong value)) return value;
        return size switch
        {
            1 => Volatile.Read(ref GuestMemory.Ref<byte>(address)),
            2 => Volatile.Read(ref GuestMemory.Ref<ushort>(address)),
            4 => Volatile.Read(ref GuestMemory.Ref<uint>(address)),
            _ => Volatile.Read(ref GuestMemory.Ref<ulong>(address)),
        };
    }

    void Write(ulong address, int size, ulong value)
    {
        if (machine.Hardware.TryWrite(address, size, value)) return;
        Interlocked.MemoryBarrier();
        switch (size)
        {
            case 1: Volatile.Write(ref Cell<byte>(address), (byte)value); break;
            case 2: Volatile.Write(ref Cell<ushort>(address), (ushort)value); break;
            case 4: Volatile.Write(ref Cell<uint>(address), (uint)value); break;
            default: Volatile.Write(ref Cell<ulong>(address), value); break;
        }
    }

    static unsafe ref T Cell<T>(ulong address) where T : unmanaged =>
        ref Unsafe.AsRef<T>(GuestMemory.Translate(address, (uint)sizeof(T), PageAccess.ReadWrite));
}
