namespace Irpwright.Guest.Images;

/// <summary>What is wrong with an image, coarse enough to act on.</summary>
public enum ImageProblem
{
    /// <summary>The file does not exist or the host refuses to read it.</summary>
    Unreadable,
    /// <summary>The file is no PE image at all.</summary>
    NotPortableExecutable,
    /// <summary>A PE image for another processor, or a 32-bit one.</summary>
    WrongMachine,
    /// <summary>A PE image for x64, but of a program or library, not of a driver.</summary>
    NotDriver,
    /// <summary>Larger than <see cref="PortableExecutable.MaxSize"/>.</summary>
    TooLarge,
    /// <summary>The file ends before something that its headers place in it.</summary>
    Truncated,
    /// <summary>A header field contradicts the PE specification.</summary>
    Malformed,
    /// <summary>A data directory, or a table that it leads to, is not inside the image or not well formed.</summary>
    BadDirectory,
    /// <summary>Well formed, but something in it cannot be run here.</summary>
    Unsupported,
}

/// <summary>One finding about an image file, printed as one line: file, place, what is wrong and what to do.</summary>
/// <param name="File">The file as the caller named it.</param>
/// <param name="Place">The field, in the PE specification's words, and its offset; empty when the whole file is meant.</param>
public sealed record ImageDiagnostic(string File, ImageProblem Problem, string Place, string Message)
{
    public override string ToString() => Place.Length == 0 ? $"{File}: {Message}" : $"{File}: {Place}: {Message}";
}

/// <summary>Collects the findings of one read: at most one error, any number of warnings.</summary>
sealed class ImageDiagnostics(string file)
{
    const int MaxWarnings = 64;
    readonly List<ImageDiagnostic> warnings = [];

    public ImageDiagnostic? Error { get; private set; }

    public IReadOnlyList<ImageDiagnostic> Warnings => warnings;

    /// <summary>Records the reason to refuse the image. Always false, so that a reader can return it.</summary>
    public bool Fail(ImageProblem problem, string place, string message)
    {
        Error ??= new ImageDiagnostic(file, problem, place, message);
        return false;
    }

    /// <summary>Refuses the image for a table that is not well formed.</summary>
    public bool FailDamaged(string place, string what) =>
        Fail(ImageProblem.BadDirectory, place, what + "; the file is damaged, link it again");

    /// <summary>Records something that Windows tolerates in a driver, or that only loses names.</summary>
    public void Warn(ImageProblem problem, string place, string message)
    {
        if (warnings.Count < MaxWarnings) warnings.Add(new ImageDiagnostic(file, problem, place, message));
    }
}
