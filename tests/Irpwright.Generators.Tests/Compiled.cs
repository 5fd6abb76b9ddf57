using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Irpwright.Generators.Tests;

/// <summary>A small kernel with everything the generators lean on, and the source under test, run through the generators.</summary>
/// <remarks>Its guest memory is host memory: a guest address is a pointer.</remarks>
sealed class Compiled
{
    const string Wdk = """
        using System;
        namespace Irpwright.Wdk
        {
            [AttributeUsage(AttributeTargets.Delegate)] public sealed class RoutineAttribute : Attribute;
            public enum NTSTATUS : int { STATUS_SUCCESS = 0, STATUS_PENDING = 0x103, STATUS_UNSUCCESSFUL = unchecked((int)0xC0000001) }
            public enum EVENT_TYPE { NotificationEvent, SynchronizationEvent }
            public enum MODE : sbyte { KernelMode, UserMode }
            public readonly struct BOOLEAN(byte value)
            {
                public byte Value { get; } = value;
                public static implicit operator bool(BOOLEAN value) => value.Value != 0;
                public static implicit operator BOOLEAN(bool value) => new(value ? (byte)1 : (byte)0);
            }
            public readonly struct HANDLE(ulong value) { public ulong Value { get; } = value; }
            public readonly struct PVOID(ulong address) { public ulong Address { get; } = address; }
            public readonly struct PIRP(ulong address) { public ulong Address { get; } = address; }
            public readonly struct PDEVICE_OBJECT(ulong address) { public ulong Address { get; } = address; }
            public struct POWER_STATE { public const int SizeOf = 4; public int SystemState; }
            public struct GUID { public const int SizeOf = 16; public ulong Low, High; }

            [Routine] public delegate NTSTATUS IO_COMPLETION_ROUTINE(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context);
            public readonly struct PIO_COMPLETION_ROUTINE(ulong address) { public ulong Address { get; } = address; }
            [Routine] public delegate void DRIVER_CANCEL(PDEVICE_OBJECT DeviceObject, PIRP Irp);
            public readonly struct PDRIVER_CANCEL(ulong address) { public ulong Address { get; } = address; }
            [Routine] public delegate void DRIVER_STARTIO(PDEVICE_OBJECT DeviceObject, PIRP Irp);
            public readonly struct PDRIVER_STARTIO(ulong address) { public ulong Address { get; } = address; }
            [Routine] public delegate BOOLEAN KSTART_ROUTINE(PVOID StartContext, sbyte Signed, MODE Mode, POWER_STATE State, BOOLEAN Fifth, long Sixth);
            public readonly struct PKSTART_ROUTINE(ulong address) { public ulong Address { get; } = address; }

            public static unsafe class GuestMemory { public static ref T Ref<T>(ulong address) where T : unmanaged => ref *(T*)address; }
        }
        """;

