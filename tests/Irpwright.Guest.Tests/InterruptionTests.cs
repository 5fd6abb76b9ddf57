using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests;

/// <summary>Compiled code that loses its processor to a DPC or an interrupt between two instructions.</summary>
public sealed class InterruptionTests
{
    const uint Marker = 0x600D;

    static readonly AssemblerRegister64[] Volatile = [rax, rcx, rdx, r8, r9, r10, r11];

    public static TheoryData<Scheduling> EverySchedule => MachineProgram.EverySchedule;

    /// <summary>What every callee may do: leaves nothing of the volatile registers.</summary>
    static void WriteClobber(Assembler c, ulong cell)
    {
        c.mov(rax, cell);
        c.inc(__qword_ptr[rax]);
        foreach (AssemblerRegister64 register in Volatile) c.mov(register, -1L);
        c.pcmpeqb(xmm0, xmm0);
        c.pcmpeqb(xmm5, xmm5);
        c.cmp(eax, 0); // CF and SF
        c.ret();
    }

    static void WriteMarkers(Assembler c)
    {
        for (int i = 0; i < Volatile.Length; i++) c.mov(Volatile[i], (long)Marker + i);
        c.movq(xmm0, r8);
        c.movq(xmm5, r9);
    }

    /// <summary>rax = how many markers are gone.</summary>
    static void WriteCheck(Assembler c)
    {
        Label[] kept = [.. Enumerable.Range(0, Volatile.Length + 2).Select(_ => c.CreateLabel())];
        c.push(0);
        for (int i = 0; i < Volatile.Length; i++)
        {
            c.cmp(Volatile[i], (int)Marker + i);
            c.je(kept[i]);
            c.inc(__qword_ptr[rsp]);
            c.Label(ref kept[i]);
            c.nop();
        }
        AssemblerRegisterXMM[] vectors = [xmm0, xmm5];
        for (int i = 0; i < 2; i++)
        {
            Label label = kept[Volatile.Length + i];
            c.movq(rcx, vectors[i]);
            c.cmp(rcx, (int)Marker + 3 + i);
            c.je(label);
            c.inc(__qword_ptr[rsp]);
            c.Label(ref label);
            c.nop();
        }
        c.pop(rax);
    }

    /// <summary>A device that interrupts as soon as it can, and whose handler is compiled code.</summary>
    static void ScheduleInterrupt(MachineProgram program, ulong handler) =>
        program.Machine.Scheduler.Schedule(new Interrupt("device", 5, () => program.Machine.Code.Invoke(handler, 0, 0, 0, 0)), 0);

