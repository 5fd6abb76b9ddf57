using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Xml;

namespace Irpwright.Checking.Reports;

/// <summary>
/// What a check came to, as one page for a browser that needs nothing else. Written as XML, which is what escapes the names and texts
/// of drivers; the page allows itself no script but its own.
/// </summary>
public static class CheckHtml
{
    // Neither < nor & in these: HTML takes them as they are.
    const string Style = """
        :root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --soft: #5a6572; --line: #d5dbe1; --panel: #f5f7f9;
          --link: #0a58ca; --error: #b3261e; --warning: #8a5a00; --advice: #3f6212; --ok: #1f6f43; }
        @media (prefers-color-scheme: dark) { :root { --ground: #14171a; --text: #e4e7ea; --soft: #9aa5b1; --line: #343b42; --panel: #1d2226;
          --link: #7db3ff; --error: #ff8a80; --warning: #f3c15f; --advice: #b5d77a; --ok: #6fd39b; } }
        body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
        h1 { font-size: 1.4rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; } h3 { font-size: 1rem; margin: 0; }
        a { color: var(--link); } p { margin: .5rem 0; } .soft { color: var(--soft); }
        code, pre { font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; }
        pre { margin: .75rem 0 0; padding: .75rem; background: var(--panel); overflow-x: auto; border-radius: 4px; }
        article { border: 1px solid var(--line); border-left-width: 5px; border-radius: 4px; padding: .9rem 1rem; margin: 1rem 0; }
        article.error { border-left-color: var(--error); } article.warning { border-left-color: var(--warning); } article.advice { border-left-color: var(--advice); }
        .error .severity { color: var(--error); } .warning .severity { color: var(--warning); } .advice .severity { color: var(--advice); }
        .severity { font-weight: 700; text-transform: uppercase; font-size: .8rem; margin-right: .5rem; } .clean { color: var(--ok); font-weight: 600; }
        h3, td, dd, p { overflow-wrap: anywhere; } summary { cursor: pointer; }
        .replay { display: flex; gap: .5rem; align-items: start; margin-top: .75rem; } .replay pre { margin: 0; flex: 1; white-space: pre-wrap; overflow-wrap: anywhere; }
        button { font: inherit; font-size: .85rem; padding: .3rem .7rem; color: var(--text); background: var(--panel); border: 1px solid var(--line); border-radius: 4px; cursor: pointer; }
        table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
        dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.5rem; margin: .75rem 0; } dt { color: var(--soft); } dd { margin: 0; }
        @media print { button { display: none; } pre { white-space: pre-wrap; } }
        """;

    const string Script = """
        document.addEventListener('click', function (event) {
          var button = event.target;
          if (button.tagName !== 'BUTTON') return;
          var text = button.parentNode.querySelector('pre');
          var done = function () { button.textContent = 'Copied'; setTimeout(function () { button.textContent = 'Copy'; }, 1500); };
          var select = function () { getSelection().selectAllChildren(text); if (document.execCommand('copy')) done(); };
          if (navigator.clipboard) navigator.clipboard.writeText(text.textContent).then(done, select);
          else select();
        });
        """;

    /// <param name="title">What was checked, as the user named it.</param>
    /// <param name="version">Of the tool.</param>
    public static void Write(TextWriter output, CheckResult result, string title, string version)
    {
        using (var xml = XmlWriter.Create(output, new XmlWriterSettings { OmitXmlDeclaration = true, NewLineHandling = NewLineHandling.None, CloseOutput = false }))
        {
            var page = new Page(xml);
            xml.WriteDocType("html", null, null, null);
            page.Element("html", () =>
            {
                page.Element("head", () => WriteHead(page, title));
                page.Element("body", () => WriteBody(page, result, title, version));
            }, ("lang", "en"));
        }
        output.Write('\n');
    }

