using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Benchmarks;

/// <summary>Small routines in guest memory, called from C#.</summary>
sealed class GuestCode : IDisposable
{
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
        Arena.WriteRoutines(GuestMemory.Write(page, (int)GuestMemory.PageSize), page);
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

    public void Dispose() => Machine.Dispose();
}
