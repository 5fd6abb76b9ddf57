using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace Irpwright.Generators;

/// <summary>A diagnostic in a form that compares by value and holds no syntax tree.</summary>
sealed record Problem(DiagnosticDescriptor Descriptor, string File, TextSpan Span, LinePositionSpan Lines, EquatableArray<string> Arguments)
{
    public static Problem At(ISymbol symbol, DiagnosticDescriptor descriptor, params string[] arguments)
    {
        Location location = symbol.Locations[0];
        FileLinePositionSpan lines = location.GetLineSpan();
        return new(descriptor, lines.Path, location.SourceSpan, lines.Span, new(ImmutableArray.Create(arguments)));
    }

    public Diagnostic ToDiagnostic() =>
        Diagnostic.Create(Descriptor, Location.Create(File, Span, Lines), [.. Arguments]);
}

static class Problems
{
    const string Category = "Irpwright";

    public static readonly DiagnosticDescriptor NotExplicit = new("IRPW001", "Layout is not explicit",
        "'{0}' must be [StructLayout(LayoutKind.Explicit, Size = ...)]: a layout states every offset and its size",
        Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor NoOffset = new("IRPW002", "Layout field has no offset",
        "Field '{0}' of '{1}' must have a [FieldOffset]", Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor NameTaken = new("IRPW003", "Generated name is taken",
        "'{0}' cannot be generated for '{1}': {2}", Category, DiagnosticSeverity.Error, isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor NotTopLevel = new("IRPW004", "Handle needs a top-level, non-generic declaration",
        "'{0}' must be a non-generic type directly in a namespace: its handle is generated beside it",
        Category, DiagnosticSeverity.Error, isEnabledByDefault: true);
}
