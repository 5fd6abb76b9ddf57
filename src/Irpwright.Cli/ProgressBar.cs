using System.Collections.Concurrent;
using Spectre.Console;

namespace Irpwright.Cli;

/// <summary>Shows on stderr how far a run is, once it takes longer than a second and somebody watches.</summary>
sealed class ProgressBar : IDisposable
{
    static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);
    static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    readonly CancellationTokenSource done = new();
    readonly Task bar;
    readonly ConcurrentQueue<string> lines = new();
    string what;
    long count;

    ProgressBar(Terminal terminal, long total, string what)
    {
        this.what = what;
        bar = Task.Run(() => Wait(terminal, total));
    }

    /// <summary>Null where nobody would see it.</summary>
    public static ProgressBar? Start(Terminal terminal, long total, string what = "requests") =>
        terminal.Interactive && total > 1 ? new ProgressBar(terminal, total, what) : null;

    public void Advance() => Interlocked.Increment(ref count);

    /// <summary>Says what is going on, before the bar.</summary>
    public void Name(string what) => Volatile.Write(ref this.what, what);

    /// <summary>Puts a line above the bar, once there is one.</summary>
    public void Say(string line) => lines.Enqueue(line);

    async Task Wait(Terminal terminal, long total)
    {
        if (!await Elapsed(Patience).ConfigureAwait(false)) await Show(terminal, total).ConfigureAwait(false);
    }

    // Apart, so that a short run never loads what draws the bar.
    Task Show(Terminal terminal, long total)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal.Error) });
        return console.Progress().AutoClear(true).StartAsync(async context =>
        {
            ProgressTask task = context.AddTask(what, maxValue: total);
            do
            {
                while (lines.TryDequeue(out string? line)) console.WriteLine(line);
                task.Description = Markup.Escape(Volatile.Read(ref what));
                task.Value = Interlocked.Read(ref count);
            }
            while (!await Elapsed(Interval).ConfigureAwait(false));
        });
    }

    /// <summary>Waits; true if the run ended meanwhile.</summary>
    async Task<bool> Elapsed(TimeSpan time)
    {
        await Task.Delay(time, done.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return done.IsCancellationRequested;
    }

    public void Dispose()
    {
        done.Cancel();
        bar.Wait();
        done.Dispose();
    }
}
