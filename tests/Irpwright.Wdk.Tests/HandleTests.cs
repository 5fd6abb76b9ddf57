namespace Irpwright.Wdk.Tests;

/// <summary>Goal: driver code reads as in C. Method: use handles on backed guest memory.</summary>
public sealed unsafe class HandleTests
{
    readonly ulong memory = BackedPage();

    [Fact]
    public void A_field_is_written_where_Windows_has_it()
    {
        PIRP irp = new(memory);
        PIO_STACK_LOCATION stack = new(memory + 0x200);

        irp.Tail.Overlay.CurrentStackLocation = stack;
        irp.IoStatus.Status = STATUS_PENDING;
        irp.Flags |= IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER;
        stack.Parameters.Read.Length = 512;
        stack.Control |= SL_PENDING_RETURNED;

        Assert.Equal(stack.Address, GuestMemory.Ref<ulong>(memory + 0xB8));
        Assert.Equal(0x103, GuestMemory.Ref<int>(memory + 0x30));
        Assert.Equal(0x30u, GuestMemory.Ref<uint>(memory + 0x10));
        Assert.Equal(512u, GuestMemory.Ref<uint>(memory + 0x208));
        Assert.Equal(1, GuestMemory.Ref<byte>(memory + 0x203));
    }

    [Fact]
    public void An_element_of_an_array_in_a_structure_is_assignable()
    {
        PDRIVER_OBJECT driver = new(memory);

        driver.MajorFunction[IRP_MJ_READ] = new PDRIVER_DISPATCH(0xFFFFA000_00200000);

        Assert.Equal(0xFFFFA000_00200000, GuestMemory.Ref<ulong>(memory + 0x70 + 3 * 8));
    }

    [Fact]
    public void An_index_steps_by_the_size_of_what_is_pointed_to()
    {
        PIO_STACK_LOCATION current = new(memory + 0x200);

        current[-1].MajorFunction = IRP_MJ_WRITE;

        Assert.Equal(IRP_MJ_WRITE, GuestMemory.Ref<byte>(memory + 0x200 - 0x48));
    }

    [Fact]
    public void A_handle_is_eight_bytes_and_compares_by_address()
    {
        Assert.Equal(8, sizeof(PIRP));
        Assert.True(new PIRP(memory) == (PIRP)memory);
        Assert.True(new PIRP(memory) != new PIRP(memory + 8));
        Assert.True(default(PIRP).IsNull);
        Assert.False(new PIRP(memory).IsNull);
        Assert.True(new PIRP(memory).Equals((object)new PIRP(memory)));
    }

    [Fact]
    public void A_handle_becomes_PVOID_by_itself_and_comes_back_by_a_cast()
    {
        PVOID context = new PKEVENT(memory);

        Assert.Equal(new PKEVENT(memory), (PKEVENT)context);
    }

    [Fact]
    public void An_address_prints_as_in_a_Windows_debugger() =>
        Assert.Equal("ffffa000`00012340", new PIRP(0xFFFFA000_00012340).ToString());

    [Fact]
    public void A_field_named_as_a_member_of_handles_is_reached_through_Value()
    {
        PDEVICE_CAPABILITIES capabilities = new(memory);

        capabilities.Value.Address = 3;

        Assert.Equal(3u, GuestMemory.Ref<uint>(memory + 8));
    }

    [Fact]
    public void A_null_handle_faults_at_the_address_of_the_field()
    {
        NtStatusException fault = Assert.Throws<NtStatusException>(() => default(PIRP).Cancel = true);

        Assert.Equal((NTSTATUS.STATUS_ACCESS_VIOLATION, 0x44UL), (fault.Status, fault.Parameters[1]));
    }

    [Fact]
    public void Any_byte_but_zero_is_true()
    {
        PIRP irp = new(memory);
        GuestMemory.Ref<byte>(memory + 0x44) = 2;

        Assert.True(irp.Cancel);
        Assert.True(irp.Cancel == TRUE);
        Assert.Equal("TRUE", irp.Cancel.ToString());
        Assert.Equal(1, ((BOOLEAN)true).Value);
    }

    static int nextPage;

    static ulong BackedPage()
    {
        ulong offset = 20 * GuestMemory.SliceSize + (ulong)Interlocked.Increment(ref nextPage) * GuestMemory.PageSize;
        HostReservation.Commit(GuestMemory.HostBase + offset, GuestMemory.PageSize);
        GuestMemory.KernelPages[offset >> GuestMemory.PageShift] = (byte)PageAccess.ReadWrite;
        return GuestMemory.KernelBase + offset;
    }
}
