namespace Irpwright.Wdk.Tests.Memory;

/// <summary>Goal: guest addresses reach the right bytes or fault precisely. Method: each test backs pages of a slice of its own.</summary>
public sealed unsafe class GuestMemoryTests
{
    const ulong PageSize = GuestMemory.PageSize;

    [Fact]
    public void What_is_written_is_read()
    {
        ulong address = GuestMemory.KernelBase + BackedOffset(slice: 10);
        Allow(address, 1, PageAccess.ReadWrite);

        GuestMemory.Ref<uint>(address + 0x10) = 0x12345678;

        Assert.Equal(0x12345678u, GuestMemory.Ref<uint>(address + 0x10));
        Assert.Equal([0x78, 0x56, 0x34, 0x12], GuestMemory.Read(address + 0x10, 4).ToArray());
    }

    [Fact]
    public void Three_windows_show_the_same_bytes()
    {
        ulong offset = BackedOffset(slice: 11);
        ulong[] windows = [GuestMemory.KernelBase + offset, GuestMemory.SystemMappingBase + offset, GuestMemory.UserBase + offset];
        foreach (ulong window in windows) Allow(window, 1, PageAccess.ReadWrite);

        GuestMemory.Ref<ulong>(windows[0]) = 0x0123456789ABCDEF;

        Assert.All(windows, window => Assert.Equal(0x0123456789ABCDEFUL, GuestMemory.Ref<ulong>(window)));
    }

    [Fact]
    public void What_is_referred_to_has_an_address()
    {
        ulong address = GuestMemory.KernelBase + BackedOffset(slice: 14);
        Allow(address, 1, PageAccess.ReadWrite);
        PIRP irp = new(address + 0x20);

        Assert.Equal(irp.Address + 0xA8, PLIST_ENTRY.To(ref irp.Tail.Overlay.ListEntry).Address);
    }

    [Fact]
    public void A_variable_of_the_program_has_no_address()
    {
        int variable = 0;

        Assert.Throws<ArgumentException>(() => GuestMemory.AddressOf(ref variable));
    }

    [Fact]
    public void A_window_can_be_withdrawn_while_the_others_stay()
    {
        ulong offset = BackedOffset(slice: 12);
        Allow(GuestMemory.KernelBase + offset, 1, PageAccess.ReadWrite);
        Allow(GuestMemory.SystemMappingBase + offset, 1, PageAccess.ReadWrite);
        GuestMemory.Ref<byte>(GuestMemory.SystemMappingBase + offset) = 7;

        Allow(GuestMemory.SystemMappingBase + offset, 1, PageAccess.None);

        Assert.Equal(7, GuestMemory.Ref<byte>(GuestMemory.KernelBase + offset));
        Assert.Throws<GuestFaultException>(() => GuestMemory.Ref<byte>(GuestMemory.SystemMappingBase + offset));
    }

    [Fact]
    public void A_value_may_straddle_two_pages()
    {
        ulong address = GuestMemory.KernelBase + BackedOffset(slice: 13);
        Allow(address, 2, PageAccess.ReadWrite);

        GuestMemory.Ref<ulong>(address + PageSize - 3) = ulong.MaxValue;

        Assert.Equal(0xFFFFFF, GuestMemory.Ref<int>(address + PageSize - 3) & 0xFFFFFF);
        Assert.Equal(0xFF, GuestMemory.Ref<byte>(address + PageSize + 4));
        Assert.Equal(0, GuestMemory.Ref<byte>(address + PageSize + 5));
    }

    [Fact]
    public void A_fault_names_the_first_bad_byte_of_a_value_that_straddles()
    {
        ulong address = GuestMemory.KernelBase + BackedOffset(slice: 14);
        Allow(address, 1, PageAccess.ReadWrite);

        GuestFaultException fault = Assert.Throws<GuestFaultException>(() => GuestMemory.Ref<ulong>(address + PageSize - 3));

        Assert.Equal(address + PageSize, fault.Address);
    }

    [Fact]
    public void A_fault_in_the_first_page_names_the_address_itself()
    {
        ulong address = GuestMemory.KernelBase + BackedOffset(slice: 15);

        GuestFaultException fault = Assert.Throws<GuestFaultException>(() => GuestMemory.Read(address + 0x123, 16).ToArray());

        Assert.Equal(address + 0x123, fault.Address);
        Assert.Equal(PageAccess.Read, fault.Access);
        Assert.Contains("read of ffffa00f`20000123", fault.Message);
    }

