using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Guest.Processor;

/// <summary>
/// Whether this host's compiler makes the call that ends a handler a jump. It does when it optimises; if it were told not to
/// (<c>DOTNET_JITMinOpts</c>, a profiler), threaded handlers would use up the host's stack, so it is tried out once.
/// </summary>
static unsafe class TailCalls
{
    const int ChainLength = 1000;

    public static readonly bool Work = Try();

    static bool Try()
    {
        Op* ops = stackalloc Op[ChainLength + 1];
        for (int i = 0; i < ChainLength; i++) ops[i].Handler = &Step;
        ops[ChainLength].Handler = &Measure;
        Cpu cpu = default;
        Measure(&cpu, ops);
        ulong shallow = cpu.Temporary;
        Step(&cpu, ops);
        // Even the smallest frame holds a return address.
        return shallow - cpu.Temporary < ChainLength * 8;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Step(Cpu* cpu, Op* op)
    {
        cpu->Zero++;
        return Threaded.Next(cpu, op + 1);
    }

    /// <summary>Ends a chain, leaving the address of its own frame in <see cref="Cpu.Temporary"/>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* Measure(Cpu* cpu, Op* op)
    {
        nint local;
        cpu->Temporary = (ulong)&local;
        return null;
    }
}
