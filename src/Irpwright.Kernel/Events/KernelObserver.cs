using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Marks a kernel event. <see cref="KernelObserver"/> gets a virtual <c>On</c> for it and <see cref="KernelEvents"/> an <c>Emit</c>.
/// </summary>
[AttributeUsage(AttributeTargets.Struct)]
public sealed class KernelEventAttribute : Attribute;

/// <summary>Sees every event of a machine, in order; overrides <c>On</c> for those it cares about.</summary>
/// <remarks>
/// Called synchronously on the thread that causes the event, before a driver routine is entered and after it returned.
/// It may read guest memory but never calls the kernel. On the free-running scheduler calls come from several threads at once.
/// </remarks>
public abstract partial class KernelObserver
{
    /// <summary>Whether it wants <see cref="DdiCalled"/> and <see cref="DdiReturned"/>, which cost the most.</summary>
    protected internal virtual bool WatchesCalls => true;
}

/// <summary>Several observers as one.</summary>
sealed partial class ObserverList(KernelObserver[] observers) : KernelObserver
{
    readonly KernelObserver[] observers = observers;

    internal KernelObserver[] Observers => observers;

    protected internal override bool WatchesCalls => Observers.Any(observer => observer.WatchesCalls);
}

/// <summary>The event stream of a machine. With no observer, emitting tests one field.</summary>
public sealed partial class KernelEvents
{
    readonly Machine machine;

    internal KernelEvents(Machine machine) => this.machine = machine;

    /// <summary>The observer to call, null for none.</summary>
    public KernelObserver? Observer { get; private set; }

    bool areCallsWatched;

    public void Add(KernelObserver observer)
    {
        Observer = Observer switch
        {
            null => observer,
            ObserverList list => new ObserverList([.. list.Observers, observer]),
            { } first => new ObserverList([first, observer]),
        };
        areCallsWatched = Observer.WatchesCalls;
    }

    internal void DdiCalled(KernelExport export, ulong caller, in DdiArguments arguments)
    {
        if (areCallsWatched && machine.TryGetCurrentThread() is { } thread) Emit(new DdiCalled(export, caller, thread.Irql, arguments));
    }

    internal void DdiReturned(KernelExport export, ulong caller, in DdiArguments arguments, ulong result)
    {
        if (areCallsWatched && machine.TryGetCurrentThread() is { } thread) Emit(new DdiReturned(export, caller, thread.Irql, arguments, result));
    }

    /// <returns>Whether the call is to fail; rax is set then.</returns>
    internal unsafe bool DdiCalled(KernelExport export, ulong* gpr, out DdiArguments arguments)
    {
        Unsafe.SkipInit(out arguments);
        if (!areCallsWatched) return false;
        arguments = new DdiArguments(gpr, export.ParameterCount);
        DdiCalled(export, ReturnAddress(gpr), in arguments);
        if (!machine.Faults.Strikes(export, ReturnAddress(gpr), in arguments, out ulong failure)) return false;
        gpr[0] = failure;
        return true;
    }

    internal unsafe void DdiReturned(KernelExport export, ulong* gpr, in DdiArguments arguments, ulong result)
    {
        if (areCallsWatched) DdiReturned(export, ReturnAddress(gpr), in arguments, result);
    }

    static unsafe ulong ReturnAddress(ulong* gpr) => GuestMemory.Ref<ulong>(gpr[4]);
}
