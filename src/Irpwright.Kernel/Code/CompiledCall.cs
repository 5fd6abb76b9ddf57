using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Last parameter of an export that only compiled code can call, since it is about registers and stack of its caller.</summary>
public readonly unsafe struct CompiledCall(ulong* gpr, int index)
{
    readonly ulong* gpr = gpr;

    /// <summary>Number of arguments.</summary>
    public int Arguments { get; } = index;

    public ulong ReturnAddress => GuestMemory.Ref<ulong>(gpr[4]);

    /// <summary>The caller's 32 bytes above the return address, which belong to whoever is called.</summary>
    public ulong HomeSpace => gpr[4] + 8;
}
