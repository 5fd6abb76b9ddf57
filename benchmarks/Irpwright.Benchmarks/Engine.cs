using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Benchmarks;

/// <summary>A processor with nothing around it, executing the routines of an <see cref="Benchmarks.Arena"/>.</summary>
abstract class Engine : IDisposable
{
    protected abstract Arena Arena { get; }

    protected abstract void Call(ulong routine, ulong rcx, ulong rdx);

    /// <summary>A call of a routine that returns at once.</summary>
    public Workload Nothing => new(null, count =>
    {
        for (int i = 0; i < count; i++) Call(Arena.Nothing, 0, 0);
    });

    /// <summary>One turn of a loop of arithmetic with a load and a store.</summary>
    public Workload Loop => new(null, count => Call(Arena.Loop, (ulong)count, Arena.Cell));

    /// <summary>One turn of a loop that calls C#.</summary>
    public Workload CallsOut => new(null, count => Call(Arena.Calls, (ulong)count, Arena.Called));

    public Workload Dispatch => new(null, count =>
    {
        ulong routine = Arena.Dispatch;
        for (int i = 0; i < count; i++) Call(routine, Arena.Device, Arena.Irp);
    });

    public Workload DispatchShort => new(null, count =>
    {
        ulong routine = Arena.DispatchShort;
        for (int i = 0; i < count; i++) Call(routine, Arena.Device, Arena.Irp);
    });

    public abstract void Dispose();
}

/// <summary>The interpreter.</summary>
sealed unsafe class InterpreterEngine : Engine
{
    readonly AddressSpace memory = new();
    readonly Interpreter interpreter;
    readonly Cpu* cpu;

    public InterpreterEngine()
    {
        ulong address = memory.Images.Allocate(Arena.Size, PageAccess.ReadWrite);
        byte* host = GuestMemory.Translate(address, Arena.Size, PageAccess.ReadWrite);
        Arena = new Arena(address, host, memory.TrapBase);
        memory.Protect(address, Arena.Size, PageAccess.ReadWrite | PageAccess.Execute);
        interpreter = new Interpreter(memory.SliceBase, memory.TrapBase, memory.TrapEnd) { ThunkAt = static _ => 1 };
        cpu = interpreter.CreateCpu();
        cpu->AmpleStack = 0;
        cpu->Owner = (nint)host;
        cpu->OnThunk = &CallDriver;
    }

    protected override Arena Arena { get; }

    protected override void Call(ulong routine, ulong rcx, ulong rdx)
    {
        (cpu->Rcx, cpu->Rdx, cpu->Rsp) = (rcx, rdx, Arena.StackTop - 8);
        GuestMemory.Ref<ulong>(cpu->Rsp) = interpreter.ReturnAddress;
        StopReason reason = Interpreter.Run(cpu, routine);
        if (reason != StopReason.Returned) throw new InvalidOperationException($"The interpreter stopped with {reason} at {cpu->Rip:X}.");
    }

    static void CallDriver(Cpu* cpu, nint thunk) => cpu->Rax = Arena.CallDriver((byte*)cpu->Owner, cpu->Rcx);

    public override void Dispose()
    {
        Interpreter.FreeCpu(cpu);
        interpreter.Dispose();
        memory.Dispose();
    }
}
