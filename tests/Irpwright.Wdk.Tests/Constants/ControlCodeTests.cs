namespace Irpwright.Wdk.Tests.Constants;

public sealed class ControlCodeTests
{
    [Fact]
    public void A_control_code_is_its_four_parts()
    {
        // IOCTL_DISK_GET_DRIVE_GEOMETRY and IOCTL_DISK_FORMAT_TRACKS, as documented with ntdddisk.h.
        Assert.Equal(0x00070000u, CTL_CODE(FILE_DEVICE_DISK, 0, METHOD_BUFFERED, FILE_ANY_ACCESS));
        Assert.Equal(0x0007C018u, CTL_CODE(FILE_DEVICE_DISK, 6, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
    }

    [Fact]
    public void The_parts_come_back()
    {
        uint code = CTL_CODE(0x8000, 0x801, METHOD_NEITHER, FILE_WRITE_ACCESS);

        Assert.Equal(0x8000u, DEVICE_TYPE_FROM_CTL_CODE(code));
        Assert.Equal(0x801u, IoGetFunctionCodeFromCtlCode(code));
        Assert.Equal(METHOD_NEITHER, METHOD_FROM_CTL_CODE(code));
        Assert.Equal(FILE_WRITE_ACCESS, ACCESS_FROM_CTL_CODE(code));
    }
}
