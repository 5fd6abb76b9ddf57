namespace Irpwright.Verification;

/// <summary>How sure a violation is to hurt.</summary>
public enum Severity : byte
{
    /// <summary>The driver would crash, hang or corrupt a system, now or at another time.</summary>
    Error,
    /// <summary>Wrong by the documentation; whether it hurts depends on other drivers.</summary>
    Warning,
    /// <summary>Works, but there is a better way.</summary>
    Advice,
}

/// <summary>What a rule is about.</summary>
public enum RuleFamily : byte
{
    Allocation,
    Cancel,
    Completion,
    Device,
    Forwarding,
    Irql,
    Lock,
    Mdl,
    Memory,
    Object,
    Pending,
    PlugAndPlay,
    Pool,
    Power,
    RemoveLock,
    Reuse,
}

/// <summary>What Windows stops with for a violation, with Driver Verifier on.</summary>
/// <param name="Parameter1">The first parameter, where it says which of many errors it is.</param>
public readonly record struct VerifierCode(BugCheckCode BugCheck, uint? Parameter1 = null)
{
    /// <summary>As people write it: <c>0xC9/0x228</c>.</summary>
    public override string ToString() => $"0x{(uint)BugCheck:X}{(Parameter1 is { } which ? $"/0x{which:X}" : "")}";
}

/// <summary>What there is to know about a rule without running it.</summary>
/// <param name="Name">Microsoft's name where the rule has a page (MarkIrpPending); names of our own begin with Iw.</param>
/// <param name="Page">The documentation that the rule follows.</param>
/// <param name="Code">What Windows stops with for it, if it does.</param>
/// <param name="Sees">In one sentence: what counts as a violation.</param>
/// <param name="Create">Makes the rule, new for each machine.</param>
public sealed record RuleInfo(
    string Name, RuleFamily Family, Severity Severity, string Page, VerifierCode? Code, string Sees, Func<Rule> Create)
{
    /// <summary>
    /// Other identifiers of the same observation: rules of Microsoft's with another name, codes of Driver Verifier (DV-C9-0x228),
    /// bug checks (BC-0x44).
    /// </summary>
    public IReadOnlyList<string> Covers { get; init; } = [];

    /// <summary>What the code should do instead, in a sentence or two.</summary>
    public string Instead { get; init; } = "";

    /// <summary>The least C code that breaks the rule.</summary>
    public string Wrong { get; init; } = "";

    /// <summary>The same code as it should be.</summary>
    public string Right { get; init; } = "";

    /// <summary>Whether an identifier, of any case, is the rule's name or one that it covers.</summary>
    public bool Is(string id) =>
        Name.Equals(id, StringComparison.OrdinalIgnoreCase) || Covers.Any(other => other.Equals(id, StringComparison.OrdinalIgnoreCase));

    public override string ToString() => Name;
}

/// <summary>Where rules are documented.</summary>
static class Pages
{
    internal const string Documentation = "https://learn.microsoft.com/windows-hardware/drivers/";

    /// <summary>The page of the I/O verification errors.</summary>
    internal const string IoVerification = Documentation + "debugger/bug-check-0xc9--driver-verifier-iomanager-violation";

    /// <summary>The page of the other errors that Driver Verifier detects.</summary>
    internal const string Detected = Documentation + "debugger/bug-check-0xc4--driver-verifier-detected-violation";

    /// <summary>The page of a bug check, such as <c>0xc7--timer-or-dpc-invalid</c>.</summary>
    internal static string BugCheck(string page) => $"{Documentation}debugger/bug-check-{page}";

    /// <summary>The page of a rule that Microsoft names.</summary>
    internal static string Wdm(string rule) => $"{Documentation}devtest/wdm-{rule.ToLowerInvariant()}";

    /// <summary>A page about testing drivers.</summary>
    internal static string Devtest(string page) => $"{Documentation}devtest/{page}";

    /// <summary>The page of a bug check.</summary>
    internal static string Debugger(string page) => $"{Documentation}debugger/{page}";

    internal static string Kernel(string page) => $"{Documentation}kernel/{page}";

    internal static string Ddi(string page) => $"{Documentation}ddi/wdm/{page}";
}

/// <summary>Codes of Driver Verifier.</summary>
static class Codes
{
    /// <summary>DRIVER_VERIFIER_IOMANAGER_VIOLATION.</summary>
    internal static VerifierCode Io(uint parameter1) => new(BugCheckCode.DRIVER_VERIFIER_IOMANAGER_VIOLATION, parameter1);

    /// <summary>DRIVER_VERIFIER_DETECTED_VIOLATION.</summary>
    internal static VerifierCode Detected(uint parameter1) => new(BugCheckCode.DRIVER_VERIFIER_DETECTED_VIOLATION, parameter1);
}
