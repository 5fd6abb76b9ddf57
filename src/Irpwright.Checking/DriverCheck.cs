using System.Collections.Concurrent;
using System.Diagnostics;
using Irpwright.Guest.Images;

namespace Irpwright.Checking;

/// <summary>
/// Finds out what drivers are, puts them through the battery, and collects what goes wrong. Scenarios run side by side; what they find
/// does not depend on which is faster.
/// </summary>
/// <example><code>
/// CheckResult result = new DriverCheck([driver], new CheckOptions()).Run();
/// </code></example>
public sealed class DriverCheck
{
    const int ShrinkAttempts = 60;
    // Beyond that many codes, races of each with each would take all the time.
    const int MostControlCodes = 64;
    // Longer ones are seldom limits of a driver, and cost time.
    const uint LongestComparedLength = 4096;
    const int MostComparedLengths = 64;

    readonly CheckStack stack;
    readonly CheckOptions options;
    readonly CheckRunner runner;
    readonly ConcurrentDictionary<(FailureKind, string, string?), CheckScenario> announced = [];

    public DriverCheck(CheckStack stack, CheckOptions options)
    {
        this.stack = stack;
        this.options = options;
        runner = new CheckRunner(stack, options);
    }

    /// <param name="drivers">Lowest first.</param>
    public DriverCheck(IReadOnlyList<DriverSource> drivers, CheckOptions options)
        : this(CheckStack.Of(drivers), options) { }

    /// <summary>Told how many scenarios there are.</summary>
    public Action<int>? Planned { get; init; }

    /// <summary>Told when a scenario begins; from several threads.</summary>
    public Action<CheckScenario>? Begun { get; init; }

    /// <summary>Told when a scenario is over; from several threads.</summary>
    public Action<CheckScenario>? Ended { get; init; }

    /// <summary>Told of a failure as soon as the first scenario shows it; from several threads.</summary>
    public Action<CheckScenario, Failure>? Found { get; init; }

    /// <summary>A failure of one scenario and the run that shows it.</summary>
    sealed record Raw(Failure Failure, Schedule Schedule, bool WasExplored);

    sealed record ScenarioOutcome(IReadOnlyList<Raw> Failures, long Runs, int Faults, int Muted, string? Skipped);

    /// <summary>What would be run, without running it.</summary>
    /// <exception cref="DriverCheckException">The drivers do not come up even when nothing disturbs them.</exception>
    /// <exception cref="NoScenarioException">The options name a scenario that does not exist, or leave none.</exception>
    public (DriverProfile Profile, IReadOnlyList<CheckScenario> Scenarios) Plan()
    {
        DriverProfile profile = Examine();
        CheckScenario[] all = [.. AllFor(profile)];
        CheckScenario[] chosen = [.. all.Where(s => (options.Include.Count == 0 || options.Include.Any(Begins(s))) && !options.Exclude.Any(Begins(s)))];
        // A name that is misspelt would go unnoticed.
        if (options.Include.Concat(options.Exclude).FirstOrDefault(prefix => !all.Any(s => Begins(s)(prefix))) is { } unknown)
            throw new NoScenarioException($"No scenario's name begins with '{unknown}'.");
        return (profile, chosen.Length > 0 ? chosen : throw new NoScenarioException("No scenario is left to run."));

        static Func<string, bool> Begins(CheckScenario scenario) => prefix => scenario.Id.StartsWith(prefix, StringComparison.Ordinal);
    }

    IEnumerable<CheckScenario> AllFor(DriverProfile profile) =>
        profile.Role == DriverRole.None ? stack.Scenarios : Battery.For(profile).Concat(stack.Scenarios);

    /// <summary>Runs the scenarios.</summary>
    /// <param name="cancellation">Ends the check early; what was found until then is in the result.</param>
    /// <inheritdoc cref="Plan"/>
    public CheckResult Run(CancellationToken cancellation = default)
    {
        var clock = Stopwatch.StartNew();
        var coverage = new Coverage();
        (DriverProfile profile, IReadOnlyList<CheckScenario> scenarios) = Plan();
        Planned?.Invoke(scenarios.Count);
        var outcomes = new ScenarioOutcome?[scenarios.Count];
        // A scenario that is on its way when the budget is spent may take as long again.
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(2 * options.Budget);
        // Not Parallel.For, which hands out ranges: what the budget cuts off is to be the end of the battery.
        int next = -1;
        Thread[] workers = [.. Enumerable.Range(0, Math.Clamp(options.Workers, 1, scenarios.Count)).Select(_ => new Thread(Work))];
        foreach (Thread worker in workers) worker.Start();
        foreach (Thread worker in workers) worker.Join();
        return Collect(profile, scenarios, outcomes, coverage, Unfinished());

        void Work()
        {
            for (int i; (i = Interlocked.Increment(ref next)) < scenarios.Count;)
            {
                if (clock.Elapsed > options.Budget || cancellation.IsCancellationRequested) return;
                Begun?.Invoke(scenarios[i]);
                ScenarioOutcome outcome = Run(scenarios[i], coverage, limit.Token);
                outcomes[i] = limit.IsCancellationRequested ? outcome with { Skipped = outcome.Skipped ?? Unfinished() } : outcome;
                Ended?.Invoke(scenarios[i]);
            }
        }

        string Unfinished() => cancellation.IsCancellationRequested ? "the check was interrupted" : "the budget was spent";
    }

