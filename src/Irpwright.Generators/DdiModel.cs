using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Irpwright.Generators;

enum Passing
{
    /// <summary>In the register or slot itself.</summary>
    Value,
    /// <summary>The register holds the address of a variable: ref, out, in.</summary>
    Reference,
    /// <summary>T?: the register holds an address; 0 means null.</summary>
    Optional,
    /// <summary>The return address of the calling code; takes no argument.</summary>
    Caller,
    /// <summary>From this argument on as the compiled caller left it: C# code cannot call that.</summary>
    Variadic,
    /// <summary>Only between C# methods: a parameter of an inline DDI has no guest form.</summary>
    Unpassable,
}

/// <param name="Type">As C# text, without the modifier.</param>
/// <param name="Modifier">Of the declaration, with a space behind: <c>"out "</c>.</param>
/// <param name="Target">For references and optional values, the type of the variable at the address.</param>
/// <param name="Value">How a <see cref="Passing.Value"/> travels.</param>
/// <param name="Default">The default value as C# text.</param>
/// <param name="Routine">The delegate type if this is a code pointer.</param>
sealed record DdiParameter(string Name, string Type, string Modifier, Passing Passing, string? Target, RegisterValue? Value,
    string? Default, string? Routine)
{
    /// <summary>The modifier of an argument for this parameter.</summary>
    public string ArgumentModifier => Modifier == "ref readonly " ? "in " : Modifier;
}

/// <summary>The row of an export; null in <see cref="DdiModel"/> for DDIs that the WDK defines inline.</summary>
/// <param name="Alias">A second name of the same routine, with a row of its own.</param>
/// <param name="Failure">How it may fail, as a number; 0 if it does not.</param>
sealed record ExportRow(string Name, string Module, byte MinIrql, byte MaxIrql, string? Alias, byte Failure);

