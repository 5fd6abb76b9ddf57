using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>
/// Goal: code that changes is executed as it is now, as on hardware. Method: programs that write code they, or somebody else, have
/// executed before, in every way there is to write it.
/// </summary>
public sealed unsafe class ChangingCodeTests : IDisposable
{
    readonly GuestProgram guest = new();

    public ChangingCodeTests() => Protect(PageAccess.ReadWrite | PageAccess.Execute);

    public void Dispose() => guest.Dispose();

    void Protect(PageAccess access) => GuestProgram.Protect(guest.Code, GuestProgram.CodeSize, access);

    [Fact]
    public void An_instruction_can_change_the_next_one()
    {
        // The mov that follows the store has its constant 4 bytes before its end.
        guest.Cpu->Rcx = guest.Code;
        ulong code = guest.Assemble(c =>
        {
            Label next = c.CreateLabel();
            c.lea(rdx, __[next]);
            c.mov(__dword_ptr[rdx + 1], 77);
            c.Label(ref next);
            c.mov(eax, 1);
            c.ret();
        });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(77UL, guest.Cpu->Rax);
    }

    [Fact]
    public void A_loop_that_changes_itself_sees_every_change()
    {
        ulong code = guest.Assemble(c =>
        {
            Label again = c.CreateLabel();
            c.xor(r8d, r8d);
            c.mov(ecx, 1000);
            c.Label(ref again);
            c.mov(eax, 0);
            c.add(r8, rax);
            c.lea(rdx, __[again]);
            c.inc(__dword_ptr[rdx + 1]);
            c.dec(ecx);
            c.jne(again);
            c.mov(rax, r8);
            c.ret();
        });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(1000UL * 999 / 2, guest.Cpu->Rax);
    }

    [Fact]
    public void Writing_data_next_to_code_translates_nothing_anew()
    {
        ulong cell = guest.Code + 0x800;
        ulong code = guest.Assemble(c =>
        {
            Label again = c.CreateLabel();
            c.mov(rdx, cell);
            c.mov(ecx, 100);
            c.Label(ref again);
            c.add(__qword_ptr[rdx], 3);
            c.dec(ecx);
            c.jne(again);
            c.ret();
        });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(300UL, GuestMemory.Ref<ulong>(cell));
        Op* translated = Branch.Find(guest.Cpu, code);
        GuestMemory.Write(cell, 8).Clear();
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(300UL, GuestMemory.Ref<ulong>(cell));
        Assert.True(translated == Branch.Find(guest.Cpu, code));
        GuestMemory.Write(code, 1);
        Assert.False(translated == Branch.Find(guest.Cpu, code));
    }

    [Fact]
    public void A_routine_that_was_called_before_is_called_anew_through_the_same_call()
    {
        ulong routine = guest.Code + 0x1800; // another page
        guest.Assemble(c => { c.mov(eax, 1); c.ret(); }, routine);
        ulong code = guest.Assemble(c =>
        {
            Label again = c.CreateLabel();
            c.push(rbx);
            c.xor(ebx, ebx);
            c.mov(esi, 2);
            c.mov(rdi, routine);
            c.Label(ref again);
            c.call(routine);
            c.shl(ebx, 4);
            c.or(ebx, eax);
            c.mov(__dword_ptr[rdi + 1], 9);
            c.dec(esi);
            c.jne(again);
            c.mov(eax, ebx);
            c.pop(rbx);
            c.ret();
        });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(0x19UL, guest.Cpu->Rax);
    }

    [Theory]
    [InlineData("system mapping")]
    [InlineData("user window")]
    [InlineData("the kernel")]
    public void Writing_through_another_mapping_changes_the_code(string way)
    {
        Protect(PageAccess.Read | PageAccess.Execute);
        ulong code = guest.Assemble(c => { c.mov(eax, 1); c.ret(); });
        Assert.Equal(StopReason.Returned, guest.Call(code));
        ulong offset = code - GuestMemory.KernelBase, alias;
        if (way == "user window")
        {
            alias = GuestMemory.UserBase + offset;
            GuestMemory.UserPages[offset >> GuestMemory.PageShift] = (byte)PageAccess.ReadWrite;
        }
        else
        {
            alias = GuestMemory.SystemMappingBase + offset;
            GuestMemory.KernelPages[(offset + GuestMemory.WindowSize) >> GuestMemory.PageShift] = (byte)PageAccess.ReadWrite;
        }
        // What sets the access of pages tells the watcher, as AddressSpace does.
        GuestMemory.CodeWatcherOf(GuestMemory.SliceOf(code))!.AccessSet(alias, GuestMemory.PageSize, PageAccess.ReadWrite);
        if (way == "the kernel") GuestMemory.Write(alias + 1, 4)[0] = 5;
        else
        {
            guest.Cpu->Rcx = alias;
            Assert.Equal(StopReason.Returned, guest.Call(guest.Assemble(c => { c.mov(__byte_ptr[rcx + 1], 5); c.ret(); }, guest.Code + 0x1000)));
        }
        Assert.Equal(StopReason.Returned, guest.Call(code));
        Assert.Equal(5UL, guest.Cpu->Rax);
    }

