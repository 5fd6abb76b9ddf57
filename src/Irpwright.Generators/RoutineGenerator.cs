using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Irpwright.Generators;

/// <summary>From <c>[Routine] delegate NTSTATUS DRIVER_DISPATCH(...)</c>, the code pointer <c>PDRIVER_DISPATCH</c>.</summary>
[Generator]
public sealed class RoutineGenerator : IIncrementalGenerator
{
    const string Attribute = "Irpwright.Wdk.RoutineAttribute";

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<HandleModel> routines = context.SyntaxProvider.ForAttributeWithMetadataName(
            Attribute, static (node, _) => node is DelegateDeclarationSyntax, static (found, _) => Model(found)).WithTrackingName("Routines");
        context.RegisterSourceOutput(routines, static (output, model) => HandleWriter.Write(output, model));
    }

    static HandleModel Model(GeneratorAttributeSyntaxContext found)
    {
        var routine = (INamedTypeSymbol)found.TargetSymbol;
        return HandleModel.Of(routine, "P" + routine.Name, $"Guest address of a <see cref=\"{routine.Name}\"/>: managed or guest code.",
            pointee: null, fields: [], problems: [], found.SemanticModel.Compilation);
    }
}