    const string Kernel = """
        using System;
        using System.Collections.Generic;
        using Irpwright.Wdk;
        namespace Irpwright.Kernel
        {
            [AttributeUsage(AttributeTargets.Method)]
            public sealed class KernelExportAttribute(string? name = null) : Attribute
            {
                public string? Name { get; } = name;
                public string? Alias { get; init; }
                public string Module { get; init; } = "ntoskrnl.exe";
                public byte MinIrql { get; init; }
                public byte MaxIrql { get; init; } = 15;
                public DdiFailure FailsWith { get; init; }
            }
            public enum DdiFailure : byte { None, Null, Status }
            [AttributeUsage(AttributeTargets.Method)] public sealed class WdkInlineAttribute : Attribute;
            [AttributeUsage(AttributeTargets.Parameter)] public sealed class CallerAttribute : Attribute;
            [AttributeUsage(AttributeTargets.Struct)] public sealed class KernelEventAttribute : Attribute;
            public readonly unsafe struct VariadicArguments(ulong* gpr, int index) { public ulong First => gpr[0] + (ulong)index; }
            public sealed unsafe class KernelExport(string row)
            {
                public void Call(Machine machine, nint gpr) => KernelExports.ThunkAt(int.Parse(row.Split(' ')[0]))(machine, (ulong*)gpr);
                public string Row { get; } = row;
            }
            public readonly ref struct DdiArguments(ReadOnlySpan<ulong> arguments)
            {
                public const ulong ManagedVariable = 1;
                public string Text { get; } = string.Join(",", arguments.ToArray());
            }
            // Like the real one, this half initialises from the generated half.
            public static partial class KernelExports { public static readonly int Count = All.Count; }
            public abstract partial class KernelObserver { }
            sealed partial class ObserverList(KernelObserver[] observers) : KernelObserver { readonly KernelObserver[] observers = observers; }
            public sealed partial class KernelEvents
            {
                public KernelObserver? Observer { get; set; }
                public bool AreCallsWatched => Observer is not null;
                public List<string> Log { get; } = [];
                public void ObserveTwice(KernelObserver observer) => Observer = new ObserverList([observer, observer]);
                public void DdiCalled(KernelExport export, ulong caller, DdiArguments arguments) => Log.Add($"{export.Row} from {caller:X}: {arguments.Text}");
                public void DdiReturned(KernelExport export, ulong caller, DdiArguments arguments, ulong result) => Log.Add($"{result:X}");
                public unsafe bool DdiCalled(KernelExport export, ulong* gpr, out PassedArguments arguments)
                {
                    arguments = default;
                    DdiCalled(export, *(ulong*)gpr[4], new DdiArguments([gpr[1]]));
                    return false;
                }
                public unsafe void DdiReturned(KernelExport export, ulong* gpr, in PassedArguments arguments, ulong result) => DdiReturned(export, 0, default, result);
            }
            public struct PassedArguments;
            public sealed class NullObserver : KernelObserver { }
            public sealed partial class Machine
            {
                public Machine() { Code = new CodeMap(); Io = new Io(); }
                public KernelEvents Events { get; } = new();
                public CodeMap Code { get; }
                public Io Io { get; }
                public FaultInjection Faults { get; } = new();
            }
            public sealed class FaultInjection
            {
                public bool Strikes(KernelExport export, ulong caller, DdiArguments arguments, string method, int line, out ulong failure) { failure = 0; return false; }
            }
            public sealed partial class Io { public string Log = ""; }
            public abstract partial class WdmDriver(Machine machine)
            {
                protected internal Machine Machine { get; } = machine;
                public ulong CallerAddress => 0xCA11;
            }
            public sealed partial class CodeMap
            {
                Delegate?[] routines = new Delegate?[4];
                public ulong RoutineBase => 0x1000;
                public string Log = "";
                int count;
                public ulong Register(Delegate routine)
                {
                    routines[count] = routine;
                    return RoutineBase + 16 * (ulong)count++;
                }
                public ulong Invoke(ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments = default)
                {
                    Log += $"{address:X}({rcx:X}, {rdx:X}, {r8:X}, {r9:X}";
                    foreach (ulong argument in stackArguments) Log += $", {argument:X}";
                    Log += ")";
                    return 0xFFFFFFFF_C0000001;
                }
            }
        }
        """;

    static readonly MetadataReference[] References = [.. new[] { "System.Private.CoreLib", "System.Runtime", "System.Collections" }
        .Select(static name => MetadataReference.CreateFromFile(Assembly.Load(name).Location))];

    static readonly CSharpParseOptions Parse = new(LanguageVersion.Preview, DocumentationMode.Diagnose);

    static readonly CSharpCompilationOptions Options = new(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true,
        nullableContextOptions: NullableContextOptions.Enable, warningLevel: 9999);

    readonly CSharpCompilation output;
    readonly GeneratorDriver driver;
    readonly byte[]? wdk;

