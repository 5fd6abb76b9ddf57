using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using Irpwright.Checking.Reports;

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

    [Fact]
    public void The_summary_counts()
    {
        Assert.Equal(
            $"{Result.Findings.Count} findings in {Result.Ran.Count} scenarios, {Result.Runs} runs; {Result.Faults} call sites made to fail; "
                + $"{Result.Coverage.Routines.Count} kernel routines called; {Result.Coverage.Functions} of {Result.Coverage.AllFunctions} functions reached",
            Assert.Single(CheckText.Summarise(Result)));
    }
}
