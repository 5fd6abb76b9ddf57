using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Irpwright.Kernel;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Cli;

/// <summary>What <c>run --json</c> writes; docs/results-json.md describes it.</summary>
sealed record RunJson
{
    public int Version { get; init; } = 1;

    public required int ExitCode { get; init; }

    /// <summary>clean, violation, bugCheck, hang or undecided.</summary>
    public required string Outcome { get; init; }

    public string? Message { get; init; }

    public required IReadOnlyList<string> Drivers { get; init; }

    public string? Device { get; init; }

    public required IReadOnlyList<RequestJson> Requests { get; init; }

    public IReadOnlyList<ViolationJson>? Violations { get; init; }

    public BugCheckJson? BugCheck { get; init; }

    public required string Reproduce { get; init; }

    public string Serialize() => JsonSerializer.Serialize(this, CliJson.Readable.RunJson) + "\n";
}

sealed record RequestJson(
    string Request, int Count, int? Cancelled, IReadOnlyList<OutcomeJson> Outcomes, string? Data)
{
    public static RequestJson Of(RequestResult result) => new(
        result.Spec.Text,
        result.Count,
        result.Spec.Cancel ? result.Cancelled : null,
        [.. result.Outcomes.Select(o => new OutcomeJson(o.Key.Status.Name, o.Key.Information, o.Key.Digest, o.Value))],
        result.Data is { } data ? Convert.ToHexStringLower(data) : null);
}

sealed record OutcomeJson(string Status, ulong Information, string? Sha256, int Count);

sealed record ViolationJson(
    string Rule, string Family, string Severity, string? VerifierCode, string Page, string Sentence, string? Driver, string? Routine,
    string Thread, int Irql, int Occurrences)
{
    public static ViolationJson Of(Violation violation)
    {
        RuleInfo rule = violation.Rule;
        return new ViolationJson(
            rule.Name, rule.Family.ToString(), rule.Severity.ToString().ToLowerInvariant(), rule.Code?.ToString(), rule.Page,
            violation.Sentence, violation.Driver, violation.Symbol, violation.Thread, violation.Irql, violation.Occurrences);
    }
}

sealed record BugCheckJson(
    uint Code, string Name, IReadOnlyList<string> Parameters, string Thread, int Irql, IReadOnlyList<string> CallStack, ExceptionJson? Exception)
{
    public static BugCheckJson Of(BugCheckReport report) => new(
        (uint)report.Code,
        report.Code.ToString(),
        [.. ((ulong[])[report.Parameter1, report.Parameter2, report.Parameter3, report.Parameter4]).Select(Format.Address)],
        report.Thread,
        report.Irql,
        [.. report.CallStack.Select(frame => frame.ToString())],
        report.Fault is { } fault ? ExceptionJson.Of(fault) : null);
}

sealed record ExceptionJson(
    uint Code, string Name, string? Address, IReadOnlyList<string> Parameters, IReadOnlyDictionary<string, string>? Registers, IReadOnlyList<InstructionJson>? Instructions)
{
    public static ExceptionJson Of(FaultReport fault) => new(
        (uint)fault.Code,
        fault.Code.Name,
        fault.Address == 0 ? null : Format.Address(fault.Address),
        [.. fault.Parameters.Select(Format.Address)],
        fault.Registers.Count == 0 ? null : fault.Registers.ToDictionary(register => register.Name, register => Format.Address(register.Value)),
        fault.Instructions.Count == 0 ? null : [.. fault.Instructions.Select(line => new InstructionJson(Format.Address(line.Address), line.Bytes, line.Text, line.IsFault ? true : null))]);
}

sealed record InstructionJson(string Address, string Bytes, string Text, bool? Fault);

/// <summary>Serialises the command's results without reflection.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true, NewLine = "\n")]
[JsonSerializable(typeof(RunJson))]
[JsonSerializable(typeof(ExploreJson))]
[JsonSerializable(typeof(ImageJson))]
[JsonSerializable(typeof(ExportsJson))]
[JsonSerializable(typeof(RulesJson))]
sealed partial class CliJson : JsonSerializerContext
{
    /// <summary>Writes names of devices and routines as they are, not escaped for HTML.</summary>
    public static CliJson Readable => field ??= new(
        new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
