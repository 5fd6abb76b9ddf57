using System.Reflection;
using Microsoft.CodeAnalysis;

namespace Irpwright.Generators.Tests;

public sealed class ExportGeneratorTests
{
    const string Memory = "global::Irpwright.Wdk.GuestMemory.Ref";

    static string Declare(string members) => $$"""
        using System.Diagnostics.CodeAnalysis;
        using Irpwright.Wdk;
        namespace Irpwright.Kernel
        {
            public sealed partial class Io
            {
                {{members}}
            }
        }
        """;

    [Theory]
    [InlineData("PIRP a", "new global::Irpwright.Wdk.PIRP(gpr[1])")]
    [InlineData("PVOID a", "new global::Irpwright.Wdk.PVOID(gpr[1])")]
    [InlineData("HANDLE a", "new global::Irpwright.Wdk.HANDLE(gpr[1])")]
    [InlineData("PDRIVER_CANCEL a", "new global::Irpwright.Wdk.PDRIVER_CANCEL(gpr[1])")]
    [InlineData("EVENT_TYPE a", "(global::Irpwright.Wdk.EVENT_TYPE)gpr[1]")]
    [InlineData("MODE a", "(global::Irpwright.Wdk.MODE)gpr[1]")]
    [InlineData("BOOLEAN a", "(byte)gpr[1] != 0")]
    [InlineData("bool a", "(byte)gpr[1] != 0")]
    [InlineData("sbyte a", "(sbyte)gpr[1]")]
    [InlineData("char a", "(char)gpr[1]")]
    [InlineData("uint a", "(uint)gpr[1]")]
    [InlineData("long a", "(long)gpr[1]")]
    [InlineData("nuint a", "(nuint)gpr[1]")]
    [InlineData("ulong a", "gpr[1]")]
    [InlineData("POWER_STATE a", "global::System.Runtime.CompilerServices.Unsafe.BitCast<uint, global::Irpwright.Wdk.POWER_STATE>((uint)gpr[1])")]
    [InlineData("ref GUID a", $"ref {Memory}<global::Irpwright.Wdk.GUID>(gpr[1])", "ref a")]
    [InlineData("out PIRP a", $"out {Memory}<global::Irpwright.Wdk.PIRP>(gpr[1])", "out a")]
    [InlineData("in GUID a", $"in {Memory}<global::Irpwright.Wdk.GUID>(gpr[1])", "in a")]
    [InlineData("long? a", "Optional<long>(gpr[1])")]
    [InlineData("GUID? a", "Optional<global::Irpwright.Wdk.GUID>(gpr[1])")]
    public void A_parameter_is_read_from_its_register_as_its_type_says(string parameter, string argument, string driverArgument = "a")
    {
        string body = parameter.StartsWith("out ", StringComparison.Ordinal) ? "{ a = default; }" : "{ }";
        Compiled compiled = Compiled.From(Declare($"[KernelExport] public void Test({parameter}) {body}"));
        Assert.Equal($"machine.Io.Test({argument});", compiled.Line("KernelExports.Thunks.g.cs", "machine.Io.Test"));
        Assert.Equal($"machine.Io.Test({driverArgument});", compiled.Line("WdmDriver.Ddis.g.cs", "machine.Io.Test("));
        compiled.Load();
    }

    [Theory]
    [InlineData("NTSTATUS", "gpr[0] = (uint)machine.Io.Test();")]
    [InlineData("int", "gpr[0] = (uint)machine.Io.Test();")]
    [InlineData("sbyte", "gpr[0] = (byte)machine.Io.Test();")]
    [InlineData("MODE", "gpr[0] = (byte)machine.Io.Test();")]
    [InlineData("long", "gpr[0] = (ulong)machine.Io.Test();")]
    [InlineData("ulong", "gpr[0] = machine.Io.Test();")]
    [InlineData("PIRP", "gpr[0] = machine.Io.Test().Address;")]
    [InlineData("HANDLE", "gpr[0] = machine.Io.Test().Value;")]
    [InlineData("BOOLEAN", "gpr[0] = machine.Io.Test() ? 1UL : 0UL;")]
    [InlineData("POWER_STATE", "gpr[0] = global::System.Runtime.CompilerServices.Unsafe.BitCast<global::Irpwright.Wdk.POWER_STATE, uint>(machine.Io.Test());")]
    public void A_result_is_zero_extended_into_rax(string type, string statement)
    {
        Compiled compiled = Compiled.From(Declare($"[KernelExport] public {type} Test() => default;"));
        Assert.Equal(statement, compiled.Line("KernelExports.Thunks.g.cs", "machine.Io.Test"));
        compiled.Load();
    }

