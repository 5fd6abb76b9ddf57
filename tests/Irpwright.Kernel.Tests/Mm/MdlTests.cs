using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

public sealed class MdlTests : IDisposable
{
    const uint Tag = 0x74736554; // "Test"
    const uint MdlTag = 0x206C644D;

    readonly Machine machine = new();
    readonly ulong user;

    public MdlTests() => user = machine.Memory.AllocateUser(5 * PAGE_SIZE);

    Mdls Mdls => machine.Mdls;

    public void Dispose() => machine.Dispose();

    PMDL Mdl(ulong address, uint length) => Mdls.IoAllocateMdl(new PVOID(address), length, false, false, default);

    PMDL Locked(ulong address, uint length)
    {
        PMDL mdl = Mdl(address, length);
        Mdls.MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        return mdl;
    }

    PVOID SystemAddress(PMDL mdl) => Mdls.MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority | MdlMappingNoExecute);

    static ulong Frame(PMDL mdl, ulong index) => GuestMemory.Ref<ulong>(mdl.Address + MDL.SizeOf + 8 * index);

    bool IsValid(ulong address) => Mdls.MmIsAddressValid(new PVOID(address));

    [Theory, Spec("MDL-01")]
    [InlineData(0u, 1u, 1u), InlineData(0u, 4096u, 1u), InlineData(1u, 4096u, 2u), InlineData(0xFFFu, 2u, 2u)]
    [InlineData(0x123u, 0x3000u, 4u), InlineData(5u, 0u, 1u)]
    public void IoAllocateMdl_describes_the_buffer_and_nothing_else(uint offset, uint length, uint pages)
    {
        PMDL mdl = Mdl(user + offset, length);
        Assert.Equal(user, mdl.StartVa.Address);
        Assert.Equal((offset, length), (mdl.ByteOffset, mdl.ByteCount));
        Assert.Equal(0x30 + 8 * pages, (uint)mdl.Size);
        Assert.Equal((default(MDL_FLAGS), 0ul, true), (mdl.MdlFlags, mdl.MappedSystemVa.Address, mdl.Next.IsNull));
        Assert.Equal((ulong)mdl.Size, Mdls.MmSizeOfMdl(new PVOID(user + offset), length));
    }

    [Fact, Spec("MDL-01")]
    public void IoAllocateMdl_returns_null_when_memory_is_short()
    {
        machine.Pool.FailAllocation = (_, tag) => tag == MdlTag;
        Assert.True(Mdl(user, 1).IsNull);
    }

    [Fact, Spec("MDL-02")]
    public void An_MDL_becomes_the_IRPs_list_or_goes_to_its_end()
    {
        machine.Run(() =>
        {
            PIRP irp = machine.Irps.IoAllocateIrp(1, false);
            PMDL first = Mdls.IoAllocateMdl(new PVOID(user), 1, false, false, irp);
            PMDL second = Mdls.IoAllocateMdl(new PVOID(user), 2, true, false, irp);
            PMDL third = Mdls.IoAllocateMdl(new PVOID(user), 3, true, false, irp);
            Assert.Equal((first, second, third), (irp.MdlAddress, first.Next, second.Next));
            PMDL other = Mdls.IoAllocateMdl(new PVOID(user), 4, false, false, irp);
            Assert.Equal(other, irp.MdlAddress);
        });
    }

    [Fact, Spec("MDL-03")]
    public void IoFreeMdl_frees_one_MDL_and_not_its_chain()
    {
        PMDL first = Mdl(user, 1), second = Mdl(user, 2);
        first.Next = second;
        Mdls.IoFreeMdl(first);
        Assert.Equal([second.Address], machine.Pool.LiveBlocks.Where(b => b.Tag == MdlTag).Select(b => b.Address));
    }

    [Fact, Spec("MDL-03")]
    public void IoFreeMdl_unmaps_a_partial_MDL()
    {
        PMDL source = Locked(user, 0x2000), target = Mdl(user, 0x2000);
        Mdls.IoBuildPartialMdl(source, target, new PVOID(user + 0x1000), 0x800);
        ulong mapped = SystemAddress(target).Address;
        Assert.True(IsValid(mapped));
        Mdls.IoFreeMdl(target);
        Assert.False(IsValid(mapped));
    }

    [Fact, Spec("MDL-03")]
    public void Freeing_a_locked_MDL_leaves_locked_pages()
    {
        BugCheckReport report = Crash.Of(machine, () => Mdls.IoFreeMdl(Locked(user, 0x2000)));
        Assert.Equal((DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS, 2ul), (report.Code, report.Parameter4));
    }

    [Fact]
    public void Freeing_an_MDL_twice_is_a_double_free()
    {
        BugCheckReport report = Crash.Of(machine, () =>
        {
            PMDL mdl = Mdl(user, 1);
            Mdls.IoFreeMdl(mdl);
            Mdls.IoFreeMdl(mdl);
        });
        Assert.Equal((BAD_POOL_CALLER, 7ul), (report.Code, report.Parameter1));
    }

    [Theory, Spec("MDL-04")]
    [InlineData(IoReadAccess, MDL_PAGES_LOCKED), InlineData(IoWriteAccess, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION)]
    [InlineData(IoModifyAccess, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION)]
    public void MmProbeAndLockPages_marks_the_MDL_and_fills_in_the_frames(LOCK_OPERATION operation, MDL_FLAGS flags)
    {
        PMDL mdl = Mdl(user + 0x800, 0x1000);
        Mdls.MmProbeAndLockPages(mdl, UserMode, operation);
        Assert.Equal(flags, mdl.MdlFlags);
        ulong frame = (user & 0xFFFFFFFF) >> 12;
        Assert.Equal((frame, frame + 1), (Frame(mdl, 0), Frame(mdl, 1)));
        Assert.Equal(2, Mdls.LockedPages);
    }

    [Fact, Spec("MDL-04")]
    public void MmProbeAndLockPages_raises_for_a_range_that_does_not_allow_the_access()
    {
        PMDL beyond = Mdl(user + 5 * PAGE_SIZE - 1, 2);
        Assert.Equal(STATUS_ACCESS_VIOLATION,
            Assert.Throws<NtStatusException>(() => Mdls.MmProbeAndLockPages(beyond, UserMode, IoReadAccess)).Status);
        Assert.Equal(default, beyond.MdlFlags);

        PMDL kernel = Mdl(machine.Pool.Allocate(NonPagedPoolNx, 64, Tag, 0), 64);
        Assert.Throws<NtStatusException>(() => Mdls.MmProbeAndLockPages(kernel, UserMode, IoReadAccess));
        Mdls.MmProbeAndLockPages(kernel, KernelMode, IoReadAccess);

        machine.Memory.Protect(user, PAGE_SIZE, PageAccess.Read);
        PMDL readOnly = Mdl(user, 64);
        Assert.Throws<NtStatusException>(() => Mdls.MmProbeAndLockPages(readOnly, UserMode, IoWriteAccess));
        Mdls.MmProbeAndLockPages(readOnly, UserMode, IoReadAccess);

        Assert.Throws<NtStatusException>(() => Mdls.MmProbeAndLockPages(Mdl(0, 64), KernelMode, IoReadAccess));
    }

    [Fact, Spec("MDL-04")]
    public void Locking_a_locked_MDL_is_an_error()
    {
        BugCheckReport report = Crash.Of(machine, () => Mdls.MmProbeAndLockPages(Locked(user, 1), UserMode, IoReadAccess));
        Assert.Equal((DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB0ul, (ulong)MDL_PAGES_LOCKED),
            (report.Code, report.Parameter1, report.Parameter4));
    }

    [Fact, Spec("MDL-05")]
    public void MmUnlockPages_ends_mapping_and_lock()
    {
        PMDL mdl = Locked(user, 0x1800);
        ulong mapped = SystemAddress(mdl).Address;
        Mdls.MmUnlockPages(mdl);
        Assert.Equal(default, mdl.MdlFlags & (MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA));
        Assert.False(IsValid(mapped));
        Assert.Equal(0, Mdls.LockedPages);
        Mdls.MmProbeAndLockPages(mdl, UserMode, IoReadAccess);
    }

    [Fact, Spec("MDL-05")]
    public void Unlocking_what_is_not_locked_stops_the_machine()
    {
        BugCheckReport report = Crash.Of(machine, () =>
        {
            PMDL mdl = Locked(user, 1);
            Mdls.MmUnlockPages(mdl);
            Mdls.MmUnlockPages(mdl);
        });
        Assert.Equal((PROCESS_HAS_LOCKED_PAGES, 1ul), (report.Code, report.Parameter1));

        report = Crash.Of(other => other.Mdls.MmUnlockPages(
            other.Mdls.IoAllocateMdl(new PVOID(other.Pool.Allocate(PagedPool, 64, Tag, 0)), 64, false, false, default)));
        Assert.Equal((PFN_LIST_CORRUPT, 7ul), (report.Code, report.Parameter1));
    }

    [Fact, Spec("MDL-06")]
    public void An_MDL_for_nonpaged_pool_is_its_own_mapping()
    {
        ulong buffer = machine.Pool.Allocate(NonPagedPoolNx, 0x1800, Tag, 0) + 0x10;
        PMDL mdl = Mdl(buffer, 0x1000);
        Mdls.MmBuildMdlForNonPagedPool(mdl);
        Assert.Equal(MDL_SOURCE_IS_NONPAGED_POOL, mdl.MdlFlags);
        Assert.Equal(buffer, mdl.MappedSystemVa.Address);
        Assert.Equal(buffer, SystemAddress(mdl).Address);
        Assert.Equal((buffer & 0xFFFFFFFF) >> 12, Frame(mdl, 0));
        Assert.Equal(Frame(mdl, 0) + 1, Frame(mdl, 1));
    }

    [Fact, Spec("MDL-06")]
    public void An_MDL_for_nonpaged_pool_is_neither_locked_nor_unlocked_mapped_or_unmapped()
    {
        Assert.Equal(0xB0ul, Violation((m, mdl) => m.Mdls.MmProbeAndLockPages(mdl, KernelMode, IoReadAccess)));
        Assert.Equal(0x7Dul, Violation((m, mdl) => m.Mdls.MmUnlockPages(mdl)));
        Assert.Equal(0xB2ul,
            Violation((m, mdl) => m.Mdls.MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, default, 0, NormalPagePriority)));
        Assert.Equal(0xB6ul, Violation((m, mdl) => m.Mdls.MmUnmapLockedPages(mdl.MappedSystemVa, mdl)));

        static ulong Violation(Action<Machine, PMDL> call)
        {
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID buffer = new(machine.Pool.Allocate(NonPagedPoolNx, 64, Tag, 0));
                PMDL mdl = machine.Mdls.IoAllocateMdl(buffer, 64, false, false, default);
                machine.Mdls.MmBuildMdlForNonPagedPool(mdl);
                call(machine, mdl);
            });
            Assert.Equal(DRIVER_VERIFIER_DETECTED_VIOLATION, report.Code);
            return report.Parameter1;
        }
    }

    [Fact, Spec("MDL-06")]
    public void MmBuildMdlForNonPagedPool_refuses_pageable_memory_and_stacks()
    {
        Assert.Equal(0x7Ful, Violation(m => m.Pool.Allocate(PagedPool, 64, Tag, 0)));
        Assert.Equal(0x140ul, Violation(m => m.Memory.AllocateUser(64)));
        Assert.Equal(0x140ul, Violation(m => m.CurrentThread.StackLimit));

        static ulong Violation(Func<Machine, ulong> buffer) => Crash.Of(machine =>
        {
            PMDL mdl = machine.Mdls.IoAllocateMdl(new PVOID(buffer(machine)), 64, false, false, default);
            machine.Mdls.MmBuildMdlForNonPagedPool(mdl);
        }).Parameter1;
    }

    [Fact, Spec("MDL-07")]
    public void The_system_address_is_mapped_once_and_stays_the_same()
    {
        PMDL mdl = Locked(user + 0x123, 0x2000);
        PVOID first = SystemAddress(mdl);
        Assert.Equal(MDL_MAPPED_TO_SYSTEM_VA, mdl.MdlFlags & MDL_MAPPED_TO_SYSTEM_VA);
        Assert.Equal(first, mdl.MappedSystemVa);
        Assert.Equal(first, SystemAddress(mdl));
        Assert.Equal(first, Mdls.MmGetSystemAddressForMdl(mdl));
    }

    [Fact, Spec("MDL-07")]
    public void Frames_that_do_not_follow_each_other_cannot_be_mapped()
    {
        PMDL mdl = Locked(user, 0x2000);
        GuestMemory.Ref<ulong>(mdl.Address + MDL.SizeOf + 8) = Frame(mdl, 0) + 2;
        Assert.True(SystemAddress(mdl).IsNull);
        Assert.Throws<NtStatusException>(() => Mdls.MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, default, 0, NormalPagePriority));
        BugCheckReport report = Crash.Of(machine, () => Mdls.MmMapLockedPages(mdl, KernelMode));
        Assert.Equal(NO_MORE_SYSTEM_PTES, report.Code);
    }

    [Fact, Spec("MDL-07")]
    public void A_null_MDL_faults() => Assert.Throws<NtStatusException>(() => SystemAddress(default));

    [Fact, Spec("MDL-08")]
    public void The_system_address_has_the_buffers_offset_and_aliases_its_memory()
    {
        PMDL mdl = Locked(user + 0x123, 0x2000);
        ulong mapped = SystemAddress(mdl).Address;
        Assert.Equal(0x123u, mapped & 0xFFF);
        Assert.NotEqual(user + 0x123, mapped);
        GuestMemory.Ref<uint>(mapped + 0x1FF0) = 0xABCD;
        Assert.Equal(0xABCDu, GuestMemory.Ref<uint>(user + 0x123 + 0x1FF0));
        GuestMemory.Ref<uint>(user + 0x123) = 0x1234;
        Assert.Equal(0x1234u, GuestMemory.Ref<uint>(mapped));
    }

    [Fact]
    public void Two_mappings_of_one_page_end_independently()
    {
        PMDL one = Locked(user, 0x1800), two = Locked(user + 0x1800, 0x800);
        ulong mapped = SystemAddress(one).Address;
        Assert.Equal(mapped + 0x1800, SystemAddress(two).Address);
        Mdls.MmUnlockPages(one);
        Assert.False(IsValid(mapped));
        Assert.True(IsValid(mapped + 0x1000));
        Mdls.MmUnlockPages(two);
        Assert.False(IsValid(mapped + 0x1000));
    }

    [Fact]
    public void A_mapping_is_read_only_when_asked_for()
    {
        PVOID mapped = Mdls.MmGetSystemAddressForMdlSafe(Locked(user, 64), NormalPagePriority | MdlMappingNoWrite);
        GuestMemory.Read(mapped.Address, 64);
        Assert.Throws<GuestFaultException>(() => { GuestMemory.Write(mapped.Address, 64); });
    }

    [Fact]
    public void Kernel_memory_is_mapped_to_user_mode_and_back_out()
    {
        ulong buffer = machine.Pool.Allocate(NonPagedPoolNx, PAGE_SIZE, Tag, 0);
        PMDL mdl = Mdl(buffer, PAGE_SIZE);
        Mdls.MmBuildMdlForNonPagedPool(mdl);
        PVOID mapped = Mdls.MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, default, 0, NormalPagePriority);
        Assert.True(mapped.Address <= Mdls.HighestUserAddress);
        GuestMemory.Ref<uint>(mapped.Address) = 77;
        Assert.Equal(77u, GuestMemory.Ref<uint>(buffer));
        Mdls.MmUnmapLockedPages(mapped, mdl);
        Assert.False(IsValid(mapped.Address));
        BugCheckReport report = Crash.Of(machine, () => Mdls.MmUnmapLockedPages(mapped, mdl));
        Assert.Equal((DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB9ul), (report.Code, report.Parameter1));
    }

    [Fact]
    public void User_memory_stays_when_its_user_mapping_ends()
    {
        PMDL mdl = Locked(user, 64);
        PVOID mapped = Mdls.MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, default, 0, NormalPagePriority);
        Assert.Equal(user, mapped.Address);
        Mdls.MmUnmapLockedPages(mapped, mdl);
        Assert.True(IsValid(user));
    }

    [Fact, Spec("MDL-04")]
    public void MmProbeAndLockProcessPages_locks_as_MmProbeAndLockPages_does()
    {
        machine.Run(() =>
        {
            PMDL mdl = Mdl(user + 0x123, 0x2000);
            Mdls.MmProbeAndLockProcessPages(mdl, machine.Processes.User.Object, UserMode, IoWriteAccess);
            Assert.Equal(MDL_PAGES_LOCKED | MDL_WRITE_OPERATION, mdl.MdlFlags);
            Assert.Equal((3, AddressSpace.OffsetOf(user + 0x2000) >> 12), (Mdls.LockedPages, Frame(mdl, 2)));
            Mdls.MmUnlockPages(mdl);
            Assert.Equal(0, Mdls.LockedPages);
            PMDL none = Mdl(user - PAGE_SIZE, 16);
            Assert.Throws<NtStatusException>(() => Mdls.MmProbeAndLockProcessPages(none, machine.Processes.User.Object, UserMode, IoReadAccess));
        });
        BugCheckReport report = Crash.Of(machine, () => Mdls.MmProbeAndLockProcessPages(Mdl(user, 1), default, UserMode, IoReadAccess));
        Assert.Equal(INVALID_PROCESS_ATTACH_ATTEMPT, report.Code);
    }

    [Fact] // DV-C4-0xB1
    public void MmProbeAndLockProcessPages_does_not_lock_twice()
    {
        BugCheckReport report = Crash.Of(machine, () => Mdls.MmProbeAndLockProcessPages(Locked(user, 64), machine.Processes.User.Object, UserMode, IoReadAccess));
        Assert.Equal((DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB1ul, (ulong)MDL_PAGES_LOCKED), (report.Code, report.Parameter1, report.Parameter4));
    }

    [Fact, Spec("MDL-04")]
    public void MmProbeAndLockSelectedPages_describes_pages_in_the_order_of_the_segments() => machine.Run(() =>
    {
        ulong segments = machine.Pool.Allocate(NonPagedPoolNx, 3 * FILE_SEGMENT_ELEMENT.SizeOf, Tag, 0);
        ulong[] pages = [4, 0, 2];
        for (int i = 0; i < 3; i++) GuestMemory.Ref<ulong>(segments + 8 * (ulong)i) = user + pages[i] * PAGE_SIZE;
        PMDL mdl = Mdl(user + 4 * PAGE_SIZE, 3 * PAGE_SIZE);
        Mdls.MmProbeAndLockSelectedPages(mdl, new PFILE_SEGMENT_ELEMENT(segments), UserMode, IoReadAccess);
        Assert.Equal((MDL_PAGES_LOCKED, 3), (mdl.MdlFlags, Mdls.LockedPages));
        for (int i = 0; i < 3; i++) Assert.Equal(AddressSpace.OffsetOf(user + pages[i] * PAGE_SIZE) >> 12, Frame(mdl, (ulong)i));
        Assert.True(SystemAddress(mdl).IsNull);
        Mdls.MmUnlockPages(mdl);
        Assert.Equal(0, Mdls.LockedPages);

        GuestMemory.Ref<ulong>(segments + 8) = user + 5 * PAGE_SIZE; // beyond the buffer
        NtStatusException raised = Assert.Throws<NtStatusException>(() => Mdls.MmProbeAndLockSelectedPages(mdl, new PFILE_SEGMENT_ELEMENT(segments), UserMode, IoReadAccess));
        Assert.Equal((STATUS_ACCESS_VIOLATION, 0), (raised.Status, Mdls.LockedPages));
        Assert.Equal(default, mdl.MdlFlags & MDL_PAGES_LOCKED);
    });

    [Fact]
    public void Mapping_freed_memory_is_PFN_LIST_CORRUPT()
    {
        BugCheckReport report = Crash.Of(machine, () =>
        {
            ulong buffer = machine.Pool.Allocate(NonPagedPoolNx, PAGE_SIZE, Tag, 0);
            PMDL mdl = Mdl(buffer, PAGE_SIZE);
            Mdls.MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
            machine.Pool.Free(buffer, Tag);
            SystemAddress(mdl);
        });
        Assert.Equal((PFN_LIST_CORRUPT, 0x99ul), (report.Code, report.Parameter1));
    }

    [Fact]
    public void Mapping_what_is_not_locked_or_unmapping_what_is_not_mapped_there_stops_the_machine()
    {
        Assert.Equal((DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB3ul),
            Stop((m, mdl) => m.Mdls.MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority), locked: false));
        Assert.Equal((DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB6ul),
            Stop((m, mdl) => m.Mdls.MmUnmapLockedPages(new PVOID(m.Memory.SliceBase), mdl)));
        Assert.Equal((SYSTEM_PTE_MISUSE, 3ul), Stop((m, mdl) =>
            m.Mdls.MmUnmapLockedPages(new PVOID(m.Mdls.MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority).Address + 1), mdl)));
        Assert.Equal((SYSTEM_PTE_MISUSE, 6ul), Stop((m, mdl) =>
        {
            PVOID mapped = m.Mdls.MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
            mdl.ByteCount += PAGE_SIZE;
            m.Mdls.MmUnmapLockedPages(mapped, mdl);
        }));

        static (BugCheckCode, ulong) Stop(Action<Machine, PMDL> call, bool locked = true)
        {
            BugCheckReport report = Crash.Of(machine =>
            {
                PMDL mdl = machine.Mdls.IoAllocateMdl(new PVOID(machine.Memory.AllocateUser(64)), 64, false, false, default);
                if (locked) machine.Mdls.MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
                call(machine, mdl);
            });
            return (report.Code, report.Parameter1);
        }
    }

    [Theory, Spec("MDL-09")]
    [InlineData(0x900u, 0x300u, 0x300u), InlineData(0x1234u, 0u, 0x2000u - 0x1234u + 0x100u), InlineData(0x100u, 0u, 0x2000u)]
    public void A_partial_MDL_describes_its_part_of_the_source(uint offset, uint length, uint expected)
    {
        PMDL source = Locked(user + 0x100, 0x2000), target = Mdl(user + 0x100, 0x2000);
        Mdls.IoBuildPartialMdl(source, target, new PVOID(user + offset), length);
        Assert.Equal((user + offset, expected), (Mdls.MmGetMdlVirtualAddress(target).Address, target.ByteCount));
        Assert.Equal(MDL_PARTIAL, target.MdlFlags & (MDL_PARTIAL | MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA));
        Assert.Equal(Frame(source, offset >> 12), Frame(target, 0));

        ulong mapped = SystemAddress(target).Address;
        Assert.Equal(MDL_PARTIAL_HAS_BEEN_MAPPED, target.MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED);
        GuestMemory.Ref<byte>(mapped) = 42;
        Assert.Equal(42, GuestMemory.Ref<byte>(user + offset));

        Mdls.MmPrepareMdlForReuse(target);
        Assert.False(IsValid(mapped));
        Mdls.IoBuildPartialMdl(source, target, new PVOID(user + 0x1000), 16);
        Assert.Equal(Frame(source, 1), Frame(target, 0));
    }

    [Fact, Spec("MDL-09")]
    public void A_partial_MDL_shares_the_sources_mapping_and_does_not_end_it()
    {
        PMDL source = Locked(user, 0x2000), target = Mdl(user, 0x2000);
        ulong mapped = SystemAddress(source).Address;
        Mdls.IoBuildPartialMdl(source, target, new PVOID(user + 0x1004), 16);
        Assert.Equal(mapped + 0x1004, SystemAddress(target).Address);
        Mdls.MmPrepareMdlForReuse(target);
        Mdls.IoFreeMdl(target);
        Assert.True(IsValid(mapped + 0x1004));
    }

    [Fact, Spec("MDL-09")]
    public void A_partial_MDL_of_nonpaged_pool_needs_no_mapping()
    {
        ulong buffer = machine.Pool.Allocate(NonPagedPoolNx, 0x2000, Tag, 0);
        PMDL source = Mdl(buffer, 0x2000), target = Mdl(buffer, 0x2000);
        Mdls.MmBuildMdlForNonPagedPool(source);
        Mdls.IoBuildPartialMdl(source, target, new PVOID(buffer + 0x10), 0);
        Assert.Equal(buffer + 0x10, SystemAddress(target).Address);
    }

    [Fact, Spec("MDL-09")]
    public void A_partial_MDL_is_neither_unlocked_nor_its_parents_mapping_ended_by_it()
    {
        Assert.Equal(0xB4ul, Violation((m, part) => m.Mdls.MmUnlockPages(part)));
        Assert.Equal(0xB5ul, Violation((m, part) => m.Mdls.MmUnmapLockedPages(part.MappedSystemVa, part)));

        static ulong Violation(Action<Machine, PMDL> call)
        {
            BugCheckReport report = Crash.Of(machine =>
            {
                PVOID buffer = new(machine.Memory.AllocateUser(64));
                PMDL source = machine.Mdls.IoAllocateMdl(buffer, 64, false, false, default), part = machine.Mdls.IoAllocateMdl(buffer, 64, false, false, default);
                machine.Mdls.MmProbeAndLockPages(source, UserMode, IoReadAccess);
                machine.Mdls.MmGetSystemAddressForMdlSafe(source, NormalPagePriority);
                machine.Mdls.IoBuildPartialMdl(source, part, buffer, 16);
                call(machine, part);
            });
            Assert.Equal(DRIVER_VERIFIER_DETECTED_VIOLATION, report.Code);
            return report.Parameter1;
        }
    }

    [Fact, Spec("MDL-09")]
    public void A_target_that_is_too_small_or_a_part_outside_the_source_stops_the_machine()
    {
        BugCheckReport report = Crash.Of(machine, () => Mdls.IoBuildPartialMdl(Locked(user, 0x2000), Mdl(user, 16), new PVOID(user), 0));
        Assert.Equal(TARGET_MDL_TOO_SMALL, report.Code);
        report = Crash.Of(other =>
        {
            PVOID buffer = new(other.Memory.AllocateUser(0x2000));
            PMDL source = other.Mdls.IoAllocateMdl(buffer, 0x1000, false, false, default);
            PMDL target = other.Mdls.IoAllocateMdl(buffer, 0x2000, false, false, default);
            other.Mdls.MmProbeAndLockPages(source, UserMode, IoReadAccess);
            other.Mdls.IoBuildPartialMdl(source, target, buffer, 0x1001);
        });
        Assert.Equal(PFN_LIST_CORRUPT, report.Code);
    }

    [Fact, Spec("MDL-10")]
    public void The_accessors_read_the_fields()
    {
        PMDL mdl = Mdl(user + 0x123, 0x456);
        Assert.Equal(user + 0x123, Mdls.MmGetMdlVirtualAddress(mdl).Address);
        Assert.Equal((0x456u, 0x123u), (Mdls.MmGetMdlByteCount(mdl), Mdls.MmGetMdlByteOffset(mdl)));
        Assert.Equal(mdl.Address + 0x30, Mdls.MmGetMdlPfnArray(mdl).Address);
    }

    [Fact, Spec("MDL-11")]
    public void A_request_leaves_no_MDL_behind_not_even_one_that_a_driver_appended()
    {
        machine.Run(() =>
        {
            Assert.Equal(STATUS_SUCCESS, machine.Drivers.Load(new AppendingDisk(), "appending", out _));
            using DeviceHandle handle = DeviceHandle.Open(machine, @"\Device\Appending");
            Assert.Equal(STATUS_SUCCESS, handle.Read(new byte[8192], 0).Status);
        });
        Assert.Equal(0, Mdls.LockedPages);
        Assert.DoesNotContain(machine.Pool.LiveBlocks, b => b.Tag == MdlTag);
    }

    sealed class AppendingDisk : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
            NTSTATUS status = IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Appending"), FILE_DEVICE_UNKNOWN, 0, false,
                out PDEVICE_OBJECT device);
            if (status.IsSuccess) device.Flags |= DO_DIRECT_IO;
            return status;
        }

        NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            if (IoGetCurrentIrpStackLocation(Irp).MajorFunction == IRP_MJ_READ)
            {
                PMDL mdl = IoAllocateMdl(ExAllocatePoolWithTag(NonPagedPoolNx, 64, Tag), 64, SecondaryBuffer: true, ChargeQuota: false,
                    Irp);
                MmProbeAndLockPages(mdl, KernelMode, IoWriteAccess);
                MmGetSystemAddressForMdlSafe(Irp.MdlAddress, NormalPagePriority);
            }
            Irp.IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
        }
    }

    [Fact]
    public void MmCreateMdl_and_MmInitializeMdl_make_the_same_header()
    {
        PMDL created = Mdls.MmCreateMdl(default, new PVOID(user + 7), 100);
        PMDL initialized = new(machine.Pool.Allocate(NonPagedPoolNx, 64, Tag, 0));
        initialized.Value = default;
        Mdls.MmInitializeMdl(initialized, new PVOID(user + 7), 100);
        Assert.Equal((created.StartVa, created.ByteOffset, created.ByteCount, created.Size),
            (initialized.StartVa, initialized.ByteOffset, initialized.ByteCount, initialized.Size));
    }

    [Fact]
    public void A_physical_address_is_the_same_through_every_window()
    {
        PMDL mdl = Locked(user + 5, 10);
        Assert.Equal((long)(user + 5 & 0xFFFFFFFF), Mdls.MmGetPhysicalAddress(new PVOID(user + 5)));
        Assert.Equal((long)(user + 5 & 0xFFFFFFFF), Mdls.MmGetPhysicalAddress(SystemAddress(mdl)));
        Assert.Equal(0, Mdls.MmGetPhysicalAddress(new PVOID(0x1000)));
    }

    [Fact]
    public void Probing_requires_user_space_and_alignment()
    {
        machine.Run(() =>
        {
            Mdls.ProbeForRead(new PVOID(user), 100, 8);
            Mdls.ProbeForRead(new PVOID(0x7FFF_FFFE_FFFF), 1, 1);
            Mdls.ProbeForRead(default, 100, 8);
            Mdls.ProbeForRead(new PVOID(machine.Memory.SliceBase + 1), 0, 8);
            Assert.Equal(STATUS_DATATYPE_MISALIGNMENT, Raised(() => Mdls.ProbeForRead(new PVOID(user + 4), 100, 8)));
            Assert.Equal(STATUS_ACCESS_VIOLATION, Raised(() => Mdls.ProbeForRead(new PVOID(machine.Memory.SliceBase), 100, 8)));
            Assert.Equal(STATUS_ACCESS_VIOLATION, Raised(() => Mdls.ProbeForRead(new PVOID(user), ulong.MaxValue, 1)));
            Assert.Equal(STATUS_ACCESS_VIOLATION, Raised(() => Mdls.ProbeForRead(new PVOID(0x7FFF_FFFE_FFFF), 2, 1)));
            Mdls.ProbeForWrite(new PVOID(user), 5 * PAGE_SIZE, 1);
            Assert.Equal(STATUS_ACCESS_VIOLATION, Raised(() => Mdls.ProbeForWrite(new PVOID(user), 5 * PAGE_SIZE + 1, 1)));
            Assert.Equal(STATUS_ACCESS_VIOLATION, Raised(() => Mdls.ProbeForWrite(default, 1, 1)));
        });

        static NTSTATUS Raised(Action probe) => Assert.Throws<NtStatusException>(probe).Status;
    }
}
