namespace Irpwright.Kernel.Tests.Conformance;

public class ConformanceTests
{
    [Fact]
    public void The_document_shows_what_the_tests_pin()
    {
        string current = ConformanceDocument.Generate();
        if (Environment.GetEnvironmentVariable("IRPWRIGHT_ACCEPT") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(ConformanceDocument.Path)!);
            File.WriteAllText(ConformanceDocument.Path, current);
        }
        string checkedIn = File.Exists(ConformanceDocument.Path) ? File.ReadAllText(ConformanceDocument.Path).ReplaceLineEndings("\n") : "";
        Assert.True(checkedIn == current, "docs/conformance.md is stale: run this test with the environment variable IRPWRIGHT_ACCEPT=1 and commit the file.");
    }

    [Fact]
    public void Every_id_that_a_test_names_exists()
    {
        HashSet<string> known = [.. ConformanceDocument.Requirements().Select(r => r.Id)];
        Assert.Empty(ConformanceDocument.Pins().Where(p => !known.Contains(p.Id)).Select(p => $"{p.File}:{p.Line} names {p.Id}, which is not in requirements.tsv."));
    }

    [Fact]
    public void Every_requirement_of_the_first_two_waves_has_a_test()
    {
        HashSet<string> pinned = [.. ConformanceDocument.Pins().Select(p => p.Id)];
        Assert.Empty(ConformanceDocument.Requirements().Where(r => r.Wave is 'M' or 'S' && !pinned.Contains(r.Id)).Select(r => $"{r.Id} has no test."));
    }

    [Fact]
    public void Ids_are_unique_and_titles_are_short()
    {
        IReadOnlyList<Requirement> requirements = ConformanceDocument.Requirements();
        Assert.Equal(requirements.Count, requirements.Select(r => r.Id).Distinct().Count());
        Assert.All(requirements, r => Assert.InRange(r.Title.Split(' ').Length, 1, 12));
    }

    [Fact]
    public void Attributes_are_found_on_classes_nested_classes_and_methods()
    {
        string[] source =
        [
            """[Spec("STK-01")]""",
            "public class Outer",
            "{",
            "    public class Inner : Base",
            "    {",
            "        [Fact]",
            """        [Spec("CMP-06"), Spec("COMPLETE-FINAL-01")]""",
            "        public async Task A_test()",
            "    }",
            "",
            """    [Theory, Spec("STK-02")]""",
            "    public void Another(int x)",
            "}",
        ];
        Assert.Equal(
            ["STK-01 Outer", "CMP-06 Outer.Inner.A_test", "COMPLETE-FINAL-01 Outer.Inner.A_test", "STK-02 Outer.Another"],
            ConformanceDocument.PinsIn("x.cs", source).Select(p => $"{p.Id} {p.Test}"));
    }
}
