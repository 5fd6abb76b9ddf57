namespace Irpwright.Exploration;

public enum FailureKind : byte
{
    /// <summary>The machine stopped with a bug check.</summary>
    BugCheck,
    /// <summary>A rule was broken.</summary>
    Rule,
    /// <summary>Nothing could ever run again.</summary>
    Hang,
    /// <summary>The scenario itself found something wrong: an exception of its own, such as a failed assertion.</summary>
    Scenario,
    /// <summary>Something that Irpwright does not model was needed; what the driver would have done is not known.</summary>
    Unsupported,
}

/// <summary>What went wrong in a run.</summary>
/// <param name="Name">Of the bug check or rule, or of the exception's type. Failures of the same kind and name are the same one.</param>
/// <param name="Sentence">What happened.</param>
/// <param name="Page">Documentation; null where there is none.</param>
public sealed record Failure(FailureKind Kind, string Name, string Sentence, string? Page = null)
{
    public bool IsTheSameAs(Failure other) => Kind == other.Kind && Name == other.Name;

    public override string ToString() => $"{Name}: {Sentence}";
}
