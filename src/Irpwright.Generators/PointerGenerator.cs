using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Irpwright.Generators;

/// <summary>From <c>[PointerTo(typeof(char))] partial struct PWSTR;</c>, a pointer to a type that is not a layout.</summary>
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
        string pointee = found.Attributes[0].ConstructorArguments.FirstOrDefault().Value is ITypeSymbol type
            ? type.ToDisplayString(SymbolDisplayFormat.FullyQualifiedFormat) : "byte";
        return HandleModel.Of(pointer, pointer.Name, $"Guest address of a <see cref=\"{pointee}\"/>.",
            pointee, fields: [], problems: [], found.SemanticModel.Compilation);
    }
}
