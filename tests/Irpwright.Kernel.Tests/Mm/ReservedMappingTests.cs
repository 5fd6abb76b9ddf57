using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

/// <summary>MmAllocateMappingAddress and its relatives, and the published rows about them: BC-0xDA-0x100 to 0x304.</summary>
public class ReservedMappingTests : DriverTest
{
    const uint Tag = 0x31534552, OtherTag = 0x32534552; // "RES1", "RES2"

    /// <summary>An MDL whose pages are locked, for a user buffer that begins 0x40 bytes into its page.</summary>
    PMDL Locked(uint pages)
    {
        PMDL mdl = IoAllocateMdl(new PVOID(Machine.Memory.AllocateUser(pages * PAGE_SIZE) + 0x40), pages * PAGE_SIZE - 0x40, false, false, default);
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        return mdl;
    }

    PVOID Map(PVOID reserved, PMDL mdl, uint tag = Tag) => MmMapLockedPagesWithReservedMapping(reserved, tag, mdl, MmCached);

    [Theory, MemberData(nameof(EverySchedule))]
    public void Reserved_addresses_lead_to_the_pages_of_the_MDL_that_is_mapped_there(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID reserved = MmAllocateMappingAddress(3 * PAGE_SIZE, Tag);
        Assert.Equal(0ul, reserved.Address % PAGE_SIZE);
        Assert.False(MmIsAddressValid(reserved));
        foreach (uint pages in (uint[])[2, 3])
        {
            PMDL mdl = Locked(pages);
            PVOID mapped = Map(reserved, mdl);
            Assert.Equal((reserved.Address + 0x40, reserved.Address), (mapped.Address, mdl.MappedSystemVa.Address));
            Fill(mapped, (int)(pages * PAGE_SIZE - 0x40));
            Assert.Equal(Bytes(mapped, (int)(pages * PAGE_SIZE - 0x40)), Bytes(MmGetMdlVirtualAddress(mdl), (int)(pages * PAGE_SIZE - 0x40)));
            RtlZeroMemory(new PVOID(reserved.Address + PAGE_SIZE - 4), 8);
            Assert.Equal(0ul, GuestMemory.Ref<ulong>(MmGetMdlVirtualAddress(mdl).Address - 0x40 + PAGE_SIZE - 4));
            Assert.Equal((long)(GuestMemory.Ref<ulong>(MmGetMdlPfnArray(mdl).Address + 8) << PAGE_SHIFT) + 5, MmGetPhysicalAddress(new PVOID(reserved.Address + PAGE_SIZE + 5)));
            Assert.False(MmIsAddressValid(new PVOID(reserved.Address + pages * PAGE_SIZE)));
            MmUnmapReservedMapping(pages == 2 ? mapped : reserved, Tag, mdl);
            Assert.False(MmIsAddressValid(reserved));
            MmUnlockPages(mdl);
            IoFreeMdl(mdl);
        }
        MmFreeMappingAddress(reserved, Tag);
    });

    [Fact]
    public void A_range_is_the_drivers_until_it_is_freed() => Run(() =>
    {
        PVOID first = MmAllocateMappingAddress(1, Tag), second = MmAllocateMappingAddressEx(PAGE_SIZE + 1, OtherTag, 0);
        Assert.NotEqual(first, second);
        PMDL one = Locked(1), two = Locked(2);
        GuestMemory.Ref<byte>(Map(first, one).Address) = 1;
        GuestMemory.Ref<byte>(Map(second, two, OtherTag).Address) = 2;
        Assert.Equal((1, 2), (GuestMemory.Ref<byte>(one.StartVa.Address + 0x40), GuestMemory.Ref<byte>(two.StartVa.Address + 0x40)));
        MmUnmapReservedMapping(second, OtherTag, two);
        MmUnmapReservedMapping(first, Tag, one);
        MmFreeMappingAddress(first, Tag);
        Assert.Equal(first, MmAllocateMappingAddress(PAGE_SIZE, Tag));
    });

    [Fact]
    public void An_MDL_of_a_mapped_range_describes_the_pages_behind_it() => Run(() =>
    {
        PVOID reserved = MmAllocateMappingAddress(PAGE_SIZE, Tag);
        PMDL mdl = Locked(1), again = IoAllocateMdl(Map(reserved, mdl), 16, false, false, default);
        MmProbeAndLockPages(again, KernelMode, IoReadAccess);
        Assert.Equal(GuestMemory.Ref<ulong>(MmGetMdlPfnArray(mdl).Address), GuestMemory.Ref<ulong>(MmGetMdlPfnArray(again).Address));
    });

    [Fact]
    public void What_does_not_fit_or_cannot_be_reserved_is_null() => Run(() =>
    {
        PVOID reserved = MmAllocateMappingAddress(2 * PAGE_SIZE, Tag);
        Assert.True(Map(reserved, Locked(3)).IsNull);
        PMDL scattered = Locked(2);
        GuestMemory.Ref<ulong>(MmGetMdlPfnArray(scattered).Address)++;
        Assert.True(Map(reserved, scattered).IsNull);
        Assert.False(Map(reserved, Locked(2)).IsNull);
        Assert.True(MmAllocateMappingAddress(1ul << 40, Tag).IsNull);
        Machine.Pool.FailAllocation = (_, tag) => tag == Tag;
        Assert.True(MmAllocateMappingAddress(PAGE_SIZE, Tag).IsNull);
    });

    [Fact]
    public void Flags_that_are_not_modelled_stop_by_name() => Assert.Contains("0x1",
        Assert.Throws<MachineUnsupportedException>(() => Run(() => MmAllocateMappingAddressEx(PAGE_SIZE, Tag, 1))).Message);

    [Fact]
    public void An_address_with_nothing_behind_it_is_a_fault() => Run(() =>
    {
        PVOID reserved = MmAllocateMappingAddress(2 * PAGE_SIZE, Tag);
        PMDL mdl = Locked(1);
        Map(reserved, mdl);
        ulong end = reserved.Address + PAGE_SIZE;
        Assert.Equal(end, Assert.Throws<GuestFaultException>(() => GuestMemory.Ref<ulong>(end - 4)).Address);
        MmUnmapReservedMapping(reserved, Tag, mdl);
        Assert.Equal(reserved.Address, Assert.Throws<GuestFaultException>(() => GuestMemory.Ref<byte>(reserved.Address)).Address);
    });

    /// <summary>What the driver does with a range of two pages, which it may have mapped to an MDL, ends in this.</summary>
    void Misuse(ulong kind, Action<PVOID, PMDL> act, bool mapped = true, uint pages = 2, ulong? third = Tag)
    {
        BugCheckReport report = Stops(SYSTEM_PTE_MISUSE, () =>
        {
            PVOID reserved = MmAllocateMappingAddress(2 * PAGE_SIZE, Tag);
            PMDL mdl = Locked(pages);
            if (mapped) Map(reserved, mdl);
            act(reserved, mdl);
        });
        Assert.Equal(kind, report.Parameter1);
        if (third is not null) Assert.Equal(third, report.Parameter3);
    }

    [Fact] // BC-0xDA-0x100
    public void Nothing_is_reserved_with_0xDA_0x100() => Misuse(0x100, (_, _) => MmAllocateMappingAddress(0, Tag));

    [Fact] // BC-0xDA-0x101
    public void Freeing_a_range_of_another_tag_is_0xDA_0x101() => Misuse(0x101, (reserved, _) => MmFreeMappingAddress(reserved, OtherTag), mapped: false, third: OtherTag);

    [Fact] // BC-0xDA-0x102
    public void Freeing_a_range_twice_is_0xDA_0x102() => Misuse(0x102, (reserved, _) =>
    {
        MmFreeMappingAddress(reserved, Tag);
        MmFreeMappingAddress(reserved, Tag);
    }, mapped: false);

    [Fact] // BC-0xDA-0x102
    public void Freeing_from_the_middle_is_0xDA_0x102() => Misuse(0x102, (reserved, _) => MmFreeMappingAddress(new PVOID(reserved.Address + PAGE_SIZE), Tag), mapped: false);

    [Fact] // BC-0xDA-0x103
    public void Freeing_a_range_with_a_mapping_is_0xDA_0x103() => Misuse(0x103, (reserved, _) => MmFreeMappingAddress(reserved, Tag));

    [Fact] // BC-0xDA-0x101
    public void Mapping_in_a_range_of_another_tag_is_0xDA_0x104() => Misuse(0x104, (reserved, mdl) => Map(reserved, mdl, OtherTag), mapped: false, third: OtherTag);

    [Fact] // BC-0xDA-0x102
    public void Mapping_where_nothing_is_reserved_is_0xDA_0x105() => Misuse(0x105, (reserved, mdl) => Map(new PVOID(reserved.Address + PAGE_SIZE), mdl), mapped: false);

    [Fact] // BC-0xDA-0x103, BC-0xDA-0x200
    public void Mapping_where_an_MDL_is_mapped_is_0xDA_0x107() => Misuse(0x107, (reserved, _) => Map(reserved, Locked(1)), third: null);

    [Fact] // BC-0xDA-0x101
    public void Unmapping_with_another_tag_is_0xDA_0x108() => Misuse(0x108, (reserved, mdl) => MmUnmapReservedMapping(reserved, OtherTag, mdl), third: OtherTag);

    [Fact] // BC-0xDA-0x102
    public void Unmapping_where_nothing_is_reserved_is_0xDA_0x109() => Misuse(0x109, (reserved, mdl) => MmUnmapReservedMapping(MmGetMdlVirtualAddress(mdl), Tag, mdl));

    [Fact] // BC-0xDA-0x10A
    public void Unmapping_more_than_there_is_is_0xDA_0x10A() => Misuse(0x10A, (reserved, _) => MmUnmapReservedMapping(reserved, Tag, Locked(3)), third: 2);

    [Fact] // BC-0xDA-0x10A
    public void Unmapping_what_is_not_mapped_is_0xDA_0x10B() => Misuse(0x10B, (reserved, mdl) => MmUnmapReservedMapping(reserved, Tag, mdl), mapped: false);

    [Fact] // BC-0xDA-0x10A
    public void Unmapping_a_part_is_0xDA_0x10C() => Misuse(0x10C, (reserved, _) => MmUnmapReservedMapping(reserved, Tag, Locked(1)));

    [Fact] // BC-0xDA-0x300
    public void MmUnmapLockedPages_for_a_reserved_mapping_is_0xDA_0x304() => Misuse(0x304, (_, mdl) => MmUnmapLockedPages(mdl.MappedSystemVa, mdl), third: 2);

    [Fact] // BC-0xDA-0x300
    public void Unlocking_pages_with_a_reserved_mapping_is_0xDA_0x304() => Misuse(0x304, (_, mdl) => MmUnlockPages(mdl), third: 2);

    [Fact] // DV-C4-0xB2, DV-C4-0xB3, DV-C4-0xB6
    public void The_MDL_must_be_locked_and_not_mapped_to_be_mapped_and_mapped_to_be_unmapped()
    {
        Assert.Equal(0xB2ul, Violation((test, reserved, mdl) =>
        {
            test.MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
            test.Map(reserved, mdl);
        }));
        Assert.Equal(0xB3ul, Violation((test, reserved, mdl) =>
        {
            test.MmUnlockPages(mdl);
            test.Map(reserved, mdl);
        }));
        Assert.Equal(0xB6ul, Violation((test, reserved, mdl) =>
        {
            test.Map(reserved, test.Locked(1));
            test.MmUnmapReservedMapping(reserved, Tag, mdl);
        }));

        static ulong Violation(Action<ReservedMappingTests, PVOID, PMDL> act)
        {
            using var test = new ReservedMappingTests();
            return test.Stops(DRIVER_VERIFIER_DETECTED_VIOLATION, () => act(test, test.MmAllocateMappingAddress(PAGE_SIZE, Tag), test.Locked(1))).Parameter1;
        }
    }
}
