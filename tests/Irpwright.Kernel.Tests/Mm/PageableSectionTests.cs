using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

/// <summary>An image of two pages of code, the second of them pageable, and a page of pageable data.</summary>
public class PageableSectionTests : DriverTest
{
    ulong image;

    void WithImage(Action scenario) => Run(() => Load(scenario));

    void Load(Action scenario)
    {
        image = Machine.Memory.Images.Allocate(0x3000, PageAccess.ReadWrite);
        Machine.PageableSections.Add(image, 0x3000, [(image, 0x800, false), (image + 0x1000, 0x1000, true), (image + 0x2000, 0x10, true)]);
        Machine.PageableSections.Apply(image);
        scenario();
    }

    bool[] Pageable() => [.. Enumerable.Range(0, 3).Select(i => GuestMemory.IsAccessible(image + 0x1000 * (ulong)i, 1, PageAccess.Pageable))];

    PVOID At(ulong offset) => new(image + offset);

    [Fact]
    public void A_section_is_pageable_again_when_every_lock_is_taken_back() => WithImage(() =>
    {
        Assert.Equal([false, true, true], Pageable());
        PVOID handle = MmLockPagableCodeSection(At(0x1234));
        Assert.False(handle.IsNull);
        Assert.Equal([false, false, true], Pageable());
        MmLockPagableSectionByHandle(handle);
        MmUnlockPagableImageSection(handle);
        Assert.Equal([false, false, true], Pageable());
        MmUnlockPagableImageSection(handle);
        Assert.Equal([false, true, true], Pageable());
        MmLockPagableSectionByHandle(handle);
        Assert.Equal([false, false, true], Pageable());
        Assert.Equal(handle, MmLockPagableDataSection(At(0x1000)));
        Assert.NotEqual(handle, MmLockPagableDataSection(At(0x2008)));
        Assert.Equal([false, false, false], Pageable());
    });

    [Fact]
    public void A_whole_driver_can_be_made_pageable_but_for_what_is_locked() => WithImage(() =>
    {
        PVOID data = MmLockPagableDataSection(At(0x2000));
        Assert.Equal(image, MmPageEntireDriver(At(0x1FFF)).Address);
        Assert.Equal([true, true, false], Pageable());
        PVOID text = MmLockPagableCodeSection(At(0));
        Assert.Equal([false, true, false], Pageable());
        MmUnlockPagableImageSection(text);
        MmUnlockPagableImageSection(data);
        Assert.Equal([true, true, true], Pageable());
        MmResetDriverPaging(At(0));
        Assert.Equal([false, true, true], Pageable());
    });

    [Fact]
    public void Routines_in_CSharp_count_as_resident() => Run(() =>
    {
        PVOID routine = new(Routine((_, irp) => Complete(irp, STATUS_SUCCESS)).Address);
        PVOID handle = MmLockPagableCodeSection(routine);
        MmLockPagableSectionByHandle(handle);
        MmUnlockPagableImageSection(handle);
        MmUnlockPagableImageSection(handle);
        Assert.Equal(routine, MmPageEntireDriver(routine));
        MmResetDriverPaging(routine);
    });

    [Fact]
    public void Locking_what_is_in_no_section_stops_the_machine()
    {
        BugCheckReport report = Stops(MEMORY_MANAGEMENT, () => Load(() => MmLockPagableDataSection(At(0x900))));
        Assert.Equal((0x1234UL, image + 0x900), (report.Parameter1, report.Parameter2));
    }

    [Fact]
    public void Paging_what_is_no_driver_stops_the_machine() => Stops(MEMORY_MANAGEMENT, () => MmPageEntireDriver(Memory(16)));

    [Fact]
    public void Unlocking_what_is_not_locked_stops_the_machine()
    {
        BugCheckReport report = Stops(MEMORY_MANAGEMENT, () => Load(() =>
        {
            PVOID handle = MmLockPagableDataSection(At(0x1000));
            MmUnlockPagableImageSection(handle);
            MmUnlockPagableImageSection(handle);
        }));
        Assert.Equal((0x1010UL, image + 0x1000), (report.Parameter1, report.Parameter2));
    }

    [Fact]
    public void An_address_in_a_section_is_no_handle() => Stops(MEMORY_MANAGEMENT, () => Load(() =>
    {
        MmLockPagableDataSection(At(0x1000));
        MmUnlockPagableImageSection(At(0x1008));
    }));
}
