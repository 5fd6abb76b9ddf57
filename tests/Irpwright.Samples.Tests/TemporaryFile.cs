namespace Irpwright.Samples.Tests;

/// <summary>A file for the length of a scenario.</summary>
sealed class TemporaryFile : IDisposable
{
    public TemporaryFile(int size) : this(new byte[size])
    {
    }

    public TemporaryFile(byte[] content) => File.WriteAllBytes(Path, content);

    public string Path { get; } = System.IO.Path.GetTempFileName();

    public void Dispose() => File.Delete(Path);
}
