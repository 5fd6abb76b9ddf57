using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class SystemVersionTests : DriverTest
{
    [Theory]
    [InlineData(0x11C)]
    [InlineData(0x114)]
    public void The_version_is_written_as_far_as_the_structure_reaches(uint size) => Run(() =>
    {
        var version = new PRTL_OSVERSIONINFOEXW(Memory(RTL_OSVERSIONINFOEXW.SizeOf).Address);
        Fill(version, RTL_OSVERSIONINFOEXW.SizeOf);
        version.dwOSVersionInfoSize = size;
        Assert.Equal(STATUS_SUCCESS, RtlGetVersion(version));
        Assert.Equal((10u, 0u, NtBuildNumber & 0xFFFF, 2u), (version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber, version.dwPlatformId));
        Assert.Equal('\0', version.szCSDVersion[0]);
        Assert.Equal(size == 0x11C, version.wProductType == VER_NT_WORKSTATION);
        Assert.Equal(size == 0x11C, version.wServicePackMajor == 0);
    });

    [Fact]
    public void The_obsolete_routine_tells_the_same() => Run(() =>
    {
        var numbers = new PULONG(Memory(12).Address);
        var service = new PUNICODE_STRING(Memory(UNICODE_STRING.SizeOf).Address);
        service.Length = 2;
        Assert.False(PsGetVersion(PULONG.To(ref numbers[0]), PULONG.To(ref numbers[1]), PULONG.To(ref numbers[2]), service));
        Assert.Equal((10u, 0u, NtBuildNumber & 0xFFFF), (numbers[0], numbers[1], numbers[2]));
        Assert.Equal(0, service.Length);
        Assert.False(PsGetVersion(default, default, default, default));
    });

    [Theory]
    [InlineData(6, 1, VER_GREATER_EQUAL, STATUS_SUCCESS)] // 10.0 is later than 6.1, although 0 is less than 1
    [InlineData(10, 0, VER_GREATER_EQUAL, STATUS_SUCCESS)]
    [InlineData(10, 1, VER_GREATER_EQUAL, STATUS_REVISION_MISMATCH)]
    [InlineData(11, 0, VER_GREATER_EQUAL, STATUS_REVISION_MISMATCH)]
    [InlineData(10, 0, VER_EQUAL, STATUS_SUCCESS)]
    [InlineData(10, 0, VER_GREATER, STATUS_REVISION_MISMATCH)]
    [InlineData(10, 1, VER_LESS, STATUS_SUCCESS)]
    [InlineData(10, 0, VER_LESS_EQUAL, STATUS_SUCCESS)]
    [InlineData(10, 0, 0, STATUS_INVALID_PARAMETER)]
    public void Versions_are_compared_as_one_number(uint major, uint minor, byte condition, NTSTATUS expected) => Run(() =>
    {
        var wanted = new PRTL_OSVERSIONINFOEXW(Memory(RTL_OSVERSIONINFOEXW.SizeOf).Address);
        (wanted.dwMajorVersion, wanted.dwMinorVersion) = (major, minor);
        ulong mask = VerSetConditionMask(0, VER_MAJORVERSION, condition);
        VER_SET_CONDITION(ref mask, VER_MINORVERSION, condition);
        Assert.Equal(expected, RtlVerifyVersionInfo(wanted, VER_MAJORVERSION | VER_MINORVERSION, mask));
    });

    [Fact]
    public void Other_properties_are_compared_one_by_one() => Run(() =>
    {
        var wanted = new PRTL_OSVERSIONINFOEXW(Memory(RTL_OSVERSIONINFOEXW.SizeOf).Address);
        wanted.dwBuildNumber = 17763;
        wanted.wProductType = VER_NT_WORKSTATION;
        wanted.wSuiteMask = 0x0100;
        wanted.dwPlatformId = 1;
        Assert.Equal(STATUS_SUCCESS, Verify(VER_BUILDNUMBER, VER_GREATER_EQUAL));
        Assert.Equal(STATUS_REVISION_MISMATCH, Verify(VER_BUILDNUMBER, VER_LESS));
        Assert.Equal(STATUS_SUCCESS, Verify(VER_PRODUCT_TYPE, VER_EQUAL));
        Assert.Equal(STATUS_REVISION_MISMATCH, Verify(VER_PLATFORMID, VER_EQUAL));
        Assert.Equal(STATUS_SUCCESS, Verify(VER_SUITENAME, VER_AND));
        wanted.wSuiteMask = 0x0110;
        Assert.Equal(STATUS_REVISION_MISMATCH, Verify(VER_SUITENAME, VER_AND));
        Assert.Equal(STATUS_SUCCESS, Verify(VER_SUITENAME, VER_OR));
        Assert.Equal(STATUS_INVALID_PARAMETER, Verify(VER_SUITENAME, VER_EQUAL));
        Assert.Equal(STATUS_INVALID_PARAMETER, Verify(VER_BUILDNUMBER, VER_AND));
        Assert.Equal(STATUS_INVALID_PARAMETER, Verify(0, VER_EQUAL));

        NTSTATUS Verify(uint type, byte condition) => RtlVerifyVersionInfo(wanted, type, VerSetConditionMask(0, type, condition));
    });
}
