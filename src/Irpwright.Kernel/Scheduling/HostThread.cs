using System.Collections.Concurrent;

namespace Irpwright.Kernel;

/// <summary>
/// Threads of the host for guest threads to run on, used again: to make one costs as much as a whole run of a small scenario.
/// </summary>
#pragma warning disable CA1001 // The semaphore lives as long as its thread, and has no handle to give back.
sealed class HostThread
#pragma warning restore CA1001
{
    // The interpreter and C# drivers nest on the host stack; guest stacks run out long before that does. C# drivers may use about
    // eighty times what they have on Windows; more would only make the report of an endless recursion late.
    const int StackSize = 16 << 20;

    // Enough for a few machines at a time; those beyond end with their guest threads.
    const int MaximumIdle = 32;

    static readonly ConcurrentStack<HostThread> Idle = new();

    readonly SemaphoreSlim wanted = new(0);
    Action? body;

    HostThread() => new Thread(Loop, StackSize) { IsBackground = true, Name = "guest thread" }.UnsafeStart();

    /// <summary>Runs code on a host thread, in the caller's execution context.</summary>
    internal static void Start(string name, Action body)
    {
        ExecutionContext? context = ExecutionContext.Capture();
        if (!Idle.TryPop(out HostThread? thread)) thread = new HostThread();
        thread.body = () =>
        {
            if (System.Diagnostics.Debugger.IsAttached) Thread.CurrentThread.Name = name;
            if (context is null) body();
            else ExecutionContext.Run(context, static body => ((Action)body!)(), body);
        };
        thread.wanted.Release();
    }

    void Loop()
    {
        do
        {
            wanted.Wait();
            body!();
            body = null;
            if (Idle.Count >= MaximumIdle) break;
            Idle.Push(this);
        }
        while (true);
        wanted.Dispose();
    }
}
