using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Exceptions;

/// <summary>
/// Goal: wherever a function is left by an exception, its caller has its own registers back. Method: each instruction of a function in turn is
/// replaced by a breakpoint, and the caller's __except block adds up all registers that a callee must keep.
/// </summary>
public sealed unsafe class FrameTests
{
    const ulong UserAddress = 0x7000;

    /// <summary>In each register one digit of its own.</summary>
    static readonly AssemblerRegister64[] Kept = [rbx, rbp, rsi, rdi, r12, r13, r14, r15];

    const ulong Expected = 0x11_1111_1111;

    /// <summary>Calls <paramref name="callee"/> with known registers; returns their sum if the callee ends in an exception, and 0 if it returns.</summary>
    static void WriteCaller(Assembler c, CompiledCode code, Label callee)
    {
        Label function = code.Name("caller");
        c.sub(rsp, 0x28);
        Label begin = code.Here();
        for (int i = 0; i < Kept.Length; i++) c.mov(Kept[i], 1UL << 4 * i);
        c.mov(rax, 1UL << 32);
        c.movq(xmm6, rax);
        c.mov(rax, 1UL << 36);
        c.movq(xmm7, rax);
        c.call(callee);
        c.nop();
        Label end = code.Here();
        c.xor(eax, eax);
        c.add(rsp, 0x28);
        c.ret();
        Label target = code.Here();
        c.movq(rax, xmm6);
        c.movq(rcx, xmm7);
        c.add(rax, rcx);
        foreach (AssemblerRegister64 register in Kept) c.add(rax, register);
        c.add(rsp, 0x28);
        c.ret();
        code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]) { Scopes = [new Scope(begin, end, null, target)] });
    }

    static void Spoil(Assembler c, params AssemblerRegister64[] registers)
    {
        foreach (AssemblerRegister64 register in registers) c.xor(register, register);
    }

    /// <summary>Functions by what their prolog and epilog are made of.</summary>
    static readonly Dictionary<string, Action<Assembler, CompiledCode, Label>> Functions = new()
    {
        ["a leaf"] = (c, code, other) =>
        {
            c.xor(eax, eax);
            c.nop();
            c.ret();
        },
        ["pushes and an allocation"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(rbx);
            c.push(r12);
            c.sub(rsp, 0x28);
            Spoil(c, rbx, r12);
            c.add(rsp, 0x28);
            c.pop(r12);
            c.pop(rbx);
            c.ret();
            code.Table(new Row(function, code.Here(), 7, [Step.Allocate(7, 0x28), Step.Push(3, Register.R12), Step.Push(1, Register.RBX)]));
        },
        ["registers saved in the home space"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.mov(__qword_ptr[rsp + 8], rbx);
            c.push(rdi);
            c.sub(rsp, 0x20);
            Spoil(c, rbx, rdi);
            c.mov(rbx, __qword_ptr[rsp + 0x30]);
            c.add(rsp, 0x20);
            c.pop(rdi);
            c.ret();
            code.Table(new Row(function, code.Here(), 10, [Step.Save(10, Register.RBX, 0x30), Step.Allocate(10, 0x20), Step.Push(6, Register.RDI)]));
        },
        ["a frame register and a dynamic allocation"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(rbp);
            c.sub(rsp, 0x40);
            c.lea(rbp, __[rsp + 0x20]);
            c.mov(__qword_ptr[rbp + 0x10], rsi);
            c.sub(rsp, 0x80);
            Spoil(c, rsi);
            c.mov(rsi, __qword_ptr[rbp + 0x10]);
            c.lea(rsp, __[rbp + 0x20]);
            c.pop(rbp);
            c.ret();
            code.Table(new Row(function, code.Here(), 14,
                [Step.Save(14, Register.RSI, 0x30), Step.SetFrame(10), Step.Allocate(5, 0x40), Step.Push(1, Register.RBP)])
            { Frame = Register.RBP, FrameOffset = 0x20 });
        },
        ["a frame register that is saved among others"] = (c, code, other) =>
        {
            // The table restores rbp before rsi, which is found by what rbp was.
            Label function = code.Here();
            c.sub(rsp, 0x48);
            c.mov(__qword_ptr[rsp + 0x40], rsi);
            c.mov(__qword_ptr[rsp + 0x38], rbp);
            c.lea(rbp, __[rsp + 0x20]);
            Spoil(c, rsi);
            c.mov(rsi, __qword_ptr[rbp + 0x20]);
            c.mov(rbp, __qword_ptr[rbp + 0x18]);
            c.add(rsp, 0x48);
            c.ret();
            code.Table(new Row(function, code.Here(), 19,
                [Step.SetFrame(19), Step.Save(14, Register.RBP, 0x38), Step.Save(9, Register.RSI, 0x40), Step.Allocate(4, 0x48)])
            { Frame = Register.RBP, FrameOffset = 0x20 });
        },
        ["r12 as frame register"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(r12);
            c.sub(rsp, 0x30);
            c.lea(r12, __[rsp + 0x10]);
            c.sub(rsp, 0x100);
            c.lea(rsp, __[r12 + 0x20]);
            c.pop(r12);
            c.ret();
            code.Table(new Row(function, code.Here(), 11, [Step.SetFrame(11), Step.Allocate(6, 0x30), Step.Push(2, Register.R12)])
            { Frame = Register.R12, FrameOffset = 0x10 });
        },
        ["r13 as frame register"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(r13);
            c.sub(rsp, 0x30);
            c.lea(r13, __[rsp + 0x30]);
            c.sub(rsp, 0x100);
            c.lea(rsp, __[r13]);
            c.pop(r13);
            c.ret();
            code.Table(new Row(function, code.Here(), 11, [Step.SetFrame(11), Step.Allocate(6, 0x30), Step.Push(2, Register.R13)])
            { Frame = Register.R13, FrameOffset = 0x30 });
        },
        ["a large allocation"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(rbx);
            c.sub(rsp, 0x1000);
            Spoil(c, rbx);
            c.add(rsp, 0x1000);
            c.pop(rbx);
            c.ret();
            code.Table(new Row(function, code.Here(), 8, [Step.AllocateLarge(8, 0x1000), Step.Push(1, Register.RBX)]));
        },
        ["an allocation of 32 bits, and registers saved far away"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.sub(rsp, 0x2008);
            c.mov(__qword_ptr[rsp + 0x1F00], rbx);
            c.movaps(__xmmword_ptr[rsp + 0x1E00], xmm6);
            Spoil(c, rbx);
            c.xorps(xmm6, xmm6);
            c.movaps(xmm6, __xmmword_ptr[rsp + 0x1E00]);
            c.mov(rbx, __qword_ptr[rsp + 0x1F00]);
            c.add(rsp, 0x2008);
            c.ret();
            code.Table(new Row(function, code.Here(), 23,
                [new Step(23, 9, 6, 0x1E00, 0), new Step(15, 5, 3, 0x1F00, 0), new Step(7, 1, 1, 0x2008, 0)]));
        },
        ["vector registers"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.sub(rsp, 0x48);
            c.movaps(__xmmword_ptr[rsp + 0x20], xmm6);
            c.movaps(__xmmword_ptr[rsp + 0x30], xmm7);
            c.xorps(xmm6, xmm6);
            c.xorps(xmm7, xmm7);
            c.movaps(xmm6, __xmmword_ptr[rsp + 0x20]);
            c.movaps(xmm7, __xmmword_ptr[rsp + 0x30]);
            c.add(rsp, 0x48);
            c.ret();
            code.Table(new Row(function, code.Here(), 14, [Step.SaveXmm(14, 7, 0x30), Step.SaveXmm(9, 6, 0x20), Step.Allocate(4, 0x48)]));
        },
        ["a jump to another function in place of the return"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(rbx);
            c.sub(rsp, 0x20);
            Spoil(c, rbx);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.jmp(other);
            code.Table(new Row(function, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX)]));
        },
        ["a jump through a register in place of the return"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(rbx);
            c.sub(rsp, 0x20);
            c.lea(rax, __[other]);
            Spoil(c, rbx);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.db(0x48, 0xFF, 0xE0); // with a prefix that says so: a jump without one is that of a switch
            code.Table(new Row(function, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX)]));
        },
        ["a switch"] = (c, code, other) =>
        {
            Label function = code.Here();
            c.push(rbx);
            c.sub(rsp, 0x20);
            Label target = c.CreateLabel();
            c.lea(rax, __[target]);
            Spoil(c, rbx);
            c.jmp(rax);
            c.Label(ref target);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.db(0xF3, 0xC3);
            code.Table(new Row(function, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX)]));
        },
        ["a part elsewhere that saves another register"] = (c, code, other) =>
        {
            Label function = code.Here(), back = c.CreateLabel(), part = c.CreateLabel();
            c.push(rbx);
            c.sub(rsp, 0x20);
            Spoil(c, rbx);
            c.jmp(part);
            c.Label(ref back);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.ret();
            Row whole = code.Table(new Row(function, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX)]));
            c.nop();
            c.Label(ref part);
            c.mov(__qword_ptr[rsp + 0x30], rsi);
            Spoil(c, rsi);
            c.mov(rsi, __qword_ptr[rsp + 0x30]);
            c.jmp(back);
            code.Table(new Row(part, code.Here(), 5, [Step.Save(5, Register.RSI, 0x30)]) { Parent = whole });
        },
    };

    public static TheoryData<string> Shapes => [.. Functions.Keys];

    [Theory]
    [MemberData(nameof(Shapes))]
    public void From_every_instruction_of_a_function_its_caller_gets_its_registers_back(string shape)
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label other = code.Name("other");
            c.ret();
            Label callee = code.Name("callee");
            Functions[shape](c, code, other);
            code.Name("end");
            c.int3();
            WriteCaller(c, code, callee);
        });
        Assert.Equal(0UL, code.Call("caller", 0));
        int instructions = 0;
        for (ulong address = code.AddressOf("callee"); address < code.AddressOf("end"); instructions++)
        {
            ulong length = (ulong)Interpreter.Decode(address).Length;
            string place = $"{shape}: {Interpreter.Describe(address)}";
            if (Interpreter.Decode(address).Mnemonic == Mnemonic.Nop && shape.StartsWith("a part", StringComparison.Ordinal))
            {
                address += length; // between the parts, never executed
                continue;
            }
            byte before = Write(code, address, 0xCC);
            Assert.Equal((place, Expected), (place, code.Call("caller", 0)));
            Write(code, address, before);
            address += length;
        }
        Assert.InRange(instructions, 3, 20);
    }

    static byte Write(CompiledCode code, ulong address, byte value)
    {
        Assert.True(GuestMemory.TryTranslate(address, 1, PageAccess.Execute, out byte* host, out _));
        byte before = *host;
        *host = value;
        ((GuestProcessor)code.Machine.Guest!).Flush(address, 1);
        return before;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_machine_frame_leads_to_what_was_interrupted(bool hasErrorCode)
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label trap = code.Name("trap");
            c.push(rbx);
            c.sub(rsp, 0x20);
            Spoil(c, rbx);
            c.mov(eax, (int)UserAddress);
            c.mov(eax, __dword_ptr[rax]);
            c.int3();
            code.Table(new Row(trap, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RBX), new Step(0, 10, hasErrorCode ? 1 : 0)]));
            Label interrupted = code.Name("interrupted");
            c.push(rsi);
            c.sub(rsp, 0x20);
            Spoil(c, rsi);
            c.mov(rax, rsp);
            c.and(rsp, -16);
            c.push(0x18);
            c.push(rax);
            c.pushfq();
            c.push(0x10);
            Label resume = c.CreateLabel();
            c.lea(rcx, __[resume]);
            c.push(rcx);
            if (hasErrorCode) c.push(0);
            c.jmp(trap);
            c.Label(ref resume);
            c.nop();
            c.add(rsp, 0x20);
            c.pop(rsi);
            c.ret();
            code.Table(new Row(interrupted, code.Here(), 5, [Step.Allocate(5, 0x20), Step.Push(1, Register.RSI)]));
            WriteCaller(c, code, interrupted);
        });
        Assert.Equal(Expected, code.Call("caller", 0));
    }

    [Fact]
    public void A_part_of_a_function_elsewhere_is_guarded_by_the_handler_of_the_whole()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label function = code.Name("f"), part = c.CreateLabel();
            c.sub(rsp, 0x28);
            c.jmp(part);
            Label target = code.Here();
            c.add(rsp, 0x28);
            c.ret();
            Label end = code.Here();
            c.int3();
            c.Label(ref part);
            c.nop();
            c.mov(eax, (int)UserAddress);
            c.mov(eax, __dword_ptr[rax]);
            c.nop();
            Label partEnd = code.Here();
            Row whole = code.Table(new Row(function, end, 4, [Step.Allocate(4, 0x28)]) { Scopes = [new Scope(part, partEnd, null, target)] });
            code.Table(new Row(part, partEnd, 0, []) { Parent = whole });
            c.int3();
        });
        Assert.Equal(unchecked((uint)NTSTATUS.STATUS_ACCESS_VIOLATION), code.Call("f", 0));
    }

    [Fact]
    public void Behind_a_function_that_no_table_describes_the_call_stack_is_a_guess()
    {
        using CompiledCode code = new CompiledCode().Build((c, code) =>
        {
            Label faulting = code.Name("faulting");
            c.sub(rsp, 0x28);
            c.mov(eax, (int)UserAddress);
            code.Name("fault");
            c.mov(eax, __dword_ptr[rax]);
            c.int3();
            code.Table(new Row(faulting, code.Here(), 4, [Step.Allocate(4, 0x28)]));
            Label rowless = code.Name("rowless");
            c.push(rbx);
            c.sub(rsp, 0x30);
            c.lea(rax, __[faulting]);
            c.mov(__qword_ptr[rsp + 0x20], rax); // code, but nothing that a call returns to
            c.call(faulting);
            code.Name("after faulting");
            c.int3();
            Label function = code.Name("f");
            c.sub(rsp, 0x28);
            c.call(rowless);
            code.Name("after rowless");
            c.int3();
            code.Table(new Row(function, code.Here(), 4, [Step.Allocate(4, 0x28)]));
        });
        BugCheckReport report = Assert.Throws<BugCheckException>(() => code.Call("f", 0)).Report;
        Assert.Equal(
            [(code.AddressOf("fault"), false), (code.AddressOf("after faulting"), false), (code.AddressOf("after rowless"), true)],
            report.CallStack.Select(frame => (frame.Address, frame.IsGuess)));
        Assert.EndsWith("(a guess)", report.CallStack[2].ToString());
    }
}
