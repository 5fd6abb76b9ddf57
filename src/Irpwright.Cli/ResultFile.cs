using System.Text;

namespace Irpwright.Cli;

/// <summary>A file that results are written to. It fails at the end, not in the middle of a driver's call.</summary>
sealed class ResultFile : TextWriter
{
    const int BufferSize = 1 << 16;

    readonly string option;
    readonly string path;
    readonly StreamWriter file;
    IOException? failure;

    /// <param name="option">That named the file, for messages.</param>
    /// <exception cref="CommandException">It cannot be created.</exception>
    public ResultFile(string option, string path)
    {
        this.option = option;
        this.path = path;
        try
        {
            file = new StreamWriter(path, append: false, new UTF8Encoding(false), BufferSize);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw CannotWrite(e);
        }
    }

    public override Encoding Encoding => file.Encoding;

    public override void Write(char value) => Try(() => file.Write(value));

    public override void Write(string? value) => Try(() => file.Write(value));

    /// <summary>Writes what is buffered.</summary>
    /// <exception cref="CommandException">This, or an earlier write, failed: the file is incomplete.</exception>
    public void Complete()
    {
        Try(file.Flush);
        if (failure is not null) throw CannotWrite(failure);
    }

    /// <summary>Leaves no file behind.</summary>
    public void Discard()
    {
        Try(file.Dispose);
        File.Delete(path);
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

    CommandException CannotWrite(Exception e) => CommandException.BadInput($"{option}: {path} cannot be written: {e.Message}");

    protected override void Dispose(bool disposing)
    {
        if (disposing) Try(file.Dispose);
        base.Dispose(disposing);
    }
}
