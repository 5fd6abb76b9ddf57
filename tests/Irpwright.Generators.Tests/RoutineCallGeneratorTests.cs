using Microsoft.CodeAnalysis;

namespace Irpwright.Generators.Tests;

public sealed class RoutineCallGeneratorTests
{
    static object? Run(string body, string members = "") => Compiled.AgainstWdkAssembly($$"""
        using Irpwright.Kernel;
        using Irpwright.Wdk;
        namespace Irpwright.Kernel
        {
            public sealed unsafe partial class CodeMap
            {
                public bool Trap(System.Delegate routine, nint gpr) => InvokeFromRegisters(routine, (ulong*)gpr);
            }
        }
        public static unsafe class Probe
        {
            static string log = "";
            {{members}}
            public static string Run()
            {
                CodeMap code = new();
                {{body}}
            }
        }
        """).Load().GetType("Probe")!.GetMethod("Run")!.Invoke(null, null);

    const string Start = """
        static BOOLEAN Start(PVOID context, sbyte signed, MODE mode, POWER_STATE state, BOOLEAN fifth, long sixth)
        {
            log += $"{context.Address:X} {signed} {mode} {state.SystemState} {(bool)fifth} {sixth}";
            return true;
        }
        """;

    [Fact]
    public void A_routine_of_a_CSharp_driver_is_called_directly()
    {
        Assert.Equal("STATUS_PENDING 1 2 3", Run("""
            PIO_COMPLETION_ROUTINE routine = code.Routine((DeviceObject, Irp, Context) =>
            {
                log = $"{DeviceObject.Address} {Irp.Address} {Context.Address}";
                return NTSTATUS.STATUS_PENDING;
            });
            return $"{code.Call(routine, new(1), new(2), new(3))} {log}{code.Log}";
            """));
    }

    [Fact]
    public void Any_other_address_is_invoked_with_its_arguments_as_the_guest_passes_them()
    {
        Assert.Equal("STATUS_UNSUCCESSFUL True 5678(1, 2, 3, 0)1000(FFFF, FF, 1, 4, 1, FFFFFFFFFFFFFFFF)", Run("""
            NTSTATUS status = code.Call(new PIO_COMPLETION_ROUTINE(0x5678), new(1), new(2), new(3));
            code.Routine((DRIVER_CANCEL)((DeviceObject, Irp) => { }));
            bool result = code.Call(new PKSTART_ROUTINE(0x1000), new(0xFFFF), -1, MODE.UserMode, new POWER_STATE { SystemState = 4 }, true, -1);
            return $"{status} {result} {code.Log}";
            """));
    }

    [Theory]
    [InlineData("0x1004")]
    [InlineData("0x0FFF")]
    [InlineData("0x1040")]
    public void An_address_that_is_not_the_start_of_a_slot_in_the_table_is_no_managed_routine(string address)
    {
        Assert.Equal($"{address[2..].TrimStart('0')}(1, 2, 3, 0)", Run($$"""
            code.Routine((PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => NTSTATUS.STATUS_SUCCESS);
            code.Call(new PIO_COMPLETION_ROUTINE({{address}}), new(1), new(2), new(3));
            return code.Log;
            """));
    }

    [Fact]
    public void A_null_routine_is_a_null_pointer() => Assert.Equal("0", Run("return code.Routine((DRIVER_CANCEL?)null).Address.ToString();"));

    [Fact]
    public void Guest_code_calls_a_managed_routine_by_the_calling_convention()
    {
        Assert.Equal("True FFFF -1 UserMode 4 True -9 1 False", Run("""
            ulong* stack = stackalloc ulong[8];
            stack[5] = 0x101;
            stack[6] = unchecked((ulong)-9);
            ulong* gpr = stackalloc ulong[16];
            gpr[0] = 0x5555;
            gpr[1] = 0xFFFF;
            gpr[2] = 0x12FF;
            gpr[8] = 0x1201;
            gpr[9] = 0x12_00000004;
            gpr[4] = (ulong)stack;
            bool known = code.Trap((KSTART_ROUTINE)Start, (nint)gpr);
            return $"{known} {log} {gpr[0]} {code.Trap(new System.Action(() => { }), (nint)gpr)}";
            """, Start));
    }

