using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>Asynchronous code as a user thread of a machine.</summary>
public static class Scenario
{
    /// <summary>
    /// Runs asynchronous code as one guest thread and waits for it: whenever it awaits a request, the thread waits and
    /// others run. On a controlled scheduler the run is deterministic.
    /// </summary>
    /// <remarks>Await requests of the machine only: nobody inside it can see that work of the host will come to an end.</remarks>
    public static void RunAsync(this Machine machine, Func<Task> scenario) => machine.Run(() => Await(machine, async () =>
    {
        await scenario().ConfigureAwait(true);
        return true;
    }));

    /// <summary>Runs pieces of code as user threads of the machine, side by side, and waits until all have ended.</summary>
    /// <exception cref="Exception">What the first of them threw that threw anything.</exception>
    public static void RunTogether(this Machine machine, params ReadOnlySpan<Action> bodies)
    {
        Action[] all = [.. bodies];
        machine.Run(() => Together(machine, all));
    }

    static void Together(Machine machine, Action[] bodies)
    {
        KernelThread starter = machine.CurrentThread;
        var failures = new ConcurrentQueue<ExceptionDispatchInfo>();
        int running = bodies.Length;
        for (int i = 0; i < bodies.Length; i++)
        {
            Action body = bodies[i];
            machine.Scheduler.Start($"{starter.Name} {(char)('a' + i % 26)}", ThreadKind.User, () =>
            {
                try
                {
                    body();
                }
                catch (Exception e) when (machine.BugChecks.StopReason is null && e is not (GuestFaultException or NtStatusException))
                {
                    failures.Enqueue(ExceptionDispatchInfo.Capture(e));
                }
                Interlocked.Decrement(ref running);
                machine.Requests.Wake(starter);
            });
        }
        machine.Requests.WaitUntil(() => Volatile.Read(ref running) == 0, "waits for the threads of the scenario to end");
        if (failures.TryDequeue(out ExceptionDispatchInfo? failure)) failure.Throw();
    }

    /// <summary>Lets the current guest thread sleep so that APCs of its requests can be delivered (SleepEx).</summary>
    /// <returns>True if that ended the sleep.</returns>
    public static bool SleepAlertable(this Machine machine, TimeSpan duration)
    {
        long interval = -duration.Ticks;
        return machine.Requests.SleepAlertable(in interval) == NTSTATUS.STATUS_USER_APC;
    }

    /// <summary>Runs asynchronous code on the current guest thread until it is done.</summary>
    internal static T Await<T>(Machine machine, Func<Task<T>> body)
    {
        var context = new GuestContext(machine);
        SynchronizationContext? previous = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(context);
        try
        {
            Task<T> task = body();
            task.ContinueWith(_ => context.Wake(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            context.RunUntil(task);
            return task.GetAwaiter().GetResult();
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(previous);
        }
    }

    sealed class GuestContext(Machine machine) : SynchronizationContext
    {
        readonly ConcurrentQueue<(SendOrPostCallback Callback, object? State)> posted = new();
        readonly KernelThread thread = machine.CurrentThread;

        public override void Post(SendOrPostCallback d, object? state)
        {
            posted.Enqueue((d, state));
            Wake();
        }

        internal void Wake() => machine.Requests.Wake(thread);

        internal void RunUntil(Task task)
        {
            while (true)
            {
                while (posted.TryDequeue(out (SendOrPostCallback Callback, object? State) work)) work.Callback(work.State);
                if (task.IsCompleted) return;
                machine.Requests.WaitUntil(() => !posted.IsEmpty || task.IsCompleted, "awaits something that never completes");
            }
        }
    }
}
