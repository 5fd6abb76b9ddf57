using System.CommandLine;
using Irpwright.Verification;

namespace Irpwright.Cli;

/// <summary><c>irpwright rules</c>.</summary>
static class RulesCommand
{
    public const string Examples = """
        Examples:
          irpwright rules
          irpwright rules DoubleCompletion
          irpwright rules DV-C9-0x228
          irpwright rules --json | jq -r '.rules[] | select(.severity=="error") | .name'
        """;

    public static Command Create(Terminal terminal)
    {
        var name = new Argument<string?>("RULE")
        {
            Description = "A rule to explain: its name, or a code of Driver Verifier such as DV-C9-0x228", Arity = ArgumentArity.ZeroOrOne,
        };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("rules", "List and explain the rules that drivers are checked against.") { name, json };
        command.SetAction(parsed =>
        {
            IReadOnlyList<RuleInfo> rules = parsed.GetValue(name) is { } one ? [Find(one)] : RuleCatalog.All;
            if (parsed.GetValue(json)) terminal.Output.Write(RulesJson.Of(rules).Serialize());
            else if (parsed.GetValue(name) is null) WriteTable(terminal.Output);
            else Explain(terminal.Output, rules[0]);
            return ExitCode.Clean;
        });
        return command;
    }

    static RuleInfo Find(string name)
    {
        if (RuleCatalog.Find(name) is { } rule) return rule;
        string[] similar = [.. RuleCatalog.All.Select(r => r.Name).Where(n => n.Contains(name, StringComparison.OrdinalIgnoreCase)).Take(5)];
        throw CommandException.BadInput($"{name}: no rule of that name; {(similar.Length > 0 ? $"there are {string.Join(", ", similar)}" : "'irpwright rules' lists them")}.");
    }

    static void WriteTable(TextWriter output)
    {
        int width = RuleCatalog.All.Max(rule => rule.Name.Length);
        foreach (IGrouping<RuleFamily, RuleInfo> family in RuleCatalog.All.GroupBy(rule => rule.Family))
        {
            output.Write($"{family.Key}\n");
            foreach (RuleInfo rule in family)
                output.Write($"  {rule.Name.PadRight(width)}  {rule.Severity.ToString().ToLowerInvariant(),-7}  {rule.Sees}\n");
        }
        output.Write($"{RuleCatalog.All.Count} rules\n");
    }

    static void Explain(TextWriter output, RuleInfo rule)
    {
        output.Write($"{rule.Name}  {rule.Severity.ToString().ToLowerInvariant()}{(rule.Severity == Severity.Advice ? ", off unless asked for" : "")}\n\n");
        output.Write($"  sees      {rule.Sees}\n");
        if (rule.Instead.Length > 0) output.Write($"  instead   {rule.Instead}\n");
        if (rule.Code is { } code) output.Write($"  Windows   stops with {code} under Driver Verifier\n");
        if (rule.Covers.Count > 0) output.Write($"  also      {string.Join(", ", rule.Covers)}\n");
        output.Write($"  page      {rule.Page}\n");
        WriteCode(output, "wrong", rule.Wrong);
        WriteCode(output, "right", rule.Right);
    }

    static void WriteCode(TextWriter output, string title, string code)
    {
        if (code.Length == 0) return;
        output.Write($"\n  {title}\n");
        foreach (string line in code.Split('\n')) output.Write(line.Length == 0 ? "\n" : $"    {line.TrimEnd('\r')}\n");
    }
}
