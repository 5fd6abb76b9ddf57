using System.Text;

namespace Irpwright.Cli;

/// <summary>Where results and diagnostics go.</summary>
/// <param name="Output">Results.</param>
/// <param name="Error">Diagnostics.</param>
/// <param name="OutputColours">Whether results may be coloured.</param>
/// <param name="Interactive">Whether somebody watches stderr.</param>
sealed record Terminal(TextWriter Output, TextWriter Error, bool OutputColours = false, bool Interactive = false)
{
    const int BufferSize = 1 << 14;

    public static Terminal OfProcess()
    {
        bool isScreen = !Console.IsOutputRedirected;
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false), BufferSize) { AutoFlush = isScreen };
        bool colours =
            string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && Environment.GetEnvironmentVariable("TERM") != "dumb";
        return new Terminal(output, Console.Error, isScreen && colours, !Console.IsErrorRedirected);
    }

    /// <summary>One line of diagnostics.</summary>
    public void Complain(string message) => Error.Write($"irpwright: {message.ReplaceLineEndings(" ")}\n");
}
