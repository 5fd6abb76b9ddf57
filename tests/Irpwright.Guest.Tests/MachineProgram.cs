using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests;

/// <summary>Which scheduler a test runs on.</summary>
public enum Scheduling
{
    Controlled,
    FreeRunning,
}

/// <summary>A machine with some compiled code that a test wrote.</summary>
sealed class MachineProgram : IDisposable
{
    const ulong CodeSize = 4 * GuestMemory.PageSize;

    ulong free;

    public MachineProgram(Scheduling scheduling = Scheduling.Controlled)
    {
        Machine = new Machine(new MachineOptions
        {
            Strategy = scheduling == Scheduling.Controlled ? new FifoStrategy() : null,
            ChecksMemory = CheckedMode.Here,
        });
        Machine.Guest = Processor = new GuestProcessor(Machine);
        Machine.Time.StartClock();
        free = Machine.Memory.Images.Allocate(CodeSize, PageAccess.ReadWrite | PageAccess.Execute);
        Data = Machine.Memory.NonPagedPool.Allocate(GuestMemory.PageSize, PageAccess.ReadWrite);
    }

    public static TheoryData<Scheduling> EverySchedule => [Scheduling.Controlled, Scheduling.FreeRunning];

    public Machine Machine { get; }

    public GuestProcessor Processor { get; }

    /// <summary>A page of data.</summary>
    public ulong Data { get; }

    /// <summary>Places code; returns its address.</summary>
    public ulong Add(Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), free);
        ulong address = free;
        stream.ToArray().CopyTo(GuestMemory.Write(address, (int)stream.Length));
        free = (free + (ulong)stream.Length + 15) & ~15UL;
        return address;
    }

    public ulong AddressOf(string export) => Machine.Code.AddressOf(KernelExports.Find(export)!);

    /// <summary>Calls a routine on a guest thread.</summary>
    public ulong Run(ulong address, ulong rcx = 0, ulong rdx = 0) => Machine.Run(() => Machine.Code.Invoke(address, rcx, rdx, 0, 0));

    public void Dispose() => Machine.Dispose();
}
