using System.CommandLine;

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
            var root = new RootCommand("Runs Windows driver stacks, C# drivers and unmodified x64 .sys files, and shows what happens to every IRP.")
            {
                RunCommand.Create(terminal, args),
                InspectCommand.Create(terminal),
            };
            ParseResult parsed = root.Parse(args);
            if (parsed.Errors.Count > 0) throw CommandException.BadInput($"{parsed.Errors[0].Message} See 'irpwright {CommandName(parsed)}--help'.");
            if (args.Length == 0) parsed = root.Parse(["--help"]);
            return parsed.Invoke(new InvocationConfiguration { Output = terminal.Output, Error = terminal.Error, EnableDefaultExceptionHandler = false });
        }
        catch (CommandException e)
        {
            terminal.Complain(e.Message);
            return e.ExitCode;
        }
        catch (IOException e) when (e is not FileNotFoundException)
        {
            // A reader that went away (head, less) is no error worth a message.
            if (!IsBrokenPipe(e)) terminal.Complain($"{e.Message} The result is incomplete.");
            return ExitCode.Undecided;
        }
        catch (Exception e)
        {
            terminal.Complain($"internal error, please report it: {e.GetType().Name}: {e.Message}{PlaceOf(e)}");
            return ExitCode.Undecided;
        }
        finally
        {
            Finish(terminal);
        }
    }

    static string CommandName(ParseResult parsed) => parsed.CommandResult.Command is RootCommand ? "" : parsed.CommandResult.Command.Name + " ";

    static bool IsBrokenPipe(IOException e) => (e.HResult & 0xFFFF) is 32 or 109 or 232;

    static string PlaceOf(Exception e) =>
        new System.Diagnostics.StackTrace(e).GetFrame(0) is { } frame && System.Diagnostics.DiagnosticMethodInfo.Create(frame) is { } method
            ? $" (in {method.DeclaringTypeName}.{method.Name})"
            : "";

    static void Finish(Terminal terminal)
    {
        try
        {
            terminal.Output.Flush();
            terminal.Error.Flush();
        }
        catch (IOException)
        {
            // The reader went away; everything that mattered was tried.
        }
    }
}
