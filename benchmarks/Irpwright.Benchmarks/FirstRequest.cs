using System.Diagnostics;
using System.Globalization;
using Irpwright.Guest.Processor;

namespace Irpwright.Benchmarks;

/// <summary>A process of its own, from its start until a compiled driver has answered a request.</summary>
static class FirstRequest
{
    public const string Argument = "--first-request";
    const int Processes = 7;

    /// <summary>What the child does: one request, then its working set in bytes on standard output.</summary>
    public static void Child(string filter)
    {
        ThreadPool.UnsafeQueueUserWorkItem(static _ => Interpreter.Prepare(), null);
        using var requests = new Requests(filter);
        requests.Machine.Run(() => requests.Read(1));
        Console.WriteLine(Environment.WorkingSet.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>The quickest of several processes, their median, and the smallest.</summary>
    public static (TimeSpan Best, TimeSpan Median, long Memory) Measure()
    {
        var times = new TimeSpan[Processes];
        long memory = long.MaxValue;
        for (int i = 0; i < Processes; i++)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!, Argument) { RedirectStandardOutput = true };
            // As the irpwright command is configured.
            start.Environment["DOTNET_TieredPGO"] = start.Environment["DOTNET_gcConcurrent"] = "0";
            var clock = Stopwatch.StartNew();
            using Process child = Process.Start(start)!;
            string answer = child.StandardOutput.ReadLine() ?? throw new InvalidOperationException("The measured process ended without an answer.");
            times[i] = clock.Elapsed;
            child.WaitForExit();
            memory = Math.Min(memory, long.Parse(answer, CultureInfo.InvariantCulture));
        }
        Array.Sort(times);
        return (times[0], times[Processes / 2], memory);
    }
}
