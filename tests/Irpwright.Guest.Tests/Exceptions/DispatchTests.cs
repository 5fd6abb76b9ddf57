using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Exceptions;

/// <summary>
/// Goal: exceptions in compiled code reach the handlers that the image's tables name, with the frames' own registers. Method: small
/// functions with tables written by hand.
/// </summary>
public sealed class DispatchTests
{
    const ulong UserAddress = 0x7000;

    static ulong CodeOf(NTSTATUS status) => (uint)status;

    /// <summary>A function that calls another inside __try and returns what its __except block makes of the exception code in eax.</summary>
    /// <param name="filter">Null for EXCEPTION_EXECUTE_HANDLER.</param>
    /// <param name="body">Code of the __try block.</param>
    /// <param name="except">Code of the __except block; eax is the exception code.</param>
    static Label Guarded(Assembler c, CompiledCode code, string name, Action body, Label? filter = null, Action? except = null, Label? termination = null)
    {
        Label function = code.Name(name);
        c.push(rbx);
        c.push(rbp);
        c.sub(rsp, 0x28);
        Label begin = code.Here();
        body();
        c.nop();
        Label end = code.Here();
        c.add(rsp, 0x28);
        c.pop(rbp);
        c.pop(rbx);
        c.ret();
        Label target = code.Here();
        except?.Invoke();
        c.jmp(end);
        Label behind = code.Here();
        code.Table(new Row(function, behind, 6, [Step.Allocate(6, 0x28), Step.Push(2, Register.RBP), Step.Push(1, Register.RBX)])
        {
            Scopes = termination is { } handler ? [new Scope(begin, end, handler, null)] : [new Scope(begin, end, filter, target)],
        });
        return function;
    }

    static void Fault(Assembler c)
    {
        c.mov(eax, (int)UserAddress);
        c.mov(eax, __dword_ptr[rax]);
    }