    [Fact]
    public void Without_write_protection_the_processor_writes_what_is_read_only()
    {
        Protect(PageAccess.Read | PageAccess.Execute);
        ulong routine = guest.Assemble(c => { c.mov(eax, 1); c.ret(); }, guest.Code + 0x1000);
        ulong patch = guest.Assemble(c =>
        {
            c.mov(__dword_ptr[rcx + 1], 5);
            c.ret();
        });
        guest.Cpu->Rcx = routine;
        Assert.Equal(StopReason.Returned, guest.Call(routine));
        Assert.Equal(StopReason.Fault, guest.Call(patch));
        Assert.Equal(StopReason.Returned, guest.Call(guest.Assemble(c =>
        {
            c.mov(rdx, cr0);
            c.mov(r8, rdx);
            c.btr(r8, 16);
            c.mov(cr0, r8);
            c.mov(__dword_ptr[rcx + 1], 5);
            c.mov(cr0, rdx);
            c.ret();
        }, guest.Code + 0x2000)));
        Assert.Equal(StopReason.Returned, guest.Call(routine));
        Assert.Equal(5UL, guest.Cpu->Rax);
        Assert.Equal(StopReason.Fault, guest.Call(patch));
    }

    [Fact]
    public void A_copy_over_code_that_was_executed_is_executed()
    {
        ulong other = guest.Assemble(c => { c.mov(eax, 8); c.ret(); }, guest.Code + 0x2000);
        ulong routine = guest.Assemble(c => { c.mov(eax, 1); c.ret(); }, guest.Code + 0x1FFD); // across two pages
        Assert.Equal(StopReason.Returned, guest.Call(routine));
        guest.Assemble(c => { c.mov(eax, 8); c.ret(); }, guest.Code + 0x3000);
        guest.Cpu->Rsi = guest.Code + 0x3000;
        guest.Cpu->Rdi = routine;
        guest.Cpu->Rcx = 6;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.rep.movsb(); c.ret(); }));
        Assert.Equal(StopReason.Returned, guest.Call(routine));
        Assert.Equal(8UL, guest.Cpu->Rax);
    }

    [Fact]
    public void Pool_that_held_code_is_executed_as_what_it_holds_now()
    {
        using var program = new MachineProgram();
        // ExAllocatePoolWithTag(NonPagedPool, ...) is executable memory.
        program.Machine.Run(() =>
        {
            PVOID block = program.Machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 0x65646F43);
            for (byte result = 1; result < 20; result++)
            {
                // mov eax,result; ret
                ((ReadOnlySpan<byte>)[0xB8, result, 0, 0, 0, 0xC3]).CopyTo(GuestMemory.Write(block.Address, 6));
                Assert.Equal(result, program.Machine.Code.Invoke(block.Address, 0, 0, 0, 0));
            }
        });
    }

    [Fact]
    public void Code_that_may_no_longer_be_executed_is_not()
    {
        using var program = new MachineProgram();
        ulong code = program.Add(c => { c.mov(eax, 1); c.ret(); });
        Assert.Equal(1UL, program.Run(code));
        program.Machine.Memory.Protect(code & ~0xFFFUL, GuestMemory.PageSize, PageAccess.ReadWrite);
        BugCheckException stop = Assert.Throws<BugCheckException>(() => program.Run(code));
        Assert.Equal((BugCheckCode.ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, code), (stop.Report.Code, stop.Report.Parameter1));
    }

    [Fact]
    public void Two_threads_may_run_code_that_a_third_changes()
    {
        ulong routine = guest.Assemble(c => { c.mov(eax, 1); c.ret(); }, guest.Code + 0x1000);
        ulong loop = guest.Assemble(c =>
        {
            Label again = c.CreateLabel();
            c.sub(rsp, 0x28);
            c.Label(ref again);
            c.call(routine);
            c.cmp(eax, 7);
            c.jne(again);
            c.add(rsp, 0x28);
            c.ret();
        });
        var reasons = new StopReason[2];
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(i => new Thread(() => reasons[i] = RunOn(guest, loop, 0x800 * (ulong)i)))];
        foreach (Thread thread in threads) thread.Start();
        for (byte value = 2; value <= 7; value++)
        {
            Thread.Sleep(1);
            GuestMemory.Write(routine + 1, 1)[0] = value;
        }
        foreach (Thread thread in threads) thread.Join();
        Assert.Equal([StopReason.Returned, StopReason.Returned], reasons);

        static StopReason RunOn(GuestProgram guest, ulong code, ulong below)
        {
            Cpu* cpu = guest.Interpreter.CreateCpu();
            cpu->Rsp = guest.StackBase - 0x28 - below;
            cpu->Budget = 2_000_000_000;
            GuestMemory.Ref<ulong>(cpu->Rsp) = guest.Interpreter.ReturnAddress;
            StopReason reason = Interpreter.Run(cpu, code);
            Interpreter.FreeCpu(cpu);
            return reason;
        }
    }
}
