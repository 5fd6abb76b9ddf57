using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Loads and stores whose address is a device's: no memory is there, but every instruction may go there.</summary>
/// <remarks>
/// A handler wants a host address. For a load it gets one of <see cref="Cpu.FromDevice"/>, filled beforehand; for a store one of
/// <see cref="Cpu.ToDevice"/>, and what it left there is written when it is done. The device sees accesses of the size that the
/// instruction has, except that 16 bytes are two accesses.
/// </remarks>
static unsafe class DeviceAccess
{
    const int Widest = 16, WidestAtOnce = 8;

    public static bool IsDevice(ulong address) => address - GuestMemory.IoSpaceBase < GuestMemory.WindowSize;

    /// <summary>Where a handler finds, or leaves, what it exchanges with the device; null if there is no device.</summary>
    public static byte* Begin(Cpu* cpu, Op* op, ulong address, int size, PageAccess access)
    {
        // A stack there would take more than one instruction.
        if (cpu->OnDeviceRead == null || size > Widest || IsDevice(cpu->Rsp)) return null;
        cpu->Rip = cpu->CodeBase + op->Offset;
        if (access == PageAccess.Read) return TryRead(cpu, address, size, cpu->FromDevice) ? cpu->FromDevice : null;
        if (ReadsFirst(cpu->Rip) && !TryRead(cpu, address, size, cpu->ToDevice)) return null;
        cpu->PendingAddress = address;
        cpu->PendingSize = size;
        return cpu->ToDevice;
    }

    /// <summary>Writes what a handler left; false if the device does not take it.</summary>
    public static bool Complete(Cpu* cpu)
    {
        int size = cpu->PendingSize;
        cpu->PendingSize = 0;
        for (int i = 0; i < size; i += WidestAtOnce)
        {
            int part = Math.Min(size - i, WidestAtOnce);
            if (!cpu->OnDeviceWrite(cpu, cpu->PendingAddress + (ulong)i, part, Load(cpu->ToDevice + i, part))) return false;
        }
        return true;
    }

    static bool TryRead(Cpu* cpu, ulong address, int size, byte* to)
    {
        for (int i = 0; i < size; i += WidestAtOnce)
        {
            ulong value;
            if (!cpu->OnDeviceRead(cpu, address + (ulong)i, Math.Min(size - i, WidestAtOnce), &value)) return false;
            *(ulong*)(to + i) = value;
        }
        return true;
    }

    static ulong Load(byte* from, int size) => size switch { 1 => *from, 2 => *(ushort*)from, 4 => *(uint*)from, _ => *(ulong*)from };

    /// <summary>Whether an instruction that writes memory reads it, too.</summary>
    static bool ReadsFirst(ulong rip)
    {
        var bytes = new CodeBytes();
        bytes.MoveTo(rip);
        var decoder = Decoder.Create(64, bytes);
        decoder.IP = rip;
        decoder.Decode(out Instruction instruction);
        foreach (UsedMemory used in new InstructionInfoFactory().GetInfo(instruction).GetUsedMemory())
        {
            if (used.Access is OpAccess.ReadWrite or OpAccess.ReadCondWrite) return true;
        }
        return false;
    }

    /// <summary>
    /// Runs a handler on a copy of its operation behind which the chain ends, and writes what it left; false when something stopped it.
    /// </summary>
    public static bool RunAlone(Cpu* cpu, Op* op, Handler handler)
    {
        Op* alone = stackalloc Op[2];
        alone[0] = *op;
        alone[0].Handler = handler;
        alone[1].Handler = &Branch.Halt;
        handler(cpu, alone);
        if (cpu->Stop != StopReason.None)
        {
            cpu->PendingSize = 0;
            return false;
        }
        if (Complete(cpu)) return true;
        Stop.Fault(cpu, op, cpu->PendingAddress, PageAccess.Write);
        return false;
    }
}
