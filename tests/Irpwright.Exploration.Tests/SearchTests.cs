namespace Irpwright.Exploration.Tests;

/// <summary>Goal: every strategy finds what it is made for. Method: scenarios with one bug of a known kind, many seeds.</summary>
public sealed class SearchTests
{
    static readonly Dictionary<string, Action<Machine>> Scenarios = new()
    {
        ["lost wake"] = Races.LostWake,
        ["lock order"] = Races.LockOrder,
        ["pending race"] = Races.PendingRace,
        ["cancel race"] = Races.CancelRace,
    };

    public static TheoryData<string, SearchKind> Each()
    {
        var data = new TheoryData<string, SearchKind>();
        foreach (string scenario in Scenarios.Keys)
        {
            foreach (SearchKind search in Enum.GetValues<SearchKind>()) data.Add(scenario, search);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Each))]
    public void Every_strategy_finds_every_race(string scenario, SearchKind search)
    {
        for (ulong seed = 1; seed <= 3; seed++)
        {
            var options = new ExploreOptions { Search = search, Seed = seed, Schedules = 2000 };
            ExplorationResult result = Explore.Schedules(options, Scenarios[scenario]).Run(null);
            Assert.NotNull(result.Finding);
        }
    }

    [Theory]
    [InlineData("lost wake")]
    [InlineData("lock order")]
    [InlineData("pending race")]
    [InlineData("cancel race")]
    public void The_ordinary_order_shows_none_of_them(string scenario)
    {
        ExplorationResult result = Explore.Schedules(new ExploreOptions { Schedules = 1, Rules = [] }, Scenarios[scenario]).Run(null);
        Assert.Equal((1, (Finding?)null), (result.Runs, result.Finding));
    }

    [Fact]
    public void A_bug_that_needs_five_orderings_is_found_at_random() =>
        Explore.Schedules(new ExploreOptions { Search = SearchKind.Random, Schedules = 2000 }, Races.Alternate(5)).Expect<AlternatedException>();

    [Fact]
    public void A_cancelled_request_that_is_completed_anyway_is_completed_twice() =>
        Explore.Schedules(count: 500, seed: 1, Races.CancelRace).Expect(BugCheckCode.MULTIPLE_IRP_COMPLETE_REQUESTS);

    [Fact]
    public void Locks_in_two_orders_end_in_a_hang() => Explore.Schedules(count: 500, seed: 1, Races.LockOrder).ExpectHang();

    [Theory]
    [InlineData(SearchKind.Mixed)]
    [InlineData(SearchKind.Random)]
    [InlineData(SearchKind.Pct)]
    [InlineData(SearchKind.DelayBounded)]
    public void A_right_driver_is_not_accused(SearchKind search) =>
        Explore.Schedules(new ExploreOptions { Search = search, Schedules = 300 }, Races.RightQueue).ExpectNothing();

    [Fact]
    public void The_same_seed_finds_the_same_schedule()
    {
        string Find() => Explore.Schedules(count: 500, seed: 7, Races.CancelRace).Run(null).Finding!.Schedule.ToString();
        Assert.Equal(Find(), Find());
    }
}
