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
    /// <summary>Which calls of a kernel routine it wants to see, if it overrides <c>On</c> for them: asked once for each routine.</summary>
    protected internal virtual WatchedCalls Watches(KernelExport export) => WatchedCalls.Both;
}

/// <summary>What of the calls of a kernel routine is to be told.</summary>
[Flags]
public enum WatchedCalls : byte
{
    None = 0,
    /// <summary><see cref="DdiCalled"/>.</summary>
    Calls = 1,
    /// <summary><see cref="DdiReturned"/>.</summary>
    Returns = 2,
    Both = Calls | Returns,
}

/// <summary>Several observers as one.</summary>
sealed partial class ObserverList(KernelObserver[] observers) : KernelObserver
{
    readonly KernelObserver[] observers = observers;

    internal KernelObserver[] Observers => observers;
}

/// <summary>The event stream of a machine. With no observer, emitting tests one field.</summary>
public sealed partial class KernelEvents
{
    delegate void Watch<TEvent>(in TEvent e) where TEvent : struct, allows ref struct;

    readonly Machine machine;
    // By export; null while nobody wants any calls, which are the most frequent events.
    WatchedCalls[]? watched;

    internal KernelEvents(Machine machine) => this.machine = machine;

    /// <summary>The observer to call, null for none.</summary>
    public KernelObserver? Observer { get; private set; }

    internal bool AreCallsWatched => watched is not null;

    public void Add(KernelObserver observer)
    {
        Observer = Observer switch
        {
            null => observer,
            ObserverList list => new ObserverList([.. list.Observers, observer]),
            { } first => new ObserverList([first, observer]),
        };
        WatchedCalls wanted = (IsIgnored<DdiCalled>(observer.On) ? 0 : WatchedCalls.Calls) | (IsIgnored<DdiReturned>(observer.On) ? 0 : WatchedCalls.Returns);
        if (wanted == 0) return;
        WatchedCalls[] now = [.. watched ?? new WatchedCalls[KernelExports.All.Count]];
        foreach (KernelExport export in KernelExports.All) now[export.Index] |= observer.Watches(export) & wanted;
        watched = now;
    }

    static bool IsIgnored<TEvent>(Watch<TEvent> on) where TEvent : struct, allows ref struct => on.Method.DeclaringType == typeof(KernelObserver);

    bool Wants(KernelExport export, WatchedCalls what) => watched is { } all && (all[export.Index] & what) != 0;

    internal void DdiCalled(KernelExport export, ulong caller, scoped in DdiArguments arguments)
    {
        if (Wants(export, WatchedCalls.Calls)) TellCalled(export, caller, in arguments);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    void TellCalled(KernelExport export, ulong caller, scoped in DdiArguments arguments)
    {
        if (machine.TryGetCurrentThread() is not { } thread) return;
        DdiCalled e = new(export, caller, thread, in arguments);
        Emit(in e);
    }

    internal void DdiReturned(KernelExport export, ulong caller, scoped in DdiArguments arguments, ulong result)
    {
        if (Wants(export, WatchedCalls.Returns)) TellReturned(export, caller, in arguments, result);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    void TellReturned(KernelExport export, ulong caller, scoped in DdiArguments arguments, ulong result)
    {
        if (machine.TryGetCurrentThread() is not { } thread) return;
        DdiReturned e = new(export, caller, thread, in arguments, result);
        Emit(in e);
    }

    /// <returns>Whether the call is to fail; rax is set then.</returns>
    internal unsafe bool DdiCalled(KernelExport export, ulong* gpr, out PassedArguments passed)
    {
        Unsafe.SkipInit(out passed);
        passed.Read(gpr, export.ParameterCount);
        DdiArguments arguments = ArgumentsOf(export, in passed);
        DdiCalled(export, ReturnAddress(gpr), arguments);
        if (!machine.Faults.Strikes(export, ReturnAddress(gpr), arguments, out ulong failure)) return false;
        gpr[0] = failure;
        return true;
    }

    internal unsafe void DdiReturned(KernelExport export, ulong* gpr, in PassedArguments passed, ulong result)
    {
        if (Wants(export, WatchedCalls.Returns))
            DdiReturned(export, ReturnAddress(gpr), ArgumentsOf(export, in passed), result);
    }

    static DdiArguments ArgumentsOf(KernelExport export, in PassedArguments passed) =>
        new(((ReadOnlySpan<ulong>)passed)[..Math.Min(export.ParameterCount, PassedArguments.Capacity)]);

    static unsafe ulong ReturnAddress(ulong* gpr) => GuestMemory.Ref<ulong>(gpr[4]);
}
