namespace Irpwright.Verification.Tests;

/// <summary>Every case of every table: the wrong driver breaks its rule, its neighbour breaks none.</summary>
public class RuleCaseTests
{
    internal static readonly RuleCase[] All = [.. typeof(RuleCaseTests).Assembly.GetTypes()
        .Where(type => type.IsAssignableTo(typeof(IRuleCases)) && !type.IsInterface)
        .OrderBy(type => type.Name, StringComparer.Ordinal)
        .SelectMany(type => (IEnumerable<RuleCase>)type.GetProperty(nameof(IRuleCases.Cases))!.GetValue(null)!)];

    public static TheoryData<string> Names => [.. All.Select(c => c.ToString())];

    [Theory, MemberData(nameof(Names))]
    public void A_wrong_driver_breaks_its_rule(string name) => Find(name).CheckBroken();

    [Theory, MemberData(nameof(Names))]
    public void A_near_miss_breaks_no_rule(string name) => Find(name).CheckSilent();

    static RuleCase Find(string name) => All.Single(c => c.ToString() == name);
}
