using System.Diagnostics;
using Irpwright.Benchmarks;
using Irpwright.Testing;

string filter = Files.Find("samples/native/bin/passthrough.sys");
if (args is [FirstRequest.Argument])
{
    FirstRequest.Child(filter);
    return 0;
}
var table = new Table();
(string Name, Action Measure)[] sections =
[
    ("layers", Layers), ("compiled", CompiledLayers), ("rules", Rules), ("requests", UserRequests), ("processor", Processor), ("unicorn", ProcessorAlone), ("checked", CheckedMemory),
    ("exploration", Exploration), ("process", WholeProcess),
];
if (args.Except(sections.Select(section => section.Name)).Any())
{
    Console.Error.WriteLine($"usage: Irpwright.Benchmarks [{string.Join('|', sections.Select(section => section.Name))}]...");
    return 2;
}

var clock = Stopwatch.StartNew();
foreach ((string name, Action measure) in sections)
{
    if (args.Length == 0 || args.Contains(name)) measure();
}
table.Write(Console.Out);
Console.Error.WriteLine($"\n{clock.Elapsed.TotalSeconds:0} s; each figure is the shortest of 25 interleaved repetitions.");
return 0;

void Layers()
{
    table.Section("C# pass-through layer (copy location, set routine, call down, routine called on the way up)");
    foreach (int layers in (int[])[1, 4, 16])
    {
        using var none = new Stack(0);
        using var some = new Stack(layers);
        using var observed = new Stack(layers, observer: new SilentObserver());
        using var observedNone = new Stack(0, observer: new SilentObserver());
        using var floor = new Floor<StructCopy>(layers);
        using var floorNone = new Floor<StructCopy>(0);
        using var tuned = new Floor<EightByteCopies>(layers);
        Cost[] costs = Paired.Measure(
            none.Workload, some.Workload, observedNone.Workload, observed.Workload,
            new(null, floorNone.Send), new(null, floor.Send), new(null, tuned.Send));
        double layer = PerLayer(costs[1], costs[0], layers), least = PerLayer(costs[5], costs[4], layers);
        if (layers == 1) table.Add("no layer: reuse, send, complete at once", Time(costs[0].Nanoseconds), Ratio(costs[0].Nanoseconds, costs[4].Nanoseconds));
        table.Add($"floor, struct copy, {layers} layers", Time(least), "1.00");
        table.Add($"floor, 8-byte copies, {layers} layers", Time(PerLayer(costs[6], costs[4], layers)), Ratio(PerLayer(costs[6], costs[4], layers), least));
        table.Add($"per layer of {layers}", Time(layer), Ratio(layer, least), "1.00", layer <= least);
        table.Add($"per layer of {layers}, an observer attached", Time(PerLayer(costs[3], costs[2], layers)), Ratio(PerLayer(costs[3], costs[2], layers), least));
        table.Add($"heap per IRP through {layers}", $"{costs[1].Bytes:0} B", "", "0 B", costs[1].Bytes < 1);
    }
}

void CompiledLayers()
{
    table.Section("Compiled pass-through layer (passthrough.sys, interpreted)");
    using var none = new Stack(0, filter);
    foreach (int layers in (int[])[1, 4])
    {
        using var some = new Stack(layers, filter);
        Cost[] costs = Paired.Measure(none.Workload, some.Workload);
        double layer = PerLayer(costs[1], costs[0], layers);
        table.Add($"per layer of {layers}", Time(layer), "", "120 ns", layer <= 120);
        table.Add($"heap per IRP through {layers}", $"{costs[1].Bytes:0} B", "", "0 B", costs[1].Bytes < 1);
    }
}

void Rules()
{
    table.Section("All rules on, compared with none");
    using var reads = new Requests(filter);
    using var watchedReads = new Requests(filter, rules: true);
    Row("read through passthrough.sys", Paired.Measure(reads.Workload, watchedReads.Workload), "4.00", 4);
    using var managedReads = new Requests(managed: new PassThrough());
    using var watchedManagedReads = new Requests(managed: new PassThrough(), rules: true);
    Row("read through PassThrough in C#", Paired.Measure(managedReads.Workload, watchedManagedReads.Workload), "4.00", 4);
    using var compiled = new Stack(4, filter);
    using var watchedCompiled = new Stack(4, filter, rules: true);
    Row("IRP through 4 compiled layers", Paired.Measure(compiled.Workload, watchedCompiled.Workload), "4.00", 4);
    using var managed = new Stack(4);
    using var watchedManaged = new Stack(4, rules: true);
    Row("IRP through 4 C# layers", Paired.Measure(managed.Workload, watchedManaged.Workload), "4.00", 4);

    void Row(string name, Cost[] costs, string target, double limit)
    {
        double ratio = costs[1].Nanoseconds / costs[0].Nanoseconds;
        table.Add(name, Time(costs[1].Nanoseconds), $"{ratio:0.00}", target, ratio <= limit);
        table.Add("heap for the rules", $"{costs[1].Bytes - costs[0].Bytes:0} B", "", "0 B", costs[1].Bytes - costs[0].Bytes < 1);
    }
}

