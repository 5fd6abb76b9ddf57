using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Guest.Checks;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>A little machine for processor tests: one slice with a code area, a data area and a kernel stack, and one processor.</summary>
sealed unsafe partial class GuestProgram : IDisposable
{
    const ulong TrapOffset = 0x0010_0000, TrapEndOffset = 0x0040_0000;
    const ulong CodeOffset = 0x0100_0000, StackOffset = 0x1000_1000, DataOffset = 0x2000_0000, SharedOffset = 0x0080_0000;
    public const int CodeSize = 0x4000, StackSize = 0x6000, DataSize = 0x4000;

    static int slices;

    readonly bool isChecked, stopsAtInterlocked;

    public GuestProgram(bool? threaded = null, bool isChecked = CheckedMode.Here, bool stopsAtInterlocked = false)
    {
        this.isChecked = isChecked;
        this.stopsAtInterlocked = stopsAtInterlocked;
        Base = GuestMemory.KernelBase + ((ulong)GuestMemory.SliceCount - (ulong)Interlocked.Increment(ref slices)) * GuestMemory.SliceSize;
        Map(Code, CodeSize, PageAccess.Read | PageAccess.Execute);
        Map(StackLimit, StackSize, PageAccess.ReadWrite);
        Map(Data, DataSize, PageAccess.ReadWrite);
        Map(Base + SharedOffset, (int)GuestMemory.PageSize, PageAccess.ReadWrite);
        if (isChecked) Shadow = new MemoryShadow(GuestMemory.SliceOf(Base));
        Interpreter = NewInterpreter(threaded ?? TailCalls.Work);
        Cpu = Interpreter.CreateCpu();
        Cpu->StackLimit = StackLimit;
        Cpu->SharedUserData = Base + SharedOffset;
        Cpu->Rsp = StackBase;
    }

    public Interpreter Interpreter { get; private set; }
    public Cpu* Cpu { get; }
    public ulong Base { get; }
    public ulong Code => Base + CodeOffset;
    public ulong Data => Base + DataOffset;
    public ulong Trap => Base + TrapOffset;
    public ulong StackLimit => Base + StackOffset;
    public ulong StackBase => StackLimit + StackSize;

    /// <summary>What checked mode knows of the memory; null without it.</summary>
    public MemoryShadow? Shadow { get; }

    /// <summary>What it has found.</summary>
    public MisuseList Misuses { get; } = new();

    Interpreter NewInterpreter(bool threaded) =>
        new(Base, Trap, Base + TrapEndOffset, threaded, isChecked ? new MemoryChecks(Shadow!, Misuses) : null) { StopsAtInterlocked = stopsAtInterlocked };

    /// <summary>Starts anew with nothing translated, and a processor as it was created.</summary>
    public void Renew(bool threaded)
    {
        Interpreter.Dispose();
        Interpreter = NewInterpreter(threaded);
        Cpu* fresh = Interpreter.CreateCpu();
        fresh->StackLimit = Cpu->StackLimit;
        fresh->SharedUserData = Cpu->SharedUserData;
        fresh->Irql = Cpu->Irql;
        fresh->OnTrap = Cpu->OnTrap;
        *Cpu = *fresh;
        *CheckState.Of(Cpu) = *CheckState.Of(fresh);
        Interpreter.FreeCpu(fresh);
    }

    /// <summary>Assembles code and makes it executable at <paramref name="address"/>, by default the start of the code area.</summary>
    public ulong Assemble(Action<Assembler> write, ulong address = 0)
    {
        if (address == 0) address = Code;
        var assembler = new Assembler(64);
        write(assembler);
        using var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), address);
        Place(address, stream.ToArray());
        return address;
    }

    public void Place(ulong address, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(new Span<byte>(GuestMemory.Translate(address, (ulong)bytes.Length, PageAccess.Execute), bytes.Length));
        Interpreter.Flush(address, (ulong)bytes.Length);
    }

    /// <summary>Calls a guest routine as the kernel does: return address pushed, 32 bytes of home space above it.</summary>
    public StopReason Call(ulong address)
    {
        Cpu->Rsp -= 0x28;
        GuestMemory.Ref<ulong>(Cpu->Rsp) = Interpreter.ReturnAddress;
        StopReason reason = Interpreter.Run(Cpu, address);
        if (reason == StopReason.Returned) Cpu->Rsp += 0x20;
        return reason;
    }

    public StopReason Run(Action<Assembler> write) => Call(Assemble(write));

    public void Map(ulong address, int size, PageAccess access)
    {
        byte* host = GuestMemory.HostBase + ((address - GuestMemory.KernelBase) & GuestMemory.HostMask);
        if (Mprotect((nint)host, (nuint)size, 3) != 0) throw new InsufficientMemoryException();
        Protect(address, size, access);
    }

    public static void Protect(ulong address, int size, PageAccess access)
    {
        byte* first = GuestMemory.KernelPages + ((address - GuestMemory.KernelBase) >> GuestMemory.PageShift);
        new Span<byte>(first, size >> GuestMemory.PageShift).Fill((byte)access);
    }

    public void Dispose()
    {
        Interpreter.FreeCpu(Cpu);
        Interpreter.Dispose();
        Shadow?.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Mprotect(nint address, nuint length, int protection);
}