    ScenarioOutcome Run(CheckScenario scenario, Coverage coverage, CancellationToken cancellation)
    {
        var found = new List<Raw>();
        long runs = 1;
        int muted = 0;
        string? skipped = null;
        // The ordinary run; with faults it also shows where kernel routines could fail.
        var record = new RecordingStrategy(new FifoStrategy());
        Note(runner.Run(scenario, record, scenario.WithFaults, coverage), record, false);
        string[] sites = [.. record.Schedule.Steps.Select(step => step.Site).OfType<string>().Distinct()];
        foreach (string site in sites)
        {
            if (cancellation.IsCancellationRequested) break;
            record = new RecordingStrategy(new OneFault(site));
            Note(runner.Run(scenario, record, true, coverage), record, false);
            runs++;
        }
        // What lies behind a stop that comes in the ordinary order is not reached in any other either.
        bool stops = found.Any(raw => raw.Failure.Kind is FailureKind.BugCheck or FailureKind.Hang);
        if (scenario.IsExplored && !stops)
        {
            ISearch search = new ExploreOptions { Seed = options.Seed }.NewSearch();
            long left = (long)options.Schedules * scenario.Weight;
            while (left > 0 && !cancellation.IsCancellationRequested)
            {
                var explorer = new Explorer((strategy, attach) => runner.Run(scenario, strategy, scenario.WithFaults, coverage, attach).Failures)
                {
                    Schedules = left,
                    Wanted = failure => !found.Any(raw => raw.Failure.IsTheSameAs(failure)),
                };
                ExplorationResult result = explorer.Explore(search, cancellation);
                long made = result.Runs + result.Redundant + result.TooLong;
                left -= made;
                runs += made;
                if (result.Finding is not { } finding) break;
                Add(finding.Failure, finding.Schedule, true);
            }
        }
        return new(found, runs, sites.Length, muted, skipped);

        void Note(CheckRunner.Outcome outcome, RecordingStrategy recorded, bool explored)
        {
            muted += outcome.Muted;
            foreach (Failure failure in outcome.Failures) Add(failure, recorded.Schedule, explored);
        }

        void Add(Failure failure, Schedule schedule, bool explored)
        {
            if (failure.Kind == FailureKind.Unsupported) skipped ??= failure.Sentence;
            if (failure.Kind == FailureKind.Unsupported || IsGivingUp(scenario, failure, schedule) || found.Any(raw => raw.Failure.IsTheSameAs(failure))) return;
            found.Add(new(failure, schedule, explored));
            if (announced.TryAdd((failure.Kind, failure.Name, failure.Place), scenario)) Found?.Invoke(scenario, failure);
        }
    }

    static bool IsGivingUp(CheckScenario scenario, Failure failure, Schedule schedule) =>
        scenario.GivesUpOnFaults && failure.Kind == FailureKind.Scenario && schedule.Steps.Any(IsFault);

    static bool IsFault(ScheduleStep step) => step is { Answer: > 0, Site: { } site } && site.StartsWith(FaultInjection.SitePrefix, StringComparison.Ordinal);

    CheckResult Collect(DriverProfile profile, IReadOnlyList<CheckScenario> scenarios, ScenarioOutcome?[] outcomes, Coverage coverage, string unfinished)
    {
        var findings = new List<CheckFinding>();
        var skipped = new List<SkippedScenario>();
        for (int i = 0; i < scenarios.Count; i++)
        {
            if (outcomes[i] is not { } outcome) skipped.Add(new(scenarios[i].Id, unfinished));
            else if (outcome.Skipped is { } reason) skipped.Add(new(scenarios[i].Id, reason));
            foreach (Raw raw in outcomes[i]?.Failures ?? [])
            {
                int known = findings.FindIndex(f => f.Failure.IsTheSameAs(raw.Failure));
                if (known >= 0) findings[known] = findings[known] with { Scenarios = findings[known].Scenarios + 1 };
                else findings.Add(Finding(scenarios[i], raw));
            }
        }
        ScenarioOutcome[] done = [.. outcomes.OfType<ScenarioOutcome>()];
        return new(profile, [.. findings.OrderBy(f => f.Severity)], [.. scenarios.Where((_, i) => outcomes[i] is not null)], done.Sum(o => o.Runs), done.Sum(o => o.Faults), done.Sum(o => o.Muted),
            skipped, coverage.Result(stack.Drivers));
    }

