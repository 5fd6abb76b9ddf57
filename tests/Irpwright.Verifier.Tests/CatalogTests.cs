namespace Irpwright.Verification.Tests;

public class CatalogTests
{
    [Fact]
    public void The_catalogue_lists_every_rule_class_once()
    {
        IEnumerable<string> classes = typeof(Rule).Assembly.GetTypes()
            .Where(t => t.IsSubclassOf(typeof(Rule)) && !t.IsAbstract)
            .Select(t => t.Name);
        Assert.Equal(classes.Order(StringComparer.Ordinal), RuleCatalog.All.Select(r => r.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_catalogue_is_in_order_of_family_and_name() =>
        Assert.Equal(RuleCatalog.All.OrderBy(r => r.Family).ThenBy(r => r.Name, StringComparer.Ordinal), RuleCatalog.All);

    [Fact]
    public void Every_rule_says_what_it_sees_and_makes_a_rule_of_its_name()
    {
        Assert.All(RuleCatalog.All, info =>
        {
            Assert.EndsWith(".", info.Sees, StringComparison.Ordinal);
            Assert.StartsWith("https://learn.microsoft.com/windows-hardware/drivers/", info.Page, StringComparison.Ordinal);
            Assert.Equal(info.Name, info.Create().GetType().Name);
            Assert.Equal(info, RuleCatalog.Find(info.Name));
        });
    }

    [Fact]
    public void A_rule_with_a_page_of_Microsofts_has_its_name_and_any_other_begins_with_Iw() => Assert.All(RuleCatalog.All, info =>
        Assert.True(
            info.Page.EndsWith("/wdm-" + info.Name.ToLowerInvariant(), StringComparison.Ordinal)
                != info.Name.StartsWith("Iw", StringComparison.Ordinal),
            info.Name));
}
