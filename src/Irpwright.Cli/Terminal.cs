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
        bool isScreen = !Console.IsOutputRedirected;
        bool colours = isScreen && Variable("NO_COLOR").Length == 0 && Variable("TERM") != "dumb";
        return new Terminal(ResultWriter.StandardOutput(isScreen), Console.Error, colours, !Console.IsErrorRedirected);

        static string Variable(string name) => Environment.GetEnvironmentVariable(name) ?? "";
    }

    /// <summary>One line of diagnostics.</summary>
    public void Complain(string message) => Error.Write($"irpwright: {message.ReplaceLineEndings(" ")}\n");
}
