using System.Text;
using System.Text.RegularExpressions;

namespace Irpwright.Kernel.Tests.Conformance;

/// <param name="Wave">M: everything rests on it. S: ordinary drivers need it. L: later.</param>
sealed record Requirement(string Id, char Wave, string Area, string Title);

/// <summary>A test and the requirement that it names.</summary>
sealed record Pin(string Id, string Test, string File, int Line)
{
    /// <summary>The sources of these projects are compiled twice, once for each scheduler; other tests run on the controlled one.</summary>
    public bool OnBothSchedulers => File.Split(Path.DirectorySeparatorChar)[1] is "Irpwright.Kernel.Tests" or "Irpwright.Verifier.Tests";
}

/// <summary>The table of requirements and of the tests that pin them, made from what is checked in.</summary>
static partial class ConformanceDocument
{
    public static string Root { get; } = FindRoot();

    public static string Path { get; } = System.IO.Path.Combine(Root, "docs", "conformance.md");

    static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "Irpwright.slnx"))) return folder.FullName;
        }
        throw new DirectoryNotFoundException($"{AppContext.BaseDirectory} is not inside the repository.");
    }

    public static IReadOnlyList<Requirement> Requirements() =>
    [
        .. File.ReadLines(System.IO.Path.Combine(Root, "tests", "Irpwright.Kernel.Tests", "Conformance", "requirements.tsv"))
            .Skip(1)
            .Select(line => line.Split('\t'))
            .Select(fields => new Requirement(fields[0], fields[1][0], fields[2], fields[3])),
    ];

    /// <summary>Every [Spec] of every test project, by reading their sources: projects need not know each other.</summary>
    public static IReadOnlyList<Pin> Pins()
    {
        string tests = System.IO.Path.Combine(Root, "tests");
        string[] built = [$"{System.IO.Path.DirectorySeparatorChar}obj{System.IO.Path.DirectorySeparatorChar}", $"{System.IO.Path.DirectorySeparatorChar}bin{System.IO.Path.DirectorySeparatorChar}"];
        return [.. Directory.EnumerateFiles(tests, "*.cs", SearchOption.AllDirectories)
            .Where(file => !built.Any(file.Contains))
            .Order(StringComparer.Ordinal)
            .SelectMany(file => PinsIn(System.IO.Path.GetRelativePath(Root, file), File.ReadAllLines(file)))];
    }

    /// <summary>Attributes stand on lines of their own, above a class or a method; classes nest by indentation.</summary>
    public static IEnumerable<Pin> PinsIn(string file, string[] lines)
    {
        List<(int Indentation, string Name)> classes = [];
        List<(string Id, int Line)> waiting = [];
        for (int i = 0; i < lines.Length; i++)
        {
            string text = lines[i].TrimStart();
            if (text.StartsWith('['))
            {
                waiting.AddRange(SpecAttribute().Matches(text).Select(m => (m.Groups[1].Value, i + 1)));
                continue;
            }
            Match declared = ClassDeclaration().Match(text);
            Match method = MethodDeclaration().Match(text);
            if (!declared.Success && !(method.Success && waiting.Count > 0)) continue;
            int indentation = lines[i].Length - text.Length;
            classes.RemoveAll(c => c.Indentation >= indentation);
            if (declared.Success) classes.Add((indentation, declared.Groups[1].Value));
            string subject = string.Join('.', classes.Select(c => c.Name).Concat(method.Success ? [method.Groups[1].Value] : []));
            foreach ((string id, int line) in waiting) yield return new Pin(id, subject, file, line);
            waiting.Clear();
        }
    }

    [GeneratedRegex("""Spec\("([A-Z]+(?:-[A-Z]+)*-\d+)"\)""")]
    private static partial Regex SpecAttribute();

    [GeneratedRegex(@"^(?:(?:public|internal|private|protected|sealed|static|abstract|partial)\s+)*class\s+(\w+)")]
    private static partial Regex ClassDeclaration();

    [GeneratedRegex(@"^public\s+(?:async\s+)?[\w<>\[\]]+\s+(\w+)\s*\(")]
    private static partial Regex MethodDeclaration();

    public static string Generate()
    {
        IReadOnlyList<Requirement> requirements = Requirements();
        ILookup<string, Pin> tests = Pins().ToLookup(p => p.Id);
        int Tested(IEnumerable<Requirement> some) => some.Count(r => tests.Contains(r.Id));
        var text = new StringBuilder("""
            # Conformance

            How an IRP is made, sent, completed, cancelled and delivered: each requirement has an id, which tests name with
            `[Spec("CMP-06")]`. Wave M is what everything else rests on, S what ordinary drivers and diagnoses need, L comes later.
            The tests of the kernel and of the rules run on both schedulers: in virtual time with one thread at a time, and on real threads and the real
            clock. What a requirement shows in other tests only (traces, compiled drivers), those show on the first.

            This file is generated from the tests: run them with `IRPWRIGHT_ACCEPT=1` to write it anew.

            | area | M | S | L |
            |---|---|---|---|

            """);
        foreach (IGrouping<string, Requirement> area in requirements.GroupBy(r => r.Area)) AppendCounts(area.Key, area);
        AppendCounts("**all**", requirements);
        foreach (IGrouping<string, Requirement> area in requirements.GroupBy(r => r.Area))
        {
            text.Append($"\n## {area.Key}\n\n| id | wave | requirement | schedulers | tests |\n|---|---|---|---|---|\n");
            foreach (Requirement r in area)
            {
                string state = !tests.Contains(r.Id) ? "not yet" : tests[r.Id].Any(p => p.OnBothSchedulers) ? "both" : "controlled";
                string names = string.Join("<br>", tests[r.Id].Select(p => p.Test).Distinct().Order(StringComparer.Ordinal).Select(name => $"`{name}`"));
                text.Append($"| {r.Id} | {r.Wave} | {r.Title} | {state} | {names} |\n");
            }
        }
        return text.ToString().ReplaceLineEndings("\n");

        void AppendCounts(string name, IEnumerable<Requirement> some)
        {
            string[] cells = [.. "MSL".Select(wave => some.Where(r => r.Wave == wave).ToList()).Select(w => w.Count == 0 ? "" : $"{Tested(w)} of {w.Count}")];
            text.Append($"| {name} | {string.Join(" | ", cells)} |\n");
        }
    }
}
