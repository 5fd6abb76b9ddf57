using Iced.Intel;
using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Benchmarks;

/// <summary>Small routines in guest memory, called from C#.</summary>
sealed class GuestCode : IDisposable
{
    /// <summary>Instructions in one turn of <see cref="Loop"/>.</summary>
    public const int LoopInstructions = 6;

    readonly ulong nothing, loop, calls;
    readonly PVOID cell;

    public GuestCode(bool checksMemory = false)
    {
        Machine = new Machine(new MachineOptions { ChecksMemory = checksMemory });
        Machine.Guest = new GuestProcessor(Machine);
        ulong page = Machine.Memory.Images.Allocate(GuestMemory.PageSize, PageAccess.ReadWrite);
        cell = new PVOID(Machine.Memory.NonPagedPool.Allocate(GuestMemory.PageSize, PageAccess.ReadWrite));
        nothing = page;
        loop = page + 0x100;
        calls = page + 0x200;
        Place(nothing, code => code.ret());
        Place(loop, code =>
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
        Place(calls, code =>
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
        Machine.Memory.Protect(page, GuestMemory.PageSize, PageAccess.ReadWrite | PageAccess.Execute);
    }

    public Machine Machine { get; }

    /// <summary>A call from C# to a routine that returns at once.</summary>
    public Workload Call => new(Machine, count =>
    {
        for (int i = 0; i < count; i++) Machine.Code.Invoke(nothing, 0, 0, 0, 0);
    });

    /// <summary>One turn of a loop of arithmetic with a load and a store.</summary>
    public Workload Loop => new(Machine, count => Machine.Code.Invoke(loop, (ulong)count, cell.Address, 0, 0));

    /// <summary>One turn of a loop that calls a guest routine which returns at once.</summary>
    public Workload GuestCalls => new(Machine, count => Machine.Code.Invoke(calls, (ulong)count, nothing, 0, 0));

    /// <summary>One turn of the same loop with a kernel export that does nothing.</summary>
    public Workload ExportCalls => new(Machine, count =>
        Machine.Code.Invoke(calls, (ulong)count, Machine.Code.AddressOf(KernelExports.PoStartNextPowerIrp), 0, 0));

    static void Place(ulong address, Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), address);
        bytes.ToArray().CopyTo(GuestMemory.Write(address, (int)bytes.Length));
    }

    public void Dispose() => Machine.Dispose();
}
