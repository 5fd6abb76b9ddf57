using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

public sealed unsafe class StringTests : IDisposable
{
    readonly GuestProgram guest = new();

    public void Dispose() => guest.Dispose();

    [Fact]
    public void A_copy_that_runs_into_an_unmapped_page_stops_where_the_hardware_would()
    {
        ulong end = guest.Data + GuestProgram.DataSize;
        guest.Cpu->Rsi = guest.Data;
        guest.Cpu->Rdi = end - 20;
        guest.Cpu->Rcx = 100;
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.rep.movsd(); c.ret(); }));
        Assert.Equal((end, guest.Data + 20, end, 95UL), (guest.Cpu->FaultAddress, guest.Cpu->Rsi, guest.Cpu->Rdi, guest.Cpu->Rcx));
        Assert.Equal(PageAccess.Write, guest.Cpu->FaultAccess);
    }

    [Fact]
    public void An_element_that_straddles_into_an_unmapped_page_is_not_written_at_all()
    {
        ulong end = guest.Data + GuestProgram.DataSize;
        guest.Cpu->Rdi = end - 6;
        guest.Cpu->Rcx = 2;
        guest.Cpu->Rax = ulong.MaxValue;
        Assert.Equal(StopReason.Fault, guest.Run(c => { c.rep.stosd(); c.ret(); }));
        Assert.Equal((end, end - 2, 1UL), (guest.Cpu->FaultAddress, guest.Cpu->Rdi, guest.Cpu->Rcx));
        Assert.Equal(0x0000FFFFu, GuestMemory.Ref<ushort>(end - 4) | (uint)GuestMemory.Ref<ushort>(end - 2) << 16);
    }

    [Fact]
    public void A_destination_just_behind_the_source_repeats_the_pattern()
    {
        GuestMemory.Ref<byte>(guest.Data) = 0xAB;
        guest.Cpu->Rsi = guest.Data;
        guest.Cpu->Rdi = guest.Data + 1;
        guest.Cpu->Rcx = 0x1800;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.rep.movsb(); c.ret(); }));
        Assert.True(GuestMemory.Read(guest.Data, 0x1801).IndexOfAnyExcept((byte)0xAB) < 0);
        Assert.Equal(0, GuestMemory.Ref<byte>(guest.Data + 0x1801));
    }

    [Fact]
    public void A_long_fill_spends_budget_and_goes_on_where_it_was()
    {
        guest.Cpu->Rdi = guest.Data;
        guest.Cpu->Rcx = GuestProgram.DataSize;
        guest.Cpu->Rax = 0x5A;
        guest.Cpu->Budget = 2;
        ulong code = guest.Assemble(c => { c.rep.stosb(); c.ret(); });
        Assert.Equal(StopReason.BudgetSpent, guest.Call(code));
        Assert.Equal((code, guest.Data + 0x3000, 0x1000UL), (guest.Cpu->Rip, guest.Cpu->Rdi, guest.Cpu->Rcx));
        guest.Cpu->Budget = 10;
        Assert.Equal(StopReason.Returned, Interpreter.Run(guest.Cpu, guest.Cpu->Rip));
        Assert.True(GuestMemory.Read(guest.Data, GuestProgram.DataSize).IndexOfAnyExcept((byte)0x5A) < 0);
    }

    [Fact]
    public void A_search_stops_behind_what_it_found()
    {
        "driver\0"u8.CopyTo(GuestMemory.Write(guest.Data, 7));
        guest.Cpu->Rdi = guest.Data;
        guest.Cpu->Rcx = ulong.MaxValue;
        Assert.Equal(StopReason.Returned, guest.Run(c => { c.xor(eax, eax); c.repne.scasb(); c.setz(al); c.ret(); }));
        Assert.Equal((guest.Data + 7, unchecked((ulong)-8), 1UL), (guest.Cpu->Rdi, guest.Cpu->Rcx, guest.Cpu->Rax));
    }
}
