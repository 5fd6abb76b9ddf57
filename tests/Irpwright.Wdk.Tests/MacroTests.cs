namespace Irpwright.Wdk.Tests;

public sealed class MacroTests
{
    [Fact]
    public void A_control_code_is_its_four_parts()
    {
        // IOCTL_DISK_GET_DRIVE_GEOMETRY and IOCTL_DISK_FORMAT_TRACKS, as documented with ntdddisk.h.
        Assert.Equal(0x00070000u, CTL_CODE(FILE_DEVICE_DISK, 0, METHOD_BUFFERED, FILE_ANY_ACCESS));
        Assert.Equal(0x0007C018u, CTL_CODE(FILE_DEVICE_DISK, 6, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS));
    }

    [Fact]
    public void The_parts_of_a_control_code_come_back()
    {
        uint code = CTL_CODE(0x8000, 0x801, METHOD_NEITHER, FILE_WRITE_ACCESS);

        Assert.Equal(0x8000u, DEVICE_TYPE_FROM_CTL_CODE(code));
        Assert.Equal(0x801u, IoGetFunctionCodeFromCtlCode(code));
        Assert.Equal(METHOD_NEITHER, METHOD_FROM_CTL_CODE(code));
        Assert.Equal(FILE_WRITE_ACCESS, ACCESS_FROM_CTL_CODE(code));
    }

    [Fact]
    public void A_record_is_found_from_a_field_in_it()
    {
        PIRP irp = new(0xFFFFA000_20000000);
        PLIST_ENTRY entry = new(irp.Address + 0xA8);

        Assert.Equal(irp, (PIRP)CONTAINING_RECORD(entry, (ref IRP irp) => ref irp.Tail.Overlay.ListEntry));
    }

    [Theory]
    [InlineData(0x1000UL, 0UL, 0u)]
    [InlineData(0x1000UL, 1UL, 1u)]
    [InlineData(0x1000UL, 0x1000UL, 1u)]
    [InlineData(0x1FFFUL, 2UL, 2u)]
    [InlineData(0x1001UL, 0x1000UL, 2u)]
    public void A_range_spans_the_pages_it_touches(ulong address, ulong size, uint pages) =>
        Assert.Equal(pages, ADDRESS_AND_SIZE_TO_SPAN_PAGES(new(address), size));

    [Fact]
    public void A_packet_is_its_header_and_its_locations() => Assert.Equal(0xD0 + 3 * 0x48, IoSizeOfIrp(3));
}
