using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using Irpwright.Checking.Reports;
using Json.Schema;

namespace Irpwright.Checking.Tests;

public class ReportTests
{
    static readonly CheckResult Result = CompiledSamples.Check("broken-forgotten", 3);

    [Fact]
    public void Sarif_has_what_the_specification_requires_and_every_finding()
    {
        var output = new MemoryStream();
        CheckSarif.Write(output, Result, ["drivers/broken-forgotten.sys"], "1.2.3");
        using var sarif = JsonDocument.Parse(output.ToArray());
        Assert.Equal("2.1.0", sarif.RootElement.GetProperty("version").GetString());
        JsonElement run = sarif.RootElement.GetProperty("runs")[0];
        JsonElement driver = run.GetProperty("tool").GetProperty("driver");
        Assert.Equal("Irpwright", driver.GetProperty("name").GetString());
        JsonElement[] rules = [.. driver.GetProperty("rules").EnumerateArray()], results = [.. run.GetProperty("results").EnumerateArray()];
        Assert.Equal(Result.Findings.Count, results.Length);
        for (int i = 0; i < results.Length; i++)
        {
            Assert.Equal(results[i].GetProperty("ruleId").GetString(), rules[results[i].GetProperty("ruleIndex").GetInt32()].GetProperty("id").GetString());
            Assert.Equal(Result.Findings[i].Failure.Sentence, results[i].GetProperty("message").GetProperty("text").GetString());
            Assert.Equal("error", results[i].GetProperty("level").GetString());
            JsonElement artifact = results[i].GetProperty("locations")[0].GetProperty("physicalLocation").GetProperty("artifactLocation");
            Assert.Equal("drivers/broken-forgotten.sys", artifact.GetProperty("uri").GetString());
            Assert.Equal(0, artifact.GetProperty("index").GetInt32());
        }
        Assert.True(run.GetProperty("invocations")[0].GetProperty("executionSuccessful").GetBoolean());
    }

    [Fact]
    public void Sarif_is_valid_by_its_schema_whatever_happened()
    {
        using Stream text = typeof(ReportTests).Assembly.GetManifestResourceStream("sarif-2.1.0.json")!;
        using var reader = new StreamReader(text);
        JsonSchema schema = JsonSchema.FromText(reader.ReadToEnd());
        string[] drivers = [@"C:\drivers\broken-forgotten.sys", "/a b/ü#?.sys"];
        RequireValid(Result);
        RequireValid(Result with { Findings = [] });
        RequireValid(Result with { Skipped = [new("load", "the budget was spent")] });
        Assert.False(IsValid("""{ "version": "2.1.0" }""").IsValid);

        void RequireValid(CheckResult result)
        {
            var output = new MemoryStream();
            CheckSarif.Write(output, result, drivers, "1.2.3");
            EvaluationResults evaluation = IsValid(System.Text.Encoding.UTF8.GetString(output.ToArray()));
            Assert.True(evaluation.IsValid, string.Join('\n', evaluation.Details.Where(d => d.HasErrors).Select(d => $"{d.InstanceLocation}: {string.Join(", ", d.Errors!.Values)}")));
        }

        EvaluationResults IsValid(string sarif) => schema.Evaluate(
            JsonDocument.Parse(sarif).RootElement, new EvaluationOptions { OutputFormat = OutputFormat.List, RequireFormatValidation = true });
    }

    [Fact]
    public void JUnit_has_a_case_for_each_scenario_and_failures_for_those_that_showed_something_first()
    {
        var output = new StringWriter();
        CheckJUnit.Write(output, Result, "irpwright check");
        XElement suite = XDocument.Parse(output.ToString()).Root!.Element("testsuite")!;
        Assert.Equal(Result.Ran.Count, suite.Elements("testcase").Count());
        Assert.Equal(Result.Findings.Select(f => f.Scenario.Id).Distinct().Count(), suite.Descendants("failure").Count());
        Assert.Equal(suite.Descendants("failure").Count(), int.Parse(suite.Attribute("failures")!.Value, CultureInfo.InvariantCulture));
    }

    [Fact]
    public void Json_has_findings_with_their_replay_strings()
    {
        using var json = JsonDocument.Parse(CheckJson.Of(Result, ["broken-forgotten.sys"], 1).Serialize());
        JsonElement finding = json.RootElement.GetProperty("findings")[0];
        Assert.Equal(Result.Findings[0].Replay, finding.GetProperty("replay").GetString());
        Assert.Equal("rule", finding.GetProperty("kind").GetString());
        Assert.Equal("software", json.RootElement.GetProperty("role").GetString());
    }

    [Fact]
    public void A_report_tells_rule_place_IRP_last_steps_and_how_to_see_it_again()
    {
        string report = string.Join('\n', Result.Findings[0].Report);
        Assert.StartsWith("ERROR  IrpProcessingComplete  broken-forgotten!BrokenForgottenDispatchDeviceControl", report, StringComparison.Ordinal);
        Assert.Contains("wdm-irpprocessingcomplete", report, StringComparison.Ordinal);
        Assert.Contains("stack location", report, StringComparison.Ordinal);
        Assert.Contains("last steps", report, StringComparison.Ordinal);
        Assert.Contains("irpwright replay '", report, StringComparison.Ordinal);
    }

