using Microsoft.CodeAnalysis;

namespace Irpwright.Generators;

/// <summary>What can be wrong with a declaration of the kernel: DDIs, events, roles.</summary>
static class KernelProblems
{
    const string Category = "Irpwright";

    public static readonly DiagnosticDescriptor NoComponent = new("IRPW011", "DDI is in no component",
        "'{0}' is declared in '{1}', which {2}: drivers reach a DDI through the one public property of Machine of its class",
        Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Signature = new("IRPW012", "Driver cannot call this signature",
        "Drivers cannot call '{0}': {1}", Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor DuplicateExport = new("IRPW013", "Export name is taken",
        "'{0}' cannot be exported as '{1}', which '{2}' already is: exports are found by name",
        Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor DuplicateDdi = new("IRPW014", "DDI is declared twice",
        "'{0}' and '{1}' would both be the same method of WdmDriver", Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor EventShape = new("IRPW015", "Kernel event has the wrong shape",
        "'{0}' cannot be a kernel event: {1}", Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor RoutineSignature = new("IRPW016", "Routine cannot be called across the guest boundary",
        "The kernel cannot call a routine '{0}': {1}", Category, DiagnosticSeverity.Error, isEnabledByDefault: true);
}