    CheckFinding Finding(CheckScenario scenario, Raw raw)
    {
        Schedule schedule = raw.Schedule;
        if (raw.WasExplored)
        {
            var explorer = new Explorer((strategy, attach) => runner.Run(scenario, strategy, scenario.WithFaults, null, attach).Failures);
            schedule = explorer.Shrink(new Finding(raw.Failure, schedule, 1), ShrinkAttempts).Schedule;
        }
        RuleInfo? rule = raw.Failure.Kind == FailureKind.Rule ? RuleCatalog.Find(raw.Failure.Name) : null;
        string replay = new CheckReplay(stack.Inputs, options.ControlRequests, scenario.Id, schedule).ToString();
        (Failure failure, IReadOnlyList<string> report) = runner.Describe(scenario, schedule, raw.Failure, replay);
        return new(failure, scenario, schedule, rule, rule?.Severity ?? Severity.Error, report, replay, 1);
    }

    /// <summary>Makes a recorded run again.</summary>
    /// <returns>What went wrong in it, with the report of each.</returns>
    /// <exception cref="ReplayException">The run is not the recorded one; says where.</exception>
    /// <exception cref="DriverCheckException">There is no such scenario for these drivers.</exception>
    public IReadOnlyList<CheckFinding> Replay(string scenarioId, Schedule schedule)
    {
        CheckScenario scenario = AllFor(Examine()).FirstOrDefault(s => s.Id == scenarioId)
            ?? throw new DriverCheckException($"These drivers have no scenario '{scenarioId}': the replay string was made for others, or by another version.");
        var strategy = new ReplayStrategy(schedule);
        IReadOnlyList<Failure> failures = runner.Run(scenario, strategy, CheckRunner.WithFaults(schedule), null).Failures;
        strategy.RequireEnd();
        return [.. failures.Where(failure => !IsGivingUp(scenario, failure, schedule)).Select(failure => Finding(scenario, new Raw(failure, schedule, false)))];
    }

    /// <summary>Loads the drivers once, undisturbed, and looks at what they are.</summary>
    /// <exception cref="DriverCheckException">They refuse.</exception>
    public DriverProfile Examine()
    {
        if (stack.Drivers.Count == 0) return new(DriverRole.None, [], [], [], true);
        // What drivers that do not even survive this are taken for: loading them shows the rest.
        DriverProfile profile = new(DriverRole.Software, [], [], [], false);
        string? refusal = Try(bench =>
        {
            if (!bench.Load()) return;
            byte[] majorFunctions = [.. Enumerable.Range(0, IRP_MJ_MAXIMUM_FUNCTION + 1).Select(i => (byte)i)
                .Where(major => bench.Drivers.Any(driver => bench.Machine.Drivers.Handles(driver.Object, major)))];
            DriverRole role = bench.Node is not { } node ? DriverRole.Software
                : node.Children.Count > 0 ? DriverRole.Bus
                : stack.Device is not null ? DriverRole.Filter
                : DriverRole.Function;
            profile = new(role, bench.DeviceNames, majorFunctions, ControlRequests(), bench.Drivers.All(d => !d.Object.DriverUnload.IsNull))
            {
                IsPlugAndPlay = bench.IsPlugAndPlay,
                TakesControlFast = bench.Drivers.Any(d => d.Object.FastIoDispatch is { IsNull: false } table && !table.FastIoDeviceControl.IsNull),
                IsAboveScriptedDevice = bench.Node is not null && stack.Device is null,
                Lengths = [.. stack.Drivers.Where(d => d.Image is not null).SelectMany(d => FunctionCode.ComparedNumbers(d.Image!, LongestComparedLength)).Distinct()
                    .Take(MostComparedLengths)],
            };
        });
        if (refusal is not null) throw new DriverCheckException($"{refusal}: there is nothing to check.");
        if (profile.Role == DriverRole.Function)
        {
            Try(bench =>
            {
                bench.Load();
                if (bench.Open(bench.DeviceNames[0]) is not { } handle) return;
                bench.Do(handle, new IoRequest(IRP_MJ_READ, bench.UserBuffer(16), 16));
                if (bench.Lower.Requests.Count > 0) profile = profile with { Role = DriverRole.Filter };
            });
        }
        return profile;

        string? Try(Action<CheckBench> act) => new CheckRunner(stack, new CheckOptions { Rules = [] })
            .Run(new CheckScenario("examine", "", act), new FifoStrategy(), false, null).Refusal;
    }

    ControlRequest[] ControlRequests() =>
    [
        .. options.ControlRequests
            .Concat(stack.ControlRequests)
            .Concat(stack.Drivers.Where(d => d.Image is not null).SelectMany(d => ImageReport.ControlCodesOf(d.Image!)).Select(code => new ControlRequest(code.Value)))
            .DistinctBy(request => request.Code).Take(MostControlCodes),
    ];

    /// <summary>Everything works but the first call at one site.</summary>
    sealed class OneFault(string site) : IScheduleStrategy
    {
        bool isOver;

        public bool MovesTimeEarly => false;

        public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) => 0;

        public int Choose(string asked, int count)
        {
            if (isOver || asked != site) return 0;
            isOver = true;
            return 1;
        }
    }
}
