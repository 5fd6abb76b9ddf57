using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests;

/// <summary>Compiled code that drives hardware: ports, and registers in memory.</summary>
public sealed class DeviceAccessTests
{
    const ulong Physical = 0xFEBC_0000;

    public static TheoryData<Scheduling> EverySchedule => MachineProgram.EverySchedule;

    /// <summary>Sixteen registers of 8 bytes, and a record of who asked for what.</summary>
    sealed class Registers : IDeviceModel
    {
        public byte[] Bytes { get; } = [.. Enumerable.Range(0, 128).Select(i => (byte)i)];

        public List<string> Accesses { get; } = [];

        public ulong Read(ulong offset, int size)
        {
            Accesses.Add($"r{size}+{offset:X}");
            ulong value = 0;
            for (int i = size - 1; i >= 0; i--) value = value << 8 | Bytes[(int)offset + i];
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            Accesses.Add($"w{size}+{offset:X}={value:X}");
            for (int i = 0; i < size; i++) Bytes[(int)offset + i] = (byte)(value >> 8 * i);
        }
    }

    /// <summary>Runs code with the registers at rcx and a page of data at rdx.</summary>
    static (ulong Result, Registers Device) Run(Scheduling scheduling, Action<Assembler> write, Action<MachineProgram>? prepare = null)
    {
        using var program = new MachineProgram(scheduling);
        var device = new Registers();
        program.Machine.Hardware.ConnectMemory(Physical, 128, device);
        program.Machine.Hardware.ConnectPorts(0x3F0, 16, device);
        prepare?.Invoke(program);
        ulong code = program.Add(write);
        ulong result = program.Machine.Run(() =>
        {
            PVOID registers = program.Machine.IoSpace.MmMapIoSpace((PHYSICAL_ADDRESS)Physical, 128, MEMORY_CACHING_TYPE.MmNonCached);
            return program.Machine.Code.Invoke(code, registers.Address, program.Data, 0, 0);
        });
        return (result, device);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_load_reads_the_device_once_with_its_own_size(Scheduling scheduling)
    {
        (ulong result, Registers device) = Run(scheduling, c =>
        {
            c.movzx(eax, __byte_ptr[rcx + 1]);
            c.mov(ax, __word_ptr[rcx + 2]);
            c.mov(eax, __dword_ptr[rcx + 4]);
            c.add(rax, __[rcx + 8]);
            c.movups(xmm0, __xmmword_ptr[rcx + 0x10]);
            c.ret();
        });
        Assert.Equal(0x07060504UL + 0x0F0E0D0C0B0A0908, result);
        Assert.Equal(["r1+1", "r2+2", "r4+4", "r8+8", "r8+10", "r8+18"], device.Accesses);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_store_writes_the_device_once_and_does_not_read_it(Scheduling scheduling)
    {
        (_, Registers device) = Run(scheduling, c =>
        {
            c.mov(__byte_ptr[rcx + 1], 0xAA);
            c.mov(eax, 0x12345678);
            c.mov(__[rcx + 4], eax);
            c.cmp(eax, eax);
            c.sete(__byte_ptr[rcx + 9]);
            c.movq(xmm1, rax);
            c.movups(__xmmword_ptr[rcx + 0x10], xmm1);
            c.ret();
        });
        Assert.Equal(["w1+1=AA", "w4+4=12345678", "w1+9=1", "w8+10=12345678", "w8+18=0"], device.Accesses);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_instruction_that_changes_a_register_reads_it_and_writes_it(Scheduling scheduling)
    {
        (ulong result, Registers device) = Run(scheduling, c =>
        {
            c.or(__dword_ptr[rcx + 4], 0x80);
            c.@lock.inc(__byte_ptr[rcx + 1]);
            c.mov(eax, 0x55);
            c.xchg(__[rcx + 8], al);
            c.setc(__byte_ptr[rdx]);
            c.test(__dword_ptr[rcx + 4], 0x80);
            c.setne(__byte_ptr[rdx]);
            c.mov(ah, __byte_ptr[rdx]);
            c.ret();
        });
        Assert.Equal(0x108UL, result);
        Assert.Equal(["r4+4", "w4+4=7060584", "r1+1", "w1+1=2", "r1+8", "w1+8=55", "r4+4"], device.Accesses);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_string_instruction_moves_element_by_element(Scheduling scheduling)
    {
        (ulong result, Registers device) = Run(scheduling, c =>
        {
            c.push(rsi);
            c.push(rdi);
            c.mov(r8, rcx);
            c.mov(rsi, rcx);
            c.mov(rdi, rdx);
            c.mov(ecx, 3);
            c.rep.movsd();
            c.mov(rsi, rdx);
            c.lea(rdi, __[r8 + 0x20]);
            c.mov(ecx, 2);
            c.rep.movsw();
            c.mov(eax, 0x77);
            c.mov(ecx, 2);
            c.rep.stosb();
            c.mov(eax, __dword_ptr[rdx + 8]);
            c.pop(rdi);
            c.pop(rsi);
            c.ret();
        });
        Assert.Equal(0x0B0A0908UL, result);
        Assert.Equal(["r4+0", "r4+4", "r4+8", "w2+20=100", "w2+22=302", "w1+24=77", "w1+25=77"], device.Accesses);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Ports_are_read_and_written_in_every_size(Scheduling scheduling)
    {
        (ulong result, Registers device) = Run(scheduling, c =>
        {
            c.mov(r8, rdx);
            c.mov(edx, 0x3F4);
            c.@in(eax, dx);
            c.mov(r9, rax);
            c.@in(ax, dx);
            c.@in(al, dx);
            c.@out(dx, eax);
            c.@out(dx, al);
            c.@in(al, 0x40); // nobody's
            c.movzx(eax, al);
            c.add(rax, r9);
            c.push(rdi);
            c.push(rsi);
            c.mov(rdi, r8);
            c.mov(rsi, r8);
            c.mov(ecx, 2);
            c.rep.insw();
            c.mov(ecx, 2);
            c.rep.outsb();
            c.pop(rsi);
            c.pop(rdi);
            c.ret();
        });
        Assert.Equal(0x07060504UL + 0xFF, result);
        string[] expected = ["r4+4", "r2+4", "r1+4", "w4+4=7060504", "w1+4=4", "r2+4", "r2+4", "w1+4=4", "w1+4=5"];
        Assert.Equal(expected, device.Accesses);
    }

    [Fact]
    public void A_long_loop_of_stores_needs_no_more_host_stack_than_a_short_one()
    {
        const int Turns = 60_000;
        (ulong result, Registers device) = Run(Scheduling.Controlled, c =>
        {
            Label again = c.CreateLabel();
            c.mov(eax, Turns);
            c.Label(ref again);
            c.mov(__[rcx], eax);
            c.dec(eax);
            c.jne(again);
            c.mov(eax, __[rcx]);
            c.ret();
        });
        Assert.Equal((1UL, Turns + 1), (result, device.Accesses.Count));
    }

    [Fact]
    public void Beyond_the_mapping_there_is_nothing()
    {
        BugCheckException stop = Assert.Throws<BugCheckException>(() => Run(Scheduling.Controlled, c => { c.mov(__byte_ptr[rcx + 0x1000], 1); c.ret(); }));
        Assert.Equal(BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, stop.Report.Code);
    }

    [Fact]
    public void An_interrupt_during_an_access_leaves_every_register_as_it_was()
    {
        (ulong result, Registers device) = Run(Scheduling.Controlled, c =>
        {
            c.mov(r8d, 0x1111);
            c.mov(r9d, 0x2222);
            c.movq(xmm0, r9);
            c.mov(eax, __dword_ptr[rcx]);
            c.mov(__[rcx + 8], r8d);
            c.movq(rax, xmm0);
            c.shl(rax, 16);
            c.or(rax, r8);
            c.ret();
        }, program =>
        {
            ulong clobber = program.Add(c => { c.xor(r8d, r8d); c.pxor(xmm0, xmm0); c.mov(rcx, -1L); c.ret(); });
            program.Machine.Scheduler.Schedule(new Interrupt("device", 5, () => program.Machine.Code.Invoke(clobber, 0, 0, 0, 0)), Hardware.AccessTime);
        });
        Assert.Equal(0x22221111UL, result);
        Assert.Equal(["r4+0", "w4+8=1111"], device.Accesses);
    }
}