    [Fact]
    public void Writing_needs_more_than_read_access()
    {
        ulong address = GuestMemory.KernelBase + BackedOffset(slice: 16);
        Allow(address, 1, PageAccess.Read);

        Assert.Equal(0, GuestMemory.Read(address, 1)[0]);
        Assert.Throws<GuestFaultException>(() => GuestMemory.Write(address, 1).Clear());
    }

    [Fact]
    public void A_user_page_without_access_faults_at_its_address()
    {
        ulong address = GuestMemory.UserBase + BackedOffset(slice: 17);
        Allow(address, 1, PageAccess.ReadWrite);

        NtStatusException fault = Assert.Throws<NtStatusException>(() => GuestMemory.Write(address + PageSize - 1, 2).Clear());

        Assert.Equal(NTSTATUS.STATUS_ACCESS_VIOLATION, fault.Status);
        Assert.Equal([1, address + PageSize], fault.Parameters);
    }

    [Theory]
    [InlineData(0x00008000_00000000UL)]
    [InlineData(0xFFFF7FFF_FFFFFFFFUL)]
    public void An_address_that_is_none_faults_without_being_named(ulong address)
    {
        NtStatusException fault = Assert.Throws<NtStatusException>(() => GuestMemory.Ref<byte>(address));

        Assert.Equal(NTSTATUS.STATUS_ACCESS_VIOLATION, fault.Status);
        Assert.Equal([0, ulong.MaxValue], fault.Parameters);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0x00000000_00000008UL)]
    [InlineData(GuestMemory.UserBase - 1)]
    [InlineData(GuestMemory.UserBase + GuestMemory.WindowSize)]
    [InlineData(GuestMemory.KernelBase - 1)]
    [InlineData(GuestMemory.KernelBase + GuestMemory.KernelSpan)]
    [InlineData(0xFFFFFFFF_FFFFFFFFUL)]
    public void An_address_outside_every_window_faults(ulong address)
    {
        Exception fault = Assert.ThrowsAny<Exception>(() => GuestMemory.Ref<ulong>(address));

        Assert.Equal(address, fault is NtStatusException raised ? raised.Parameters[1] : Assert.IsType<GuestFaultException>(fault).Address);
        Assert.Equal(address < GuestMemory.KernelHalf, fault is NtStatusException);
        Assert.Equal(-1, GuestMemory.SliceOf(address));
    }

    [Theory]
    [InlineData(GuestMemory.KernelBase)]
    [InlineData(GuestMemory.UserBase)]
    public void A_length_beyond_the_window_faults_at_its_end_at_the_latest(ulong window)
    {
        ulong span = window == GuestMemory.KernelBase ? GuestMemory.KernelSpan : GuestMemory.WindowSize;
        Allow(window + span - PageSize, 1, PageAccess.ReadWrite);
        try
        {
            bool allowed = GuestMemory.TryTranslate(window + span - 8, 16, PageAccess.Read, out byte* host, out ulong fault);

            Assert.False(allowed);
            Assert.True(host is null);
            Assert.Equal(window + span, fault);
        }
        finally
        {
            Allow(window + span - PageSize, 1, PageAccess.None);
        }
    }

    [Fact]
    public void An_address_belongs_to_one_slice_through_every_window()
    {
        ulong offset = 18 * GuestMemory.SliceSize + 0x1234;

        Assert.Equal(18, GuestMemory.SliceOf(GuestMemory.KernelBase + offset));
        Assert.Equal(18, GuestMemory.SliceOf(GuestMemory.SystemMappingBase + offset));
        Assert.Equal(18, GuestMemory.SliceOf(GuestMemory.UserBase + offset));
    }

    /// <summary>Offset in the reservation of two pages of host memory, inside a slice that no other test uses.</summary>
    static ulong BackedOffset(int slice)
    {
        ulong offset = (ulong)slice * GuestMemory.SliceSize + 0x2000_0000;
        HostReservation.Commit(GuestMemory.HostBase + offset, 2 * PageSize);
        return offset;
    }

    static void Allow(ulong address, int pages, PageAccess access)
    {
        byte* page = address >= GuestMemory.KernelBase
            ? GuestMemory.KernelPages + ((address - GuestMemory.KernelBase) >> GuestMemory.PageShift)
            : GuestMemory.UserPages + ((address - GuestMemory.UserBase) >> GuestMemory.PageShift);
        new Span<byte>(page, pages).Fill((byte)access);
    }
}
