using System.Collections.Immutable;
using Microsoft.CodeAnalysis;

namespace Irpwright.Generators;

/// <summary>One pointer type to generate, and what is wrong with its declaration, if anything.</summary>
/// <param name="Namespace">Of the declaration and the handle; empty for the global one.</param>
/// <param name="Name">Of the handle: P + the declaration's name.</param>
/// <param name="Accessibility"><c>public</c> or <c>internal</c>, as declared.</param>
/// <param name="Summary">XML documentation of the handle.</param>
/// <param name="Pointee">Type a dereference yields; null for code.</param>
/// <param name="Fields">One <c>ref</c> property each.</param>
/// <param name="Problems">If there are any, nothing is generated.</param>
sealed record HandleModel(string Namespace, string Name, string Accessibility, string Summary, string? Pointee,
    EquatableArray<HandleField> Fields, EquatableArray<Problem> Problems)
{
    /// <summary>Collects what every kind of handle needs from its declaration and checks that its name is free.</summary>
    public static HandleModel Of(INamedTypeSymbol declaration, string name, string summary, string? pointee,
        IEnumerable<HandleField> fields, IEnumerable<Problem> problems, Compilation compilation)
    {
        var all = problems.ToImmutableArray().ToBuilder();
        if (declaration.ContainingType is not null || declaration.IsGenericType)
            all.Add(Problem.At(declaration, Generators.Problems.NotTopLevel, declaration.Name));
        string nameSpace = declaration.ContainingNamespace.IsGlobalNamespace ? "" : declaration.ContainingNamespace.ToDisplayString();
        INamedTypeSymbol? taken = compilation.Assembly.GetTypeByMetadataName(nameSpace.Length == 0 ? name : nameSpace + "." + name);
        if (taken is not null && !SymbolEqualityComparer.Default.Equals(taken, declaration))
            all.Add(Problem.At(declaration, Generators.Problems.NameTaken, name, declaration.Name, "the namespace already has a type of that name"));
        string accessibility = declaration.DeclaredAccessibility == Microsoft.CodeAnalysis.Accessibility.Public ? "public" : "internal";
        return new(nameSpace, name, accessibility, summary, pointee, new([.. fields]), new(all.ToImmutable()));
    }
}

/// <summary>A field of a layout: its name, the C# text of its type, and its offset in bytes; null where the runtime places it.</summary>
sealed record HandleField(string Name, string Type, int? Offset);