    [Theory, MemberData(nameof(EverySchedule))]
    public void Lowering_cr8_leaves_every_register_to_the_code_that_did_it(Scheduling scheduling)
    {
        using var program = new MachineProgram(scheduling);
        ulong clobber = program.Add(c => WriteClobber(c, program.Data));
        ulong code = program.Add(c =>
        {
            c.push(rbx);
            c.sub(rsp, 0x20);
            c.mov(ebx, 2);
            c.mov(cr8, rbx);
            c.mov(rcx, program.Data + 0x100);
            c.xor(edx, edx);
            c.xor(r8d, r8d);
            c.mov(rax, program.AddressOf("KeInsertQueueDpc"));
            c.call(rax);
            WriteMarkers(c);
            c.xor(ebx, ebx);
            c.mov(cr8, rbx);
            WriteCheck(c);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.ret();
        });
        program.Machine.Run(() =>
        {
            program.Machine.Dpcs.KeInitializeDpc(new PKDPC(program.Data + 0x100), new PKDEFERRED_ROUTINE(clobber), default);
            ScheduleInterrupt(program, clobber);
            Assert.Equal(0UL, program.Machine.Code.Invoke(code, 0, 0, 0, 0));
        });
        Assert.InRange(GuestMemory.Ref<ulong>(program.Data), 1UL, 2UL);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Pausing_leaves_every_register_to_the_code_that_did_it(Scheduling scheduling)
    {
        using var program = new MachineProgram(scheduling);
        ulong clobber = program.Add(c => WriteClobber(c, program.Data));
        ulong code = program.Add(c =>
        {
            WriteMarkers(c);
            c.pause();
            WriteCheck(c);
            c.ret();
        });
        program.Machine.Run(() =>
        {
            ScheduleInterrupt(program, clobber);
            Assert.Equal(0UL, program.Machine.Code.Invoke(code, 0, 0, 0, 0));
        });
        if (scheduling == Scheduling.Controlled) Assert.Equal(1UL, GuestMemory.Ref<ulong>(program.Data));
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Running_out_of_its_turn_leaves_every_register_to_the_code(Scheduling scheduling)
    {
        using var program = new MachineProgram(scheduling);
        ulong clobber = program.Add(c => WriteClobber(c, program.Data));
        ulong code = program.Add(c =>
        {
            Label again = c.CreateLabel();
            c.push(rbx);
            WriteMarkers(c);
            c.mov(ebx, 250_000);
            c.Label(ref again);
            c.dec(ebx);
            c.jne(again);
            WriteCheck(c);
            c.pop(rbx);
            c.ret();
        });
        program.Machine.Run(() =>
        {
            ScheduleInterrupt(program, clobber);
            Assert.Equal(0UL, program.Machine.Code.Invoke(code, 0, 0, 0, 0));
        });
        if (scheduling == Scheduling.Controlled) Assert.Equal(1UL, GuestMemory.Ref<ulong>(program.Data));
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_dpc_waits_until_interrupts_are_enabled(Scheduling scheduling)
    {
        using var program = new MachineProgram(scheduling);
        ulong clobber = program.Add(c => WriteClobber(c, program.Data));
        ulong code = program.Add(c =>
        {
            c.push(rbx);
            c.sub(rsp, 0x20);
            c.cli();
            c.mov(rcx, program.Data + 0x100);
            c.xor(edx, edx);
            c.xor(r8d, r8d);
            c.mov(rax, program.AddressOf("KeInsertQueueDpc"));
            c.call(rax);
            c.mov(rbx, program.Data);
            c.mov(rbx, __qword_ptr[rbx]);
            WriteMarkers(c);
            c.sti();
            WriteCheck(c);
            c.shl(rbx, 8);
            c.or(rax, rbx);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.ret();
        });
        program.Machine.Run(() =>
        {
            program.Machine.Dpcs.KeInitializeDpc(new PKDPC(program.Data + 0x100), new PKDEFERRED_ROUTINE(clobber), default);
            Assert.Equal(0UL, program.Machine.Code.Invoke(code, 0, 0, 0, 0));
        });
        Assert.Equal(1UL, GuestMemory.Ref<ulong>(program.Data));
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void The_time_stamp_rises_from_call_to_call(Scheduling scheduling)
    {
        using var program = new MachineProgram(scheduling);
        ulong code = program.Add(c =>
        {
            Label again = c.CreateLabel();
            c.mov(r8, rcx);
            c.Label(ref again);
            c.dec(r8);
            c.jne(again);
            c.rdtsc();
            c.shl(rdx, 32);
            c.or(rax, rdx);
            c.ret();
        });
        program.Machine.Run(() =>
        {
            ulong late = program.Machine.Code.Invoke(code, 1000, 0, 0, 0), later = program.Machine.Code.Invoke(code, 1, 0, 0, 0);
            Assert.True(late < later, $"{late} then {later}");
        });
    }

    [Fact]
    public void Drivers_read_their_processor_through_gs()
    {
        using var program = new MachineProgram();
        ulong code = program.Add(c =>
        {
            c.mov(__qword_ptr[rcx], rcx);
            c.mov(rax, __qword_ptr.gs[0x18]);
            c.mov(__[rcx], rax);
            c.mov(rax, __qword_ptr.gs[0x20]);
            c.mov(__[rcx + 8], rax);
            c.mov(rax, __qword_ptr.gs[0x188]);
            c.mov(__[rcx + 16], rax);
            c.movzx(eax, __byte_ptr.gs[0x50]);
            c.mov(__[rcx + 24], rax);
            c.movzx(eax, __byte_ptr.gs[0x184]);
            c.mov(__[rcx + 32], rax);
            c.mov(eax, __dword_ptr.gs[0x1A4]);
            c.mov(__[rcx + 40], rax);
            c.rdtscp();
            c.mov(eax, ecx);
            c.ret();
        });
        program.Machine.Run(() =>
        {
            KernelThread thread = program.Machine.CurrentThread;
            ulong number = program.Machine.Code.Invoke(code, program.Data, 0, 0, 0);
            ulong[] expected = [thread.Pcr.Address, thread.Pcr.Address + 0x180, thread.Object.Address, 0, number, number];
            Assert.Equal(expected, Enumerable.Range(0, 6).Select(i => GuestMemory.Ref<ulong>(program.Data + 8 * (ulong)i)));
            Assert.Equal((ulong)thread.Pcr.Prcb.Number, number);
        });
    }

    [Fact]
    public void What_is_not_modelled_is_named_with_its_register()
    {
        using var program = new MachineProgram();
        ulong code = program.Add(c => { c.mov(ecx, 0xC0000082); c.rdmsr(); c.ret(); });
        MachineUnsupportedException stop = Assert.Throws<MachineUnsupportedException>(() => program.Run(code));
        Assert.Contains("0F 32  rdmsr (register C0000082)", stop.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Halting_for_ever_is_reported_as_a_driver_that_is_stuck()
    {
        using var program = new MachineProgram();
        ulong code = program.Add(c => { c.cli(); c.hlt(); c.ret(); });
        BugCheckException stop = Assert.Throws<BugCheckException>(() => program.Run(code));
        Assert.Contains("interrupts disabled", stop.Message, StringComparison.Ordinal);
    }
}