    [Fact]
    public void An_alias_is_a_second_row_with_the_same_thunk()
    {
        Compiled compiled = Compiled.From(Declare("""[KernelExport("IofTest", Alias = "IoTest")] public void Test() { }"""));
        Assert.Equal("0 IofTest Test ntoskrnl.exe 0 15 0", compiled.Line("KernelExports.g.cs", "IofTest Test"));
        Assert.Equal("1 IoTest Test ntoskrnl.exe 0 15 0", compiled.Line("KernelExports.g.cs", "IoTest Test"));
        Assert.Equal("0 => &Thunks.IofTest,", compiled.Line("KernelExports.g.cs", "0 => &Thunks"));
        Assert.Equal("1 => &Thunks.IofTest,", compiled.Line("KernelExports.g.cs", "1 => &Thunks"));
        Assert.Equal("machine.Io.Test();", compiled.Line("WdmDriver.Ddis.g.cs", "machine.Io.Test("));
        compiled.Load();
    }

    [Fact]
    public void The_first_four_arguments_come_from_registers_and_the_rest_from_behind_the_home_slots()
    {
        Compiled compiled = Compiled.From(Declare(
            "[KernelExport] public void Test(byte a, PIRP b, [Caller] ulong caller, ulong c, out int d, uint e, [Caller] ulong again, BOOLEAN f, long? g) => d = 0;"));
        Assert.Equal($"machine.Io.Test((byte)gpr[1], new global::Irpwright.Wdk.PIRP(gpr[2]), {Memory}<ulong>(gpr[4]), gpr[8], out {Memory}<int>(gpr[9]), "
            + $"(uint){Memory}<ulong>(gpr[4] + 0x28), {Memory}<ulong>(gpr[4]), (byte){Memory}<ulong>(gpr[4] + 0x30) != 0, Optional<long>({Memory}<ulong>(gpr[4] + 0x38)));",
            compiled.Line("KernelExports.Thunks.g.cs", "machine.Io.Test"));
        Assert.Equal("machine.Io.Test(a, b, CallerAddress, c, out d, e, CallerAddress, f, g);", compiled.Line("WdmDriver.Ddis.g.cs", "machine.Io.Test("));
        compiled.Load();
    }

    [Fact]
    public void A_thunk_carries_out_the_call_and_reports_it_to_an_observer_with_its_return_address()
    {
        Assembly program = Compiled.From(Declare("""
            [KernelExport("IofTest", MinIrql = 1, MaxIrql = 2)]
            public NTSTATUS IoTest(PIRP Irp, sbyte Boost, out int Length, BOOLEAN Alertable, MODE Mode, long? Timeout, long? Absent, [Caller] ulong caller)
            {
                Length = 7;
                Log = $"{Irp.Address:X} {Boost} {(bool)Alertable} {Mode} {Timeout} {Absent is null} {caller:X}";
                return NTSTATUS.STATUS_UNSUCCESSFUL;
            }
            """) + """

            public static unsafe class Probe
            {
                public static string Run()
                {
                    Irpwright.Kernel.Machine machine = new();
                    machine.Events.Observer = new Irpwright.Kernel.NullObserver();
                    long timeout = -5;
                    int length = 0;
                    ulong* stack = stackalloc ulong[16];
                    ulong* gpr = stackalloc ulong[16];
                    stack[0] = 0xFACE;
                    stack[5] = 0xFFFFFF01;
                    stack[6] = (ulong)&timeout;
                    gpr[1] = 0x1234;
                    gpr[2] = 0xFFFF;
                    gpr[8] = (ulong)&length;
                    gpr[9] = 0x100;
                    gpr[4] = (ulong)stack;
                    Irpwright.Kernel.KernelExports.IofTest.Call(machine, (nint)gpr);
                    return $"{machine.Io.Log} {length} {gpr[0]:X} | {string.Join(";", machine.Events.Log)} | {Irpwright.Kernel.KernelExports.Count}";
                }
            }
            """).Load();
        Assert.Equal("1234 -1 False UserMode -5 True FACE 7 C0000001 | 0 IofTest IoTest ntoskrnl.exe 1 2 0 8181188 from FACE: 4660;C0000001 | 1",
            program.GetType("Probe")!.GetMethod("Run")!.Invoke(null, null));
    }

