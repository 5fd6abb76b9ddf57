using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

public sealed unsafe class SystemRegisterTests : IDisposable
{
    readonly GuestProgram guest = new();

    public void Dispose() => guest.Dispose();

    [Fact]
    public void Control_registers_hold_what_cpuid_announces_and_keep_what_may_be_written()
    {
        const ulong WriteProtect = 1 << 16, GlobalPages = 1 << 7;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.mov(rax, cr0);
            c.mov(rcx, rax);
            c.btr(rcx, 16);
            c.mov(cr0, rcx);
            c.mov(rdx, cr0);
            c.mov(r8, cr4);
            c.mov(r9, r8);
            c.btc(r9, 7);
            c.mov(cr4, r9);
            c.mov(r10, cr4);
            c.mov(r11d, 0x1234);
            c.mov(cr2, r11);
            c.mov(rsi, cr2);
            c.mov(rdi, cr3);
            c.mov(cr3, rdi);
            c.ret();
        }));
        Cpu* cpu = guest.Cpu;
        Assert.Equal((0x80050033UL, WriteProtect), (cpu->Rax, cpu->Rax ^ cpu->Rdx));
        Assert.Equal((GlobalPages, 0x1234UL), (cpu->Gpr[8] ^ cpu->Gpr[10], cpu->Rsi));
        Assert.Equal(0UL, cpu->Rdi & 0xFFF);
    }

    [Theory]
    [InlineData(0, 0x00050033UL, StopReason.Fault)] // paging off
    [InlineData(0, 0x1_80050033UL, StopReason.Fault)]
    [InlineData(0, 0x8005003BUL, StopReason.Unimplemented)] // task switched
    [InlineData(3, 0x5000UL, StopReason.Unimplemented)]
    [InlineData(4, 0UL, StopReason.Unimplemented)]
    public void A_control_register_refuses_what_would_change_the_processor(int number, ulong value, StopReason expected)
    {
        guest.Cpu->Rcx = value;
        // mov crN,rcx
        guest.Place(guest.Code, [0x0F, 0x22, (byte)(0xC1 | number << 3), 0xC3]);
        Assert.Equal(expected, guest.Call(guest.Code));
        Assert.Equal(guest.Code, guest.Cpu->Rip);
        if (expected == StopReason.Fault) Assert.Equal(ulong.MaxValue, guest.Cpu->FaultAddress);
    }

    [Fact]
    public void Debug_registers_keep_addresses_and_cannot_break()
    {
        guest.Cpu->Rcx = 0x1234_5678_9ABC;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.mov(dr3, rcx);
            c.mov(rdx, dr3);
            c.mov(rsi, dr6);
            c.mov(rdi, dr7);
            c.mov(dr7, rdi);
            c.ret();
        }));
        Assert.Equal((0x1234_5678_9ABCUL, 0xFFFF0FF0UL, 0x400UL), (guest.Cpu->Rdx, guest.Cpu->Rsi, guest.Cpu->Rdi));
        Assert.Equal(StopReason.Unimplemented, guest.Run(c => { c.mov(ecx, 0x401); c.mov(dr7, rcx); c.ret(); }));
        Assert.Equal(StopReason.IllegalInstruction, guest.Run(c => { c.mov(rax, dr4); c.ret(); }));
    }

    [Fact]
    public void Selectors_are_those_of_Windows_and_a_memory_operand_gets_two_bytes()
    {
        GuestMemory.Ref<ulong>(guest.Data) = ulong.MaxValue;
        guest.Cpu->Rbx = guest.Data;
        guest.Cpu->Rsi = guest.Cpu->Rdi = ulong.MaxValue;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.mov(eax, cs);
            c.mov(ecx, ss);
            c.mov(edx, gs);
            c.mov(si, fs);
            c.mov(__word_ptr[rbx], ds);
            c.str(edi);
            c.sldt(r8d);
            c.smsw(r9d);
            c.ret();
        }));
        Cpu* cpu = guest.Cpu;
        Assert.Equal((0x10UL, 0x18UL, 0x2BUL, 0xFFFFFFFF_FFFF0053UL), (cpu->Rax, cpu->Rcx, cpu->Rdx, cpu->Rsi));
        Assert.Equal((0xFFFFFFFF_FFFF002BUL, 0x40UL, 0UL, 0x80050033UL), (GuestMemory.Ref<ulong>(guest.Data), cpu->Rdi, cpu->Gpr[8], cpu->Gpr[9]));
    }

    [Fact]
    public void The_bases_of_gs_are_exchanged()
    {
        guest.Cpu->GsBase = 0xFFFFA000_10000000;
        guest.Cpu->UserGsBase = 0x1000;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.swapgs();
            c.rdgsbase(rax);
            c.swapgs();
            c.rdgsbase(rcx);
            c.ret();
        }));
        Assert.Equal((0x1000UL, 0xFFFFA000_10000000), (guest.Cpu->Rax, guest.Cpu->Rcx));
    }

    [Fact]
    public void Descriptor_tables_have_the_limits_of_Windows_and_nothing_is_at_their_bases()
    {
        guest.Cpu->Rbx = guest.Data;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.sgdt(__[rbx]);
            c.sidt(__[rbx + 16]);
            c.ret();
        }));
        Assert.Equal((0x57, 0xFFF), (GuestMemory.Ref<ushort>(guest.Data), GuestMemory.Ref<ushort>(guest.Data + 16)));
        ulong table = GuestMemory.Ref<ulong>(guest.Data + 18);
        Assert.True(table >= GuestMemory.KernelHalf);
        guest.Cpu->Rbx = table;
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.mov(rax, __qword_ptr[rbx]); c.ret(); }));
        Assert.Equal(table, guest.Cpu->FaultAddress);
    }

    [Fact]
    public void Who_looks_into_a_descriptor_table_is_told_that_there_is_none()
    {
        using var program = new MachineProgram();
        ulong routine = program.Add(c =>
        {
            c.sidt(__[rcx]);
            c.mov(rax, __qword_ptr[rcx + 2]);
            c.mov(rax, __qword_ptr[rax + 0x30]);
            c.ret();
        });
        var stop = Assert.Throws<MachineUnsupportedException>(() => program.Run(routine, program.Data));
        Assert.Contains("uses the interrupt descriptor table, which this version does not have", stop.Message);
    }

    [Fact]
    public void Model_specific_registers_are_read_and_those_that_store_are_written()
    {
        guest.Cpu->GsBase = 0xFFFFA000_10000000;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.mov(ecx, 0xC0000101);
            c.rdmsr();
            c.shl(rdx, 32);
            c.lea(rsi, __[rax + rdx]);
            c.rdgsbase(rdi);
            c.mov(ecx, 0xC0000102);
            c.mov(eax, 0x11223344);
            c.mov(edx, 0x55667788);
            c.wrmsr();
            c.xor(eax, eax);
            c.rdmsr();
            c.mov(rbx, rax);
            c.mov(ecx, 0xC0000080);
            c.rdmsr();
            c.wrmsr();
            c.ret();
        }));
        Cpu* cpu = guest.Cpu;
        Assert.Equal((cpu->GsBase, cpu->GsBase, 0x11223344UL, 0xD01UL), (cpu->Rsi, cpu->Rdi, cpu->Rbx, cpu->Rax));
    }

    [Theory]
    [InlineData(0x12345678u, StopReason.Fault)]
    [InlineData(0xC0000082u, StopReason.Unimplemented)]
    public void A_model_specific_register_that_no_processor_has_is_a_protection_fault(uint number, StopReason expected)
    {
        guest.Cpu->Rcx = number;
        Assert.Equal(expected, guest.Run(c => { c.rdmsr(); c.ret(); }));
        Assert.Equal(expected, guest.Run(c => { c.wrmsr(); c.ret(); }));
    }

    [Theory]
    [InlineData(0u, StopReason.Returned)]
    [InlineData(0x40000002u, StopReason.Returned)]
    [InlineData(4u, StopReason.Fault)]
    [InlineData(0x40000003u, StopReason.Fault)]
    [InlineData(0xFFFFFFFFu, StopReason.Fault)]
    public void Performance_counters_that_nobody_started_stand_at_zero(uint number, StopReason expected)
    {
        guest.Cpu->Rcx = number;
        guest.Cpu->Rax = guest.Cpu->Rdx = 7;
        Assert.Equal(expected, guest.Run(c => { c.rdpmc(); c.ret(); }));
        ulong value = expected == StopReason.Returned ? 0ul : 7;
        Assert.Equal((value, value), (guest.Cpu->Rax, guest.Cpu->Rdx));
    }

    [Fact]
    public void A_write_that_would_change_the_processor_is_not_modelled()
    {
        guest.Cpu->Rcx = 0xC0000080;
        guest.Cpu->Rax = 0xD00;
        Assert.Equal(StopReason.Unimplemented, guest.Run(c => { c.wrmsr(); c.ret(); }));
    }

    [Fact]
    public void Interrupts_are_told_on_and_off_once_each()
    {
        guest.Cpu->OnInterruptFlag = &Note;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.xor(ebx, ebx);
            c.pushfq();
            c.cli();
            c.cli();
            c.popfq();
            c.sti();
            c.pushfq();
            c.pop(rax);
            c.ret();
        }));
        // A digit for each call: off, then on by popfq; sti has nothing left to do.
        Assert.Equal((0x12UL, 0x200UL), (guest.Cpu->Rbx, guest.Cpu->Rax & 0x200));

        static void Note(Cpu* cpu, bool enabled) => cpu->Rbx = cpu->Rbx << 4 | (enabled ? 2u : 1u);
    }

    [Fact]
    public void Halting_waits_for_others_unless_nobody_could_wake_the_processor()
    {
        guest.Cpu->OnPause = &Count;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.hlt(); c.ret(); }));
        Assert.Equal(1UL, guest.Cpu->Rbx);
        Assert.Equal(StopReason.Halted, guest.Run(c => { c.cli(); c.hlt(); c.ret(); }));

        static void Count(Cpu* cpu) => cpu->Rbx++;
    }

    [Fact]
    public void Setting_the_trap_flag_is_not_modelled()
    {
        ulong code = guest.Assemble(c => { c.push(0x102); c.popfq(); c.nop(); c.ret(); });
        Assert.Equal(StopReason.SingleStep, guest.Call(code));
        Assert.Equal(code + 5, guest.Cpu->Rip);
    }

    [Fact]
    public void The_state_of_vector_registers_is_saved_and_restored()
    {
        guest.Cpu->XmmRegister(7) = new UInt128(1, 2);
        guest.Cpu->Mxcsr = 0x3F80;
        guest.Cpu->Rcx = guest.Data + 0x200;
        GuestMemory.Ref<ulong>(guest.Data + 0x200 + 504) = 77; // belongs to software
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.fxsave(__[rcx]);
            c.pxor(xmm7, xmm7);
            c.mov(__dword_ptr[rsp + 8], 0x1F80);
            c.ldmxcsr(__dword_ptr[rsp + 8]);
            c.fxrstor(__[rcx]);
            c.stmxcsr(__dword_ptr[rsp + 8]);
            c.mov(eax, __dword_ptr[rsp + 8]);
            c.ret();
        }));
        Assert.Equal((new UInt128(1, 2), 0x3F80UL), (guest.Cpu->XmmRegister(7), guest.Cpu->Rax));
        Assert.Equal((0x37F, 0xFFFFu, 77UL), (GuestMemory.Ref<ushort>(guest.Data + 0x200), GuestMemory.Ref<uint>(guest.Data + 0x21C), GuestMemory.Ref<ulong>(guest.Data + 0x3F8)));
        guest.Cpu->Rcx = guest.Data + 0x208;
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.fxsave(__[rcx]); c.ret(); }));
    }

    [Fact]
    public void A_reserved_bit_of_mxcsr_is_a_protection_fault()
    {
        guest.Cpu->Rcx = guest.Data;
        GuestMemory.Ref<uint>(guest.Data) = 0x11F80;
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.ldmxcsr(__dword_ptr[rcx]); c.ret(); }));
        Assert.Equal(0x1F80u, guest.Cpu->Mxcsr);
    }

    [Theory]
    [InlineData(0x3F80u)] // rounds down
    [InlineData(0x9F80u)] // subnormal results are zero
    [InlineData(0x1F00u)] // an invalid operation traps
    public void Arithmetic_under_another_mode_stops_instead_of_computing_something_else(uint mxcsr)
    {
        guest.Cpu->Mxcsr = mxcsr;
        ulong code = guest.Assemble(c => { c.paddd(xmm0, xmm1); c.addsd(xmm0, xmm1); c.ret(); });
        Assert.Equal(StopReason.FloatingPointMode, guest.Call(code));
        Assert.Equal(code + 4, guest.Cpu->Rip);
    }

    [Fact]
    public void The_processor_announces_what_it_executes()
    {
        const uint Sse42 = 1 << 20, Popcnt = 1 << 23, Osxsave = 1 << 27, Avx = 1 << 28;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            c.mov(eax, 1);
            c.cpuid();
            c.mov(esi, ecx);
            c.mov(eax, 7);
            c.xor(ecx, ecx);
            c.cpuid();
            c.mov(edi, ebx);
            c.ret();
        }));
        Assert.Equal(Sse42 | Popcnt, guest.Cpu->Rsi & (Sse42 | Popcnt | Osxsave | Avx));
        Assert.Equal(0x109UL, guest.Cpu->Rdi);
        Assert.Equal(StopReason.IllegalInstruction, guest.Run(c => { c.xor(ecx, ecx); c.xgetbv(); c.ret(); }));
    }

    [Fact]
    public void Enter_makes_a_frame_and_loop_counts()
    {
        guest.Cpu->Rbp = 0x1234;
        ulong stack = guest.Cpu->Rsp;
        Assert.Equal(StopReason.Returned, guest.Run(c =>
        {
            Label again = c.CreateLabel(), never = c.CreateLabel();
            c.enter(0x20, 0);
            c.mov(rax, rbp);
            c.sub(rax, rsp);
            c.mov(rdx, __qword_ptr[rbp]);
            c.mov(ecx, 5);
            c.xor(ebx, ebx);
            c.Label(ref again);
            c.inc(ebx);
            c.loop(again);
            c.mov(ecx, 3);
            c.xor(r8d, r8d); // ZF
            c.Label(ref never);
            c.lea(rbx, __[rbx + 0x100]);
            c.loopne(never);
            c.leave();
            c.ret();
        }));
        Assert.Equal((0x20UL, 0x1234UL, 0x105UL, 2UL), (guest.Cpu->Rax, guest.Cpu->Rdx, guest.Cpu->Rbx, guest.Cpu->Rcx));
        Assert.Equal((0x1234UL, stack), (guest.Cpu->Rbp, guest.Cpu->Rsp));
    }
}