    Compiled(CSharpCompilation input, byte[]? wdk = null)
    {
        ISourceGenerator[] generators =
            [new ExportGenerator().AsSourceGenerator(), new EventGenerator().AsSourceGenerator(), new RoutineCallGenerator().AsSourceGenerator()];
        this.wdk = wdk;
        GeneratorDriverOptions options = new(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true);
        driver = CSharpGeneratorDriver.Create(generators, parseOptions: Parse, driverOptions: options)
            .RunGeneratorsAndUpdateCompilation(input, out Compilation output, out ImmutableArray<Diagnostic> diagnostics, Cancellation);
        this.output = (CSharpCompilation)output;
        Diagnostics = diagnostics;
        Input = input;
    }

    CSharpCompilation Input { get; }

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>What the generators reported.</summary>
    public ImmutableArray<Diagnostic> Diagnostics { get; }

    /// <summary>Runs the generators on the small kernel and <paramref name="source"/>, in one assembly.</summary>
    public static Compiled From(string source) =>
        new(CSharpCompilation.Create("Kernel", [Tree(Wdk), Tree(Kernel), Tree(source)], References, Options));

    /// <summary>The same with the WDK in an assembly of its own, as in the real solution.</summary>
    public static Compiled AgainstWdkAssembly(string source)
    {
        var wdk = CSharpCompilation.Create("Wdk", [Tree(Wdk)], References, Options);
        byte[] image = Emit(wdk);
        MetadataReference[] references = [.. References, MetadataReference.CreateFromImage(image)];
        return new(CSharpCompilation.Create("Kernel", [Tree(Kernel), Tree(source)], references, Options), image);
    }

    static SyntaxTree Tree(string source) => CSharpSyntaxTree.ParseText("#nullable enable\n" + source, Parse);

    /// <summary>The text of one generated file.</summary>
    public string File(string name) =>
        driver.GetRunResult().Results.SelectMany(static r => r.GeneratedSources).Single(s => s.HintName == name).SourceText.ToString();

    /// <summary>The generated line that contains <paramref name="text"/>, without its indentation.</summary>
    public string Line(string file, string text) =>
        File(file).Split('\n').Distinct().Single(line => line.Contains(text, StringComparison.Ordinal)).Trim();

    /// <summary>The source text that a location names.</summary>
    public string Text(Location location) => Input.SyntaxTrees.Last().GetText(Cancellation).ToString(location.SourceSpan);

    /// <summary>Whether the model of that name stays the same when <paramref name="added"/> joins the compilation.</summary>
    public bool IsUnchangedBy(string added, string step) => IsUnchangedIn(Input.AddSyntaxTrees(Tree(added)), step);

    /// <summary>Whether it stays the same when the source under test is edited.</summary>
    public bool IsUnchangedByReplacing(string edited, string step) =>
        IsUnchangedIn(Input.ReplaceSyntaxTree(Input.SyntaxTrees.Last(), Tree(edited)), step);

    bool IsUnchangedIn(CSharpCompilation edited, string step) =>
        driver.RunGenerators(edited, Cancellation).GetRunResult().Results.Where(r => r.TrackedSteps.ContainsKey(step))
            .SelectMany(r => r.TrackedSteps[step]).SelectMany(static s => s.Outputs)
            .All(static o => o.Reason is IncrementalStepRunReason.Unchanged or IncrementalStepRunReason.Cached);

    /// <summary>Loads the generated program; it must compile without a warning, documentation included.</summary>
    public Assembly Load()
    {
        Assert.Empty(Diagnostics);
        byte[] image = Emit(output);
        AssemblyLoadContext context = new("generated", isCollectible: true);
        if (wdk is not null) context.LoadFromStream(new MemoryStream(wdk));
        return context.LoadFromStream(new MemoryStream(image));
    }

    static byte[] Emit(CSharpCompilation compilation)
    {
        using MemoryStream image = new();
        // The sources of the tests have no path and may lack documentation; generated ones may not.
        Assert.Empty(compilation.Emit(image, cancellationToken: Cancellation).Diagnostics.Where(static d =>
            d.Severity == DiagnosticSeverity.Error || d.Severity == DiagnosticSeverity.Warning && d.Location.SourceTree?.FilePath.Length > 0));
        return image.ToArray();
    }
}