    static string Html(CheckResult result, string title)
    {
        var output = new StringWriter();
        CheckHtml.Write(output, result, title, "1.2.3");
        return output.ToString();
    }

    [Fact]
    public void Html_has_every_finding_with_its_page_place_story_and_replay_command()
    {
        XElement body = XDocument.Parse(Html(Result, "broken-forgotten.sys")).Root!.Element("body")!;
        XElement[] articles = [.. body.Elements("article")];
        Assert.Equal(Result.Findings.Count, articles.Length);
        for (int i = 0; i < articles.Length; i++)
        {
            CheckFinding finding = Result.Findings[i];
            Assert.Equal($"finding-{i + 1}", articles[i].Attribute("id")!.Value);
            Assert.Equal(finding.Failure.Page, articles[i].Element("h3")!.Element("a")?.Attribute("href")!.Value);
            Assert.Contains(finding.Failure.Place ?? "", articles[i].Element("h3")!.Value, StringComparison.Ordinal);
            Assert.Contains(finding.Failure.Sentence, articles[i].Value, StringComparison.Ordinal);
            Assert.Contains("last steps", articles[i].Value, StringComparison.Ordinal);
            Assert.Contains("stack location", articles[i].Value, StringComparison.Ordinal);
            Assert.Equal($"irpwright replay '{finding.Replay}'", articles[i].Elements("div").Single().Element("pre")!.Value);
        }
        Assert.Equal(Result.Ran.Select(s => s.Id), body.Element("table")!.Elements("tr").Skip(1).Select(row => row.Element("td")!.Value));
    }

    [Fact]
    public void Html_needs_nothing_from_elsewhere()
    {
        XDocument page = XDocument.Parse(Html(Result, "broken-forgotten.sys"));
        Assert.DoesNotContain(page.Descendants(), e => e.Name.LocalName is "link" or "img" or "iframe" || e.Attribute("src") is not null);
        XElement policy = page.Descendants("meta").Single(e => e.Attribute("http-equiv") is not null);
        Assert.StartsWith("default-src 'none'; ", policy.Attribute("content")!.Value, StringComparison.Ordinal);
        foreach (string name in (string[])["script", "style"])
        {
            byte[] hash = System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(page.Descendants(name).Single().Value));
            Assert.Contains($"{name}-src 'sha256-{Convert.ToBase64String(hash)}'", policy.Attribute("content")!.Value, StringComparison.Ordinal);
        }
        // What XML reads as text a browser reads as it stands.
        Assert.DoesNotContain("&", page.Descendants("script").Single().Value + page.Descendants("style").Single().Value, StringComparison.Ordinal);
        Assert.DoesNotContain("<", page.Descendants("script").Single().Value + page.Descendants("style").Single().Value, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_that_a_driver_names_or_prints_becomes_markup()
    {
        const string hostile = "</pre><script>alert('x')</script><img src=x onerror=\"y\">&amp;\u0001\uD800";
        CheckFinding first = Result.Findings[0];
        CheckFinding finding = first with
        {
            Failure = first.Failure with { Name = hostile, Sentence = hostile, Page = "javascript:" + hostile, Place = hostile },
            Scenario = first.Scenario with { Id = hostile, Title = hostile },
            Report = [hostile, "", hostile], Replay = hostile, Scenarios = 2,
        };
        CheckResult result = Result with
        {
            Findings = [finding], Ran = [finding.Scenario], Skipped = [new(hostile, hostile)],
            Profile = Result.Profile with { Devices = [hostile] },
            Coverage = Result.Coverage with { Routines = [hostile] },
        };
        string html = Html(result, hostile);
        XDocument page = XDocument.Parse(html);
        Assert.Single(page.Descendants("script"));
        Assert.Empty(page.Descendants("img"));
        Assert.DoesNotContain(page.Descendants().Attributes(), attribute => attribute.Name.LocalName.StartsWith("on", StringComparison.OrdinalIgnoreCase));
        Assert.DoesNotContain(page.Descendants("a"), a => a.Attribute("href")!.Value.StartsWith("javascript:", StringComparison.OrdinalIgnoreCase));
        string shown = hostile.Replace('\u0001', '?').Replace('\uD800', '\uFFFD');
        Assert.True(page.Descendants().Count(e => e.Nodes().OfType<XText>().Any(text => text.Value.Contains(shown, StringComparison.Ordinal))) >= 12, html);
    }

    [Fact]
    public void The_summary_counts()
    {
        Assert.Single(Result.Findings);
        Assert.Equal(
            $"1 finding in {Result.Ran.Count} scenarios, {Result.Runs} runs; {Result.Faults} call sites made to fail; "
                + $"{Result.Coverage.Routines.Count} kernel routines called; {Result.Coverage.Functions} of {Result.Coverage.AllFunctions} functions and {Result.Coverage.Blocks} of {Result.Coverage.AllBlocks} blocks of code reached",
            Assert.Single(CheckText.Summarise(Result)));
    }
}