    [Fact]
    public void A_driver_method_has_the_parameters_defaults_and_documentation_of_the_DDI()
    {
        Compiled compiled = Compiled.From(Declare("""
            [KernelExport] public NTSTATUS KeWait(PVOID Object, MODE WaitMode = MODE.UserMode, BOOLEAN Alertable = default, int @event = -1, long? Timeout = null, bool Flag = true) => default;
            """));
        Assert.EndsWith("""
                /// <inheritdoc cref="M:Irpwright.Kernel.Io.KeWait(Irpwright.Wdk.PVOID,Irpwright.Wdk.MODE,Irpwright.Wdk.BOOLEAN,System.Int32,System.Nullable{System.Int64},System.Boolean)"/>
                protected global::Irpwright.Wdk.NTSTATUS KeWait(global::Irpwright.Wdk.PVOID Object, global::Irpwright.Wdk.MODE WaitMode = (global::Irpwright.Wdk.MODE)(1), global::Irpwright.Wdk.BOOLEAN Alertable = default, int @event = (int)(-1), long? Timeout = default, bool Flag = true)
                {
                    Machine machine = Machine;
                    if (machine.Events.AreCallsWatched) return KeWaitObserved(Object, WaitMode, Alertable, @event, Timeout, Flag);
                    return machine.Io.KeWait(Object, WaitMode, Alertable, @event, Timeout, Flag);
                }

                [global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
                global::Irpwright.Wdk.NTSTATUS KeWaitObserved(global::Irpwright.Wdk.PVOID Object, global::Irpwright.Wdk.MODE WaitMode, global::Irpwright.Wdk.BOOLEAN Alertable, int @event, long? Timeout, bool Flag)
                {
                    Machine machine = Machine;
                    DdiArguments arguments = new([Object.Address, (byte)WaitMode, Alertable ? 1UL : 0UL, (uint)@event, Timeout is null ? 0UL : DdiArguments.ManagedVariable, Flag ? 1UL : 0UL]);
                    machine.Events.DdiCalled(KernelExports.KeWait, CallerAddress, arguments);
                    var result = machine.Io.KeWait(Object, WaitMode, Alertable, @event, Timeout, Flag);
                    machine.Events.DdiReturned(KernelExports.KeWait, CallerAddress, arguments, (uint)result);
                    return result;
                }
            }

            """, compiled.File("WdmDriver.Ddis.g.cs"));
        compiled.Load();
    }

    [Fact]
    public void A_DDI_that_may_fail_is_told_where_in_the_source_it_is_called()
    {
        Compiled compiled = Compiled.From(Declare("""
            [KernelExport(FailsWith = DdiFailure.Status)] public NTSTATUS KeMake(PVOID Object, out int Length) { Length = 0; return default; }
            """));
        const string caller = "[global::System.Runtime.CompilerServices.CallerMemberName] string callerName = \"\", [global::System.Runtime.CompilerServices.CallerLineNumber] int callerLine = 0";
        string text = compiled.File("WdmDriver.Ddis.g.cs");
        Assert.Contains($"protected global::Irpwright.Wdk.NTSTATUS KeMake(global::Irpwright.Wdk.PVOID Object, out int Length, {caller})\n", text, StringComparison.Ordinal);
        Assert.Contains("return KeMakeObserved(Object, out Length, callerName, callerLine);\n", text, StringComparison.Ordinal);
        Assert.Contains("""
                    if (machine.Faults.Strikes(KernelExports.KeMake, CallerAddress, arguments, callerName, callerLine, out ulong failure))
                    {
                        Length = default;
                        machine.Events.DdiReturned(KernelExports.KeMake, CallerAddress, arguments, failure);
                        return (global::Irpwright.Wdk.NTSTATUS)failure;
                    }

            """, text, StringComparison.Ordinal);
        compiled.Load();
    }

    [Fact]
    public void Where_a_DDI_takes_code_a_driver_can_pass_its_method()
    {
        Compiled compiled = Compiled.From(Declare("""
            [WdkInline] public static void IoSetCompletionRoutine(PIRP Irp, PIO_COMPLETION_ROUTINE CompletionRoutine, PVOID Context = default, bool InvokeOnError = true) { }
            """) + """

            namespace Sample
            {
                using Irpwright.Kernel;
                using Irpwright.Wdk;
                sealed class Filter(Machine machine) : WdmDriver(machine)
                {
                    readonly Machine own = machine;
                    void Read(PIRP Irp)
                    {
                        PIO_COMPLETION_ROUTINE done = Routine(Done);
                        IoSetCompletionRoutine(Irp, Done);
                        IoSetCompletionRoutine(Irp, null, InvokeOnError: false);
                        IoSetCompletionRoutine(Irp, done, own.Events is null ? default : new(1));
                    }
                    NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => NTSTATUS.STATUS_SUCCESS;
                }
            }
            """);
        string file = compiled.File("WdmDriver.Ddis.g.cs");
        Assert.Contains("protected static void IoSetCompletionRoutine(global::Irpwright.Wdk.PIRP Irp, global::Irpwright.Wdk.PIO_COMPLETION_ROUTINE CompletionRoutine, "
            + "global::Irpwright.Wdk.PVOID Context = default, bool InvokeOnError = true) => "
            + "global::Irpwright.Kernel.Io.IoSetCompletionRoutine(Irp, CompletionRoutine, Context, InvokeOnError);", file, StringComparison.Ordinal);
        Assert.Contains("protected void IoSetCompletionRoutine(global::Irpwright.Wdk.PIRP Irp, global::Irpwright.Wdk.IO_COMPLETION_ROUTINE? CompletionRoutine, "
            + "global::Irpwright.Wdk.PVOID Context = default, bool InvokeOnError = true) =>", file, StringComparison.Ordinal);
        Assert.Contains("IoSetCompletionRoutine(Irp, Machine.Code.Routine(CompletionRoutine), Context, InvokeOnError);", file, StringComparison.Ordinal);
        compiled.Load();
    }

