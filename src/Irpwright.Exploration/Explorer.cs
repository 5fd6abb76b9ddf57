using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Runs a scenario once, in a machine of its own that asks the strategy.</summary>
/// <param name="attach">To be called with the machine before anything runs in it.</param>
/// <returns>Everything that went wrong, the first thing first.</returns>
/// <exception cref="ScheduleException">The strategy ended the run.</exception>
public delegate IReadOnlyList<Failure> RunScenario(IScheduleStrategy strategy, Action<Machine> attach);

/// <summary>A failure, and the schedule that leads to it.</summary>
/// <param name="Run">Which run it was, from 1.</param>
public sealed record Finding(Failure Failure, Schedule Schedule, long Run);

/// <summary>What a search came to.</summary>
/// <param name="Runs">Runs that came to their end.</param>
/// <param name="Redundant">Runs given up because another one is equivalent.</param>
/// <param name="TooLong">Runs given up because they did not end within the limit.</param>
/// <param name="Steps">Questions asked in all runs.</param>
/// <param name="IsExhaustive">Whether every schedule, up to equivalence and the bound that was set, has been run.</param>
/// <param name="Finding">The failure that was looked for; null if it did not happen.</param>
/// <param name="Other">The first failure that was not looked for.</param>
public sealed record ExplorationResult(long Runs, long Redundant, long TooLong, long Steps, bool IsExhaustive, Finding? Finding, Finding? Other);

/// <summary>Runs a scenario under one schedule after the other until it fails.</summary>
public sealed class Explorer
{
    readonly RunScenario run;

    public Explorer(RunScenario run) => this.run = run;

    /// <summary>How many runs at most.</summary>
    public long Schedules { get; init; } = long.MaxValue;

    /// <summary>How many questions a run may ask before it counts as endless.</summary>
    public int StepLimit { get; init; } = 20_000;

    /// <summary>Which failures are looked for; all, if null.</summary>
    public Func<Failure, bool>? Wanted { get; init; }

    /// <summary>Told after each run how many there have been.</summary>
    public Action<long>? Progress { get; init; }

    public ExplorationResult Explore(ISearch search, CancellationToken cancellation = default)
    {
        long runs = 0, redundant = 0, tooLong = 0, steps = 0;
        Finding? other = null;
        while (runs + redundant + tooLong < Schedules && !cancellation.IsCancellationRequested)
        {
            if (search.Next() is not { } strategy)
                return new(runs, redundant, tooLong, steps, search.IsExhaustive && tooLong == 0, null, other);
            (IReadOnlyList<Failure>? failures, RecordingStrategy record) = Run(strategy, search.Attach);
            Schedule schedule = record.Schedule;
            search.Ended(schedule);
            steps += schedule.Steps.Count;
            if (failures is null && record.IsTooLong) tooLong++;
            else if (failures is null) redundant++;
            else runs++;
            Progress?.Invoke(runs + redundant + tooLong);
            if (failures is null or []) continue;
            if (failures.FirstOrDefault(f => Wanted?.Invoke(f) ?? true) is { } wanted)
                return new(runs, redundant, tooLong, steps, false, new Finding(wanted, schedule, runs + redundant + tooLong), other);
            other ??= new Finding(failures[0], schedule, runs + redundant + tooLong);
        }
        return new(runs, redundant, tooLong, steps, false, null, other);
    }

    /// <summary>Makes a recorded run again, exactly.</summary>
    /// <exception cref="ReplayException">The run is not the recorded one; says where.</exception>
    public IReadOnlyList<Failure> Replay(Schedule schedule)
    {
        var strategy = new ReplayStrategy(schedule);
        IReadOnlyList<Failure> failures = run(strategy, static _ => { });
        strategy.RequireEnd();
        return failures;
    }

    /// <summary>Looks for a schedule with fewer preemptions and fewer other unusual choices that fails in the same way.</summary>
    /// <param name="attempts">How many runs that may take at most.</param>
    public Finding Shrink(Finding finding, int attempts = 500)
    {
        finding = LeaveOut(finding, ref attempts);
        // What is left is needed there, but there may be another way that needs less.
        for (int bound = 0; bound < finding.Schedule.Preemptions && attempts > 0; bound++)
        {
            var search = new Explorer(run) { Schedules = attempts, StepLimit = StepLimit, Wanted = finding.Failure.IsTheSameAs };
            ExplorationResult result = search.Explore(new DepthFirstSearch(bound, finding.Schedule.MovesTimeEarly, reduces: false));
            attempts -= (int)(result.Runs + result.Redundant + result.TooLong);
            if (result.Finding is { } other) return LeaveOut(other with { Run = finding.Run }, ref attempts);
        }
        return finding;
    }

    /// <summary>Takes unusual choices back, many at a time and then one by one, as long as it fails in the same way.</summary>
    Finding LeaveOut(Finding finding, ref int attempts)
    {
        List<Deviation> left = Deviation.Of(finding.Schedule);
        int size = Math.Max(1, left.Count / 2);
        while (left.Count > 0 && attempts > 0)
        {
            bool isSmaller = false;
            // Late ones first: they are the least likely to matter.
            for (int end = left.Count; end > 0 && attempts > 0; end = Math.Min(end - size, left.Count))
            {
                attempts--;
                if (Without(finding, [.. left[..Math.Max(0, end - size)], .. left[end..]]) is not { } smaller) continue;
                finding = smaller;
                left = Deviation.Of(finding.Schedule);
                isSmaller = true;
            }
            if (!isSmaller && size == 1) break;
            if (!isSmaller) size = Math.Max(1, Math.Min(size, left.Count) / 2);
        }
        return finding;
    }

    Finding? Without(Finding finding, List<Deviation> deviations)
    {
        (IReadOnlyList<Failure>? failures, RecordingStrategy record) =
            Run(new GuidedStrategy(deviations, finding.Schedule.MovesTimeEarly), static _ => { });
        Schedule schedule = record.Schedule;
        return failures?.FirstOrDefault(finding.Failure.IsTheSameAs) is { } same && Size(schedule).CompareTo(Size(finding.Schedule)) < 0
            ? new Finding(same, schedule, finding.Run) : null;
    }

    static (int Preemptions, int Deviations, int Steps) Size(Schedule schedule) =>
        (schedule.Preemptions, schedule.Deviations, schedule.Steps.Count);

    /// <returns>No failures (null) if the run was given up.</returns>
    (IReadOnlyList<Failure>? Failures, RecordingStrategy Record) Run(IScheduleStrategy strategy, Action<Machine> attach)
    {
        var record = new RecordingStrategy(strategy, StepLimit);
        try
        {
            return (run(record, attach), record);
        }
        catch (ScheduleException e) when (e is not ReplayException)
        {
            return (null, record);
        }
    }
}
