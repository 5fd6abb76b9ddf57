using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The arguments of a DDI as 64-bit values, in the order of its parameters, as they were at the call.</summary>
public readonly ref struct DdiArguments
{
    /// <summary>Stands for the address of a variable of a C# driver (ref, out, or an optional value that is there), which guest memory does not hold.</summary>
    public const ulong ManagedVariable = 1;

    readonly ReadOnlySpan<ulong> values;

    internal DdiArguments(ReadOnlySpan<ulong> values) => this.values = values;

    internal ref readonly ulong First => ref MemoryMarshal.GetReference(values);

    public int Count => values.Length;

    /// <summary>One argument. Of an integer, enum or BOOLEAN only the low bits count: a compiled caller leaves anything in the others.</summary>
    public ulong this[int index] => (uint)index < (uint)values.Length ? values[index] : throw new ArgumentOutOfRangeException(nameof(index));
}

/// <summary>What a compiled driver passed, kept for when the routine returns: registers and stack are not the same then.</summary>
[InlineArray(Capacity)]
struct PassedArguments
{
    /// <summary>More parameters than any exported routine has; what comes after them would be left out.</summary>
    internal const int Capacity = 13;
    const int InRegisters = 4;

    ulong first;

    /// <summary>Reads them by the Microsoft x64 convention.</summary>
    /// <param name="gpr">Registers in encoding order at the first instruction of the routine.</param>
    internal unsafe void Read(ulong* gpr, int count)
    {
        this[0] = gpr[1];
        this[1] = gpr[2];
        this[2] = gpr[8];
        this[3] = gpr[9];
        // Above the return address and the home space of the four in registers.
        for (int i = InRegisters; i < Math.Min(count, Capacity); i++) this[i] = GuestMemory.Ref<ulong>(gpr[4] + 8 + 8 * (ulong)i);
    }
}
