namespace Irpwright.Kernel.Tests.Conformance;

public class ConformanceTests
{
    /// <summary>Requirements of wave M that have no test yet. To be empty.</summary>
    static readonly string[] KnownGaps =
    [
        // Reported by rules.
        "CMP-27", "CMP-28", "REG-07",
        // Not yet.
        "IMP-05", "IMP-07", "IMP-08", "IMP-09", "IMP-10", "PEND-01",
        "PEND-02", "PEND-05", "PEND-06", "PEND-08", "SYNC-01",
        "SYNC-02", "SYNC-03", "SYNC-05", "SYNC-06", "SYNC-07", "ALLOC-01", "ALLOC-02", "ALLOC-03",
        "ALLOC-04", "ALLOC-05", "ALLOC-06", "ALLOC-07", "ALLOC-08", "ALLOC-10", "REUSE-01", "REUSE-02",
        "REUSE-03", "REUSE-04", "BUILD-01", "BUILD-02", "BUILD-03", "BUILD-04", "BUILD-05", "BUILD-06",
        "BUILD-07", "BUILD-08", "BUILD-09", "BUILD-10", "BUILD-11", "BUILD-12", "BUILD-13", "COMPLETE-FINAL-01",
        "COMPLETE-FINAL-06", "COMPLETE-FINAL-07", "COMPLETE-FINAL-09", "COMPLETE-FINAL-10", "COMPLETE-FINAL-11", "COMPLETE-FINAL-13", "COMPLETE-FINAL-14", "COMPLETE-FINAL-15",
        "COMPLETE-FINAL-18", "CANCEL-01", "CANCEL-02", "CANCEL-03", "CANCEL-04", "CANCEL-05", "CANCEL-06", "CANCEL-07",
        "CANCEL-08", "CANCEL-09", "CANCEL-10", "CANCEL-11", "CANCEL-12", "CANCEL-13", "CANCEL-18", "DPC-01",
        "DPC-02", "DPC-03", "DPC-06", "BUF-01", "BUF-02", "BUF-03", "BUF-04", "BUF-05",
        "BUF-07", "DEV-01", "DEV-02", "DEV-03", "DEV-05", "DEV-06", "DEV-07", "DEV-08",
        "DEV-10", "DEV-11", "DEV-12", "DEV-13", "DEV-14", "FILE-01", "FILE-02", "FILE-03",
        "FILE-05", "FILE-06", "FILE-07", "IRQL-01", "IRQL-02", "IRQL-03",
    ];

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
    public void Every_requirement_of_the_first_wave_has_a_test()
    {
        HashSet<string> pinned = [.. ConformanceDocument.Pins().Select(p => p.Id)];
        string[] missing = [.. ConformanceDocument.Requirements().Where(r => r.Wave == 'M' && !pinned.Contains(r.Id)).Select(r => r.Id)];
        Assert.Empty(missing.Except(KnownGaps).Select(id => $"{id} has no test."));
        Assert.Empty(KnownGaps.Except(missing).Select(id => $"{id} has a test now: take it off the list of gaps."));
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
