using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Hal;

public class HardwareTests : DriverTest
{
    const long Physical = 0xFEB0_0040;

    readonly RegisterBlock block = new(0x100);

    /// <summary>A scenario in a machine with a device of 256 bytes at 0xFEB00040 and at ports 0x3F8 to 0x3FF.</summary>
    void WithDevice(Scheduling scheduling, Action<PVOID> scenario) => Run(scheduling, () =>
    {
        Machine.Hardware.ConnectMemory((ulong)Physical, 0x100, block);
        Machine.Hardware.ConnectPorts(0x3F8, 8, block);
        scenario(MmMapIoSpace(Physical, 0x100, MmNonCached));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Registers_of_every_size_are_read_and_written_where_they_are(Scheduling scheduling) => WithDevice(scheduling, registers =>
    {
        Assert.Equal(0x40UL, registers.Address & 0xFFF);
        ulong a = registers.Address;
        WRITE_REGISTER_UCHAR((PUCHAR)(a + 1), 0x11);
        WRITE_REGISTER_USHORT((PUSHORT)(a + 2), 0x3322);
        WRITE_REGISTER_ULONG((PULONG)(a + 4), 0x77665544);
        WRITE_REGISTER_ULONG64((PULONG64)(a + 8), 0xFFEEDDCCBBAA9988);
        Assert.Equal(0x11, READ_REGISTER_UCHAR((PUCHAR)(a + 1)));
        Assert.Equal(0x3322, READ_REGISTER_USHORT((PUSHORT)(a + 2)));
        Assert.Equal(0x77665544U, READ_REGISTER_ULONG((PULONG)(a + 4)));
        Assert.Equal(0xFFEEDDCCBBAA9988UL, READ_REGISTER_ULONG64((PULONG64)(a + 8)));
        Assert.Equal(["write 1 1 11", "write 2 2 3322", "write 4 4 77665544", "write 8 8 FFEEDDCCBBAA9988", "read 1 1", "read 2 2", "read 4 4", "read 8 8"],
            block.Accesses);
    });

    /// <summary>Slow and discouraged, but it works on Windows, and many drivers do it.</summary>
    [Theory, MemberData(nameof(EverySchedule))]
    public void Memory_routines_read_and_write_registers_too(Scheduling scheduling) => WithDevice(scheduling, registers =>
    {
        PVOID buffer = Memory(16), back = Memory(16);
        Fill(buffer, 16);
        RtlCopyMemory(new PVOID(registers.Address + 8), buffer, 9);
        memmove(back, new PVOID(registers.Address + 8), 9);
        Assert.Equal(Bytes(buffer, 9), Bytes(back, 9));
        Assert.Equal(9ul, RtlCompareMemory(buffer, new PVOID(registers.Address + 8), 9));
        GuestMemory.Ref<byte>(buffer.Address + 4)++;
        Assert.Equal(4ul, RtlCompareMemory(new PVOID(registers.Address + 8), buffer, 9));
        Assert.Equal(-1, memcmp(new PVOID(registers.Address + 8), buffer, 9));
        memset(new PVOID(registers.Address + 8), 0x5A, 9);
        Assert.Equal(0x5A5A5A5A_5A5A5A5Aul, READ_REGISTER_ULONG64((PULONG64)(registers.Address + 8)));
        Assert.Equal((0x5A, 0), (READ_REGISTER_UCHAR((PUCHAR)(registers.Address + 16)), READ_REGISTER_UCHAR((PUCHAR)(registers.Address + 17))));
        Assert.Equal(["write 8 8", "write 10 1"], block.Accesses.Take(2).Select(access => string.Join(' ', access.Split(' ')[..3])));
        Assert.Throws<GuestFaultException>(() => RtlCopyMemory(buffer, new PVOID(registers.Address + 0x2000), 1));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Buffer_forms_go_from_register_to_register(Scheduling scheduling) => WithDevice(scheduling, registers =>
    {
        PVOID buffer = Memory(32), back = Memory(32);
        Fill(buffer, 32);
        ulong a = registers.Address;
        WRITE_REGISTER_BUFFER_UCHAR((PUCHAR)a, (PUCHAR)buffer, 3);
        WRITE_REGISTER_BUFFER_USHORT((PUSHORT)(a + 4), (PUSHORT)(buffer.Address + 4), 2);
        WRITE_REGISTER_BUFFER_ULONG((PULONG)(a + 8), (PULONG)(buffer.Address + 8), 2);
        WRITE_REGISTER_BUFFER_ULONG64((PULONG64)(a + 16), (PULONG64)(buffer.Address + 16), 2);
        byte[] expected = Bytes(buffer, 32);
        expected[3] = 0;
        Assert.Equal(expected, block.Bytes[..32]);
        Assert.Equal(3 + 2 + 2 + 2, block.Accesses.Count);
        READ_REGISTER_BUFFER_UCHAR((PUCHAR)a, (PUCHAR)back, 3);
        READ_REGISTER_BUFFER_USHORT((PUSHORT)(a + 4), (PUSHORT)(back.Address + 4), 2);
        READ_REGISTER_BUFFER_ULONG((PULONG)(a + 8), (PULONG)(back.Address + 8), 2);
        READ_REGISTER_BUFFER_ULONG64((PULONG64)(a + 16), (PULONG64)(back.Address + 16), 2);
        Assert.Equal(expected, Bytes(back, 32));
        Assert.Equal(2 * 9, block.Accesses.Count);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Ports_are_numbers_and_their_buffer_forms_stay_at_one_port(Scheduling scheduling) => WithDevice(scheduling, _ =>
    {
        WRITE_PORT_UCHAR((PUCHAR)0x3F9UL, 0x12);
        WRITE_PORT_USHORT((PUSHORT)0x3FAUL, 0x3456);
        WRITE_PORT_ULONG((PULONG)0x3FCUL, 0x789ABCDE);
        Assert.Equal(0x12, READ_PORT_UCHAR((PUCHAR)0x3F9UL));
        Assert.Equal(0x3456, READ_PORT_USHORT((PUSHORT)0x3FAUL));
        Assert.Equal(0x789ABCDEU, READ_PORT_ULONG((PULONG)0x3FCUL));
        block.Accesses.Clear();
        PVOID buffer = Memory(16);
        Fill(buffer, 16);
        WRITE_PORT_BUFFER_UCHAR((PUCHAR)0x3F8UL, (PUCHAR)buffer, 2);
        WRITE_PORT_BUFFER_USHORT((PUSHORT)0x3F8UL, (PUSHORT)buffer, 2);
        WRITE_PORT_BUFFER_ULONG((PULONG)0x3F8UL, (PULONG)buffer, 2);
        Assert.Equal(["write 0 1 80", "write 0 1 81", "write 0 2 8180", "write 0 2 8382", "write 0 4 83828180", "write 0 4 87868584"], block.Accesses);
        PVOID back = Memory(8);
        block.Set(0, 4, 0x44332211);
        READ_PORT_BUFFER_UCHAR((PUCHAR)0x3F8UL, (PUCHAR)back, 3);
        Assert.Equal([0x11, 0x11, 0x11, 0, 0, 0, 0, 0], Bytes(back, 8));
        READ_PORT_BUFFER_USHORT((PUSHORT)0x3F8UL, (PUSHORT)back, 3);
        Assert.Equal([0x11, 0x22, 0x11, 0x22, 0x11, 0x22, 0, 0], Bytes(back, 8));
        READ_PORT_BUFFER_ULONG((PULONG)0x3F8UL, (PULONG)back, 2);
        Assert.Equal([0x11, 0x22, 0x33, 0x44, 0x11, 0x22, 0x33, 0x44], Bytes(back, 8));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void What_nobody_answers_reads_as_ones(Scheduling scheduling) => WithDevice(scheduling, registers =>
    {
        ulong end = registers.Address + 0x100;
        Assert.Equal(0xFF, READ_PORT_UCHAR((PUCHAR)0x80UL));
        Assert.Equal(0xFFFF, READ_PORT_USHORT((PUSHORT)0x3FFUL)); // half of it is the device's
        Assert.Equal(uint.MaxValue, READ_REGISTER_ULONG((PULONG)end));
        Assert.Equal(ulong.MaxValue, READ_REGISTER_ULONG64((PULONG64)(end - 4)));
        WRITE_REGISTER_ULONG((PULONG)end, 1);
        WRITE_PORT_UCHAR((PUCHAR)0x80UL, 1);
        Assert.Empty(block.Accesses);
        Machine.Hardware.Disconnect(block);
        Assert.Equal(0xFF, READ_REGISTER_UCHAR((PUCHAR)registers.Address));
        Assert.Equal(0xFF, READ_PORT_UCHAR((PUCHAR)0x3F8UL));
        Assert.Empty(block.Accesses);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Register_routines_reach_ordinary_memory_too(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID memory = Memory(16);
        WRITE_REGISTER_UCHAR((PUCHAR)memory, 0x11);
        WRITE_REGISTER_USHORT((PUSHORT)(memory.Address + 2), 0x3322);
        WRITE_REGISTER_ULONG((PULONG)(memory.Address + 4), 0x77665544);
        WRITE_REGISTER_ULONG64((PULONG64)(memory.Address + 8), 0xFFEEDDCCBBAA9988);
        Assert.Equal("110022334455667788" + "99AABBCCDDEEFF", Convert.ToHexString(Bytes(memory, 16)));
        Assert.Equal(0xFFEEDDCCBBAA9988UL, READ_REGISTER_ULONG64((PULONG64)(memory.Address + 8)));
        Assert.Equal(0x11, READ_REGISTER_UCHAR((PUCHAR)memory));
        Assert.Equal(0x3322, READ_REGISTER_USHORT((PUSHORT)(memory.Address + 2)));
        Assert.Equal(0x77665544U, READ_REGISTER_ULONG((PULONG)(memory.Address + 4)));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Physical_memory_without_a_device_is_the_machines_own(Scheduling scheduling) => Run(scheduling, () =>
    {
        var memory = (PULONG)Memory(8);
        memory.Value = 0x12345678;
        PHYSICAL_ADDRESS physical = MmGetPhysicalAddress(memory);
        var mapped = (PULONG)MmMapIoSpace(physical, 8, MmCached);
        Assert.NotEqual(memory, mapped);
        Assert.Equal(0x12345678U, READ_REGISTER_ULONG(mapped));
        WRITE_REGISTER_ULONG(mapped, 0x9ABCDEF0);
        WRITE_REGISTER_UCHAR((PUCHAR)(mapped.Address + 4), 0x55);
        WRITE_REGISTER_USHORT((PUSHORT)(mapped.Address + 6), 0x7766);
        Assert.Equal(0x7766_0055_9ABCDEF0UL, GuestMemory.Ref<ulong>(memory.Address));
        Assert.Equal(0x7766_0055_9ABCDEF0UL, READ_REGISTER_ULONG64((PULONG64)mapped.Address));
        Assert.Equal(physical, MmGetPhysicalAddress(mapped));
        MmUnmapIoSpace(mapped, 8);
    });

    /// <summary>How drivers show a program what they mapped.</summary>
    [Fact]
    public void An_MDL_describes_what_was_mapped_and_shows_memory_to_a_program() => Run(() =>
    {
        PVOID memory = MmAllocateContiguousMemory(2 * PAGE_SIZE, -1);
        Fill(memory, 64);
        PVOID mapped = MmMapIoSpace(MmGetPhysicalAddress(memory) + 16, PAGE_SIZE, MmCached);
        PMDL mdl = IoAllocateMdl(mapped, (uint)PAGE_SIZE, false, false, default);
        MmBuildMdlForNonPagedPool(mdl);
        Assert.True((mdl.MdlFlags & MDL_IO_SPACE) != 0);
        Assert.Equal(MmGetPhysicalAddress(memory) >> PAGE_SHIFT, (long)GuestMemory.Ref<ulong>(MmGetMdlPfnArray(mdl).Address));
        PVOID seen = MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, default, 0, NormalPagePriority);
        Assert.InRange(seen.Address, 1ul, MmHighestUserAddress.Address);
        Assert.Equal(Bytes(new PVOID(memory.Address + 16), 32), Bytes(seen, 32));
        MmUnmapLockedPages(seen, mdl);
        IoFreeMdl(mdl);
        MmUnmapIoSpace(mapped, PAGE_SIZE);
        MmFreeContiguousMemory(memory);
    });

    [Fact]
    public void Registers_are_not_shown_through_an_MDL() =>
        Assert.Contains("MmMapIoSpace", Assert.Throws<MachineUnsupportedException>(() => WithDevice(Scheduling.Controlled, registers =>
        {
            PMDL mdl = IoAllocateMdl(registers, 0x100, false, false, default);
            MmBuildMdlForNonPagedPool(mdl);
            MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, default, 0, NormalPagePriority);
        })).Message);

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_mapping_covers_whole_pages_and_has_a_gap_behind_it(Scheduling scheduling) => WithDevice(scheduling, first =>
    {
        PVOID second = MmMapIoSpace(Physical, 0xFC1, MmNonCached); // one byte into the next page
        Assert.Equal(first.Address + 0x2000, second.Address);
        Assert.True(MmIsAddressValid(new PVOID(second.Address + 0xFC0)));
        Assert.Equal(Physical + 0xFC0, MmGetPhysicalAddress(new PVOID(second.Address + 0xFC0)));
        Assert.False(MmIsAddressValid(new PVOID(first.Address + 0xFC0)));
        Assert.Equal(0, MmGetPhysicalAddress(new PVOID(first.Address + 0xFC0)));
        Assert.False(Machine.Hardware.TryRead(first.Address + 0xFBE, 4, out _));
        MmUnmapIoSpace(first, 0x100);
        Assert.False(MmIsAddressValid(first));
        Assert.Equal(first, MmMapIoSpace(Physical, 0x100, MmNonCached));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Nothing_and_too_much_are_not_mapped(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.True(MmMapIoSpace(Physical, 0, MmNonCached).IsNull);
        Assert.True(MmMapIoSpace(Physical, 1UL << 32, MmNonCached).IsNull);
        Assert.True(MmMapIoSpace(-0x1000, 0x2000, MmNonCached).IsNull);
    });

    [Theory]
    [InlineData(PAGE_READONLY, true, false)]
    [InlineData(PAGE_READWRITE | PAGE_NOCACHE, true, true)]
    [InlineData(PAGE_EXECUTE, false, false)]
    [InlineData(PAGE_EXECUTE_READ | PAGE_WRITECOMBINE, true, false)]
    [InlineData(PAGE_EXECUTE_READWRITE, true, true)]
    public void MmMapIoSpaceEx_protects_the_mapping(uint protect, bool readable, bool writable) => Run(() =>
    {
        PVOID mapped = MmMapIoSpaceEx(Physical, 0x100, protect);
        Assert.Equal(readable, Machine.Hardware.TryRead(mapped.Address, 4, out ulong _));
        Assert.Equal(writable, Machine.Hardware.TryWrite(mapped.Address, 4, 0));
        MmUnmapIoSpace(mapped, 0x100);
    });

    [Theory]
    [InlineData(0)]
    [InlineData(PAGE_NOACCESS)]
    [InlineData(PAGE_READONLY | PAGE_READWRITE)]
    [InlineData(PAGE_READWRITE | PAGE_NOCACHE | PAGE_WRITECOMBINE)]
    public void MmMapIoSpaceEx_wants_one_protection(uint protect) => Run(() => Assert.True(MmMapIoSpaceEx(Physical, 0x100, protect).IsNull));

    [Fact]
    public void Writing_a_mapping_that_is_read_only_stops_the_machine()
    {
        BugCheckReport report = Stops(PAGE_FAULT_IN_NONPAGED_AREA, () =>
        {
            Machine.Hardware.ConnectMemory((ulong)Physical, 0x100, block);
            WRITE_REGISTER_ULONG((PULONG)MmMapIoSpaceEx(Physical, 0x100, PAGE_READONLY), 1);
        });
        Assert.Contains("device registers", report.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void Unmapping_what_is_not_mapped_stops_the_machine()
    {
        BugCheckReport report = Stops(SYSTEM_PTE_MISUSE, () =>
        {
            PVOID mapped = MmMapIoSpace(Physical, 0x100, MmNonCached);
            MmUnmapIoSpace(mapped, 0x100);
            MmUnmapIoSpace(mapped, 0x100);
        });
        Assert.Equal(3UL, report.Parameter1);
    }

    [Fact]
    public void Unmapping_another_length_stops_the_machine()
    {
        BugCheckReport report = Stops(SYSTEM_PTE_MISUSE, () => MmUnmapIoSpace(MmMapIoSpace(Physical, 0x1000, MmNonCached), 0x100));
        Assert.Equal((2UL, 2UL, 1UL), (report.Parameter1, report.Parameter3, report.Parameter4));
    }

    [Fact]
    public void A_pointer_to_registers_cannot_be_dereferenced_in_CSharp()
    {
        BugCheckReport report = Stops(PAGE_FAULT_IN_NONPAGED_AREA, () => ((PULONG)MmMapIoSpace(Physical, 4, MmNonCached)).Value = 1);
        Assert.Contains("READ_REGISTER_ULONG", report.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void Devices_do_not_overlap() => Run(() =>
    {
        Machine.Hardware.ConnectMemory(0x1000, 0x100, block);
        Machine.Hardware.ConnectMemory(0x1100, 0x100, block);
        Assert.Contains("0x10FF", Assert.Throws<ArgumentException>(() => Machine.Hardware.ConnectMemory(0x10FF, 1, block)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Machine.Hardware.ConnectMemory(0xF00, 0x101, block));
        Assert.Throws<ArgumentException>(() => Machine.Hardware.ConnectMemory(0x3000, 0, block));
        Machine.Hardware.ConnectPorts(0xFFF8, 8, block);
        Assert.Throws<ArgumentException>(() => Machine.Hardware.ConnectPorts(0xFFF7, 2, block));
        Assert.Throws<ArgumentException>(() => Machine.Hardware.ConnectPorts(0xFFF8, 9, block));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_driver_that_polls_lets_the_device_get_on(Scheduling scheduling) => WithDevice(scheduling, registers =>
    {
        const ulong Doorbell = 0x00, Status = 0x04;
        block.Written = (offset, _) =>
        {
            if (offset == Doorbell) Machine.Hardware.After(block, TimeSpan.FromMilliseconds(2), () => block.Set(Status, 4, 1));
        };
        ulong start = KeQueryInterruptTime();
        WRITE_REGISTER_ULONG((PULONG)(registers.Address + Doorbell), 1);
        while (READ_REGISTER_ULONG((PULONG)(registers.Address + Status)) == 0)
        {
        }
        Assert.True(KeQueryInterruptTime() - start >= 20_000);
    });
}
