using Iced.Intel;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests;

/// <summary>Compiled code that uses memory through an address that leads elsewhere.</summary>
public sealed class ReservedMappingTests
{
    const uint Tag = 0x31534552; // "RES1"

    public static TheoryData<Scheduling> EverySchedule => MachineProgram.EverySchedule;

    /// <summary>Runs code with the last 8 bytes of a mapped page at rcx, behind which a second one is mapped if <paramref name="pages"/> is 2.</summary>
    static (ulong Result, byte[] Memory) Run(Scheduling scheduling, uint pages, Action<Assembler> write)
    {
        using var program = new MachineProgram(scheduling);
        Machine machine = program.Machine;
        ulong code = program.Add(write);
        return machine.Run(() =>
        {
            PVOID user = new(machine.Memory.AllocateUser(2 * GuestMemory.PageSize));
            for (int i = 0; i < 16; i++) GuestMemory.Ref<byte>(user.Address + GuestMemory.PageSize - 8 + (ulong)i) = (byte)i;
            PMDL mdl = machine.Mdls.IoAllocateMdl(user, pages * (uint)GuestMemory.PageSize, false, false, default);
            machine.Mdls.MmProbeAndLockPages(mdl, MODE.UserMode, LOCK_OPERATION.IoWriteAccess);
            PVOID reserved = machine.ReservedMappings.MmAllocateMappingAddress(2 * GuestMemory.PageSize, Tag);
            ulong at = machine.ReservedMappings.MmMapLockedPagesWithReservedMapping(reserved, Tag, mdl, MEMORY_CACHING_TYPE.MmCached).Address;
            ulong result = machine.Code.Invoke(code, at + GuestMemory.PageSize - 8, 0, 0, 0);
            return (result, GuestMemory.Read(user.Address + GuestMemory.PageSize - 8, 16).ToArray());
        });
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Loads_stores_and_strings_go_where_the_MDL_is(Scheduling scheduling)
    {
        (ulong result, byte[] memory) = Run(scheduling, 2, c =>
        {
            c.mov(rax, __[rcx + 4]); // across the end of the page
            c.mov(__byte_ptr[rcx], 0xAA);
            c.@lock.inc(__dword_ptr[rcx + 8]);
            c.mov(rdx, rdi);
            c.lea(rdi, __[rcx + 12]);
            c.mov(r8, rax);
            c.mov(al, 0x55);
            c.mov(ecx, 4);
            c.rep.stosb();
            c.mov(rdi, rdx);
            c.mov(rax, r8);
            c.ret();
        });
        Assert.Equal(0x0B0A090807060504UL, result);
        Assert.Equal("AA01020304050607" + "09090A0B" + "55555555", Convert.ToHexString(memory));
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Behind_the_last_mapped_page_is_a_fault(Scheduling scheduling)
    {
        BugCheckReport report = Assert.Throws<BugCheckException>(() => Run(scheduling, 1, c =>
        {
            c.mov(__[rcx], rax);
            c.mov(__[rcx + 4], rax);
            c.ret();
        })).Report;
        Assert.Equal(BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, report.Code);
        Assert.Equal((0ul, 2ul), (report.Parameter1 & (GuestMemory.PageSize - 1), report.Parameter2));
    }
}
