using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The arguments behind the named ones of a routine such as DbgPrint, by the Microsoft x64 convention.</summary>
/// <param name="gpr">Registers at the call, in encoding order.</param>
/// <param name="index">Index of the first variadic argument.</param>
public readonly unsafe struct VariadicArguments(ulong* gpr, int index)
{
    readonly ulong* gpr = gpr;
    readonly int index = index;

    /// <summary>The n-th variadic argument as 64 bits; floating-point arguments are passed the same way.</summary>
    public ulong this[int n] => (index + n) switch
    {
        0 => gpr[1],
        1 => gpr[2],
        2 => gpr[8],
        3 => gpr[9],
        int i => GuestMemory.Ref<ulong>(gpr[4] + 8 + 8 * (ulong)i),
    };
}