    static void WriteHead(Page page, string title)
    {
        page.Void("meta", ("charset", "utf-8"));
        page.Void("meta", ("name", "viewport"), ("content", "width=device-width, initial-scale=1"));
        page.Void("meta", ("http-equiv", "Content-Security-Policy"),
            ("content", $"default-src 'none'; style-src 'sha256-{Hash(Style)}'; script-src 'sha256-{Hash(Script)}'"));
        page.Text("title", $"irpwright check {title}");
        page.Raw("style", Style);
    }

    static string Hash(string text) => Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    static void WriteBody(Page page, CheckResult result, string title, string version)
    {
        page.Text("h1", $"irpwright check {title}");
        page.Text("p", CheckText.Describe(result.Profile), ("class", "soft"));
        WriteSummary(page, result);
        page.Text("h2", "Findings");
        if (result.Findings.Count == 0) page.Text("p", "Nothing was found.", ("class", "clean"));
        for (int i = 0; i < result.Findings.Count; i++) WriteFinding(page, result.Findings[i], i + 1);
        WriteSkipped(page, result);
        WriteScenarios(page, result);
        WriteCoverage(page, result);
        page.Text("p", $"Irpwright {version}", ("class", "soft"));
        page.Raw("script", Script);
    }

    static void WriteSummary(Page page, CheckResult result) => page.Element("dl", () =>
    {
        var severities = result.Findings.GroupBy(finding => finding.Severity).OrderBy(group => group.Key)
            .Select(group => CheckText.Count(group.Count(), NameOf(group.Key))).ToArray();
        Row("Findings", severities.Length == 0 ? "none" : string.Join(", ", severities));
        Row("Scenarios", CheckText.Count(result.Ran.Count, "scenario") + $" in {CheckText.Count(result.Runs, "run")}");
        Row("Faults", $"{CheckText.Count(result.Faults, "call site")} made to fail");
        if (result.Muted > 0) Row("Muted", CheckText.Count(result.Muted, "violation"));
        if (result.Skipped.Count > 0) Row("Not decided", CheckText.Count(result.Skipped.Count, "scenario"));
        if (result.Profile.Devices.Count > 0) Row("Devices", string.Join(", ", result.Profile.Devices));
        if (result.Profile.ControlRequests.Count > 0) Row("Control codes", string.Join(", ", result.Profile.ControlRequests.Select(request => $"0x{request.Code:X8}")));

        void Row(string name, string value)
        {
            page.Text("dt", name);
            page.Text("dd", value);
        }
    });

    static string NameOf(Severity severity) => severity.ToString().ToLowerInvariant();

    static void WriteFinding(Page page, CheckFinding finding, int number) => page.Element("article", () =>
    {
        Failure failure = finding.Failure;
        page.Element("h3", () =>
        {
            page.Text("span", NameOf(finding.Severity), ("class", "severity"));
            if (failure.Page is { } link && link.StartsWith("https://", StringComparison.Ordinal)) page.Text("a", failure.Name, ("href", link), ("rel", "noreferrer"));
            else page.Text("span", failure.Name);
            if (failure.Place is { } place)
            {
                page.Say(" in ");
                page.Text("code", place);
            }
        });
        page.Text("p", failure.Sentence);
        if (finding.Rule is { Instead.Length: > 0 } rule) page.Text("p", rule.Instead);
        string others = finding.Scenarios > 1 ? $", and in {CheckText.Count(finding.Scenarios - 1, "other scenario")}" : "";
        page.Text("p", $"Seen in {finding.Scenario.Id}: {finding.Scenario.Title}{others}.", ("class", "soft"));
        page.Element("details", () =>
        {
            page.Text("summary", "What happened");
            page.Text("pre", string.Join('\n', Story(finding.Report)));
        }, number == 1 ? [("open", "open")] : []);
        page.Element("div", () =>
        {
            page.Text("pre", $"irpwright replay '{finding.Replay}'");
            page.Text("button", "Copy", ("type", "button"));
        }, ("class", "replay"));
    }, ("class", NameOf(finding.Severity)), ("id", $"finding-{number}"));