    [Fact]
    public void An_inline_DDI_is_a_driver_method_without_export_event_or_limits_on_its_types()
    {
        Compiled compiled = Compiled.From(Declare("""
            [WdkInline] public void RtlFill(System.Span<byte> Bytes) { }
            [KernelExport] public void IoOther() { }
            """));
        Assert.Contains("""
                [global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveInlining)]
                protected void RtlFill(global::System.Span<byte> Bytes) => Machine.Io.RtlFill(Bytes);

            """, compiled.File("WdmDriver.Ddis.g.cs"), StringComparison.Ordinal);
        Assert.DoesNotContain("RtlFill", compiled.File("KernelExports.g.cs"), StringComparison.Ordinal);
        compiled.Load();
    }

    [Fact]
    public void A_variadic_DDI_has_a_thunk_and_no_driver_method()
    {
        Compiled compiled = Compiled.From(Declare("[KernelExport] public uint DbgPrint(PVOID Format, [Caller] ulong caller, VariadicArguments arguments) => 0;"));
        Assert.Equal($"gpr[0] = (uint)machine.Io.DbgPrint(new global::Irpwright.Wdk.PVOID(gpr[1]), {Memory}<ulong>(gpr[4]), new global::Irpwright.Kernel.VariadicArguments(gpr, 1));",
            compiled.Line("KernelExports.Thunks.g.cs", "machine.Io.DbgPrint"));
        Assert.DoesNotContain("DbgPrint", compiled.File("WdmDriver.Ddis.g.cs"), StringComparison.Ordinal);
        compiled.Load();
    }

    [Fact]
    public void A_DDI_that_does_not_return_says_so_to_drivers()
    {
        Compiled compiled = Compiled.From(Declare("[KernelExport, DoesNotReturn] public void KeBugCheck(uint Code) => throw new System.Exception();"));
        Assert.Contains("""
                [global::System.Diagnostics.CodeAnalysis.DoesNotReturn]
                protected void KeBugCheck(uint Code)
            """, compiled.File("WdmDriver.Ddis.g.cs"), StringComparison.Ordinal);
        compiled.Load();
    }

    [Fact]
    public void The_table_is_sorted_by_module_and_name_and_names_become_identifiers()
    {
        Compiled compiled = Compiled.From(Declare("""
            [KernelExport(MaxIrql = 2)] public void Zw() { }
            [KernelExport("??0X@@", MinIrql = 1)] public void Mangled() { }
            [KernelExport("All", Module = "hal.dll")] public void Everything() { }
            """));
        string file = compiled.File("KernelExports.g.cs");
        string[] rows = ["0 All Everything hal.dll 0 15 0 ", "1 ??0X@@ Mangled ntoskrnl.exe 1 15 0 ", "2 Zw Zw ntoskrnl.exe 0 2 0 "];
        Assert.Contains(string.Join('\n', rows.Select(row => "            " + row)), file, StringComparison.Ordinal);
        Assert.Contains("public static KernelExport __0X__ => Table.Rows[1];", file, StringComparison.Ordinal);
        compiled.Load();
    }

