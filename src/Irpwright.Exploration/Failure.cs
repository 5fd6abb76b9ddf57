using Irpwright.Kernel;
using Irpwright.Wdk;

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
/// <param name="Name">Of the bug check or rule, or of the exception's type. Failures of the same kind, name and place are the same one.</param>
/// <param name="Sentence">What happened.</param>
/// <param name="Page">Documentation; null where there is none.</param>
public sealed record Failure(FailureKind Kind, string Name, string Sentence, string? Page = null)
{
    /// <summary>Where in a driver, if that tells failures apart.</summary>
    public string? Place { get; init; }

    /// <summary>What an exception that ended a run stands for.</summary>
    public static Failure Of(Exception e) => e switch
    {
        BugCheckException { Report: var report } => new(FailureKind.BugCheck, report.Code.ToString(), report.Explanation, PageOf(report.Code))
        {
            Place = report.CallStack.Select(frame => frame.Symbol).FirstOrDefault(IsInDriver),
        },
        MachineHungException => new(FailureKind.Hang, "HANG", e.Message),
        MachineUnsupportedException => new(FailureKind.Unsupported, "UNSUPPORTED", e.Message),
        _ => new(FailureKind.Scenario, e.GetType().Name, e.Message),
    };

    // Drivers without symbols are named too; only an address that belongs to nobody stands there bare.
    static bool IsInDriver(string symbol) => !symbol.Contains('`') && !symbol.StartsWith("nt!", StringComparison.Ordinal);

    static string PageOf(BugCheckCode code) => "https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-"
        + $"0x{(uint)code:x}--{code.ToString().ToLowerInvariant().Replace('_', '-')}";

    public bool IsTheSameAs(Failure other) => Kind == other.Kind && Name == other.Name && Place == other.Place;

    public override string ToString() => $"{Name}: {Sentence}";
}
