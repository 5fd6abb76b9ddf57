using System.Text;

namespace Irpwright.Cli;

/// <summary>Writes results to a file or to stdout. It fails at the end, not in the middle of a driver's call.</summary>
sealed class ResultWriter : TextWriter
{
    const int BufferSize = 1 << 14;

    readonly string name;
    readonly string? path;
    readonly StreamWriter target;
    IOException? failure;

    ResultWriter(string name, string? path, StreamWriter target)
    {
        this.name = name;
        this.path = path;
        this.target = target;
    }

    /// <param name="isScreen">Show every line at once.</param>
    public static ResultWriter StandardOutput(bool isScreen)
    {
        var target = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false), BufferSize) { AutoFlush = isScreen };
        return new ResultWriter("standard output", null, target);
    }

    /// <param name="option">That names the file, for messages.</param>
    /// <exception cref="CommandException">The file cannot be created.</exception>
    public static ResultWriter ToFile(string option, string path)
    {
        string name = $"{option}: {path}";
        try
        {
            return new ResultWriter(name, path, new StreamWriter(path, append: false, new UTF8Encoding(false), BufferSize));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw CannotWrite(name, e);
        }
    }

    public override Encoding Encoding => target.Encoding;

    public override void Write(char value) => Try(() => target.Write(value));

    public override void Write(string? value) => Try(() => target.Write(value));

    public override void Flush() => Try(target.Flush);

    /// <summary>Writes what is buffered.</summary>
    /// <exception cref="CommandException">This, or an earlier write, failed: the result is incomplete.</exception>
    public void Complete()
    {
        Flush();
        if (failure is not null) throw CannotWrite(name, failure);
    }

    /// <summary>Leaves no file behind.</summary>
    public void Discard()
    {
        Try(target.Dispose);
        if (path is not null) File.Delete(path);
    }

    void Try(Action write)
    {
        if (failure is not null) return;
        try
        {
            write();
        }
        catch (IOException e)
        {
            failure = e;
        }
    }

    static CommandException CannotWrite(string name, Exception e) =>
        CommandException.BadInput($"{name} cannot be written: {e.Message}");

    protected override void Dispose(bool disposing)
    {
        if (disposing) Try(target.Dispose);
        base.Dispose(disposing);
    }
}
