using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>
/// Makes every run there is, one after the other: the last choice that has an alternative is taken differently. Runs that differ only in
/// the order of steps which have nothing to do with each other are made once (sleep sets).
/// </summary>
/// <remarks>
/// With a bound on preemptions a choice is only left out for another one below which the bound cut nothing off: the run that would be
/// equivalent might not be allowed.
/// </remarks>
/// <seealso href="https://doi.org/10.1007/3-540-60761-7">Godefroid, Partial-order methods for the verification of concurrent systems</seealso>
public sealed class DepthFirstSearch : ISearch
{
    // Far enough from the root for every shard to get some, near enough to cost little.
    const int ShardDepth = 4;

    readonly int preemptionBound;
    readonly bool reduces;
    readonly int shard, shards;
    readonly List<Node> path = [];
    FootprintTracker? tracker;
    int depth;
    int branches;
    uint branchHash;
    bool isOver;

    /// <param name="preemptionBound">How often a thread may be stopped although it could go on; null for no limit.</param>
    /// <param name="movesTimeEarly">Whether timers and devices may come while threads can still run.</param>
    /// <param name="reduces">False makes every order of independent steps too.</param>
    /// <param name="shard">Which part of the runs to make, from 0.</param>
    public DepthFirstSearch(int? preemptionBound = null, bool movesTimeEarly = true, bool reduces = true, int shard = 0, int shards = 1)
    {
        this.preemptionBound = preemptionBound ?? int.MaxValue;
        this.reduces = reduces;
        this.shard = shard;
        this.shards = shards;
        MovesTimeEarly = movesTimeEarly;
    }

    public bool MovesTimeEarly { get; }

    /// <summary>Every run up to the preemption bound; a shard is its part of them.</summary>
    public bool IsExhaustive => isOver;

    /// <summary>An actor whose next step has been tried from here or above, and what that step touched.</summary>
    readonly record struct Tried(Actor Actor, Footprint Footprint);

    /// <summary>A question that the runs on the current path ask.</summary>
    sealed class Node
    {
        /// <summary>Null for a question of <see cref="Choices"/>.</summary>
        internal Actor[]? Actors { get; init; }

        internal required string Question { get; init; }

        internal required int Count { get; init; }

        internal int Answer { get; set; }

        internal bool CouldContinue { get; init; }

        internal bool IsSpin { get; init; }

        /// <summary>Preemptions on the way here.</summary>
        internal int Preemptions { get; init; }

        internal List<Tried> Asleep { get; init; } = [];

        internal List<Tried> Tried { get; } = [];

        /// <summary>What the step after this choice has touched; null while it is not known.</summary>
        internal Footprint? Footprint { get; set; }

        /// <summary>Whether the bound, or a limit, cut off something below the current answer, or below any of them.</summary>
        internal bool IsCut { get; set; }
        internal bool IsCutAnywhere { get; set; }

        internal int PreemptionsAfter => Preemptions + (CouldContinue && !IsSpin && Answer != 0 ? 1 : 0);
    }

    public IScheduleStrategy? Next()
    {
        if (isOver) return null;
        depth = branches = 0;
        branchHash = 0;
        tracker = null;
        return new Strategy(this);
    }

    public void Attach(Machine machine)
    {
        if (!reduces) return;
        tracker = new FootprintTracker(machine);
        machine.Events.Add(tracker);
    }

    public void Ended(Schedule schedule)
    {
        if (path.Count > 0 && depth == path.Count && path[^1].Footprint is null) path[^1].Footprint = Footprint.Everything;
        while (path.Count > 0)
        {
            Node last = path[^1];
            last.IsCutAnywhere |= last.IsCut;
            if (last.Actors is { } actors && !last.IsCut && last.Footprint is { IsEverything: false } footprint && last.Answer < last.Count)
                last.Tried.Add(new(actors[last.Answer], footprint));
            int next = last.Answer < last.Count ? FirstAllowed(last, last.Answer + 1) : last.Count;
            if (next < last.Count)
            {
                last.Answer = next;
                last.IsCut = false;
                last.Footprint = null;
                return;
            }
            path.RemoveAt(path.Count - 1);
            if (path.Count > 0) path[^1].IsCut |= last.IsCutAnywhere;
        }
        isOver = true;
    }

