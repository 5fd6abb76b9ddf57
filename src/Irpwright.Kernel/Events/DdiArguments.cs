using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The arguments of a DDI as 64-bit values, in the order of its parameters, as they were at the call.</summary>
public struct DdiArguments
{
    /// <summary>More parameters than any exported routine has; what comes after them would be left out.</summary>
    public const int Capacity = 13;

    /// <summary>Stands for the address of a variable of a C# driver (ref, out, or an optional value that is there), which guest memory does not hold.</summary>
    public const ulong ManagedVariable = 1;

    [InlineArray(Capacity)]
    struct Values
    {
        ulong first;
    }

    readonly Values values;

    public int Count { get; }

    internal DdiArguments(ReadOnlySpan<ulong> arguments)
    {
        Count = Math.Min(arguments.Length, Capacity);
        arguments[..Count].CopyTo(values);
    }

    /// <summary>Reads them by the Microsoft x64 convention.</summary>
    /// <param name="gpr">Registers in encoding order at the first instruction of the routine.</param>
    internal unsafe DdiArguments(ulong* gpr, int count)
    {
        Count = Math.Min(count, Capacity);
        var arguments = new VariadicArguments(gpr, 0);
        for (int i = 0; i < Count; i++) values[i] = arguments[i];
    }

    /// <summary>One argument. Of an integer, enum or BOOLEAN only the low bits count: a compiled caller leaves anything in the others.</summary>
    public readonly ulong this[int index] => (uint)index < (uint)Count ? values[index] : throw new ArgumentOutOfRangeException(nameof(index));
}
