using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

public sealed unsafe class TrapTests : IDisposable
{
    readonly GuestProgram guest = new();

    public void Dispose() => guest.Dispose();

    static void AddArguments(Cpu* cpu, ulong address) => cpu->Rax = cpu->Rcx + cpu->Rdx + (address & 0xFFF);

    static void Throw(Cpu* cpu, ulong address) => throw new InvalidOperationException("bug check");

    static void Leave(Cpu* cpu, ulong address) => cpu->Stop = StopReason.Unwinding;

    /// <summary>Calls the guest routine in rdx with rcx - 1.</summary>
    static void CallBack(Cpu* cpu, ulong address)
    {
        ulong stack = cpu->Rsp;
        if (cpu->Rcx == 0) return;
        cpu->Rcx--;
        cpu->Rsp -= 0x28;
        GuestMemory.Ref<ulong>(cpu->Rsp) = cpu->CodeBase + 0xFFFF0;
        if (Interpreter.Run(cpu, cpu->Rdx) is not StopReason.Returned and var reason)
        {
            cpu->Stop = reason;
            return;
        }
        cpu->Rsp = stack;
        cpu->Rax++;
    }

    [Theory]
    [InlineData("call [iat]")]
    [InlineData("jmp [iat]")]
    [InlineData("call rax")]
    [InlineData("jmp rax")]
    [InlineData("push, ret")]
    public void Every_way_to_call_an_import_works(string way)
    {
        guest.Cpu->OnTrap = &AddArguments;
        GuestMemory.Ref<ulong>(guest.Data) = guest.Trap + 0x30;
        guest.Cpu->Rbx = guest.Data;
        guest.Cpu->Rcx = 1;
        guest.Cpu->Rdx = 2;
        ulong stack = guest.Cpu->Rsp;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.mov(rax, __qword_ptr[rbx]);
            switch (way)
            {
                case "call [iat]": c.call(__qword_ptr[rbx]); c.ret(); break;
                case "jmp [iat]": c.jmp(__qword_ptr[rbx]); break;
                case "call rax": c.call(rax); c.ret(); break;
                case "jmp rax": c.jmp(rax); break;
                default: c.push(rax); c.ret(); break;
            }
        }));
        Assert.Equal((0x33UL, stack), (guest.Cpu->Rax, guest.Cpu->Rsp));
    }

    [Fact]
    public void An_import_sees_the_return_address_on_the_stack_and_its_own_as_rip()
    {
        guest.Cpu->OnTrap = &Check;
        guest.Cpu->Rax = guest.Trap + 0x10;
        ulong code = guest.Assemble(c => { c.call(rax); c.ret(); });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal((code + 2, guest.Trap + 0x10), (guest.Cpu->Rdx, guest.Cpu->Rsi));

        static void Check(Cpu* cpu, ulong address)
        {
            cpu->Rdx = GuestMemory.Ref<ulong>(cpu->Rsp);
            cpu->Rsi = cpu->Rip;
        }
    }

    [Fact]
    public void An_exception_of_a_CSharp_routine_passes_through_the_guest()
    {
        guest.Cpu->OnTrap = &Throw;
        guest.Cpu->Rax = guest.Trap;
        Assert.Throws<InvalidOperationException>(() => guest.Run(c => c.jmp(rax)));
    }

    [Fact]
    public void A_callback_can_end_the_run()
    {
        guest.Cpu->OnTrap = &Leave;
        guest.Cpu->Rax = guest.Trap;
        Assert.Equal(StopReason.Unwinding, guest.Run(c => { c.call(rax); c.ret(); }));
        Assert.Equal(StopReason.Returned, guest.Run(c => c.ret()));
    }

    [Fact]
    public void Guest_and_CSharp_call_each_other_many_levels_deep()
    {
        guest.Map(guest.StackLimit - 0x10000, 0x10000, PageAccess.ReadWrite);
        guest.Cpu->StackLimit -= 0x10000;
        guest.Cpu->OnTrap = &CallBack;
        guest.Cpu->Rcx = 400;
        guest.Cpu->Rax = guest.Trap;
        ulong code = guest.Assemble(WriteCallThroughTrap);
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(400UL, guest.Cpu->Rax);
    }

    [Fact]
    public void Nesting_without_end_is_a_kernel_stack_overflow_not_the_end_of_the_process()
    {
        guest.Cpu->OnTrap = &CallBack;
        guest.Cpu->Rcx = ulong.MaxValue;
        ulong code = guest.Assemble(WriteCallThroughTrap);
        GuestFaultException fault = Assert.Throws<GuestFaultException>(() => guest.Call(code));
        Assert.InRange(fault.Address, guest.StackLimit - 0x30, guest.StackLimit);
    }

    [Fact]
    public void Nesting_that_would_use_up_the_host_stack_stops()
    {
        // The guest's stack is not the limit here: the routine goes back to the same place on it at every level.
        StopReason reason = StopReason.None;
        var thread = new Thread(() =>
        {
            guest.Cpu->OnTrap = &CallBack;
            guest.Cpu->Rcx = ulong.MaxValue;
            guest.Cpu->Rbp = guest.Cpu->Rsp - 0x100;
            reason = guest.Call(guest.Assemble(c =>
            {
                c.mov(rsp, rbp);
                c.mov(rdx, guest.Code);
                c.mov(rax, guest.Trap);
                c.call(rax);
                c.ret();
            }));
        }, 512 << 10);
        thread.Start();
        thread.Join();
        Assert.Equal(StopReason.HostStackOverflow, reason);
    }

    void WriteCallThroughTrap(Assembler c)
    {
        Label done = c.CreateLabel();
        c.sub(rsp, 0x28);
        c.xor(eax, eax);
        c.test(rcx, rcx);
        c.je(done);
        c.mov(rdx, guest.Code);
        c.mov(rax, guest.Trap);
        c.call(rax);
        c.Label(ref done);
        c.add(rsp, 0x28);
        c.ret();
    }
}
