using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Irpwright.Generators;

/// <summary>
/// From <c>[PointerTo(typeof(char))] partial struct PWSTR;</c>, a pointer to a type that is not a layout. To a structure of the
/// same compilation it has a <c>ref</c> property per public field.
/// </summary>
[Generator]
public sealed class PointerGenerator : IIncrementalGenerator
{
    const string Attribute = "Irpwright.Wdk.PointerToAttribute";

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<HandleModel> pointers = context.SyntaxProvider.ForAttributeWithMetadataName(
            Attribute, static (node, _) => node is StructDeclarationSyntax, static (found, _) => Model(found)).WithTrackingName("Pointers");
        context.RegisterSourceOutput(pointers, static (output, model) => HandleWriter.Write(output, model));
    }

    static HandleModel Model(GeneratorAttributeSyntaxContext found)
    {
        var pointer = (INamedTypeSymbol)found.TargetSymbol;
        var type = found.Attributes[0].ConstructorArguments.FirstOrDefault().Value as INamedTypeSymbol;
        string pointee = type?.ToDisplayString(SymbolDisplayFormat.FullyQualifiedFormat) ?? "byte";
        List<Problem> problems = [];
        List<HandleField> fields = type is { TypeKind: TypeKind.Struct, DeclaringSyntaxReferences.Length: > 0 }
            ? LayoutGenerator.FieldsOf(type, pointer.Name, problems) : [];
        return HandleModel.Of(pointer, pointer.Name, $"Guest address of a <see cref=\"{pointee}\"/>.",
            pointee, fields, problems, found.SemanticModel.Compilation);
    }
}
