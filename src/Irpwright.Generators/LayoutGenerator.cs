using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Irpwright.Generators;

/// <summary>From <c>[Layout] struct IRP</c>, the handle <c>PIRP</c> with a <c>ref</c> property per public field.</summary>
[Generator]
public sealed class LayoutGenerator : IIncrementalGenerator
{
    const string Attribute = "Irpwright.Wdk.LayoutAttribute";
    const string ThroughValue = "Irpwright.Wdk.ThroughValueAttribute";

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValuesProvider<HandleModel> layouts = context.SyntaxProvider.ForAttributeWithMetadataName(
            Attribute, static (node, _) => node is StructDeclarationSyntax, static (found, _) => Model(found)).WithTrackingName("Layouts");
        context.RegisterSourceOutput(layouts, static (output, model) => HandleWriter.Write(output, model));
    }

    static HandleModel Model(GeneratorAttributeSyntaxContext found)
    {
        var layout = (INamedTypeSymbol)found.TargetSymbol;
        string handle = "P" + layout.Name;
        List<Problem> problems = [];
        CheckExplicit(layout, problems);
        List<HandleField> fields = FieldsOf(layout, handle, problems);
        string summary = $"Address of {(("AEIOU".IndexOf(layout.Name[0]) >= 0) ? "an" : "a")} <see cref=\"{layout.Name}\"/> in guest memory.";
        return HandleModel.Of(layout, handle, summary, layout.Name, fields, problems, found.SemanticModel.Compilation);
    }

    /// <summary>What the handle gives access to: the public fields, with their offsets as far as they are stated.</summary>
    internal static List<HandleField> FieldsOf(INamedTypeSymbol layout, string handle, List<Problem> problems)
    {
        List<HandleField> fields = [];
        foreach (IFieldSymbol field in Fields(layout))
        {
            if (field.DeclaredAccessibility != Accessibility.Public) continue;
            if (field.GetAttributes().Any(static a => a.AttributeClass?.ToDisplayString() == ThroughValue)) continue;
            if (HandleWriter.OwnMembers.Contains(field.Name) || field.Name == handle)
                problems.Add(Problem.At(field, Problems.NameTaken, $"{handle}.{field.Name}", $"{layout.Name}.{field.Name}",
                    "every handle has a member of that name; mark the field [ThroughValue] and reach it through Value"));
            else
                fields.Add(new(field.Name, TypeText(field), OffsetOf(field)));
        }
        return fields;
    }

    /// <summary>A layout and the unions nested in it must be explicit: size stated, every field placed.</summary>
    static void CheckExplicit(INamedTypeSymbol type, List<Problem> problems)
    {
        // A fixed array is one element and a count: the runtime places it.
        if (Find(type, "System.Runtime.CompilerServices.InlineArrayAttribute") is not null) return;
        AttributeData? layout = Find(type, "System.Runtime.InteropServices.StructLayoutAttribute");
        bool isExplicit = layout?.ConstructorArguments.FirstOrDefault().Value is (int)LayoutKind.Explicit
            && layout.NamedArguments.Any(static a => a.Key == nameof(StructLayoutAttribute.Size));
        if (!isExplicit) problems.Add(Problem.At(type, Problems.NotExplicit, type.Name));
        foreach (IFieldSymbol field in Fields(type))
            if (OffsetOf(field) is null) problems.Add(Problem.At(field, Problems.NoOffset, field.Name, type.Name));
        foreach (INamedTypeSymbol nested in type.GetTypeMembers())
            if (nested.TypeKind == TypeKind.Struct) CheckExplicit(nested, problems);
    }

    static IEnumerable<IFieldSymbol> Fields(INamedTypeSymbol type) =>
        type.GetMembers().OfType<IFieldSymbol>().Where(static f => !f.IsStatic && !f.IsConst && !f.IsImplicitlyDeclared);

    static int? OffsetOf(IFieldSymbol field) =>
        Find(field, "System.Runtime.InteropServices.FieldOffsetAttribute")?.ConstructorArguments.FirstOrDefault().Value as int?;

    static AttributeData? Find(ISymbol symbol, string attribute) =>
        symbol.GetAttributes().FirstOrDefault(a => a.AttributeClass?.ToDisplayString() == attribute);

    /// <summary>The type as C# text. Other handles do not exist yet when this runs: their names are taken as written.</summary>
    static string TypeText(IFieldSymbol field)
    {
        if (field.Type.TypeKind != TypeKind.Error) return field.Type.ToDisplayString(SymbolDisplayFormat.FullyQualifiedFormat);
        var declarator = (VariableDeclaratorSyntax)field.DeclaringSyntaxReferences[0].GetSyntax();
        return ((VariableDeclarationSyntax)declarator.Parent!).Type.ToString();
    }
}
