using System.Globalization;
using System.Xml;

namespace Irpwright.Checking.Reports;

/// <summary>Scenarios as test cases in the XML that build servers read: a case fails with the findings that it was the first to show.</summary>
public static class CheckJUnit
{
    /// <param name="name">Of the suite.</param>
    public static void Write(TextWriter output, CheckResult result, string name)
    {
        using var xml = XmlWriter.Create(output, new XmlWriterSettings { Indent = true, NewLineChars = "\n" });
        ILookup<string, CheckFinding> findings = result.Findings.ToLookup(finding => finding.Scenario.Id);
        SkippedScenario[] skipped = [.. result.Skipped.Where(s => !findings.Contains(s.Scenario))];
        string[] ran = [.. result.Ran.Select(scenario => scenario.Id)];
        xml.WriteStartElement("testsuites");
        xml.WriteStartElement("testsuite");
        xml.WriteAttributeString("name", name);
        xml.WriteAttributeString("tests", Text(ran.Union(skipped.Select(s => s.Scenario)).Count()));
        xml.WriteAttributeString("failures", Text(findings.Count));
        xml.WriteAttributeString("skipped", Text(skipped.Length));
        foreach (string scenario in ran.Union(skipped.Select(s => s.Scenario)))
        {
            xml.WriteStartElement("testcase");
            xml.WriteAttributeString("classname", name);
            xml.WriteAttributeString("name", scenario);
            if (findings[scenario].ToArray() is { Length: > 0 } failures)
            {
                xml.WriteStartElement("failure");
                xml.WriteAttributeString("type", failures[0].Failure.Name);
                xml.WriteAttributeString("message", XmlText.Printable(failures[0].Failure.Sentence));
                xml.WriteString(XmlText.Printable(string.Join("\n\n", failures.Select(failure => string.Join('\n', failure.Report)))));
                xml.WriteEndElement();
            }
            else if (Array.Find(skipped, s => s.Scenario == scenario) is { } left)
            {
                xml.WriteStartElement("skipped");
                xml.WriteAttributeString("message", XmlText.Printable(left.Reason));
                xml.WriteEndElement();
            }
            xml.WriteEndElement();
        }
        xml.WriteEndElement();
        xml.WriteEndElement();
    }

    static string Text(int count) => count.ToString(CultureInfo.InvariantCulture);
}
