namespace Irpwright.Cli;

enum TraceFormat : byte
{
    None,
    Text,
    Json,
}

/// <summary>What <c>--trace</c> asks for.</summary>
/// <param name="File">Null for stdout.</param>
sealed record TraceSpec(TraceFormat Format, string? File)
{
    public static TraceSpec None { get; } = new(TraceFormat.None, null);

    /// <exception cref="CommandException">Says which part is wrong.</exception>
    public static TraceSpec Parse(string text)
    {
        string[] parts = text.Split(':', 2);
        TraceFormat format = parts[0] switch
        {
            "text" => TraceFormat.Text,
            "json" => TraceFormat.Json,
            _ => throw CommandException.BadInput($"--trace {text}: '{parts[0]}' is no format; there are text and json."),
        };
        if (parts is [_, ""]) throw CommandException.BadInput($"--trace {text}: the file name after the colon is missing.");
        return new TraceSpec(format, parts.Length == 2 ? parts[1] : null);
    }
}
