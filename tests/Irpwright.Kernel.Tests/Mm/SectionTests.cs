using Irpwright.Kernel.Tests.Ob;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

public class SectionTests : ObjectTest
{
    HANDLE New(long size, string? name = null, uint protect = PAGE_READWRITE)
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateSection(out HANDLE handle, SECTION_ALL_ACCESS, Attributes(name), size, protect, SEC_COMMIT, default));
        return handle;
    }

    PVOID Map(HANDLE section, ulong size = 0, long offset = 0, uint protect = PAGE_READWRITE)
    {
        PVOID address = default;
        var start = new PLARGE_INTEGER(Memory(8).Address);
        start.Value = offset;
        Assert.Equal(STATUS_SUCCESS, ZwMapViewOfSection(section, NtCurrentProcess(), ref address, 0, 0, start, ref size, ViewUnmap, 0, protect));
        return address;
    }

    NTSTATUS TryMap(HANDLE section, uint protect = PAGE_READWRITE, ulong size = 0, long offset = 0, ulong at = 0, ulong zeroBits = 0, SECTION_INHERIT inherit = ViewShare)
    {
        PVOID address = new(at);
        var start = new PLARGE_INTEGER(Memory(8).Address);
        start.Value = offset;
        return ZwMapViewOfSection(section, NtCurrentProcess(), ref address, zeroBits, 0, start, ref size, inherit, 0, protect);
    }

    static bool Allows(PVOID address, PageAccess access) => GuestMemory.IsAccessible(address.Address, 1, access);

    [Theory, MemberData(nameof(EverySchedule))]
    public void Views_of_a_section_show_the_same_memory(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE handle = New(100_000, @"\BaseNamedObjects\Shared");
        PVOID view = Map(handle);
        Assert.Equal(new byte[100_000], Bytes(view, 100_000));
        Fill(view, 64);
        Assert.Equal(STATUS_SUCCESS, ZwOpenSection(out HANDLE other, SECTION_MAP_READ, Attributes(@"\BaseNamedObjects\Shared")));
        PVOID second = Map(other, protect: PAGE_READONLY);
        Assert.Equal(Bytes(view, 64), Bytes(second, 64));
        Assert.Equal(STATUS_SUCCESS, ZwUnmapViewOfSection(NtCurrentProcess(), second));
        Assert.Equal(STATUS_SUCCESS, ZwUnmapViewOfSection(NtCurrentProcess(), view));
        Assert.False(Allows(view, PageAccess.Read));
        Assert.Equal(STATUS_NOT_MAPPED_VIEW, ZwUnmapViewOfSection(NtCurrentProcess(), view));
        PVOID third = Map(handle);
        Assert.Equal(0x81, Bytes(third, 2)[1]); // the section keeps what was written
    });

    [Fact]
    public void A_view_keeps_its_section() => Run(() =>
    {
        HANDLE handle = New(PAGE_SIZE);
        PVOID view = Map(handle);
        ZwClose(handle);
        Fill(view, 64);
        Assert.Equal(STATUS_SUCCESS, ZwUnmapViewOfSection(NtCurrentProcess(), new PVOID(view.Address + 100)));
        Assert.False(Allows(view, PageAccess.Read));
    });

    [Fact]
    public void A_view_can_show_a_part_and_allow_less() => Run(() =>
    {
        HANDLE handle = New(0x30000);
        PVOID all = Map(handle, protect: PAGE_READONLY);
        PVOID part = Map(handle, PAGE_SIZE, 0x1_2345); // rounded down to 64 KiB
        Assert.Equal(all.Address + 0x10000, part.Address);
        Assert.False(Allows(all, PageAccess.Write));
        Assert.True(Allows(part, PageAccess.Write));
        ZwUnmapViewOfSection(NtCurrentProcess(), part);
        Assert.False(Allows(part, PageAccess.Write));
        Assert.True(Allows(part, PageAccess.Read));
    });

    [Fact]
    public void Mapping_says_what_is_wrong() => Run(() =>
    {
        HANDLE handle = New(0x20000, protect: PAGE_READONLY);
        Assert.Equal(STATUS_SECTION_PROTECTION, TryMap(handle));
        Assert.Equal(STATUS_INVALID_PAGE_PROTECTION, TryMap(handle, 0));
        Assert.Equal(STATUS_INVALID_VIEW_SIZE, TryMap(handle, PAGE_READONLY, size: 0x20001));
        Assert.Equal(STATUS_INVALID_VIEW_SIZE, TryMap(handle, PAGE_READONLY, offset: 0x20000));
        Assert.Equal(STATUS_CONFLICTING_ADDRESSES, TryMap(handle, PAGE_READONLY, at: 0x10000));
        Assert.Equal(STATUS_INVALID_PARAMETER_4, TryMap(handle, PAGE_READONLY, zeroBits: 21));
        Assert.Equal(STATUS_NO_MEMORY, TryMap(handle, PAGE_READONLY, zeroBits: 1));
        Assert.Equal(STATUS_INVALID_PARAMETER_8, TryMap(handle, PAGE_READONLY, inherit: 0));
        Assert.Equal(STATUS_INVALID_HANDLE, TryMap(new HANDLE(0x4444)));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, TryMap(Directory()));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwUnmapViewOfSection(new HANDLE(0x4444), default));
    });

    [Fact]
    public void Creating_says_what_is_wrong() => Run(() =>
    {
        NTSTATUS Create(long? size, uint protect = PAGE_READWRITE, uint attributes = SEC_COMMIT, HANDLE file = default) =>
            ZwCreateSection(out _, SECTION_ALL_ACCESS, default, size, protect, attributes, file);
        Assert.Equal(STATUS_INVALID_PARAMETER_4, Create(null));
        Assert.Equal(STATUS_INVALID_PARAMETER_4, Create(0));
        Assert.Equal(STATUS_INVALID_PARAMETER_6, Create(4096, attributes: 0));
        Assert.Equal(STATUS_INVALID_PAGE_PROTECTION, Create(4096, PAGE_NOACCESS));
        Assert.Equal(STATUS_SECTION_TOO_BIG, Create(1L << 40));
        Assert.Equal(STATUS_INVALID_FILE_FOR_SECTION, Create(4096, file: New(4096)));
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_NO_MEMORY, Create(4096));
    });

    [Fact]
    public void A_section_that_exists_is_opened_or_collides() => Run(() =>
    {
        PVOID section = Object(New(PAGE_SIZE, @"\BaseNamedObjects\Shared"));
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION,
            ZwCreateSection(out _, SECTION_ALL_ACCESS, Attributes(@"\BaseNamedObjects\Shared"), 4096, PAGE_READWRITE, SEC_COMMIT, default));
        Assert.Equal(STATUS_OBJECT_NAME_EXISTS, ZwCreateSection(out HANDLE again, SECTION_ALL_ACCESS,
            Attributes(@"\BaseNamedObjects\Shared", OBJ_KERNEL_HANDLE | OBJ_OPENIF), 4096, PAGE_READWRITE, SEC_COMMIT, default));
        Assert.Equal(section, Object(again));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwOpenSection(out _, SECTION_ALL_ACCESS, Attributes(@"\BaseNamedObjects\None")));
    });

    [Fact]
    public void Physical_memory_can_be_seen_through_its_section() => Run(() =>
    {
        PVOID memory = Memory(4096);
        Fill(memory, 64);
        Assert.Equal(STATUS_SUCCESS, ZwOpenSection(out HANDLE physical, SECTION_MAP_READ, Attributes(@"\Device\PhysicalMemory")));
        PVOID view = Map(physical, PAGE_SIZE, MmGetPhysicalAddress(memory), PAGE_READONLY);
        Assert.InRange(view.Address, 1ul, MmHighestUserAddress.Address);
        Assert.Equal(Bytes(memory, 64), Bytes(view, 64));
        ZwUnmapViewOfSection(NtCurrentProcess(), view);
        Assert.False(Allows(view, PageAccess.Read));
        Assert.True(Allows(memory, PageAccess.Write));
    });

    [Fact]
    public void Physical_memory_that_is_not_in_use_stops_by_name() => Assert.Contains("PhysicalMemory", Assert.Throws<MachineUnsupportedException>(() => Run(() =>
    {
        ZwOpenSection(out HANDLE physical, SECTION_MAP_READ, Attributes(@"\Device\PhysicalMemory"));
        Map(physical, PAGE_SIZE, 0xFED0_0000);
    })).Message);

    [Fact]
    public void The_first_MiB_of_physical_memory_holds_zeros_and_what_is_written_there() => Run(() =>
    {
        ZwOpenSection(out HANDLE physical, SECTION_ALL_ACCESS, Attributes(@"\Device\PhysicalMemory"));
        PVOID view = Map(physical, 0x1_0000, 0xF_0000);
        Assert.Equal(new byte[0x1_0000], Bytes(view, 0x1_0000));
        Fill(view, 64);
        PVOID again = Map(physical, PAGE_SIZE, 0xF_0000, PAGE_READONLY);
        Assert.Equal(Bytes(view, 64), Bytes(again, 64));
        Assert.NotEqual(new byte[64], Bytes(again, 64));
        ZwUnmapViewOfSection(NtCurrentProcess(), again);
        ZwUnmapViewOfSection(NtCurrentProcess(), view);
        Assert.False(Allows(view, PageAccess.Read));
    });

    [Fact]
    public void Sections_that_are_only_reserved_stop_by_name() => Assert.Contains("SEC_RESERVE", Assert.Throws<MachineUnsupportedException>(() =>
        Run(() => ZwCreateSection(out _, SECTION_ALL_ACCESS, default, 4096, PAGE_READWRITE, SEC_RESERVE, default))).Message);
}
