using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

public class VirtualMemoryTests : DriverTest
{
    PVOID New(ulong size, uint type = MEM_COMMIT | MEM_RESERVE, uint protect = PAGE_READWRITE)
    {
        PVOID address = default;
        Assert.Equal(STATUS_SUCCESS, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, type, protect));
        return address;
    }

    NTSTATUS Free(PVOID address, ulong size, uint type, out ulong freed)
    {
        NTSTATUS status = ZwFreeVirtualMemory(NtCurrentProcess(), ref address, ref size, type);
        freed = size;
        return status;
    }

    static bool Allows(PVOID address, PageAccess access) => GuestMemory.IsAccessible(address.Address, 1, access);

    [Theory, MemberData(nameof(EverySchedule))]
    public void Committed_memory_is_zeroed_user_memory_at_a_multiple_of_64_KiB(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID address = default;
        ulong size = 5000;
        Assert.Equal(STATUS_SUCCESS, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, MEM_COMMIT, PAGE_READWRITE));
        Assert.Equal(8192ul, size);
        Assert.Equal(0ul, address.Address % 0x10000);
        Assert.InRange(address.Address, 0x10000ul, MmHighestUserAddress.Address);
        Assert.Equal(new byte[8192], Bytes(address, 8192));
        Fill(address, 8192);
        Assert.False(Allows(new PVOID(address.Address + 8192), PageAccess.Read));
        Assert.Equal(STATUS_SUCCESS, Free(address, 0, MEM_RELEASE, out ulong freed));
        Assert.Equal(8192ul, freed);
        Assert.False(Allows(address, PageAccess.Read));
        Assert.Equal(STATUS_MEMORY_NOT_ALLOCATED, Free(address, 0, MEM_RELEASE, out _));
    });

    [Fact]
    public void Reserved_memory_can_be_committed_and_decommitted_in_parts() => Run(() =>
    {
        PVOID region = New(4 * PAGE_SIZE, MEM_RESERVE);
        Assert.False(Allows(region, PageAccess.Read));
        PVOID second = new(region.Address + PAGE_SIZE);
        PVOID address = new(second.Address + 16);
        ulong size = 32;
        Assert.Equal(STATUS_SUCCESS, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, MEM_COMMIT, PAGE_READWRITE));
        Assert.Equal((second, (ulong)PAGE_SIZE), (address, size));
        Fill(second, 64);
        Assert.False(Allows(region, PageAccess.Read));
        Assert.Equal(STATUS_SUCCESS, Free(second, PAGE_SIZE, MEM_DECOMMIT, out _));
        Assert.False(Allows(second, PageAccess.Read));
        ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, MEM_COMMIT, PAGE_READONLY);
        Assert.Equal(new byte[64], Bytes(second, 64));
        Assert.False(Allows(second, PageAccess.Write));
        Assert.Equal(STATUS_FREE_VM_NOT_AT_BASE, Free(second, 0, MEM_RELEASE, out _));
        Assert.Equal(STATUS_FREE_VM_NOT_AT_BASE, Free(second, 0, MEM_DECOMMIT, out _));
        Assert.Equal(STATUS_UNABLE_TO_FREE_VM, Free(region, 8 * PAGE_SIZE, MEM_DECOMMIT, out _));
        Assert.Equal(STATUS_UNABLE_TO_FREE_VM, Free(region, PAGE_SIZE, MEM_RELEASE, out _));
        Assert.Equal(STATUS_SUCCESS, Free(region, 0, MEM_DECOMMIT, out _));
        Assert.Equal(STATUS_SUCCESS, Free(region, 4 * PAGE_SIZE, MEM_RELEASE, out _));
        Assert.Equal(STATUS_CONFLICTING_ADDRESSES, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, MEM_COMMIT, PAGE_READWRITE));
        Assert.Equal(STATUS_CONFLICTING_ADDRESSES, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, MEM_RESERVE, PAGE_READWRITE));
    });

    [Theory]
    [InlineData(PAGE_NOACCESS, PageAccess.None)]
    [InlineData(PAGE_READONLY, PageAccess.Read)]
    [InlineData(PAGE_READWRITE, PageAccess.ReadWrite)]
    [InlineData(PAGE_EXECUTE_READ, PageAccess.Read | PageAccess.Execute)]
    [InlineData(PAGE_EXECUTE_READWRITE | PAGE_NOCACHE, PageAccess.ReadWrite | PageAccess.Execute)]
    public void Pages_allow_what_their_protection_says(uint protect, PageAccess expected) => Run(() =>
    {
        PVOID region = New(2 * PAGE_SIZE);
        PVOID address = region;
        ulong size = PAGE_SIZE;
        Assert.Equal(STATUS_SUCCESS, ZwProtectVirtualMemory(NtCurrentProcess(), ref address, ref size, protect, out uint old));
        Assert.Equal(PAGE_READWRITE, old);
        foreach (PageAccess access in new[] { PageAccess.Read, PageAccess.Write, PageAccess.Execute })
            Assert.Equal((expected & access) != 0, Allows(region, access));
        Assert.True(Allows(new PVOID(region.Address + PAGE_SIZE), PageAccess.ReadWrite));
        ZwProtectVirtualMemory(NtCurrentProcess(), ref address, ref size, PAGE_READWRITE, out old);
        Assert.Equal(protect, old);
    });

    [Fact]
    public void Protecting_needs_committed_pages_of_one_region() => Run(() =>
    {
        PVOID address = New(2 * PAGE_SIZE, MEM_RESERVE);
        ulong size = PAGE_SIZE;
        Assert.Equal(STATUS_NOT_COMMITTED, ZwProtectVirtualMemory(NtCurrentProcess(), ref address, ref size, PAGE_READONLY, out _));
        size = 4 * PAGE_SIZE;
        Assert.Equal(STATUS_CONFLICTING_ADDRESSES, ZwProtectVirtualMemory(NtCurrentProcess(), ref address, ref size, PAGE_READONLY, out _));
        Assert.Equal(STATUS_INVALID_PAGE_PROTECTION, ZwProtectVirtualMemory(NtCurrentProcess(), ref address, ref size, 3, out _));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwProtectVirtualMemory(new HANDLE(0x4444), ref address, ref size, PAGE_READONLY, out _));
    });

    [Theory]
    [InlineData(0, 0, MEM_COMMIT, PAGE_READWRITE, STATUS_INVALID_PARAMETER_4)]
    [InlineData(21, 4096, MEM_COMMIT, PAGE_READWRITE, STATUS_INVALID_PARAMETER_3)]
    [InlineData(1, 4096, MEM_COMMIT, PAGE_READWRITE, STATUS_NO_MEMORY)]
    [InlineData(0, 4096, 0, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5)]
    [InlineData(0, 4096, MEM_RELEASE, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5)]
    [InlineData(0, 4096, MEM_RESET | MEM_COMMIT, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5)]
    [InlineData(0, 4096, MEM_RESET, PAGE_READWRITE, STATUS_CONFLICTING_ADDRESSES)]
    [InlineData(0, 4096, MEM_COMMIT, 0, STATUS_INVALID_PAGE_PROTECTION)]
    [InlineData(0, 4096, MEM_COMMIT, PAGE_READWRITE | PAGE_READONLY, STATUS_INVALID_PAGE_PROTECTION)]
    [InlineData(0, 4096, MEM_COMMIT, PAGE_NOACCESS | PAGE_NOCACHE, STATUS_INVALID_PAGE_PROTECTION)]
    [InlineData(0, 0xF000_0000, MEM_COMMIT, PAGE_READWRITE, STATUS_NO_MEMORY)]
    public void Arguments_that_are_wrong_are_refused(ulong zeroBits, ulong size, uint type, uint protect, NTSTATUS expected) => Run(() =>
    {
        PVOID address = default;
        Assert.Equal(expected, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, zeroBits, ref size, type, protect));
        Assert.True(address.IsNull);
    });

    [Fact]
    public void Other_failures_have_their_statuses() => Run(() =>
    {
        PVOID address = default;
        ulong size = 4096;
        Assert.Equal(STATUS_INVALID_HANDLE, ZwAllocateVirtualMemory(new HANDLE(0x4444), ref address, 0, ref size, MEM_COMMIT, PAGE_READWRITE));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwAllocateVirtualMemory(NtCurrentThread(), ref address, 0, ref size, MEM_COMMIT, PAGE_READWRITE));
        Assert.Equal(STATUS_INVALID_PARAMETER_4, Free(address, 0, MEM_COMMIT, out _));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwFreeVirtualMemory(new HANDLE(0x4444), ref address, ref size, MEM_RELEASE));
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_NO_MEMORY, ZwAllocateVirtualMemory(NtCurrentProcess(), ref address, 0, ref size, MEM_COMMIT, PAGE_READWRITE));
    });

    [Theory]
    [InlineData(MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD)]
    [InlineData(MEM_RESERVE | MEM_PHYSICAL, PAGE_READWRITE)]
    public void What_is_not_modelled_stops_by_name(uint type, uint protect) => Assert.Contains("not supported",
        Assert.Throws<MachineUnsupportedException>(() => Run(() => New(4096, type, protect))).Message);
}
