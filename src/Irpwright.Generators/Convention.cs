namespace Irpwright.Generators;

/// <summary>Where the Microsoft x64 convention puts arguments, at the first instruction of the callee.</summary>
static class Convention
{
    public const int RegisterArguments = 4;

    /// <summary>Register numbers are those of the instruction encoding.</summary>
    const int Rsp = 4;

    static readonly int[] Registers = [1, 2, 8, 9];

    /// <summary>The return address: what the stack pointer points at.</summary>
    public static string ReturnAddress => $"global::Irpwright.Wdk.GuestMemory.Ref<ulong>(gpr[{Rsp}])";

    /// <summary>
    /// The ulong of argument <paramref name="index"/>. Behind the return address come four home slots, then the fifth argument.
    /// </summary>
    public static string Argument(int index) => index < RegisterArguments
        ? $"gpr[{Registers[index]}]"
        : $"global::Irpwright.Wdk.GuestMemory.Ref<ulong>(gpr[{Rsp}] + 0x{8 + 8 * index:X})";
}
