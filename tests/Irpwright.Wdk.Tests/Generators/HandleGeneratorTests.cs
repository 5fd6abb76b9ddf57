using Irpwright.Generators;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Irpwright.Wdk.Tests.Generators;

/// <summary>Goal: declarations become the promised handles. Method: run the generators over small sources.</summary>
public sealed class HandleGeneratorTests
{
    const string Usings = "using System.Runtime.CompilerServices; using System.Runtime.InteropServices; using Irpwright.Wdk;\n";

    const string Point = Usings + """
        namespace Shapes;

        [Layout]
        [StructLayout(LayoutKind.Explicit, Size = 0x18)]
        public struct POINT
        {
            [FieldOffset(0x00)] public int X;
            [FieldOffset(0x04)] public BOOLEAN Visible;
            [FieldOffset(0x08)] public PPOINT Next;
            [FieldOffset(0x10)] public ColorUnion Color;

            [StructLayout(LayoutKind.Explicit, Size = 0x4)]
            public struct ColorUnion
            {
                [FieldOffset(0x00)] public uint Argb;
                [FieldOffset(0x00)] public byte Blue;
            }
        }
        """;

    const string Counters = Usings + """
        struct COUNTERS { public long Requests; public PCOUNTERS Next; int Secret; }

        [PointerTo(typeof(COUNTERS))] readonly partial struct PCOUNTERS;
        """;

    [Fact]
    public void A_layout_becomes_a_handle_with_a_ref_property_per_field() => AssertGenerates(Point, "PPOINT");

    [Fact]
    public void A_routine_becomes_a_code_pointer() =>
        AssertGenerates(Usings + "namespace Shapes;\n[Routine] delegate NTSTATUS DRAW(PVOID Context);", "PDRAW");

    [Fact]
    public void A_pointer_to_a_drivers_own_structure_has_its_public_fields()
    {
        string handle = Assert.Single(Run(Counters).Driver.GetRunResult().GeneratedTrees).ToString();

        Assert.Contains("public ref long Requests\n", handle);
        Assert.Contains("get => ref Value.Requests;", handle);
        Assert.Contains("public ref global::PCOUNTERS Next\n", handle);
        Assert.DoesNotContain("Secret", handle);
    }

    [Theory]
    [InlineData(Point)]
    [InlineData(Counters)]
    public void Generated_code_compiles(string source)
    {
        (GeneratorDriver driver, CSharpCompilation compilation) = Run(source);

        driver.RunGeneratorsAndUpdateCompilation(compilation, out Compilation updated, out _, TestContext.Current.CancellationToken);

        Assert.Empty(updated.GetDiagnostics(TestContext.Current.CancellationToken).Where(problem => problem.Severity >= DiagnosticSeverity.Warning));
    }

    [Theory]
    [InlineData("IRPW001", "[Layout] public struct S { [FieldOffset(0)] public int A; }")]
    [InlineData("IRPW001", "[Layout] [StructLayout(LayoutKind.Sequential, Size = 4)] public struct S { }")]
    [InlineData("IRPW001", "[Layout] [StructLayout(LayoutKind.Explicit)] public struct S { [FieldOffset(0)] public int A; }")]
    [InlineData("IRPW001", "[Layout] [StructLayout(LayoutKind.Explicit, Size = 4)] public struct S { public struct N { } }")]
    [InlineData("IRPW002", "[Layout] [StructLayout(LayoutKind.Explicit, Size = 4)] public struct S { public int A; }")]
    [InlineData("IRPW003", "[Layout] [StructLayout(LayoutKind.Explicit, Size = 4)] public struct S { [FieldOffset(0)] public int Address; }")]
    [InlineData("IRPW003", "[Layout] [StructLayout(LayoutKind.Explicit, Size = 4)] public struct S { } public struct PS { }")]
    [InlineData("IRPW003", "[Routine] public delegate void R(); public class PR { }")]
    [InlineData("IRPW003", "struct S { public int Value; } [PointerTo(typeof(S))] readonly partial struct PS;")]
    [InlineData("IRPW004", "class C { [Routine] public delegate void R(); }")]
    [InlineData("IRPW004", "[Routine] public delegate void R<T>(T value);")]
    public void A_wrong_declaration_is_an_error_and_generates_nothing(string id, string source)
    {
        GeneratorDriverRunResult result = Run(Usings + source).Driver.GetRunResult();

        Assert.Contains(result.Diagnostics, problem => problem.Id == id && problem.Severity == DiagnosticSeverity.Error);
        Assert.Empty(result.GeneratedTrees);
    }

    [Fact]
    public void A_field_marked_ThroughValue_may_have_the_name_of_a_handle_member()
    {
        const string source = Usings
            + "[Layout] [StructLayout(LayoutKind.Explicit, Size = 4)] public struct S { [ThroughValue] [FieldOffset(0)] public int Address; }";

        GeneratorDriverRunResult result = Run(source).Driver.GetRunResult();

        Assert.Empty(result.Diagnostics);
        Assert.DoesNotContain("ref int Address", result.GeneratedTrees.Single().ToString());
    }

    [Fact]
    public void An_unrelated_edit_reuses_the_model()
    {
        (GeneratorDriver driver, CSharpCompilation compilation) = Run(Point);

        CSharpCompilation edited = compilation.AddSyntaxTrees(Parse("class Unrelated;"));
        GeneratorDriverRunResult result = driver.RunGenerators(edited, TestContext.Current.CancellationToken).GetRunResult();

        IncrementalGeneratorRunStep step = result.Results.SelectMany(run => run.TrackedSteps)
            .Single(tracked => tracked.Key == "Layouts").Value.Single();
        Assert.All(step.Outputs, output => Assert.True(output.Reason is IncrementalStepRunReason.Unchanged or IncrementalStepRunReason.Cached));
    }

    static void AssertGenerates(string source, string handle)
    {
        GeneratorDriverRunResult result = Run(source).Driver.GetRunResult();

        Assert.Empty(result.Diagnostics);
        Assert.Equal(Expected(handle), Assert.Single(result.GeneratedTrees).ToString(), ignoreLineEndingDifferences: true);
    }

    static string Expected(string handle)
    {
        using Stream stream = typeof(HandleGeneratorTests).Assembly.GetManifestResourceStream(handle + ".txt")!;
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }

    static (GeneratorDriver Driver, CSharpCompilation Compilation) Run(string source)
    {
        string[] platform = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator);
        MetadataReference[] references = [.. platform.Select(path => MetadataReference.CreateFromFile(path))];
        CSharpCompilation compilation = CSharpCompilation.Create(
            "Sample", [Parse(source)], references, new(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable));
        GeneratorDriver driver = CSharpGeneratorDriver.Create(
            [new LayoutGenerator().AsSourceGenerator(), new RoutineGenerator().AsSourceGenerator(), new PointerGenerator().AsSourceGenerator()],
            driverOptions: new(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));
        return (driver.RunGenerators(compilation, TestContext.Current.CancellationToken), compilation);
    }

    static SyntaxTree Parse(string source) =>
        CSharpSyntaxTree.ParseText(source, new CSharpParseOptions(LanguageVersion.Latest), cancellationToken: TestContext.Current.CancellationToken);
}