    [Theory]
    [InlineData("[KernelExport] public void Test(double a) { }", "parameter 'a' has type 'double'")]
    [InlineData("[KernelExport] public void Test(string a) { }", "parameter 'a' has type 'string'")]
    [InlineData("[KernelExport] public void Test(GUID a) { }", "parameter 'a' has type 'Irpwright.Wdk.GUID'")]
    [InlineData("[KernelExport] public unsafe void Test(ulong* a) { }", "parameter 'a' has type 'ulong*'")]
    [InlineData("[KernelExport] public void Test(ref string a) { }", "parameter 'a' has type 'string'")]
    [InlineData("[KernelExport] public void Test(DRIVER_CANCEL a) { }", "parameter 'a' has type 'Irpwright.Wdk.DRIVER_CANCEL'")]
    [InlineData("[KernelExport] public void Test(VariadicArguments a, int b) { }", "VariadicArguments 'a' must be the last parameter of an export")]
    [InlineData("[WdkInline] public void Test(VariadicArguments a) { }", "VariadicArguments 'a' must be the last parameter of an export")]
    [InlineData("[KernelExport] public void Test([Caller] uint a) { }", "[Caller] 'a' must be a ulong")]
    [InlineData("[KernelExport] public float Test() => 0;", "its result of type 'float' does not travel in rax")]
    [InlineData("[KernelExport] public void Test<T>() { }", "it is generic")]
    [InlineData("[WdkInline] public ref int Test(ref int a) => ref a;", "it returns a reference")]
    public void A_signature_that_no_driver_can_call_is_an_error_at_the_method(string member, string reason)
    {
        Compiled compiled = Compiled.From(Declare(member + " [KernelExport] public void Good() { }"));
        Diagnostic problem = Assert.Single(compiled.Diagnostics);
        Assert.Equal("IRPW012", problem.Id);
        Assert.Equal(DiagnosticSeverity.Error, problem.Severity);
        Assert.StartsWith($"Drivers cannot call 'Test': {reason}", problem.GetMessage(), StringComparison.Ordinal);
        Assert.Equal("Test", compiled.Text(problem.Location));
    }

    [Fact]
    public void Two_exports_of_one_name_are_an_error_at_the_second()
    {
        Compiled compiled = Compiled.From(Declare("""
            [KernelExport("Same")] public void First(int a) { }
            [KernelExport("Same")] public void Second(uint a) { }
            """));
        Diagnostic problem = Assert.Single(compiled.Diagnostics);
        Assert.Equal("IRPW013", problem.Id);
        Assert.Equal("Second", compiled.Text(problem.Location));
        Assert.Equal("'Irpwright.Kernel.Io.Second' cannot be exported as 'Same', which 'Irpwright.Kernel.Io.First' already is: exports are found by name", problem.GetMessage());
    }

    [Fact]
    public void Two_DDIs_of_one_driver_signature_are_an_error()
    {
        Compiled compiled = Compiled.From(Declare("""
            [KernelExport] public void Test(int a) { }
            [WdkInline] public void Test(int a, [Caller] ulong caller) { }
            """));
        Assert.Equal("IRPW014", Assert.Single(compiled.Diagnostics).Id);
    }

    [Theory]
    [InlineData("", "is not the type of a public property of Machine")]
    [InlineData("public sealed partial class Machine { public Ke One => null!; public Ke Two => null!; }", "is the type of several properties of Machine (One, Two)")]
    public void A_DDI_must_be_in_the_component_of_exactly_one_property_of_Machine(string machine, string reason)
    {
        Compiled compiled = Compiled.From($$"""
            namespace Irpwright.Kernel
            {
                public sealed class Ke
                {
                    [KernelExport] public void KeTest() { }
                    [KernelExport] public static void KeStatic() { }
                }
                {{machine}}
            }
            """);
        Diagnostic problem = Assert.Single(compiled.Diagnostics);
        Assert.Equal("IRPW011", problem.Id);
        Assert.StartsWith($"'KeTest' is declared in 'Irpwright.Kernel.Ke', which {reason}", problem.GetMessage(), StringComparison.Ordinal);
        Assert.Equal("global::Irpwright.Kernel.Ke.KeStatic();", compiled.Line("KernelExports.Thunks.g.cs", "Ke.KeStatic"));
    }

    [Fact]
    public void Code_that_declares_no_DDI_generates_nothing_again()
    {
        Compiled compiled = Compiled.From(Declare("[KernelExport] public void Test(PIRP a) { }"));
        Assert.True(compiled.IsUnchangedBy("class Unrelated;", "Ddis"));
        Assert.True(compiled.IsUnchangedBy("class Unrelated;", "Roles"));
        Assert.False(compiled.IsUnchangedBy("namespace Irpwright.Kernel { partial class Io { [KernelExport] public void More() { } } }", "Ddis"));
    }

    [Fact]
    public void A_DDI_that_only_moves_in_its_file_generates_nothing_again()
    {
        string source = Declare("[KernelExport] public void Test(PIRP a) { }");
        Assert.True(Compiled.From(source).IsUnchangedByReplacing("// A comment.\n" + source, "Ddis"));
    }
}