void UserRequests()
{
    table.Section("Read of 512 bytes on an open handle, to a RAM disk and back");
    using var direct = new Requests();
    using var filtered = new Requests(filter);
    Cost[] costs = Paired.Measure(direct.Workload, filtered.Workload);
    table.Add("no filter", Time(costs[0].Nanoseconds));
    table.Add("through passthrough.sys", Time(costs[1].Nanoseconds), Ratio(costs[1].Nanoseconds, costs[0].Nanoseconds), "1000 ns", costs[1].Nanoseconds <= 1000);
    table.Add("heap per read", $"{costs[1].Bytes:0} B");
}

void Processor()
{
    table.Section("Processor");
    using var code = new GuestCode();
    Cost[] costs = Paired.Measure(code.Call, code.Loop, code.GuestCalls, code.ExportCalls);
    table.Add("instructions per second, loop with load and store", $"{Arena.LoopInstructions / costs[1].Nanoseconds * 1000:0} M");
    table.Add("C# calls a guest routine", Time(costs[0].Nanoseconds));
    table.Add("guest calls a guest routine", Time(costs[2].Nanoseconds));
    table.Add("guest calls a kernel export", Time(costs[3].Nanoseconds), Ratio(costs[3].Nanoseconds, costs[2].Nanoseconds));
}

void ProcessorAlone()
{
    table.Section("The interpreter alone, and Unicorn executing the same");
    using var interpreter = new InterpreterEngine();
    using Unicorn? unicorn = Unicorn.IsInstalled ? new Unicorn() : null;
    Row("C# calls a guest routine", engine => engine.Nothing);
    Row("loop with load and store, a turn", engine => engine.Loop);
    Row("guest calls C#", engine => engine.CallsOut);
    Row("dispatch routine of 48 instructions, one call of C#", engine => engine.Dispatch);
    Row("dispatch routine of 18 instructions, one call of C#", engine => engine.DispatchShort);
    if (unicorn is null) table.Section("  Unicorn is not installed (Debian: libunicorn2): its figures are missing.");

    void Row(string name, Func<Engine, Workload> workload)
    {
        Cost[] costs = unicorn is null ? Paired.Measure(workload(interpreter)) : Paired.Measure(workload(interpreter), workload(unicorn));
        table.Add(name, Time(costs[0].Nanoseconds), unicorn is null ? "" : "1.00");
        if (unicorn is not null) table.Add("  by Unicorn", Time(costs[1].Nanoseconds), Ratio(costs[1].Nanoseconds, costs[0].Nanoseconds));
    }
}

void CheckedMemory()
{
    table.Section("Memory checked byte by byte, compared with not");
    using var code = new GuestCode();
    using var checkedCode = new GuestCode(checksMemory: true);
    Row("loop with load and store", Paired.Measure(code.Loop, checkedCode.Loop));
    Row("guest calls a guest routine", Paired.Measure(code.GuestCalls, checkedCode.GuestCalls));
    using var stack = new Stack(4, filter);
    using var checkedStack = new Stack(4, filter, checksMemory: true);
    Row("IRP through 4 compiled layers", Paired.Measure(stack.Workload, checkedStack.Workload));
    using var reads = new Requests(filter);
    using var checkedReads = new Requests(filter, checksMemory: true);
    Row("read through passthrough.sys", Paired.Measure(reads.Workload, checkedReads.Workload));

    void Row(string name, Cost[] costs)
    {
        double ratio = costs[1].Nanoseconds / costs[0].Nanoseconds;
        table.Add(name, Time(costs[1].Nanoseconds), $"{ratio:0.00}", "3.00", ratio <= 3);
    }
}

void Exploration()
{
    table.Section("Exploration: schedules of a small scenario, each in a machine of its own, no rules watched for");
    foreach (int threads in (int[])[2, 3])
    {
        foreach (SearchKind search in (SearchKind[])[SearchKind.Random, SearchKind.Pct])
        {
            (double perSecond, double steps) = Schedules.Measure(search, threads);
            table.Add($"{search}, {threads} threads, {steps:0} scheduling points", $"{perSecond:0}/s", "", "10000/s", perSecond >= 10_000);
        }
    }
}

void WholeProcess()
{
    table.Section("A process with one compiled driver");
    (TimeSpan best, TimeSpan median, long memory) = FirstRequest.Measure();
    table.Add("start to first request answered", $"{best.TotalMilliseconds:0} ms", "", "250 ms", best.TotalMilliseconds <= 250);
    table.Add("the median", $"{median.TotalMilliseconds:0} ms");
    table.Add("memory", $"{memory / 1048576.0:0} MB", "", "60 MB", memory <= 60 << 20);
}

static double PerLayer(Cost with, Cost without, int layers) => (with.Nanoseconds - without.Nanoseconds) / layers;

static string Time(double nanoseconds) => nanoseconds < 100 ? $"{nanoseconds:0.0} ns" : $"{nanoseconds:0} ns";

static string Ratio(double figure, double reference) => $"{figure / reference:0.00}";
