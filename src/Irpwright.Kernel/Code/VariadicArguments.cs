using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The arguments behind the named ones of a routine such as DbgPrint, by the Microsoft x64 convention.</summary>
public readonly unsafe struct VariadicArguments
{
    const int RegisterArguments = 4;

    readonly ulong* gpr;
    readonly int index;
    readonly ulong list;

    /// <param name="gpr">Registers at the call, in encoding order.</param>
    /// <param name="index">Index of the first variadic argument.</param>
    public VariadicArguments(ulong* gpr, int index)
    {
        this.gpr = gpr;
        this.index = index;
        // Arguments from the fifth on lie above the return address and the home space of the four in registers.
        list = gpr[4] + 8;
    }

    VariadicArguments(ulong list)
    {
        index = RegisterArguments;
        this.list = list - 8 * RegisterArguments;
    }

    /// <summary>The arguments of a va_list: one behind another in memory, 8 bytes each.</summary>
    public static VariadicArguments FromList(PVOID list) => new(list.Address);

    /// <summary>The n-th variadic argument as 64 bits; floating-point arguments are passed the same way.</summary>
    public ulong this[int n] => (index + n) switch
    {
        0 => gpr[1],
        1 => gpr[2],
        2 => gpr[8],
        3 => gpr[9],
        int i => GuestMemory.Ref<ulong>(list + 8 * (ulong)i),
    };
}