    /// <summary>The first answer from one on that is worth a run; the number of answers if there is none.</summary>
    int FirstAllowed(Node node, int from)
    {
        for (int i = from; i < node.Count; i++)
        {
            if (node.Actors is not { } actors) return i;
            if (node.Asleep.Exists(s => s.Actor == actors[i])) continue;
            // To look at a lock again before anybody else has done anything is no progress.
            if (node.IsSpin && i == node.Count - 1 && i > 0 && node.CouldContinue) continue;
            if (i > 0 && node.CouldContinue && !node.IsSpin && node.Preemptions >= preemptionBound)
            {
                node.IsCutAnywhere = true;
                continue;
            }
            return i;
        }
        return node.Count;
    }

    int Answer(Node found)
    {
        if (depth < path.Count)
        {
            Node known = path[depth];
            bool isSame = known.Count == found.Count && known.Question == found.Question
                && (known.Actors is null || known.Actors.AsSpan().SequenceEqual(found.Actors));
            if (!isSame)
            {
                throw new ReplayException(
                    $"step {depth + 1}: the same choices led to {known.Question} with {known.Count} choices in one run, and to {found.Question} with {found.Count} in another: something in the scenario is decided outside of the machine");
            }
            return Go(known);
        }
        found.Answer = FirstAllowed(found, 0);
        path.Add(found);
        if (found.Answer == found.Count) throw new ScheduleException("Every choice has been tried in an equivalent run.");
        return Go(found);
    }

    int Go(Node node)
    {
        depth++;
        if (node.Count > 1 && ++branches <= ShardDepth)
        {
            branchHash = branchHash * 31 + (uint)node.Answer;
            if (branches == ShardDepth && branchHash % (uint)shards != (uint)shard) throw new ScheduleException("Another shard makes this run.");
        }
        return node.Answer;
    }

    // What the step before touched, all of it, is known now.
    void StepEnded()
    {
        if (tracker?.Take() is { } footprint && depth > 0) path[depth - 1].Footprint ??= footprint;
    }

    List<Tried> AsleepNext()
    {
        if (depth == 0 || tracker is null) return [];
        Node before = path[depth - 1];
        Footprint touched = before.Footprint ?? Footprint.Everything;
        if (touched.IsEverything || before.Actors is not { } actors) return [];
        Actor went = actors[before.Answer];
        return [.. before.Asleep.Concat(before.Tried).Where(t => IsIndependent(t, went, touched))];
    }

    // A thread, and the DPCs on its processor, keep their order; what time brings moves time for all.
    static bool IsIndependent(Tried tried, Actor went, Footprint touched) =>
        tried.Actor.Thread != went.Thread && IsInTime(tried.Actor) && IsInTime(went) && tried.Footprint.IsIndependentOf(touched);

    static bool IsInTime(Actor actor) => actor.Kind is ScheduleChoiceKind.Run or ScheduleChoiceKind.Dpc;

    sealed class Strategy(DepthFirstSearch search) : IScheduleStrategy
    {
        public bool MovesTimeEarly => search.MovesTimeEarly;

        public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices)
        {
            var actors = new Actor[choices.Length];
            bool couldContinue = false;
            for (int i = 0; i < actors.Length; i++)
            {
                actors[i] = Actor.Of(in choices[i]);
                couldContinue |= choices[i].Kind == ScheduleChoiceKind.Continue;
            }
            search.StepEnded();
            return search.Answer(new Node
            {
                Actors = actors,
                Question = $"{point} of T{thread.Id}",
                Count = actors.Length,
                CouldContinue = couldContinue,
                IsSpin = point == SchedulingPoint.Spin,
                Preemptions = search.PreemptionsSoFar,
                Asleep = search.AsleepNext(),
            });
        }

        public int Choose(string site, int count)
        {
            search.StepEnded();
            return search.Answer(new Node { Question = $"the choice '{site}'", Count = count, Preemptions = search.PreemptionsSoFar });
        }
    }

    int PreemptionsSoFar => depth > 0 ? path[depth - 1].PreemptionsAfter : 0;
}
