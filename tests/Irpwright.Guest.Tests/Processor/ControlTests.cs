using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

public sealed unsafe class ControlTests : IDisposable
{
    readonly GuestProgram guest = new();

    public ControlTests() => guest.Cpu->Irql = GuestMemory.Translate(guest.Data + 0x3000, 1, PageAccess.ReadWrite);

    public void Dispose() => guest.Dispose();

    [Fact]
    public void Cr8_is_the_irql()
    {
        *guest.Cpu->Irql = 2;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.mov(rax, cr8); c.mov(ecx, 5); c.mov(cr8, rcx); c.ret(); }));
        Assert.Equal((2UL, (byte)5), (guest.Cpu->Rax, *guest.Cpu->Irql));
    }

    [Fact]
    public void Writing_cr8_calls_the_kernel_with_everything_in_place()
    {
        guest.Cpu->OnIrqlWrite = &Write;
        ulong code = guest.Assemble(c => { c.mov(r9d, 2); c.mov(cr8, r9); c.ret(); });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal((2UL, code + 6), (guest.Cpu->Rax, guest.Cpu->Rdx));

        static void Write(Cpu* cpu, byte irql)
        {
            cpu->Rax = irql;
            cpu->Rdx = cpu->Rip;
        }
    }

    [Fact]
    public void A_cr8_beyond_the_highest_irql_is_a_protection_fault()
    {
        guest.Cpu->Rcx = 16;
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.mov(cr8, rcx); c.ret(); }));
        Assert.Equal(ulong.MaxValue, guest.Cpu->FaultAddress);
    }

    [Fact]
    public void Pause_lets_the_kernel_switch_and_can_end_the_run()
    {
        guest.Cpu->OnPause = &Pause;
        Assert.Equal(StopReason.Unwinding, guest.Run(c => { Label spin = c.CreateLabel(); c.Label(ref spin); c.pause(); c.jmp(spin); }));
        Assert.Equal(3UL, guest.Cpu->Rbx);

        static void Pause(Cpu* cpu)
        {
            if (++cpu->Rbx == 3) cpu->Stop = StopReason.Unwinding;
        }
    }

    [Fact]
    public void Others_may_come_before_an_interlocked_instruction_if_that_is_asked_for()
    {
        using var watched = new GuestProgram(stopsAtInterlocked: true);
        watched.Cpu->OnInterlocked = &Count;
        watched.Cpu->Rcx = watched.Data;
        Assert.Equal(StopReason.Returned, watched.Run(c =>
        {
            c.mov(eax, 5);
            c.xchg(__[rcx], rax);
            c.@lock.inc(__dword_ptr[rcx]);
            c.@lock.cmpxchg(__[rcx], rdx);
            c.xchg(rdx, rax);
            c.inc(__dword_ptr[rcx]);
            c.ret();
        }));
        Assert.Equal(3UL, watched.Cpu->Rbx);
        // It has not happened by then.
        Assert.Equal(0x056UL, watched.Cpu->Rsi);

        static void Count(Cpu* cpu)
        {
            cpu->Rbx++;
            cpu->Rsi = cpu->Rsi << 4 | GuestMemory.Ref<byte>(cpu->Rcx);
        }
    }

    [Fact]
    public void The_processor_says_the_same_about_itself_on_every_host()
    {
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.mov(eax, 1); c.cpuid(); c.ret(); }));
        const uint Sse2 = 1 << 26, Mmx = 1 << 23, Sse3 = 1, Avx = 1 << 28, CompareExchange16 = 1 << 13;
        Assert.Equal(Sse2, guest.Cpu->Rdx & (Sse2 | Mmx));
        Assert.Equal(CompareExchange16 | Sse3, guest.Cpu->Rcx & (Sse3 | Avx | CompareExchange16));
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.mov(eax, 0x40000000); c.cpuid(); c.ret(); }));
        Assert.Equal("Irpw"u8.ToArray(), BitConverter.GetBytes((uint)guest.Cpu->Rbx));
    }

    [Fact]
    public void The_time_stamp_is_the_kernels()
    {
        guest.Cpu->OnTimestamp = &Read;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.rdtsc(); c.ret(); }));
        Assert.Equal((0x22222222UL, 0x11111111UL), (guest.Cpu->Rax, guest.Cpu->Rdx));

        static ulong Read(Cpu* cpu) => 0x11111111_22222222;
    }

    [Fact]
    public void All_flags_travel_over_the_stack()
    {
        guest.Cpu->Rcx = 0x8D5 | 0x400;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.push(rcx);
            c.popfq();
            c.pushfq();
            c.pop(rax);
            c.sti();
            c.pushfq();
            c.pop(rdx);
            c.cld();
            c.cli();
            c.ret();
        }));
        Assert.Equal((0xCD7UL, 0xED7UL), (guest.Cpu->Rax, guest.Cpu->Rdx));
        Assert.Equal(0xAD7UL, guest.Cpu->Rflags | 0x200);
    }

    [Fact]
    public void Operands_relative_to_the_instruction_and_absolute_ones_are_found()
    {
        GuestMemory.Ref<ulong>(guest.Data) = 0x1234;
        ulong code = guest.Code;
        guest.Place(code + 0x100, BitConverter.GetBytes(0x5678UL));
        // mov rax,[rip+F9h]; mov rcx,rax; mov rax,[moffs64]; ret
        guest.Place(code, [0x48, 0x8B, 0x05, 0xF9, 0, 0, 0, 0x48, 0x89, 0xC1, 0x48, 0xA1, .. BitConverter.GetBytes(guest.Data), 0xC3]);
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal((0x1234UL, 0x5678UL), (guest.Cpu->Rax, guest.Cpu->Rcx));
    }

    [Fact]
    public void An_address_size_prefix_cuts_addresses_to_32_bits()
    {
        guest.Cpu->Rcx = 0xFFFFFFFF_FFFFFFF0;
        // lea rax,[ecx+20h]; mov edx,[ecx+8]
        guest.Place(guest.Code, [0x67, 0x48, 0x8D, 0x41, 0x20, 0x67, 0x8B, 0x51, 0x08]);
        Assert.Equal(StopReason.Fault, guest.Call(guest.Code));
        Assert.Equal((0x10UL, 0xFFFFFFF8UL), (guest.Cpu->Rax, guest.Cpu->FaultAddress));
    }

    [Theory]
    [InlineData(0x12345678_9ABCDEF0UL, 0UL)]
    [InlineData(5UL, 5UL)]
    public void A_division_whose_quotient_does_not_fit_stops_in_front_of_it(ulong high, ulong divisor)
    {
        guest.Cpu->Rdx = high;
        guest.Cpu->Rcx = divisor;
        ulong code = guest.Assemble(c => { c.nop(); c.div(rcx); c.ret(); });
        Assert.Equal(StopReason.DivideError, guest.Call(code));
        Assert.Equal((code + 1, high), (guest.Cpu->Rip, guest.Cpu->Rdx));
    }

    [Fact]
    public void A_misaligned_movaps_is_a_protection_fault_and_movups_is_not()
    {
        guest.Cpu->Rcx = guest.Data + 8;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.movups(xmm0, __[rcx]); c.movups(__[rcx], xmm0); c.ret(); }));
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.movaps(xmm0, __[rcx]); c.ret(); }));
        Assert.Equal(ulong.MaxValue, guest.Cpu->FaultAddress);
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.pand(xmm0, __[rcx]); c.ret(); }));
        Assert.Equal(ulong.MaxValue, guest.Cpu->FaultAddress);
    }

    [Fact]
    public void Two_threads_add_to_the_same_cell_without_losing_any()
    {
        const int Rounds = 50_000;
        ulong code = guest.Assemble(c =>
        {
            Label again = c.CreateLabel();
            c.Label(ref again);
            c.@lock.add(__qword_ptr[rcx], 1);
            c.@lock.inc(__word_ptr[rcx + 8]);
            c.mov(eax, 1);
            c.@lock.xadd(__dword_ptr[rcx + 0x11], eax);
            c.dec(rdx);
            c.jne(again);
            c.ret();
        });
        Cpu* second = guest.Interpreter.CreateCpu();
        second->Rsp = guest.StackBase - 0x1008;
        GuestMemory.Ref<ulong>(second->Rsp) = guest.Interpreter.ReturnAddress;
        guest.Cpu->Rcx = second->Rcx = guest.Data;
        guest.Cpu->Rdx = second->Rdx = Rounds;
        StopReason other = StopReason.None;
        var thread = new Thread(() => other = Interpreter.Run(second, code));
        thread.Start();
        Assert.Equal(StopReason.Returned, guest.Call(code));
        thread.Join();
        Interpreter.FreeCpu(second);
        Assert.Equal(StopReason.Returned, other);
        Assert.Equal(2UL * Rounds, GuestMemory.Ref<ulong>(guest.Data));
        Assert.Equal(unchecked((ushort)(2 * Rounds)), GuestMemory.Ref<ushort>(guest.Data + 8));
        Assert.Equal(2u * Rounds, GuestMemory.Ref<uint>(guest.Data + 0x11));
    }
}
