namespace Irpwright.Kernel;

/// <summary>Atomic operations under their WDK names, for C# drivers; in compiled ones they are single instructions.</summary>
public abstract partial class WdmDriver
{
    /// <returns>The new value.</returns>
    protected static int InterlockedIncrement(ref int Addend) => Interlocked.Increment(ref Shared(ref Addend));

    /// <returns>The new value.</returns>
    protected static int InterlockedDecrement(ref int Addend) => Interlocked.Decrement(ref Shared(ref Addend));

    /// <returns>The value before.</returns>
    protected static int InterlockedExchange(ref int Target, int Value) => Interlocked.Exchange(ref Shared(ref Target), Value);

    /// <returns>The value before.</returns>
    protected static int InterlockedExchangeAdd(ref int Addend, int Value) => Interlocked.Add(ref Shared(ref Addend), Value) - Value;

    /// <returns>The value before.</returns>
    protected static int InterlockedCompareExchange(ref int Destination, int Exchange, int Comparand) =>
        Interlocked.CompareExchange(ref Shared(ref Destination), Exchange, Comparand);

    /// <returns>The new value.</returns>
    protected static long InterlockedIncrement64(ref long Addend) => Interlocked.Increment(ref Shared(ref Addend));

    /// <returns>The new value.</returns>
    protected static long InterlockedDecrement64(ref long Addend) => Interlocked.Decrement(ref Shared(ref Addend));

    /// <returns>The value before.</returns>
    protected static long InterlockedExchangeAdd64(ref long Addend, long Value) => Interlocked.Add(ref Shared(ref Addend), Value) - Value;

    // What is changed this way is changed by others too: a search lets them go first.
    static ref T Shared<T>(ref T target)
    {
        KernelThread.Current?.Machine.Scheduler.BeforeInterlocked();
        return ref target;
    }
}