    [Fact]
    public void A_fault_in_a_guarded_body_goes_on_in_the_except_block_with_the_code()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) => Guarded(c, code, "f", () => Fault(c)));
        Assert.Equal(CodeOf(NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", 0));
        Assert.Equal(CodeOf(NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", 0));
    }

    public static TheoryData<string, NTSTATUS> Faults => new()
    {
        { "read", NTSTATUS.STATUS_ACCESS_VIOLATION },
        { "call null", NTSTATUS.STATUS_ACCESS_VIOLATION },
        { "noncanonical", NTSTATUS.STATUS_ACCESS_VIOLATION },
        { "misaligned", NTSTATUS.STATUS_ACCESS_VIOLATION },
        { "divide by zero", NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO },
        { "overflow", NTSTATUS.STATUS_INTEGER_OVERFLOW },
        { "ud2", NTSTATUS.STATUS_ILLEGAL_INSTRUCTION },
        { "int3", NTSTATUS.STATUS_BREAKPOINT },
        { "int 2c", NTSTATUS.STATUS_ASSERTION_FAILURE },
    };

    static void Write(Assembler c, string fault)
    {
        switch (fault)
        {
            case "read": Fault(c); break;
            case "call null": c.xor(eax, eax); c.call(rax); break;
            case "noncanonical": c.mov(rax, 0x0123_0000_0000_0000); c.mov(eax, __dword_ptr[rax]); break;
            case "misaligned": c.movaps(xmm0, __xmmword_ptr[rsp + 1]); break;
            case "divide by zero": c.xor(edx, edx); c.xor(ebx, ebx); c.mov(eax, 7); c.div(ebx); break;
            case "overflow": c.mov(edx, -1); c.mov(eax, int.MinValue); c.mov(__dword_ptr[rsp + 0x20], -1); c.idiv(__dword_ptr[rsp + 0x20]); break;
            case "ud2": c.ud2(); break;
            case "int3": c.int3(); break;
            default: c.@int(0x2C); break;
        }
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void Every_kind_of_fault_has_its_code(string fault, NTSTATUS status)
    {
        using CompiledCode code = new CompiledCode().Build((c, code) => Guarded(c, code, "f", () => Write(c, fault)));
        Assert.Equal(CodeOf(status), code.Call("f", 0));
    }

    [Fact]
    public void A_filter_sees_record_and_registers_and_its_frame()
    {
        // The filter stores what it sees in the memory that rbx pointed to when the exception happened.
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label filter = code.Name("filter");
            c.mov(rax, __qword_ptr[rcx + 8]); // CONTEXT
            c.mov(rcx, __qword_ptr[rcx]); // EXCEPTION_RECORD
            c.mov(r8, __qword_ptr[rax + 0x90]); // rbx
            c.mov(r9, __qword_ptr[rcx]);
            c.mov(__qword_ptr[r8], r9);
            c.mov(r9, __qword_ptr[rcx + 0x10]);
            c.mov(__qword_ptr[r8 + 8], r9);
            c.mov(r9, __qword_ptr[rcx + 0x20]);
            c.mov(__qword_ptr[r8 + 0x10], r9);
            c.mov(r9, __qword_ptr[rcx + 0x28]);
            c.mov(__qword_ptr[r8 + 0x18], r9);
            c.mov(r9, __qword_ptr[rax + 0xF8]); // rip
            c.mov(__qword_ptr[r8 + 0x20], r9);
            c.mov(r9d, __dword_ptr[rax + 0x44]); // EFlags
            c.mov(__qword_ptr[r8 + 0x28], r9);
            c.mov(r9, __qword_ptr[rax + 0x98]); // rsp
            c.sub(r9, rdx); // the frame
            c.mov(__qword_ptr[r8 + 0x30], r9);
            c.mov(eax, 1);
            c.ret();
            Guarded(c, code, "f", () =>
            {
                c.mov(rbx, rcx);
                c.mov(edx, unchecked((int)0x8000_0000));
                c.mov(r10, 0x1234);
                c.add(edx, edx); // ZF, CF, OF, PF, and nobody reads them
                code.Name("fault");
                c.mov(__qword_ptr[r10], rdx);
                c.add(rdx, 1);
            }, filter);
        });
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        Assert.Equal(CodeOf(NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", memory));
        ulong fault = code.AddressOf("fault");
        ulong[] seen = [.. Enumerable.Range(0, 7).Select(i => GuestMemory.Ref<ulong>(memory + 8 * (ulong)i))];
        Assert.Equal([CodeOf(NTSTATUS.STATUS_ACCESS_VIOLATION), fault, 1, 0x1234, fault, 0xA47, 0], seen);
    }

    [Fact]
    public void Registers_that_the_callee_has_saved_are_back_in_the_except_block()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label callee = code.Name("callee");
            c.push(rbx);
            c.sub(rsp, 0x40);
            c.movaps(__xmmword_ptr[rsp + 0x20], xmm6);
            c.mov(__qword_ptr[rsp + 0x38], rsi);
            c.xor(ebx, ebx);
            c.xor(esi, esi);
            c.xorps(xmm6, xmm6);
            Fault(c);
            c.movaps(xmm6, __xmmword_ptr[rsp + 0x20]);
            c.mov(rsi, __qword_ptr[rsp + 0x38]);
            c.add(rsp, 0x40);
            c.pop(rbx);
            c.ret();
            code.Table(new Row(callee, code.Here(), 15,
                [Step.Save(15, Register.RSI, 0x38), Step.SaveXmm(10, 6, 0x20), Step.Allocate(5, 0x40), Step.Push(1, Register.RBX)]));
            Guarded(c, code, "f", () =>
            {
                c.mov(rbx, 0x1111);
                c.mov(rsi, 0x2222);
                c.mov(eax, 0x4444);
                c.movq(xmm6, rax);
                c.call(callee);
            }, except: () =>
            {
                c.movq(rax, xmm6);
                c.add(rax, rbx);
                c.add(rax, rsi);
            });
        });
        Assert.Equal(0x7777UL, code.Call("f", 0));
    }

    [Fact]
    public void A_frame_register_finds_the_frame_after_a_dynamic_allocation()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label function = code.Name("f");
            c.push(rbp);
            c.sub(rsp, 0x40);
            c.lea(rbp, __[rsp + 0x20]);
            Label begin = code.Here();
            c.mov(__qword_ptr[rbp], rcx);
            c.sub(rsp, 0x120);
            Fault(c);
            c.nop();
            Label end = code.Here();
            c.lea(rsp, __[rbp + 0x20]);
            c.pop(rbp);
            c.ret();
            Label target = code.Here();
            c.mov(rax, __qword_ptr[rbp]);
            c.jmp(end);
            code.Table(new Row(function, code.Here(), 10, [Step.SetFrame(10), Step.Allocate(5, 0x40), Step.Push(1, Register.RBP)])
            {
                Frame = Register.RBP, FrameOffset = 0x20, Scopes = [new Scope(begin, end, null, target)],
            });
        });
        Assert.Equal(77UL, code.Call("f", 77));
    }

    [Fact]
    public void A_part_of_a_function_is_unwound_through_the_row_that_it_is_chained_to()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label callee = code.Name("callee");
            c.push(rbx);
            c.sub(rsp, 0x20);
            c.mov(rbx, 5);
            Label cold = c.CreateLabel();
            c.jmp(cold);
            Row hot = code.Table(new Row(callee, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX)]));
            c.int3();
            c.Label(ref cold);
            c.nop();
            c.mov(__qword_ptr[rsp + 0x30], rsi); // saved in the home space by this part only
            c.xor(esi, esi);
            Fault(c);
            code.Table(new Row(cold, code.Here(), 6, [Step.Save(6, Register.RSI, 0x30)]) { Parent = hot });
            c.int3();
            Guarded(c, code, "f", () =>
            {
                c.mov(rbx, 0x30);
                c.mov(rsi, 0x4);
                c.call(callee);
            }, except: () => c.lea(rax, __[rbx + rsi]));
        });
        Assert.Equal(0x34UL, code.Call("f", 0));
    }

    [Fact]
    public void A_fault_inside_a_prolog_undoes_what_was_done()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label callee = code.Name("callee");
            c.push(rbx);
            c.xor(ebx, ebx);
            c.mov(ebx, __dword_ptr[rbx]); // at 3: only the push has been executed
            c.sub(rsp, 0x20);
            c.int3();
            code.Table(new Row(callee, code.Here(), 9, [Step.Allocate(9, 0x20), Step.Push(1, Register.RBX)]));
            Guarded(c, code, "f", () =>
            {
                c.mov(rbx, 0x99);
                c.call(callee);
            }, except: () => c.mov(rax, rbx));
        });
        Assert.Equal(0x99UL, code.Call("f", 0));
    }

    [Fact]
    public void A_filter_can_mend_the_registers_and_go_on()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label filter = code.Name("filter");
            c.mov(rax, __qword_ptr[rcx + 8]);
            c.mov(rcx, __qword_ptr[rax + 0x90]); // rbx, valid memory
            c.mov(__qword_ptr[rax + 0x78], rcx); // rax
            c.mov(eax, -1);
            c.ret();
            Guarded(c, code, "f", () =>
            {
                c.mov(rbx, rcx);
                c.mov(edx, 40);
                Fault(c);
                c.add(eax, edx);
            }, filter);
        });
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        GuestMemory.Ref<uint>(memory) = 2;
        Assert.Equal(42UL, code.Call("f", memory));
    }

    [Fact]
    public void Continuing_from_a_raised_status_raises_that_this_is_not_possible()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label filter = code.Name("filter"); // -1 for STATUS_ACCESS_DENIED, 1 for anything else
            c.mov(rcx, __qword_ptr[rcx]);
            c.mov(eax, -1);
            c.cmp(__dword_ptr[rcx], unchecked((int)NTSTATUS.STATUS_ACCESS_DENIED));
            Label done = c.CreateLabel();
            c.je(done);
            c.mov(eax, 1);
            c.Label(ref done);
            c.ret();
            Guarded(c, code, "f", () =>
            {
                c.mov(ecx, unchecked((int)NTSTATUS.STATUS_ACCESS_DENIED));
                code.Call("ExRaiseStatus");
            }, filter);
        }, "ExRaiseStatus");
        Assert.Equal(CodeOf(NTSTATUS.STATUS_NONCONTINUABLE_EXCEPTION), code.Call("f", 0));
    }

    [Fact]
    public void A_kernel_routine_that_touches_bad_user_memory_can_be_handled()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) => Guarded(c, code, "f", () =>
        {
            c.mov(edx, (int)UserAddress);
            c.mov(r8d, 16);
            code.Call("memcpy");
        }), "memcpy");
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        Assert.Equal(CodeOf(NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", memory));
    }

    [Fact]
    public void An_unmapped_kernel_address_is_the_end_whatever_handlers_there_are()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) => Guarded(c, code, "f", () =>
        {
            code.Name("fault");
            c.mov(eax, __dword_ptr[rcx]);
        }));
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Call("f", 0xFFFFB000_00001000)).Report;
        Assert.Equal((BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, 0xFFFFB000_00001000, 0UL, code.AddressOf("fault")),
            (report.Code, report.Parameter1, report.Parameter2, report.Parameter3));
    }

    [Fact]
    public void A_filter_that_faults_raises_a_nested_exception_and_the_frame_outside_takes_it()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label bad = code.Name("bad"); // passes on what is no access violation; itself divides by zero
            c.mov(rcx, __qword_ptr[rcx]);
            c.xor(eax, eax);
            c.cmp(__dword_ptr[rcx], unchecked((int)NTSTATUS.STATUS_ACCESS_VIOLATION));
            Label done = c.CreateLabel();
            c.jne(done);
            c.xor(edx, edx);
            c.div(edx);
            c.Label(ref done);
            c.ret();
            Label inner = Guarded(c, code, "inner", () => Fault(c), bad);
            Guarded(c, code, "f", () => c.call(inner));
        });
        Assert.Equal(CodeOf(NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO), code.Call("f", 0));
    }

    [Fact]
    public void An_exception_in_a_termination_handler_takes_the_place_of_the_first()
    {
        // inner's termination handler divides by zero while f's frame takes the access violation: middle's filter is for divisions only.
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label termination = code.Name("termination");
            c.xor(edx, edx);
            c.mov(eax, 1);
            c.div(edx);
            c.ret();
            Label divisionsOnly = code.Name("divisionsOnly");
            c.mov(rcx, __qword_ptr[rcx]);
            c.xor(eax, eax);
            c.cmp(__dword_ptr[rcx], unchecked((int)NTSTATUS.STATUS_INTEGER_DIVIDE_BY_ZERO));
            c.sete(al);
            c.ret();
            Label inner = Guarded(c, code, "inner", () => Fault(c), termination: termination);
            Label middle = Guarded(c, code, "middle", () => c.call(inner), divisionsOnly, except: () => c.mov(eax, 0x600D));
            Guarded(c, code, "f", () => c.call(middle), except: () => c.mov(eax, 0xBAD));
        });
        Assert.Equal(0x600DUL, code.Call("f", 0));
    }

    /// <summary>A language handler of the image's own that counts its calls in memory: [r] searches, [r + 8] unwinds.</summary>
    static Label Counting(Assembler c, CompiledCode code, ulong memory)
    {
        Label handler = code.Name("counting");
        c.mov(r10, memory);
        c.xor(eax, eax);
        c.test(__dword_ptr[rcx + 4], 6);
        c.setne(al);
        c.inc(__qword_ptr[r10 + rax * 8]);
        c.mov(eax, 1);
        c.ret();
        return handler;
    }

    /// <summary>Calls the routine in rdx, with a language handler of its own around it.</summary>
    static Label Calling(Assembler c, CompiledCode code, string name, Label handler)
    {
        Label function = code.Name(name);
        c.sub(rsp, 0x28);
        c.call(rdx);
        c.nop();
        c.add(rsp, 0x28);
        c.ret();
        code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Handler = handler });
        return function;
    }

    [Fact]
    public void An_exception_crosses_CSharp_frames_whose_finally_blocks_run()
    {
        var steps = new List<string>();
        using var code = new CompiledCode();
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        code.Machine.MemoryRoutines.memset(new PVOID(memory), 0, 64);
        code.Build((c, code) =>
        {
            Label filter = code.Name("filter");
            c.mov(r10, memory);
            c.mov(rax, __qword_ptr[r10 + 8]); // nothing has been unwound yet
            c.mov(__qword_ptr[r10 + 0x10], rax);
            c.mov(eax, 1);
            c.ret();
            Label counting = Counting(c, code, memory);
            Label faulting = code.Name("faulting");
            Fault(c);
            c.ret();
            Calling(c, code, "inner", counting);
            Guarded(c, code, "f", () => { c.mov(rbx, 0x42); c.call(rdx); }, filter, except: () => c.mov(rax, rbx));
        });
        WORKER_THREAD_ROUTINE between = _ =>
        {
            try
            {
                code.Machine.Code.Invoke(code.AddressOf("inner"), 0, code.AddressOf("faulting"), 0, 0);
            }
            finally
            {
                steps.Add($"finally after {GuestMemory.Ref<ulong>(memory + 8)} unwind");
            }
        };
        ulong routine = code.Machine.Code.Register(between);
        Assert.Equal(0x42UL, code.Call("f", 0, routine));
        Assert.Equal(["finally after 1 unwind"], steps);
        Assert.Equal((1UL, 1UL, 0UL), (GuestMemory.Ref<ulong>(memory), GuestMemory.Ref<ulong>(memory + 8), GuestMemory.Ref<ulong>(memory + 16)));
    }

    [Fact]
    public void CSharp_between_two_compiled_frames_can_take_the_exception()
    {
        NtStatusException? caught = null;
        using var code = new CompiledCode();
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        code.Machine.MemoryRoutines.memset(new PVOID(memory), 0, 64);
        code.Build((c, code) =>
        {
            Label counting = Counting(c, code, memory);
            Label faulting = code.Name("faulting");
            c.push(rbx);
            c.sub(rsp, 0x20);
            c.xor(ebx, ebx);
            Fault(c);
            c.int3();
            code.Table(new Row(faulting, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX)]));
            Calling(c, code, "inner", counting);
            Guarded(c, code, "f", () => { c.mov(rbx, 0x42); c.call(rdx); c.mov(rax, rbx); }, except: () => c.mov(eax, 0xBAD));
        });
        WORKER_THREAD_ROUTINE between = _ =>
        {
            try
            {
                code.Machine.Code.Invoke(code.AddressOf("inner"), 0, code.AddressOf("faulting"), 0, 0);
            }
            catch (NtStatusException e)
            {
                caught = e;
            }
        };
        Assert.Equal(0x42UL, code.Call("f", 0, code.Machine.Code.Register(between)));
        Assert.Equal([0, UserAddress], caught!.Parameters);
        Assert.Equal((1UL, 1UL), (GuestMemory.Ref<ulong>(memory), GuestMemory.Ref<ulong>(memory + 8)));
    }

    [Fact]
    public void An_exception_of_CSharp_code_reaches_the_compiled_caller()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) => Guarded(c, code, "f", () => c.call(rdx)));
        WORKER_THREAD_ROUTINE raising = _ => throw new NtStatusException(NTSTATUS.STATUS_DEVICE_BUSY);
        Assert.Equal(CodeOf(NTSTATUS.STATUS_DEVICE_BUSY), code.Call("f", 0, code.Machine.Code.Register(raising)));
    }

    [Fact]
    public void Leaving_frames_that_do_not_exist_raises_BAD_STACK()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) => Guarded(c, code, "f", () =>
        {
            c.lea(rcx, __[rsp + 8]);
            c.lea(rdx, __[rsp]);
            c.xor(r8d, r8d);
            c.xor(r9d, r9d);
            code.Call("RtlUnwind");
        }), "RtlUnwind");
        Assert.Equal(CodeOf(NTSTATUS.STATUS_BAD_STACK), code.Call("f", 0));
    }

    [Theory]
    [InlineData("RtlUnwindEx")]
    [InlineData("RtlUnwind")]
    [InlineData("_local_unwind")]
    public void Leaving_a_guarded_block_early_runs_its_termination_handler_once(string routine)
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label termination = code.Name("termination");
            c.mov(rax, __qword_ptr[rdx + 0x20]); // the frame's local variable: a counter
            c.inc(__qword_ptr[rax]);
            c.ret();
            Label function = code.Name("f");
            c.sub(rsp, 0x58);
            c.mov(__qword_ptr[rsp + 0x20], rcx);
            Label begin = code.Here();
            c.lea(rcx, __[rsp]);
            Label target = c.CreateLabel();
            c.lea(rdx, __[target]);
            c.xor(r8d, r8d);
            c.mov(r9d, 5);
            c.and(__qword_ptr[rsp + 0x28], 0);
            c.mov(rax, __qword_ptr[rsp + 0x20]);
            c.mov(__qword_ptr[rsp + 0x40], rax);
            code.Call(routine);
            c.nop();
            Label end = code.Here();
            c.int3();
            c.Label(ref target);
            c.add(rsp, 0x58);
            c.ret();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x58)]) { Scopes = [new Scope(begin, end, termination, null)] });
        }, routine);
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        GuestMemory.Ref<ulong>(memory) = 0;
        ulong result = code.Call("f", memory);
        Assert.Equal(1UL, GuestMemory.Ref<ulong>(memory));
        if (routine != "_local_unwind") Assert.Equal(5UL, result);
    }

    [Fact]
    public void A_handler_of_the_image_can_pass_on_to_the_one_of_the_kernel()
    {
        // As the handler of functions with a security cookie does.
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label handler = code.Name("handler");
            c.sub(rsp, 0x28);
            code.Call("__C_specific_handler");
            c.add(rsp, 0x28);
            c.ret();
            code.Table(new Row(handler, code.Here(), 4, [Step.Allocate(4, 0x28)]));
            Label function = code.Name("f");
            c.sub(rsp, 0x28);
            Label begin = code.Here();
            Fault(c);
            c.nop();
            Label end = code.Here();
            c.int3();
            Label target = code.Here();
            c.add(rsp, 0x28);
            c.ret();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Handler = handler, Scopes = [new Scope(begin, end, null, target)] });
        });
        Assert.Equal(CodeOf(NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", 0));
    }

    [Fact]
    public void Own_frames_can_be_looked_at()
    {
        // Captures its registers, looks itself up, goes to its caller, and returns the caller's rip.
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label inner = code.Name("inner");
            c.push(rbx);
            c.sub(rsp, 0x550);
            c.mov(rbx, rcx);
            c.lea(rcx, __[rsp + 0x70]);
            code.Call("RtlCaptureContext");
            code.Name("captured");
            c.mov(rcx, __qword_ptr[rsp + 0x70 + 0xF8]); // rip
            c.mov(__qword_ptr[rbx], rcx);
            c.lea(rdx, __[rsp + 0x40]);
            c.xor(r8d, r8d);
            code.Call("RtlLookupFunctionEntry");
            c.mov(__qword_ptr[rbx + 8], rax);
            c.mov(r9, rax);
            c.xor(ecx, ecx);
            c.mov(rdx, __qword_ptr[rsp + 0x40]);
            c.mov(r8, __qword_ptr[rsp + 0x70 + 0xF8]);
            c.lea(rax, __[rsp + 0x70]);
            c.mov(__qword_ptr[rsp + 0x20], rax);
            c.lea(rax, __[rsp + 0x48]);
            c.mov(__qword_ptr[rsp + 0x28], rax);
            c.lea(rax, __[rsp + 0x50]);
            c.mov(__qword_ptr[rsp + 0x30], rax);
            c.mov(__qword_ptr[rsp + 0x38], 0);
            code.Call("RtlVirtualUnwind");
            c.mov(rax, __qword_ptr[rsp + 0x70 + 0xF8]);
            c.mov(__qword_ptr[rbx + 0x10], rax);
            c.mov(rcx, rax);
            c.lea(rdx, __[rsp + 0x48]);
            code.Call("RtlPcToFileHeader");
            c.add(rsp, 0x550);
            c.pop(rbx);
            c.ret();
            code.Table(new Row(inner, code.Here(), 8, [Step.AllocateLarge(8, 0x550), Step.Push(1, Register.RBX)]));
            Guarded(c, code, "f", () => { c.call(inner); code.Name("after"); });
        }, "RtlCaptureContext", "RtlLookupFunctionEntry", "RtlVirtualUnwind", "RtlPcToFileHeader");
        ulong memory = code.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 1).Address;
        Assert.Equal(code.Image.Base, code.Call("f", memory));
        Assert.Equal(code.AddressOf("captured"), GuestMemory.Ref<ulong>(memory));
        Assert.Equal(code.AddressOf("inner") - code.Image.Base, GuestMemory.Ref<uint>(GuestMemory.Ref<ulong>(memory + 8)));
        Assert.Equal(code.AddressOf("after"), GuestMemory.Ref<ulong>(memory + 0x10));
    }

    [Fact]
    public void Registers_can_be_restored()
    {
        // Like setjmp and longjmp: comes back from RtlCaptureContext twice.
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label function = code.Name("f");
            c.push(rbx);
            c.sub(rsp, 0x510);
            c.xor(ebx, ebx);
            c.mov(__qword_ptr[rsp + 0x20], rbx);
            c.lea(rcx, __[rsp + 0x30]);
            code.Call("RtlCaptureContext");
            c.mov(rax, __qword_ptr[rsp + 0x20]);
            c.inc(__qword_ptr[rsp + 0x20]);
            Label again = c.CreateLabel();
            c.test(rax, rax);
            c.je(again);
            c.lea(rax, __[rbx + 7]);
            c.add(rsp, 0x510);
            c.pop(rbx);
            c.ret();
            c.Label(ref again);
            c.mov(ebx, 1000);
            c.lea(rcx, __[rsp + 0x30]);
            c.xor(edx, edx);
            code.Call("RtlRestoreContext");
            c.int3();
            code.Table(new Row(function, code.Here(), 8, [Step.AllocateLarge(8, 0x510), Step.Push(1, Register.RBX)]));
        }, "RtlCaptureContext", "RtlRestoreContext");
        Assert.Equal(7UL, code.Call("f", 0));
    }
}
