using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Exceptions;

/// <summary>
/// Goal: frames are left as RtlUnwindEx, longjmp and the end of a thread leave them. Method: small functions with termination handlers that count,
/// in tables written by hand.
/// </summary>
public sealed class UnwindTests : IDisposable
{
    const ulong UserAddress = 0x7000;

    readonly CompiledCode code = new();
    readonly ulong memory;

    public UnwindTests()
    {
        memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 0x80, 1).Address;
        code.Machine.MemoryRoutines.memset(new PVOID(memory), 0, 0x80);
    }

    public void Dispose() => code.Dispose();

    ulong Seen(int index) => GuestMemory.Ref<ulong>(memory + 8 * (ulong)index);

    /// <summary>A termination handler that counts its calls in a cell of memory.</summary>
    Label Counting(Assembler c, int cell)
    {
        Label handler = code.Here();
        c.mov(r10, memory);
        c.inc(__qword_ptr[r10 + 8 * cell]);
        c.ret();
        return handler;
    }

    /// <summary>A function whose body is inside __try with a termination handler.</summary>
    Label Finally(Assembler c, string name, Label handler, Action body)
    {
        Label function = code.Name(name);
        c.sub(rsp, 0x28);
        Label begin = code.Here();
        body();
        c.nop();
        Label end = code.Here();
        c.add(rsp, 0x28);
        c.ret();
        code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Scopes = [new Scope(begin, end, handler, null)] });
        return function;
    }

    /// <summary>A language handler that stores code and flags of the record it is shown when it is called to unwind.</summary>
    Label Storing(Assembler c)
    {
        Label handler = code.Here(), done = c.CreateLabel();
        c.test(__dword_ptr[rcx + 4], 6);
        c.je(done);
        c.mov(r10, memory);
        c.mov(eax, __dword_ptr[rcx]);
        c.mov(__qword_ptr[r10], rax);
        c.mov(eax, __dword_ptr[rcx + 4]);
        c.mov(__qword_ptr[r10 + 8], rax);
        c.Label(ref done);
        c.mov(eax, 1);
        c.ret();
        return handler;
    }

    Label Handled(Assembler c, string name, Label handler, Action body)
    {
        Label function = code.Name(name);
        c.sub(rsp, 0x28);
        body();
        c.nop();
        c.add(rsp, 0x28);
        c.ret();
        code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Handler = handler });
        return function;
    }

    [Fact]
    public void An_exit_unwind_leaves_all_frames_and_then_nobody_is_left_to_handle_it()
    {
        var steps = new List<string>();
        code.Build((c, _) =>
        {
            Label first = Counting(c, 2), second = Counting(c, 3), storing = Storing(c);
            Finally(c, "inner", first, () =>
            {
                c.xor(ecx, ecx);
                c.xor(edx, edx);
                c.xor(r8d, r8d);
                c.xor(r9d, r9d);
                code.Call("RtlUnwind");
            });
            Label outer = Finally(c, "outer", second, () => c.call(rcx));
            Handled(c, "f", storing, () => c.call(outer));
        }, "RtlUnwind");
        WORKER_THREAD_ROUTINE between = _ =>
        {
            try
            {
                code.Machine.Code.Invoke(code.AddressOf("inner"), 0, 0, 0, 0);
            }
            finally
            {
                steps.Add($"finally after {Seen(2)}, before {Seen(3)}");
            }
        };
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Call("f", code.Machine.Code.Register(between))).Report;
        Assert.Equal((BugCheckCode.KMODE_EXCEPTION_NOT_HANDLED, 0xC0000027UL), (report.Code, report.Parameter1));
        Assert.Equal(["finally after 1, before 0"], steps);
        Assert.Equal((0xC0000027UL, 6UL), (Seen(0), Seen(1))); // EXCEPTION_UNWINDING, EXCEPTION_EXIT_UNWIND
        Assert.Equal((1UL, 1UL), (Seen(2), Seen(3)));
    }

    /// <summary>Calls setjmp, and a function that jumps back; returns what setjmp returned and rbx, which was changed in between.</summary>
    void WriteJump(bool passesFrame, string setjmp = "_setjmpex")
    {
        code.Build((c, _) =>
        {
            Label counting = Counting(c, 2);
            Label inner = Finally(c, "inner", counting, () =>
            {
                c.mov(edx, 5);
                code.Call("longjmp");
            });
            Label function = code.Name("f"), done = c.CreateLabel();
            c.push(rbx);
            c.sub(rsp, 0x120);
            c.mov(ebx, 0x4200);
            c.lea(rcx, __[rsp + 0x20]);
            if (passesFrame) c.lea(rdx, __[rsp]);
            else c.xor(edx, edx);
            code.Call(setjmp);
            c.test(eax, eax);
            c.jne(done);
            c.mov(ebx, 0x1700);
            c.lea(rcx, __[rsp + 0x20]);
            c.call(inner);
            c.int3();
            c.Label(ref done);
            c.add(eax, ebx);
            c.add(rsp, 0x120);
            c.pop(rbx);
            c.ret();
            code.Table(new Row(function, code.Here(), 8, [Step.AllocateLarge(8, 0x120), Step.Push(1, Register.RBX)]));
        }, setjmp, "longjmp");
    }

    [Theory]
    [InlineData("_setjmpex")]
    [InlineData("_setjmp")]
    public void A_long_jump_runs_termination_handlers_and_restores_the_registers_of_setjmp(string setjmp)
    {
        WriteJump(passesFrame: true, setjmp);
        Assert.Equal(0x4205UL, code.Call("f", 0));
        Assert.Equal(1UL, Seen(2));
    }

    [Fact]
    public void A_long_jump_to_a_setjmp_that_was_not_told_its_frame_runs_no_handlers()
    {
        WriteJump(passesFrame: false);
        Assert.Equal(0x4205UL, code.Call("f", 0));
        Assert.Equal(0UL, Seen(2));
    }

    [Fact]
    public void A_long_jump_crosses_frames_of_CSharp()
    {
        code.Build((c, _) =>
        {
            Label counting = Counting(c, 2);
            Finally(c, "inner", counting, () =>
            {
                c.mov(edx, 0); // comes back as 1
                code.Call("longjmp");
            });
            Label function = code.Name("f"), done = c.CreateLabel();
            c.push(rbx);
            c.sub(rsp, 0x120);
            c.mov(rbx, rcx);
            c.lea(rcx, __[rsp + 0x20]);
            c.lea(rdx, __[rsp]);
            code.Call("_setjmpex");
            c.test(eax, eax);
            c.jne(done);
            c.lea(rcx, __[rsp + 0x20]);
            c.call(rbx);
            c.int3();
            c.Label(ref done);
            c.add(rsp, 0x120);
            c.pop(rbx);
            c.ret();
            code.Table(new Row(function, code.Here(), 8, [Step.AllocateLarge(8, 0x120), Step.Push(1, Register.RBX)]));
        }, "_setjmpex", "longjmp");
        WORKER_THREAD_ROUTINE between = buffer => code.Machine.Code.Invoke(code.AddressOf("inner"), buffer.Address, 0, 0, 0);
        Assert.Equal(1UL, code.Call("f", code.Machine.Code.Register(between)));
        Assert.Equal(1UL, Seen(2));
    }

    [Fact]
    public void A_termination_handler_that_handles_an_exception_of_its_own_does_not_change_what_the_next_is_shown()
    {
        code.Build((c, _) =>
        {
            // Divides by zero inside __try, and handles that.
            Label guarded = code.Name("guarded");
            c.sub(rsp, 0x28);
            Label begin = code.Here();
            c.xor(edx, edx);
            c.mov(eax, 1);
            c.div(edx);
            c.nop();
            Label end = code.Here();
            c.int3();
            Label target = code.Here();
            c.add(rsp, 0x28);
            c.ret();
            code.Table(new Row(guarded, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Scopes = [new Scope(begin, end, null, target)] });

            Label storing = Storing(c);
            Label inner = Finally(c, "inner", guarded, () =>
            {
                c.mov(eax, (int)UserAddress);
                c.mov(eax, __dword_ptr[rax]);
            });
            Label middle = Handled(c, "middle", storing, () => c.call(inner));
            Label function = code.Name("f");
            c.sub(rsp, 0x28);
            Label guardedCall = code.Here();
            c.call(middle);
            c.nop();
            Label guardedEnd = code.Here();
            c.int3();
            Label except = code.Here();
            c.add(rsp, 0x28);
            c.ret();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Scopes = [new Scope(guardedCall, guardedEnd, null, except)] });
        });
        Assert.Equal(unchecked((uint)NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", 0));
        Assert.Equal(unchecked((uint)NTSTATUS.STATUS_ACCESS_VIOLATION), Seen(0));
    }

    [Fact]
    public void A_thread_that_ends_itself_runs_no_termination_handlers()
    {
        code.Build((c, _) =>
        {
            Label counting = Counting(c, 2);
            Finally(c, "routine", counting, () =>
            {
                c.mov(r10, memory);
                c.inc(__qword_ptr[r10 + 0x18]);
                c.xor(ecx, ecx);
                code.Call("PsTerminateSystemThread");
            });
        }, "PsTerminateSystemThread");
        code.Machine.Run(() =>
        {
            code.Machine.Threads.PsCreateSystemThread(out HANDLE thread, 0, default, default, default, new PKSTART_ROUTINE(code.AddressOf("routine")), default);
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, code.Machine.EventObjects.ZwWaitForSingleObject(thread, false, null));
            code.Machine.Handles.ZwClose(thread);
        });
        Assert.Equal((0UL, 1UL), (Seen(2), Seen(3)));
    }

    [Fact]
    public void A_jump_to_a_frame_that_no_code_has_ends_with_BAD_STACK()
    {
        code.Build((c, _) =>
        {
            Label function = code.Name("f");
            c.sub(rsp, 0x28);
            c.mov(rcx, 0x1234_5678);
            c.lea(rdx, __[function]);
            c.xor(r8d, r8d);
            c.xor(r9d, r9d);
            code.Call("RtlUnwind");
            c.int3();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]));
        }, "RtlUnwind");
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Call("f", 0)).Report;
        Assert.Equal((BugCheckCode.SYSTEM_SERVICE_EXCEPTION, (ulong)unchecked((uint)NTSTATUS.STATUS_BAD_STACK)), (report.Code, report.Parameter1));
    }
}
