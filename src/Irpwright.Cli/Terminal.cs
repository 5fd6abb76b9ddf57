using System.Text;

namespace Irpwright.Cli;

/// <summary>Where results and diagnostics go.</summary>
/// <param name="Output">Results.</param>
/// <param name="Error">Diagnostics.</param>
/// <param name="OutputColours">Whether results may be coloured.</param>
/// <param name="Interactive">Whether somebody watches stderr.</param>
sealed record Terminal(TextWriter Output, TextWriter Error, bool OutputColours = false, bool Interactive = false)
{
    public static Terminal OfProcess()
    {
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false), 1 << 14) { AutoFlush = !Console.IsOutputRedirected };
        bool noColour = Environment.GetEnvironmentVariable("NO_COLOR") is { Length: > 0 } || Environment.GetEnvironmentVariable("TERM") == "dumb";
        return new Terminal(output, Console.Error, !Console.IsOutputRedirected && !noColour, !Console.IsErrorRedirected);
    }

    /// <summary>One line of diagnostics.</summary>
    public void Complain(string message) => Error.Write($"irpwright: {message.ReplaceLineEndings(" ")}\n");
}
