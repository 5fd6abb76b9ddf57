using System.Collections.Immutable;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace Irpwright.Generators;

/// <summary>
/// From each <c>[Routine]</c> delegate that the kernel's compilation can see: how CodeMap calls a routine of that role, gives
/// one an address, and lets guest code call one.
/// </summary>
[Generator]
public sealed class RoutineCallGenerator : IIncrementalGenerator
{
    public const string Attribute = "Irpwright.Wdk.RoutineAttribute";

    sealed record Parameter(string Name, RegisterValue Value);

    /// <param name="Name">Of the delegate, e.g. DRIVER_CANCEL.</param>
    /// <param name="Type">The delegate, as C# text.</param>
    /// <param name="Pointer">Its code pointer, as C# text.</param>
    /// <param name="Result">Null for void.</param>
    sealed record Role(string Name, string Type, string Pointer, RegisterValue? Result, EquatableArray<Parameter> Parameters)
    {
        /// <summary>What decides whether a method group fits.</summary>
        public string Signature => $"{Result?.Type ?? "void"}({string.Join(", ", Parameters.Select(static p => p.Value.Type))})";
    }

    sealed record Roles(bool HasDriver, EquatableArray<Role> All);

    sealed record Found(Roles? Roles, EquatableArray<Problem> Problems);

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        IncrementalValueProvider<Found> found = context.CompilationProvider.Select(static (compilation, _) => Find(compilation));
        context.RegisterSourceOutput(found.Select(static (f, _) => f.Problems), static (output, problems) =>
        {
            foreach (Problem problem in problems) output.ReportDiagnostic(problem.ToDiagnostic());
        });
        context.RegisterSourceOutput(found.Select(static (f, _) => f.Roles).WithTrackingName("Roles"), static (output, roles) =>
        {
            if (roles is not null) Write(output, roles);
        });
    }

    static Found Find(Compilation compilation)
    {
        if (compilation.Assembly.GetTypeByMetadataName("Irpwright.Kernel.CodeMap") is not { } codeMap
            || compilation.GetTypeByMetadataName(Attribute) is not { } attribute) return new(null, default);
        List<Role> roles = [];
        List<Problem> problems = [];
        foreach (INamedTypeSymbol type in Delegates(attribute.ContainingAssembly.GlobalNamespace))
        {
            if (!type.GetAttributes().Any(a => SymbolEqualityComparer.Default.Equals(a.AttributeClass, attribute))) continue;
            if (RoleOf(type, out string reason) is { } role) roles.Add(role);
            else problems.Add(Problem.At(codeMap, KernelProblems.RoutineSignature, type.Name, reason));
        }
        roles.Sort(static (a, b) => string.CompareOrdinal(a.Name, b.Name));
        bool hasDriver = compilation.Assembly.GetTypeByMetadataName("Irpwright.Kernel.WdmDriver") is not null;
        return new(roles.Count == 0 ? null : new(hasDriver, new([.. roles])), new([.. problems]));
    }

    static IEnumerable<INamedTypeSymbol> Delegates(INamespaceSymbol space) =>
        space.GetTypeMembers().Where(static t => t.TypeKind == TypeKind.Delegate).Concat(space.GetNamespaceMembers().SelectMany(Delegates));

    static Role? RoleOf(INamedTypeSymbol type, out string reason)
    {
        reason = "";
        IMethodSymbol invoke = type.DelegateInvokeMethod!;
        if (type.ContainingNamespace.GetTypeMembers("P" + type.Name).FirstOrDefault() is not { } pointer)
        {
            reason = $"it has no code pointer 'P{type.Name}'";
            return null;
        }
        RegisterValue? result = invoke.ReturnsVoid ? null : RegisterValue.Of(invoke.ReturnType);
        if (!invoke.ReturnsVoid && result is null || invoke.RefKind != RefKind.None)
            reason = $"its result of type '{invoke.ReturnType.ToDisplayString()}' does not travel in rax";
        List<Parameter> parameters = [];
        foreach (IParameterSymbol parameter in invoke.Parameters)
        {
            // A reference may point at the C# stack, which has no guest address: roles take handles.
            if (parameter.RefKind == RefKind.None && RegisterValue.Of(parameter.Type) is { } value)
                parameters.Add(new(Types.Identifier(parameter.Name), value));
            else
                reason = $"parameter '{parameter.ToDisplayString()}' has no form in a register; pass a handle";
        }
        return reason.Length == 0 ? new(type.Name, Types.Text(type), Types.Text(pointer), result, new([.. parameters])) : null;
    }

    static void Write(SourceProductionContext context, Roles roles)
    {
        Add(context, "CodeMap.Routines.g.cs", CodeMapPart(roles));
        if (roles.HasDriver) Add(context, "WdmDriver.Routines.g.cs", DriverPart(roles));
    }

    static void Add(SourceProductionContext context, string file, string text) =>
        context.AddSource(file, SourceText.From(text.Replace("\r\n", "\n"), Encoding.UTF8));

    static string CodeMapPart(Roles roles)
    {
        StringBuilder text = new("""
            // <auto-generated/>
            #nullable enable
            using System;
            using System.Numerics;
            using System.Runtime.CompilerServices;

            namespace Irpwright.Kernel;

            public sealed unsafe partial class CodeMap
            {

            """);
        foreach (Role role in roles.All) AppendCall(text, role);
        text.Append("""
                /// <summary>
                /// Calls a routine of a C# driver with arguments as a compiled caller passes them; false if its delegate type is
                /// not a role.
                /// </summary>
                static bool InvokeFromRegisters(Delegate routine, ulong* gpr)
                {
                    switch (routine)
                    {

            """);
        foreach (Role role in roles.All)
        {
            string call = $"managed({string.Join(", ", role.Parameters.Select(static (p, i) => p.Value.Read(Convention.Argument(i))))})";
            text.Append($$"""
                            case {{role.Type}} managed:
                                {{(role.Result is { } result ? "gpr[0] = " + result.Write(call) : call)}};
                                return true;

                """);
        }
        return text.Append("""
                        default:
                            return false;
                    }
                }
            }

            """).ToString();
    }

    static void AppendCall(StringBuilder text, Role role)
    {
        string result = role.Result?.Type ?? "void";
        string declarations = string.Concat(role.Parameters.Select(static p => $", {p.Value.Type} {p.Name}"));
        string names = string.Join(", ", role.Parameters.Select(static p => p.Name));
        string managed = role.Result is null ? $"{{ managed({names}); return; }}" : $"return managed({names});";
        string guest = $"CallGuest(routine{(names.Length == 0 ? "" : ", " + names)})";
        string[] values = [.. role.Parameters.Select(static p => p.Value.Write(p.Name))];
        const int InRegisters = Convention.RegisterArguments;
        string registers = string.Join(", ", Enumerable.Range(0, InRegisters).Select(i => i < values.Length ? values[i] : "0"));
        string stack = values.Length > InRegisters ? $", [{string.Join(", ", values.Skip(InRegisters))}]" : "";
        string invoke = $"Invoke(routine.Address, {registers}{stack})";
        // Rotating instead of shifting makes an address inside a slot a huge index, as any other address outside the table is.
        text.Append($$"""
                /// <summary>Calls a <see cref="{{role.Type}}"/>, wherever its code is.</summary>
                [MethodImpl(MethodImplOptions.AggressiveInlining)]
                public {{result}} Call({{role.Pointer}} routine{{declarations}})
                {
                    Delegate?[] slots = routines;
                    ulong index = BitOperations.RotateRight(routine.Address - RoutineBase, 4);
                    if (index < (ulong)slots.Length && slots[(int)index] is {{role.Type}} managed) {{managed}}
                    {{(role.Result is null ? "" : "return ")}}{{guest}};
                }

                [MethodImpl(MethodImplOptions.NoInlining)]
                {{result}} CallGuest({{role.Pointer}} routine{{declarations}}) => {{role.Result?.Read(invoke) ?? invoke}};

                /// <summary>The code address of a routine of a C# driver; null gives a null pointer.</summary>
                public {{role.Pointer}} Routine({{role.Type}}? routine) => routine is null ? default : new(Register(routine));


            """);
    }

    /// <remarks>
    /// A method group fits every delegate of its signature, so <c>Routine(OnComplete)</c> compiles only where one role has that
    /// signature. Roles that share one (DRIVER_CANCEL and DRIVER_STARTIO, say) each get a method of their own name instead.
    /// </remarks>
    static string DriverPart(Roles roles)
    {
        StringBuilder text = new("""
            // <auto-generated/>
            #nullable enable

            namespace Irpwright.Kernel;

            partial class WdmDriver
            {

            """);
        string separator = "";
        HashSet<string> shared = [.. roles.All.GroupBy(static r => r.Signature).Where(static g => g.Count() > 1).Select(static g => g.Key)];
        foreach (Role role in roles.All)
        {
            text.Append(separator);
            separator = "\n";
            string name = shared.Contains(role.Signature) ? MethodName(role.Name) : "Routine";
            text.Append($$"""
                    /// <summary>The code address of a <see cref="{{role.Type}}"/> of this driver, to store or to pass.</summary>
                    protected {{role.Pointer}} {{name}}({{role.Type}}? routine) => Machine.Code.Routine(routine);

                """);
        }
        return text.Append("}\n").ToString();
    }

    /// <summary>
    /// DRIVER_CANCEL: CancelRoutine. IO_CSQ_PEEK_NEXT_IRP: IoCsqPeekNextIrpRoutine. A leading DRIVER and a trailing ROUTINE say
    /// nothing; the kernel's K and an Io at the end of a word are words of their own: KSTART_ROUTINE: KStartRoutine,
    /// DRIVER_STARTIO: StartIoRoutine.
    /// </summary>
    static string MethodName(string role)
    {
        List<string> words = [.. role.Split('_')];
        if (words.Count > 1 && words[0] == "DRIVER") words.RemoveAt(0);
        if (words.Count > 1 && words[words.Count - 1] == "ROUTINE") words.RemoveAt(words.Count - 1);
        return string.Concat(words.Select((word, i) =>
            i == 0 && word.Length > 1 && word[0] == 'K' ? "K" + Pascal(word.Substring(1)) : Pascal(word))) + "Routine";
    }

    static string Pascal(string word)
    {
        if (word.Length > 2 && word.EndsWith("IO", StringComparison.Ordinal)) return Pascal(word.Substring(0, word.Length - 2)) + "Io";
        return word.Length == 0 ? "" : word.Substring(0, 1) + word.Substring(1).ToLowerInvariant();
    }
}