    /// <summary>The report between its first lines and the command at its end, both of which the page shows in its own way.</summary>
    static IReadOnlyList<string> Story(IReadOnlyList<string> report)
    {
        string[] story = [.. report.SkipWhile(line => line.Length > 0).Skip(1).TakeWhile(line => line.Trim() != "to see it again")];
        return story.Length > 0 ? story : report;
    }

    static void WriteSkipped(Page page, CheckResult result)
    {
        if (result.Skipped.Count == 0) return;
        page.Text("h2", "Not decided");
        foreach (IGrouping<string, SkippedScenario> reason in result.Skipped.GroupBy(skipped => skipped.Reason))
        {
            page.Text("p", $"{reason.Key}:");
            page.Element("p", () => page.Text("code", string.Join(", ", reason.Select(skipped => skipped.Scenario))));
        }
    }

    static void WriteScenarios(Page page, CheckResult result)
    {
        page.Text("h2", "Scenarios");
        page.Element("table", () =>
        {
            page.Element("tr", () =>
            {
                foreach (string head in (string[])["Scenario", "What it does", "Outcome"]) page.Text("th", head);
            });
            foreach (CheckScenario scenario in result.Ran)
            {
                page.Element("tr", () =>
                {
                    page.Element("td", () => page.Text("code", scenario.Id));
                    page.Text("td", scenario.Title);
                    page.Element("td", () => WriteOutcome(page, result, scenario));
                });
            }
        });
    }

    static void WriteOutcome(Page page, CheckResult result, CheckScenario scenario)
    {
        bool isFirst = true;
        for (int i = 0; i < result.Findings.Count; i++)
        {
            if (result.Findings[i].Scenario.Id != scenario.Id) continue;
            if (!isFirst) page.Say(", ");
            page.Text("a", result.Findings[i].Failure.Name, ("href", $"#finding-{i + 1}"));
            isFirst = false;
        }
        if (!isFirst) return;
        page.Say(result.Skipped.Any(skipped => skipped.Scenario == scenario.Id) ? "not decided" : result.Findings.Count == 0 ? "nothing found" : "nothing new");
    }

    static void WriteCoverage(Page page, CheckResult result)
    {
        page.Text("h2", "Coverage");
        CheckCoverage coverage = result.Coverage;
        if (coverage.AllFunctions > 0) page.Text("p", $"{CheckText.Reached(coverage)} of the compiled drivers ran.");
        page.Element("details", () =>
        {
            page.Text("summary", $"{CheckText.Count(coverage.Routines.Count, "kernel routine")} called");
            page.Element("p", () => page.Text("code", string.Join(", ", coverage.Routines)));
        });
    }

    /// <summary>Elements in the form that HTML and XML have in common.</summary>
    sealed class Page(XmlWriter xml)
    {
        public void Element(string name, Action content, params ReadOnlySpan<(string Name, string Value)> attributes)
        {
            xml.WriteStartElement(name);
            foreach ((string attribute, string value) in attributes) xml.WriteAttributeString(attribute, XmlText.Printable(value));
            content();
            xml.WriteFullEndElement();
        }

        public void Text(string name, string text, params ReadOnlySpan<(string Name, string Value)> attributes) => Element(name, () => Say(text), attributes);

        public void Say(string text) => xml.WriteString(XmlText.Printable(text));

        /// <summary>A style or script of ours.</summary>
        public void Raw(string name, string text) => Element(name, () => xml.WriteRaw(text));

        /// <summary>An element without content or end.</summary>
        public void Void(string name, params ReadOnlySpan<(string Name, string Value)> attributes)
        {
            xml.WriteStartElement(name);
            foreach ((string attribute, string value) in attributes) xml.WriteAttributeString(attribute, value);
            xml.WriteEndElement();
        }
    }
}
