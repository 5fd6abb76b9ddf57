using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Irpwright.Cli;

/// <summary>The usual help, and below it the command's examples.</summary>
sealed class HelpWithExamples(HelpAction usual, Dictionary<string, string> examples) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    /// <param name="examples">By name of the command.</param>
    public static void AddTo(RootCommand root, Dictionary<string, string> examples)
    {
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        help.Action = new HelpWithExamples((HelpAction)help.Action!, examples);
    }

    public override int Invoke(ParseResult parseResult)
    {
        int result = usual.Invoke(parseResult);
        if (examples.TryGetValue(parseResult.CommandResult.Command.Name, out string? text))
            parseResult.InvocationConfiguration.Output.Write(text.ReplaceLineEndings("\n") + "\n");
        return result;
    }
}
