using System.CommandLine;
using System.Diagnostics;

namespace Irpwright.Cli;

/// <summary>The irpwright command: its subcommands, and how it ends.</summary>
static class CommandLine
{
    /// <summary>Runs the command.</summary>
    /// <returns>The exit code, see <see cref="ExitCode"/>.</returns>
    public static int Invoke(string[] args, Terminal terminal)
    {
        try
        {
            int exitCode = Parse(args, terminal).Invoke(new InvocationConfiguration
            {
                Output = terminal.Output, Error = terminal.Error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null,
            });
            (terminal.Output as ResultWriter)?.Complete();
            return exitCode;
        }
        catch (CommandException e)
        {
            // What came before the problem is shown before it.
            terminal.Output.Flush();
            terminal.Complain(e.Message);
            return e.ExitCode;
        }
        catch (Exception e)
        {
            terminal.Output.Flush();
            terminal.Complain($"internal error, please report it: {e.GetType().Name}: {e.Message}{PlaceOf(e)}");
            return ExitCode.Undecided;
        }
    }

    static ParseResult Parse(string[] args, Terminal terminal)
    {
        ParseResult parsed = Root(args, terminal).Parse(args);
        // Asking for help is no error, however little else is right.
        if (parsed.Errors.Count > 0 && parsed.Action is not HelpWithExamples)
            throw CommandException.BadInput($"{Problem(parsed)} See 'irpwright {CommandName(parsed)}--help'.");
        return parsed;
    }

    static RootCommand Root(string[] args, Terminal terminal)
    {
        var root = new RootCommand("Runs stacks of Windows drivers, C# or unmodified x64 .sys files, and shows what happens to every IRP.")
        {
            RunCommand.Create(terminal, args),
            CheckCommand.Create(terminal),
            ExploreCommand.Create(terminal),
            ReplayCommand.Create(terminal),
            InspectCommand.Create(terminal),
            RulesCommand.Create(terminal),
        };
        HelpWithExamples.AddTo(root, new()
        {
            ["run"] = RunCommand.Examples, ["check"] = CheckCommand.Examples, ["rules"] = RulesCommand.Examples, ["inspect"] = InspectCommand.Examples,
            ["explore"] = ExploreCommand.Examples, ["replay"] = ReplayCommand.Examples,
        });
        return root;
    }

    static string Problem(ParseResult parsed) =>
        parsed.UnmatchedTokens is [var token, ..] ? $"There is no command or option '{token}'." : parsed.Errors[0].Message;

    static string CommandName(ParseResult parsed) =>
        parsed.CommandResult.Command is RootCommand ? "" : parsed.CommandResult.Command.Name + " ";

    static string PlaceOf(Exception e) =>
        new StackTrace(e).GetFrame(0) is { } frame && DiagnosticMethodInfo.Create(frame) is { } method
            ? $" (in {method.DeclaringTypeName}.{method.Name})"
            : "";
}