    [Fact]
    public void A_routine_without_result_leaves_rax_alone()
    {
        Assert.Equal("True 21845 7", Run("""
            ulong* gpr = stackalloc ulong[16];
            gpr[0] = 0x5555;
            gpr[2] = 7;
            return $"{code.Trap((DRIVER_CANCEL)((device, irp) => log += irp.Address), (nint)gpr)} {gpr[0]} {log}";
            """));
    }

    [Fact]
    public void Drivers_get_Routine_where_a_method_group_decides_and_a_method_per_role_where_it_cannot()
    {
        Compiled compiled = Compiled.AgainstWdkAssembly("""
            using Irpwright.Kernel;
            using Irpwright.Wdk;
            sealed class Filter(Machine machine) : WdmDriver(machine)
            {
                void Store()
                {
                    PIO_COMPLETION_ROUTINE done = Routine(Done);
                    PDRIVER_CANCEL cancel = CancelRoutine(Cancel);
                    PDRIVER_STARTIO start = StartIoRoutine(Cancel);
                    PKSTART_ROUTINE thread = Routine(Start);
                }
                NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => NTSTATUS.STATUS_SUCCESS;
                void Cancel(PDEVICE_OBJECT DeviceObject, PIRP Irp) { }
                BOOLEAN Start(PVOID context, sbyte signed, MODE mode, POWER_STATE state, BOOLEAN fifth, long sixth) => true;
            }
            """);
        Assert.Equal("protected global::Irpwright.Wdk.PDRIVER_STARTIO StartIoRoutine(global::Irpwright.Wdk.DRIVER_STARTIO? routine) => Machine.Code.Routine(routine);",
            compiled.Line("WdmDriver.Routines.g.cs", "StartIoRoutine("));
        compiled.Load();
    }

    [Theory]
    [InlineData("DRIVER_UNLOAD", "UnloadRoutine")]
    [InlineData("WORKER_THREAD_ROUTINE", "WorkerThreadRoutine")]
    [InlineData("KDEFERRED_ROUTINE", "KDeferredRoutine")]
    [InlineData("IO_CSQ_PEEK_NEXT_IRP", "IoCsqPeekNextIrpRoutine")]
    public void A_role_that_shares_its_signature_names_its_method(string role, string method)
    {
        Compiled compiled = Compiled.From($$"""
            namespace Irpwright.Wdk
            {
                [Routine] public delegate int OTHER(int Same);
                public readonly struct POTHER(ulong address) { public ulong Address { get; } = address; }
                [Routine] public delegate int {{role}}(int Same);
                public readonly struct P{{role}}(ulong address) { public ulong Address { get; } = address; }
            }
            """);
        Assert.Contains($"protected global::Irpwright.Wdk.P{role} {method}(global::", compiled.File("WdmDriver.Routines.g.cs"), StringComparison.Ordinal);
        Assert.Contains("protected global::Irpwright.Wdk.POTHER OtherRoutine(global::", compiled.File("WdmDriver.Routines.g.cs"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[Routine] public delegate void BAD(out byte Irql);", "parameter 'out byte Irql' has no form in a register; pass a handle")]
    [InlineData("[Routine] public delegate void BAD(GUID Guid);", "parameter 'Irpwright.Wdk.GUID Guid' has no form in a register; pass a handle")]
    [InlineData("[Routine] public delegate double BAD();", "its result of type 'double' does not travel in rax")]
    public void A_role_that_cannot_cross_the_guest_boundary_is_an_error(string declaration, string reason)
    {
        Diagnostic problem = Assert.Single(Compiled.From($$"""
            namespace Irpwright.Wdk
            {
                {{declaration}}
                public readonly struct PBAD(ulong address) { public ulong Address { get; } = address; }
            }
            """).Diagnostics);
        Assert.Equal("IRPW016", problem.Id);
        Assert.Equal($"The kernel cannot call a routine 'BAD': {reason}", problem.GetMessage());
    }
}
