using System.Diagnostics;
using System.Globalization;

namespace Irpwright.Benchmarks;

/// <summary>A process of its own, from its start until a compiled driver has answered a request.</summary>
static class FirstRequest
{
    public const string Argument = "--first-request";
    const int Processes = 7;

    /// <summary>What the child does: one request, then its working set in bytes on standard output.</summary>
    public static void Child(string filter)
    {
        using var requests = new Requests(filter);
        requests.Machine.Run(() => requests.Read(1));
        Console.WriteLine(Environment.WorkingSet.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>The quickest of several processes, and the smallest.</summary>
    public static (TimeSpan Time, long Memory) Measure()
    {
        TimeSpan time = TimeSpan.MaxValue;
        long memory = long.MaxValue;
        for (int i = 0; i < Processes; i++)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!, Argument) { RedirectStandardOutput = true };
            var clock = Stopwatch.StartNew();
            using Process child = Process.Start(start)!;
            string answer = child.StandardOutput.ReadLine() ?? throw new InvalidOperationException("The measured process ended without an answer.");
            if (clock.Elapsed < time) time = clock.Elapsed;
            child.WaitForExit();
            memory = Math.Min(memory, long.Parse(answer, CultureInfo.InvariantCulture));
        }
        return (time, memory);
    }
}
