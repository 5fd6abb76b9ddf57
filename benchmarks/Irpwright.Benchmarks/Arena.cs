using Iced.Intel;
using Irpwright.Guest.Images;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Benchmarks;

/// <summary>
/// A piece of memory with routines, a stack, an IRP and a driver that is not loaded into anything: all that a processor alone needs, at
/// any address.
/// </summary>
sealed unsafe class Arena
{
    public const int Size = 0x20000;

    /// <summary>Instructions in one turn of <see cref="Loop"/>.</summary>
    public const int LoopInstructions = 6;

    const int Import = 0x300, Data = 0x1000, Packet = 0x1800, Driver = 0x10000;
    const int Extension = Data + 0x400, Locations = Packet + IRP.SizeOf;

    readonly ulong address;
    readonly PortableExecutable driver;

    /// <param name="address">Where the processor sees it.</param>
    /// <param name="host">The memory itself, zeroed.</param>
    /// <param name="call">What IofCallDriver is; 0 for a system call.</param>
    public Arena(ulong address, byte* host, ulong call = 0)
    {
        this.address = address;
        var memory = new Span<byte>(host, Size);
        WriteRoutines(memory, address);
        Write(memory[Import..], address + Import, code =>
        {
            code.syscall();
            code.ret();
        });
        Called = call != 0 ? call : address + Import;
        driver = Read("tests/native/bin/dispatch.sys");
        driver.Contents.Span.CopyTo(memory[Driver..]);
        foreach (ImageImport import in driver.Imports) *(ulong*)(host + Driver + import.AddressRva) = Called;

        *(ulong*)(host + Data + 0x40) = address + Extension; // DEVICE_OBJECT.DeviceExtension
        *(ulong*)(host + Extension) = address + Data;
        var irp = (IRP*)(host + Packet);
        irp->StackCount = irp->CurrentLocation = 2;
        irp->Tail.Overlay.CurrentStackLocation = new PIO_STACK_LOCATION(address + Locations + IO_STACK_LOCATION.SizeOf);
        var current = (IO_STACK_LOCATION*)(host + Locations) + 1;
        current->MajorFunction = IRP_MJ_READ;
        current->Parameters.Read.Length = 512;
    }

    public ulong Nothing => address;
    public ulong Loop => address + 0x100;
    public ulong Calls => address + 0x200;
    public ulong Dispatch => address + Driver + driver.FindExport("Dispatch")!.Value.Rva;
    public ulong DispatchShort => address + Driver + driver.FindExport("DispatchShort")!.Value.Rva;
    public ulong Called { get; }
    public ulong Cell => address + Data;
    public ulong Device => address + Data;
    public ulong Irp => address + Packet;
    public ulong StackTop => address + Driver - 0x40;

    /// <summary>A routine that returns, a loop with a load and a store, and a loop that calls.</summary>
    public static void WriteRoutines(Span<byte> memory, ulong address)
    {
        Write(memory, address, code => code.ret());
        Write(memory[0x100..], address + 0x100, code =>
        {
            Label turn = code.CreateLabel();
            code.Label(ref turn);
            code.add(rax, __[rdx]);
            code.mov(__[rdx + 8], rax);
            code.lea(r8, __[rax + rcx * 2]);
            code.xor(rax, r8);
            code.dec(rcx);
            code.jnz(turn);
            code.ret();
        });
        Write(memory[0x200..], address + 0x200, code =>
        {
            Label turn = code.CreateLabel();
            code.push(rbx);
            code.push(rsi);
            code.sub(rsp, 0x28);
            code.mov(rbx, rcx);
            code.mov(rsi, rdx);
            code.Label(ref turn);
            code.call(rsi);
            code.dec(rbx);
            code.jnz(turn);
            code.add(rsp, 0x28);
            code.pop(rsi);
            code.pop(rbx);
            code.ret();
        });
    }

    /// <summary>What IoCallDriver does to a packet, undone at once: the next call finds it as it was.</summary>
    /// <param name="host">Of the arena.</param>
    public static ulong CallDriver(byte* host, ulong device)
    {
        var irp = (IRP*)(host + Packet);
        irp->CurrentLocation--;
        ulong next = irp->Tail.Overlay.CurrentStackLocation.Address - IO_STACK_LOCATION.SizeOf;
        irp->Tail.Overlay.CurrentStackLocation = new PIO_STACK_LOCATION(next);
        ((IO_STACK_LOCATION*)(host + Locations))[irp->CurrentLocation - 1].DeviceObject = new PDEVICE_OBJECT(device);
        irp->CurrentLocation++;
        irp->Tail.Overlay.CurrentStackLocation = new PIO_STACK_LOCATION(next + IO_STACK_LOCATION.SizeOf);
        return (uint)NTSTATUS.STATUS_PENDING;
    }

    static void Write(Span<byte> memory, ulong address, Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), address);
        bytes.ToArray().CopyTo(memory);
    }

    static PortableExecutable Read(string file) => PortableExecutable.TryReadFile(Files.Find(file), out PortableExecutable? image, out ImageDiagnostic? error)
        ? image : throw new InvalidOperationException(error.ToString());
}
