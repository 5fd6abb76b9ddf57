namespace Irpwright.Cli;

static class ExitCode
{
    public const int Clean = 0;

    /// <summary>A bug check, a hang or a broken rule.</summary>
    public const int Violation = 1;

    /// <summary>Bad usage, or an input that cannot be read.</summary>
    public const int BadInput = 2;

    /// <summary>The question could not be decided: something unsupported, a budget that ran out, or an error of our own.</summary>
    public const int Undecided = 3;

    /// <summary>Ctrl-C, as shells report it.</summary>
    public const int Interrupted = 130;
}

/// <summary>Ends the command with one line on stderr. The message names the place and what to do about it.</summary>
sealed class CommandException(int exitCode, string message, Exception? cause = null) : Exception(message, cause)
{
    public int ExitCode { get; } = exitCode;

    public static CommandException BadInput(string message) => new(Cli.ExitCode.BadInput, message);

    public static CommandException Undecided(string message) => new(Cli.ExitCode.Undecided, message);
}
