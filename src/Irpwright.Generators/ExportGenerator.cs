using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Irpwright.Generators;

/// <summary>
/// From methods marked <c>[KernelExport]</c> or <c>[WdkInline]</c>: the methods of WdmDriver that C# drivers call, the thunks
/// that compiled drivers call, and the table of exports.
/// </summary>
[Generator]
public sealed class ExportGenerator : IIncrementalGenerator
{
    /// <param name="Ddi">Changes only with the declaration's meaning, not with its place.</param>
    /// <param name="Site">A problem at the declaration's place, from which others are made.</param>
    /// <param name="Problem">What is wrong with the declaration by itself.</param>
    sealed record Found(DdiModel Ddi, Problem Site, Problem? Problem);

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        var exports = Methods(context, "Irpwright.Kernel.KernelExportAttribute", isExport: true);
        var inlines = Methods(context, "Irpwright.Kernel.WdkInlineAttribute", isExport: false);
        var components = context.CompilationProvider.Select(static (c, _) => Component.In(c));
        IncrementalValueProvider<DdiSet> all = exports.Combine(inlines).Combine(components)
            .Select(static (parts, _) => Check(parts.Left.Left.AddRange(parts.Left.Right), parts.Right));

        context.RegisterSourceOutput(all.Select(static (set, _) => set.Problems), static (output, problems) =>
        {
            foreach (Problem problem in problems) output.ReportDiagnostic(problem.ToDiagnostic());
        });
        // The kernel's table is there even when it is empty; other assemblies have none.
        IncrementalValueProvider<bool> isKernel = components.Select(static (c, _) => c.Length != 0);
        var ddis = all.Select(static (set, _) => set.Ddis).WithTrackingName("Ddis");
        context.RegisterSourceOutput(ddis.Combine(isKernel), static (output, kernel) =>
        {
            if (kernel.Right) DdiWriter.Write(output, kernel.Left);
        });
    }

    static IncrementalValueProvider<ImmutableArray<Found>> Methods(
        IncrementalGeneratorInitializationContext context, string attribute, bool isExport) => context.SyntaxProvider
        .ForAttributeWithMetadataName(attribute, static (node, _) => node is MethodDeclarationSyntax, (found, _) => Find(found, isExport))
        .Collect();

    static Found Find(GeneratorAttributeSyntaxContext found, bool isExport)
    {
        var method = (IMethodSymbol)found.TargetSymbol;
        DdiModel ddi = DdiModel.Of(method, found.Attributes[0], isExport, out string? reason);
        Problem site = Problem.At(method, KernelProblems.Signature, method.Name, reason ?? "");
        return new(ddi, site, reason is null ? null : site);
    }

    sealed record DdiSet(EquatableArray<PlacedDdi> Ddis, EquatableArray<Problem> Problems);

    /// <summary>Keeps what can be generated, in order, and says what is wrong with the rest.</summary>
    static DdiSet Check(ImmutableArray<Found> found, EquatableArray<Component> components)
    {
        ILookup<string, string> properties = components.ToLookup(static c => c.Type, static c => c.Property);
        Dictionary<string, DdiModel> exportNames = new(StringComparer.Ordinal), driverMethods = new(StringComparer.Ordinal);
        var ddis = ImmutableArray.CreateBuilder<PlacedDdi>();
        var problems = ImmutableArray.CreateBuilder<Problem>();
        foreach (Found f in found.OrderBy(static f => f.Ddi.Export?.Module, StringComparer.Ordinal)
            .ThenBy(static f => f.Ddi.Export?.Name ?? f.Ddi.Name, StringComparer.Ordinal)
            .ThenBy(static f => f.Ddi.DocumentationId, StringComparer.Ordinal))
        {
            DdiModel ddi = f.Ddi;
            string[] owners = [.. properties[ddi.Component]];
            if (f.Problem is not null)
                problems.Add(f.Problem);
            else if (!ddi.IsStatic && owners.Length != 1)
                problems.Add(At(f, KernelProblems.NoComponent, ddi.Name, ddi.Component.Replace("global::", ""),
                    owners.Length == 0 ? "is not the type of a public property of Machine"
                        : $"is the type of several properties of Machine ({string.Join(", ", owners)})"));
            else if (ddi.Export is { } export && Taken(exportNames, export.Name, ddi) is { } other)
                problems.Add(At(f, KernelProblems.DuplicateExport, ddi.FullName, export.Name, other.FullName));
            else if (ddi.Export?.Alias is { } alias && Taken(exportNames, alias, ddi) is { } owner)
                problems.Add(At(f, KernelProblems.DuplicateExport, ddi.FullName, alias, owner.FullName));
            else if (ddi.HasDriverMethod && Taken(driverMethods, ddi.DriverSignature, ddi) is { } same)
                problems.Add(At(f, KernelProblems.DuplicateDdi, ddi.FullName, same.FullName));
            else
                ddis.Add(new(ddi, ddi.IsStatic ? null : owners[0]));
        }
        return new(new(ddis.ToImmutable()), new(problems.ToImmutable()));
    }

    static DdiModel? Taken(Dictionary<string, DdiModel> names, string name, DdiModel ddi)
    {
        if (names.TryGetValue(name, out DdiModel? other)) return other;
        names.Add(name, ddi);
        return null;
    }

    static Problem At(Found found, DiagnosticDescriptor descriptor, params string[] arguments) =>
        found.Site with { Descriptor = descriptor, Arguments = new(ImmutableArray.Create(arguments)) };
}

/// <summary>A DDI and the property of Machine that leads to its component; null for a static one.</summary>
sealed record PlacedDdi(DdiModel Ddi, string? Property);