/// <summary>A method marked [KernelExport] or [WdkInline].</summary>
/// <param name="Component">The class that declares it.</param>
/// <param name="DocumentationId">What an inheritdoc names it by.</param>
/// <param name="Result">Null for void; unused for inline DDIs.</param>
sealed record DdiModel(string Name, string Component, bool IsStatic, string DocumentationId, bool DoesNotReturn, string ReturnType,
    RegisterValue? Result, EquatableArray<DdiParameter> Parameters, ExportRow? Export)
{
    public string FullName => Component.Replace("global::", "") + "." + Name;

    /// <summary>What C# takes for the same method: its name and parameter types.</summary>
    public string DriverSignature =>
        $"{Name}({string.Join(", ", DriverParameters.Select(static p => (p.Modifier.Length == 0 ? "" : "ref ") + p.Type))})";

    public IEnumerable<DdiParameter> DriverParameters => Parameters.Where(static p => p.Passing != Passing.Caller);

    /// <summary>Bytes that count of each parameter, as digits.</summary>
    public string ParameterSizes =>
        string.Concat(Parameters.Where(static p => p.Passing is not (Passing.Caller or Passing.Variadic)).Select(static p => p.Value?.Size ?? 8));

    /// <summary>Where in the source a call stands is only told to those that may be made to fail there.</summary>
    public bool CanFail => Export is { Failure: not 0 };

    public bool HasDriverMethod => Parameters.All(static p => p.Passing != Passing.Variadic);

    /// <summary>Reads the declaration; <paramref name="reason"/> says why drivers cannot call it.</summary>
    public static DdiModel Of(IMethodSymbol method, AttributeData attribute, bool isExport, out string? reason)
    {
        reason = method.IsGenericMethod || method.ContainingType.IsGenericType ? "it is generic"
            : method.ReturnsByRef || method.ReturnsByRefReadonly ? "it returns a reference"
            : null;
        List<DdiParameter> parameters = [];
        foreach (IParameterSymbol parameter in method.Parameters)
        {
            DdiParameter model = Parameter(parameter);
            parameters.Add(model);
            if (model.Passing == Passing.Variadic && (!isExport || parameter.Ordinal != method.Parameters.Length - 1))
                reason ??= $"{parameter.Type.Name} '{parameter.Name}' must be the last parameter of an export";
            else if (model.Passing == Passing.Caller && model.Type != "ulong")
                reason ??= $"[Caller] '{parameter.Name}' must be a ulong";
            else if (model.Passing == Passing.Unpassable && isExport)
                reason ??= $"parameter '{parameter.Name}' has type '{parameter.Type.ToDisplayString()}', which no driver can pass: "
                    + "use a handle, an integer, an enum, BOOLEAN, a structure of at most 8 bytes, ref/out/in or T? of such memory";
        }
        RegisterValue? result = method.ReturnsVoid ? null : RegisterValue.Of(method.ReturnType);
        if (isExport && !method.ReturnsVoid && result is null)
            reason ??= $"its result of type '{method.ReturnType.ToDisplayString()}' does not travel in rax";
        return new(method.Name, Types.Text(method.ContainingType), method.IsStatic, method.GetDocumentationCommentId() ?? "",
            Types.HasAttribute(method, "System.Diagnostics.CodeAnalysis.DoesNotReturnAttribute"), Types.Text(method.ReturnType), result,
            new([.. parameters]), isExport ? Row(method, attribute) : null);
    }

    static ExportRow Row(IMethodSymbol method, AttributeData attribute)
    {
        string name = attribute.ConstructorArguments.FirstOrDefault().Value as string ?? method.Name;
        return new(name, Named("Module", "ntoskrnl.exe"), Named<byte>("MinIrql", 0), Named<byte>("MaxIrql", 15), Named<string?>("Alias", null), Named<byte>("FailsWith", 0));

        T Named<T>(string property, T otherwise) =>
            attribute.NamedArguments.FirstOrDefault(a => a.Key == property).Value.Value is T value ? value : otherwise;
    }

    static DdiParameter Parameter(IParameterSymbol parameter)
    {
        string modifier = parameter switch
        {
            { IsParams: true } => "params ",
            { RefKind: RefKind.Ref } => "ref ",
            { RefKind: RefKind.Out } => "out ",
            { RefKind: RefKind.In } => "in ",
            { RefKind: RefKind.RefReadOnlyParameter } => "ref readonly ",
            _ => "",
        };
        Passing passing = Passing.Unpassable;
        RegisterValue? value = null;
        ITypeSymbol target = parameter.Type;
        if (Types.HasAttribute(parameter, "Irpwright.Kernel.CallerAttribute")) passing = Passing.Caller;
        else if (parameter.Type.ToDisplayString() is "Irpwright.Kernel.VariadicArguments" or "Irpwright.Kernel.CompiledCall") passing = Passing.Variadic;
        else if (parameter.RefKind != RefKind.None) passing = IsMemory(target) ? Passing.Reference : Passing.Unpassable;
        else if (Types.NullableUnderlying(parameter.Type) is { } underlying)
        {
            target = underlying;
            passing = IsMemory(target) ? Passing.Optional : Passing.Unpassable;
        }
        else if ((value = RegisterValue.Of(parameter.Type)) is not null) passing = Passing.Value;
        return new(Types.Identifier(parameter.Name), Types.Text(parameter.Type), modifier, passing, Types.Text(target), value,
            DefaultOf(parameter), RoutineOf(parameter));
    }

    /// <summary>Whether guest memory can hold it.</summary>
    static bool IsMemory(ITypeSymbol type) => type.IsUnmanagedType && type.TypeKind is not (TypeKind.Pointer or TypeKind.FunctionPointer);

    static string? DefaultOf(IParameterSymbol parameter)
    {
        if (!parameter.HasExplicitDefaultValue) return null;
        ITypeSymbol type = Types.NullableUnderlying(parameter.Type) ?? parameter.Type;
        if (parameter.ExplicitDefaultValue is not { } value) return "default";
        string text = SymbolDisplay.FormatPrimitive(value, quoteStrings: true, useHexadecimalNumbers: false);
        return value is bool or string or char ? text : $"({Types.Text(type)})({text})";
    }

    /// <summary>The delegate X beside the code pointer PX.</summary>
    static string? RoutineOf(IParameterSymbol parameter) =>
        parameter is { RefKind: RefKind.None, Type: INamedTypeSymbol { TypeKind: TypeKind.Struct, ContainingType: null } pointer }
        && pointer.Name.StartsWith("P", StringComparison.Ordinal)
        && pointer.ContainingNamespace.GetTypeMembers(pointer.Name.Substring(1)).FirstOrDefault() is { TypeKind: TypeKind.Delegate } routine
        && Types.HasAttribute(routine, RoutineCallGenerator.Attribute) ? Types.Text(routine) : null;
}

/// <summary>A public property of Machine.</summary>
sealed record Component(string Type, string Property)
{
    public static EquatableArray<Component> In(Compilation compilation)
    {
        INamedTypeSymbol? machine = compilation.Assembly.GetTypeByMetadataName("Irpwright.Kernel.Machine");
        return new([.. (machine?.GetMembers() ?? ImmutableArray<ISymbol>.Empty).OfType<IPropertySymbol>()
            .Where(static p => p is { DeclaredAccessibility: Accessibility.Public, IsStatic: false, IsIndexer: false })
            .Select(static p => new Component(Types.Text(p.Type), p.Name))]);
    }
}
