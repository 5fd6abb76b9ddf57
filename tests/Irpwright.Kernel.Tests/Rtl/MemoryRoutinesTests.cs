using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public sealed class MemoryRoutinesTests : IDisposable
{
    readonly Machine machine = new();
    readonly ulong page;

    public MemoryRoutinesTests()
    {
        page = machine.Memory.NonPagedPool.Allocate(2 * PAGE_SIZE, PageAccess.ReadWrite);
        machine.Memory.Protect(page + PAGE_SIZE, PAGE_SIZE, PageAccess.None);
    }

    public void Dispose() => machine.Dispose();

    MemoryRoutines Memory => machine.MemoryRoutines;

    CRuntime C => machine.CRuntime;

    PVOID At(ulong offset) => new(page + offset);

    PUCHAR Narrow(ulong offset, string text)
    {
        Encoding.Latin1.GetBytes(text + "\0").CopyTo(GuestMemory.Write(page + offset, text.Length + 1));
        return new PUCHAR(page + offset);
    }

    PWSTR Wide(ulong offset, string text)
    {
        Encoding.Unicode.GetBytes(text + "\0").CopyTo(GuestMemory.Write(page + offset, 2 * text.Length + 2));
        return new PWSTR(page + offset);
    }

    [Fact]
    public void Overlapping_ranges_are_moved_intact()
    {
        Narrow(0, "0123456789");
        Assert.Equal(At(2), Memory.memmove(At(2), At(0), 8));
        Assert.Equal("0101234567", Strings.Read(new PUCHAR(page)));
    }

    [Fact]
    public void Memory_is_filled_compared_and_searched()
    {
        Memory.memset(At(0), 0x1AB, 16);
        Memory.RtlFillMemory(At(16), 16, 0xAB);
        Assert.Equal(0, Memory.memcmp(At(0), At(16), 16));
        Memory.RtlZeroMemory(At(20), 1);
        Assert.Equal(4ul, Memory.RtlCompareMemory(At(0), At(16), 16));
        Assert.True(Memory.memcmp(At(0), At(16), 16) > 0);
        Assert.True(Memory.memcmp(At(16), At(0), 16) < 0);
        Assert.Equal(At(20), Memory.memchr(At(0), 0, 32));
        Assert.True(Memory.memchr(At(0), 7, 32).IsNull);
        Memory.RtlCopyMemory(At(100), At(0), 32);
        Assert.True(Memory.RtlEqualMemory(At(100), At(0), 32));
    }

    [Fact]
    public void A_range_that_leaves_memory_faults_at_its_first_bad_byte_and_changes_nothing()
    {
        Assert.Equal(page + PAGE_SIZE, Assert.Throws<GuestFaultException>(() => Memory.memset(At(4000), 1, 100)).Address);
        Assert.Equal(0, GuestMemory.Ref<byte>(page + 4000));
        Assert.Equal(page + PAGE_SIZE, Assert.Throws<GuestFaultException>(() => Memory.memcpy(At(0), At(4000), 100)).Address);
        Assert.Throws<NtStatusException>(() => Memory.memcpy(default, At(0), 1));
    }

    [Fact]
    public void Nothing_is_touched_when_the_length_is_zero()
    {
        Memory.memcpy(default, default, 0);
        Memory.memset(default, 1, 0);
        Assert.Equal(0ul, Memory.RtlCompareMemory(default, default, 0));
        Assert.Equal(0, Memory.memcmp(default, default, 0));
    }

    [Fact]
    public void Text_is_measured_copied_and_joined()
    {
        PUCHAR narrow = Narrow(0, "abc");
        PWSTR wide = Wide(100, "abcd");
        Assert.Equal((3ul, 4ul, 2ul), (C.strlen(narrow), C.wcslen(wide), C.strnlen(narrow, 2)));
        C.strcat(C.strcpy(new PUCHAR(page + 200), narrow), Narrow(300, "def"));
        Assert.Equal("abcdef", Strings.Read(new PUCHAR(page + 200)));
        C.wcsncat(C.wcscat(C.wcscpy(new PWSTR(page + 400), wide), Wide(500, "ef")), Wide(600, "ghi"), 2);
        Assert.Equal("abcdefgh", Strings.Read(new PWSTR(page + 400)));
    }

    [Fact]
    public void strncpy_pads_with_zeros_and_does_not_terminate_what_is_longer()
    {
        GuestMemory.Write(page + 200, 8).Fill((byte)'#');
        C.strncpy(new PUCHAR(page + 200), Narrow(0, "abc"), 5);
        Assert.Equal("abc\0\0###", Encoding.Latin1.GetString(GuestMemory.Read(page + 200, 8)));
        C.strncpy(new PUCHAR(page + 200), Narrow(0, "xyzxyz"), 4);
        Assert.Equal("xyzx\0###", Encoding.Latin1.GetString(GuestMemory.Read(page + 200, 8)));
    }

    [Fact]
    public void Text_is_compared()
    {
        PUCHAR abc = Narrow(0, "abc"), abd = Narrow(10, "abd"), upper = Narrow(20, "ABC");
        Assert.Equal((0, -1, 1), (C.strcmp(abc, abc), C.strcmp(abc, abd), C.strcmp(abd, abc)));
        Assert.Equal((0, 1, 0), (C.strncmp(abc, abd, 2), C.strcmp(abc, upper), C._stricmp(abc, upper)));
        Assert.Equal(0, C._strnicmp(upper, abd, 2));
        PWSTR wide = Wide(100, "abc"), wideUpper = Wide(120, "ABD");
        Assert.Equal((1, -1, 0, 0),
            (C.wcscmp(wide, wideUpper), C._wcsicmp(wide, wideUpper), C._wcsnicmp(wide, wideUpper, 2), C.wcsncmp(wide, wide, 9)));
    }

    [Fact]
    public void Text_is_searched()
    {
        PUCHAR narrow = Narrow(0, @"\dir\file");
        PWSTR wide = Wide(100, @"\dir\file");
        Assert.Equal((0ul, 4ul, 0x1000ul),
            (Offset(C.strchr(narrow, '\\')), Offset(C.strrchr(narrow, '\\')), Offset(C.strrchr(narrow, 'x'))));
        Assert.Equal((9ul, 5ul), (Offset(C.strchr(narrow, 0)), Offset(C.strstr(narrow, Narrow(50, "fi")))));
        Assert.Equal((100ul, 108ul, 110ul),
            (Offset(C.wcschr(wide, '\\')), Offset(C.wcsrchr(wide, '\\')), Offset(C.wcsstr(wide, Wide(200, "fi")))));
        Assert.True(C.wcsstr(wide, Wide(220, "no")).IsNull);

        ulong Offset(PVOID address) => address.IsNull ? 0x1000 : address.Address - page;
    }

    [Fact]
    public void RtlMoveMemory_allows_overlap_and_the_non_temporal_copy_copies()
    {
        Narrow(0, "0123456789");
        Memory.RtlMoveMemory(At(2), At(0), 8);
        Assert.Equal("0101234567", Encoding.Latin1.GetString(GuestMemory.Read(page, 10)));
        Memory.RtlCopyMemoryNonTemporal(At(100), At(2), 8);
        Assert.Equal("01234567", Encoding.Latin1.GetString(GuestMemory.Read(page + 100, 8)));
    }
}
