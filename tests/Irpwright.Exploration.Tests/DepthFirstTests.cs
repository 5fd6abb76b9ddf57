namespace Irpwright.Exploration.Tests;

/// <summary>Goal: depth-first search makes every schedule, and says so only then. Method: scenarios whose schedules can be counted.</summary>
public sealed class DepthFirstTests
{
    static ExplorationResult All(Action<Machine> scenario, bool reduce = true, int? bound = null, int shard = 0, int shards = 1) =>
        Explore.Schedules(
            new ExploreOptions
            {
                Search = SearchKind.DepthFirst, Schedules = 3_000, Reduce = reduce, PreemptionBound = bound, Shard = shard, Shards = shards, Rules = [],
            },
            scenario).Run(null);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Two_threads_are_interleaved_in_every_way(int points)
    {
        ExplorationResult result = All(Races.Independent(2, points), reduce: false);
        Assert.True(result.IsExhaustive, result.ToString());
        Assert.Equal(Interleavings(points + 1), result.Runs);
    }

    // When one thread has ended, the other has left from one to all of its steps. The thread that started both wakes, looks, and waits
    // on, before any of these, or after them.
    static long Interleavings(int steps) =>
        2 * Enumerable.Range(1, steps).Sum(left => Choose(2 * steps - 1 - left, steps - 1) * (left + 1));

    static long Choose(int n, int k) => k == 0 ? 1 : Choose(n - 1, k - 1) * n / k;

    [Fact]
    public void Drivers_that_have_nothing_to_do_with_each_other_are_run_in_few_orders()
    {
        ExplorationResult all = All(Races.TwoDrivers, reduce: false), few = All(Races.TwoDrivers);
        Assert.True(few.IsExhaustive, few.ToString());
        Assert.True(all.IsExhaustive && few.Runs < all.Runs / 2, $"{few} of {all}");
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void Shards_share_the_schedules_out(int shards)
    {
        long sum = 0;
        for (int shard = 0; shard < shards; shard++)
        {
            ExplorationResult part = All(Races.Independent(2, 3), reduce: false, shard: shard, shards: shards);
            Assert.True(part.IsExhaustive, part.ToString());
            Assert.InRange(part.Runs, 1, Interleavings(4) - 1);
            sum += part.Runs;
        }
        Assert.Equal(Interleavings(4), sum);
    }

    [Fact]
    public void A_handshake_that_is_right_is_right_in_every_schedule()
    {
        ExplorationResult result = All(Races.KeptWake);
        Assert.Null(result.Finding);
        Assert.True(result.IsExhaustive, result.ToString());
    }

    [Fact]
    public void Locks_in_one_order_never_hang()
    {
        ExplorationResult result = All(Races.SameLockOrder);
        Assert.Null(result.Finding);
        Assert.True(result.IsExhaustive, result.ToString());
    }

    [Fact]
    public void A_right_driver_is_right_in_every_schedule_with_two_preemptions()
    {
        ExplorationResult result = All(Races.RightQueue, bound: 2);
        Assert.Null(result.Finding);
        Assert.True(result.IsExhaustive, result.ToString());
    }

    [Fact]
    public void Without_a_preemption_a_cancel_race_does_not_show() => Assert.Null(All(Races.CancelRace, bound: 0).Finding);
}
