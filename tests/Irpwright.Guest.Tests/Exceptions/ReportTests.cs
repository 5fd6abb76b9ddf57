using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Exceptions;

/// <summary>
/// Goal: the report of an exception that nobody handles shows it as a debugger would. Method: functions that end the machine in the ways there are.
/// </summary>
public sealed class ReportTests
{
    static BugCheckReport Stop(Action<Assembler, CompiledCode> body, out CompiledCode code, params string[] imports)
    {
        using CompiledCode built = code = new CompiledCode().Build((c, code) =>
        {
            Label function = code.Name("f");
            c.sub(rsp, 0x28);
            c.mov(ebx, 0x1234);
            body(c, code);
            c.nop();
            c.add(rsp, 0x28);
            c.ret();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]));
        }, imports);
        return Assert.Throws<BugCheckException>(() => built.Call("f", 0)).Report;
    }

    static ulong Register(BugCheckReport report, string name) => report.Fault!.Registers.Single(register => register.Name == name).Value;

    static string Marked(BugCheckReport report) => Assert.Single(report.Fault!.Instructions, line => line.IsFault).Text;

    [Fact]
    public void A_fault_is_shown_with_its_record_registers_and_instructions()
    {
        BugCheckReport report = Stop((c, code) =>
        {
            c.mov(eax, 0x7000);
            code.Name("fault");
            c.mov(__qword_ptr[rax + 8], rbx);
        }, out CompiledCode code);
        FaultReport fault = report.Fault!;
        Assert.Equal((NTSTATUS.STATUS_ACCESS_VIOLATION, code.AddressOf("fault")), (fault.Code, fault.Address));
        Assert.Equal([1, 0x7008], fault.Parameters);
        Assert.Equal((0x7000UL, 0x1234UL, fault.Address), (Register(report, "rax"), Register(report, "rbx"), Register(report, "rip")));
        Assert.Equal(
            ["sub     rsp,28h", "mov     ebx,1234h", "mov     eax,7000h", "mov     qword ptr [rax+8],rbx", "nop", "add     rsp,28h", "ret"],
            fault.Instructions.Select(line => line.Text));
        CodeLine marked = Assert.Single(fault.Instructions, line => line.IsFault);
        Assert.Equal((fault.Address, "48895808"), (marked.Address, marked.Bytes));
    }

    [Fact]
    public void A_fault_at_a_kernel_address_is_shown_too()
    {
        BugCheckReport report = Stop((c, code) =>
        {
            c.mov(rax, 0xFFFFB000_00001000);
            c.mov(ecx, __dword_ptr[rax]);
        }, out _);
        Assert.Equal((BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, NTSTATUS.STATUS_ACCESS_VIOLATION), (report.Code, report.Fault!.Code));
        Assert.Equal([0, 0xFFFFB000_00001000], report.Fault.Parameters);
        Assert.Equal((0xFFFFB000_00001000, "mov     ecx,dword ptr [rax]"), (Register(report, "rax"), Marked(report)));
    }

    [Fact]
    public void Registers_are_those_of_the_fault_although_a_filter_has_run_since()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label filter = code.Name("filter"); // EXCEPTION_CONTINUE_SEARCH
            c.mov(r9d, 0x11);
            c.xor(eax, eax);
            c.ret();
            Label function = code.Name("f");
            c.sub(rsp, 0x28);
            Label begin = code.Here();
            c.mov(r9d, 0x99);
            c.xor(edx, edx);
            c.div(edx);
            c.nop();
            Label end = code.Here();
            c.add(rsp, 0x28);
            c.ret();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Scopes = [new Scope(begin, end, filter, end)] });
        });
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Call("f", 0)).Report;
        Assert.Equal((NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO, 0x99UL, "div     edx"), (report.Fault!.Code, Register(report, "r9"), Marked(report)));
    }

    [Fact]
    public void Where_a_status_was_raised_the_call_is_marked_and_names_the_routine()
    {
        BugCheckReport report = Stop((c, code) =>
        {
            c.mov(ecx, unchecked((int)NTSTATUS.STATUS_ACCESS_DENIED));
            code.Call("ExRaiseStatus");
            code.Name("behind");
        }, out CompiledCode code, "ExRaiseStatus");
        Assert.Equal((NTSTATUS.STATUS_ACCESS_DENIED, code.AddressOf("behind")), (report.Fault!.Code, report.Fault.Address));
        Assert.StartsWith("call    qword ptr [", Marked(report));
        Assert.Equal(code.AddressOf("behind"), Register(report, "rip"));
    }

    [Fact]
    public void A_jump_to_nowhere_shows_the_call()
    {
        BugCheckReport report = Stop((c, code) =>
        {
            c.mov(eax, 0x7000);
            c.call(rax);
        }, out _);
        Assert.Equal([8, 0x7000UL], report.Fault!.Parameters);
        Assert.Equal(0x7000UL, report.Fault.Address);
        Assert.Equal("call    rax", Marked(report));
    }

    [Fact]
    public void Failing_fast_leaves_a_trap_frame_and_the_record_of_an_exception()
    {
        BugCheckReport report = Stop((c, code) =>
        {
            c.mov(ecx, 3);
            code.Name("fault");
            c.@int(0x29);
        }, out CompiledCode code);
        Assert.Equal((BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, 3UL, 0UL), (report.Code, report.Parameter1, report.Parameter4));
        Assert.Equal((NTSTATUS.STATUS_STACK_BUFFER_OVERRUN, code.AddressOf("fault")), (report.Fault!.Code, report.Fault.Address));
        Assert.Equal([3], report.Fault.Parameters);
        Assert.Equal(0xA8UL, report.Parameter2 - report.Parameter3);
    }

    [Fact]
    public void The_trap_frame_of_failing_fast_can_be_read_by_a_bug_check_callback()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            code.Name("f");
            c.mov(ecx, 7);
            code.Name("fault");
            c.@int(0x29);
        });
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Call("f", 0)).Report;
        KTRAP_FRAME frame = GuestMemory.Ref<KTRAP_FRAME>(report.Parameter2);
        Assert.Equal((code.AddressOf("fault"), 7UL, (ushort)0x10), (frame.Rip, frame.Rcx, frame.SegCs));
        EXCEPTION_RECORD record = GuestMemory.Ref<EXCEPTION_RECORD>(report.Parameter3);
        Assert.Equal((NTSTATUS.STATUS_STACK_BUFFER_OVERRUN, EXCEPTION_FLAGS.EXCEPTION_NONCONTINUABLE, code.AddressOf("fault"), 1u, 7UL),
            (record.ExceptionCode, record.ExceptionFlags, record.ExceptionAddress.Address, record.NumberParameters, record.ExceptionInformation[0]));
    }

    [Fact]
    public void A_stop_for_another_reason_shows_no_exception()
    {
        BugCheckReport report = Stop((c, code) =>
        {
            c.mov(ecx, 0xE2);
            code.Call("KeBugCheck");
        }, out _, "KeBugCheck");
        Assert.Null(report.Fault);
    }

    [Fact]
    public void In_a_system_thread_the_bug_check_points_to_the_record_and_the_registers()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            code.Name("f");
            c.mov(eax, 0x7000);
            code.Name("fault");
            c.mov(eax, __dword_ptr[rax]);
            c.ret();
        });
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Machine.Run(() =>
        {
            code.Machine.Threads.PsCreateSystemThread(out HANDLE thread, 0, default, default, default, new PKSTART_ROUTINE(code.AddressOf("f")), default);
            code.Machine.EventObjects.ZwWaitForSingleObject(thread, false, null);
        })).Report;
        Assert.Equal((BugCheckCode.SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, 0xC0000005UL, code.AddressOf("fault")), (report.Code, report.Parameter1, report.Parameter2));
        Assert.Equal(code.AddressOf("fault"), GuestMemory.Ref<EXCEPTION_RECORD>(report.Parameter3).ExceptionAddress.Address);
        Assert.Equal(0x7000UL, GuestMemory.Ref<CONTEXT>(report.Parameter4).Rax);
    }
}
