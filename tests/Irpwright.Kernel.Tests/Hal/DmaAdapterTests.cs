using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Hal;

/// <summary>
/// Goal: DMA as drivers know it. Method: the test is the driver, and moves the data itself by the addresses that it would give its device.
/// </summary>
public class DmaAdapterTests : DriverTest
{
    const int PageSize = 4096;

    uint mapRegisters;

    PDMA_ADAPTER Adapter(Action<PDEVICE_DESCRIPTION>? change = null)
    {
        PDEVICE_DESCRIPTION description = new(Memory(DEVICE_DESCRIPTION.SizeOf).Address);
        description.Version = DEVICE_DESCRIPTION_VERSION2;
        description.Master = true;
        description.ScatterGather = true;
        description.Dma32BitAddresses = true;
        description.MaximumLength = 16 * PageSize;
        change?.Invoke(description);
        PDMA_ADAPTER adapter = IoGetDmaAdapter(default, description, out mapRegisters);
        Free(description);
        return adapter;
    }

    PMDL Locked(PVOID buffer, int length)
    {
        PMDL mdl = IoAllocateMdl(buffer, (uint)length, false, false, default);
        MmBuildMdlForNonPagedPool(mdl);
        return mdl;
    }

    /// <summary>Two pages of a buffer that are not neighbours: an MDL of three pages without its second.</summary>
    PMDL Scattered(out PVOID buffer)
    {
        buffer = MmAllocateContiguousMemory(3 * PageSize, -1);
        PMDL mdl = Locked(buffer, 2 * PageSize);
        GuestMemory.Ref<ulong>(MmGetMdlPfnArray(mdl).Address + 8) += 1;
        return mdl;
    }

    void AtDispatch(Action action)
    {
        KeRaiseIrql(DISPATCH_LEVEL, out byte old);
        action();
        KeLowerIrql(old);
    }

    PDEVICE_OBJECT NewDevice() => Device((_, irp) => Complete(irp, STATUS_SUCCESS));

    void Put(PDMA_ADAPTER adapter) => Machine.Code.Call(adapter.DmaOperations.PutDmaAdapter, adapter);

    NTSTATUS Allocate(PDMA_ADAPTER adapter, PDEVICE_OBJECT device, uint count, DRIVER_CONTROL routine) =>
        Machine.Code.Call(adapter.DmaOperations.AllocateAdapterChannel, adapter, device, count, Routine(routine), new PVOID(0x77));

    NTSTATUS GetList(PDMA_ADAPTER adapter, PDEVICE_OBJECT device, PMDL mdl, uint length, DRIVER_LIST_CONTROL routine, bool write) =>
        Machine.Code.Call(adapter.DmaOperations.GetScatterGatherList, adapter, device, mdl, MmGetMdlVirtualAddress(mdl), length, Routine(routine), new PVOID(0x77), write);

    static SCATTER_GATHER_ELEMENT Element(PSCATTER_GATHER_LIST list, int n) => GuestMemory.Ref<SCATTER_GATHER_ELEMENT>(list.Address + 0x10 + 0x18 * (ulong)n);

    byte[] DeviceReads(long logical, uint length)
    {
        var data = new byte[length];
        Machine.Hardware.ReadMemory((ulong)logical, data);
        return data;
    }

    [Theory]
    [InlineData(DEVICE_DESCRIPTION_VERSION, 0x68)]
    [InlineData(DEVICE_DESCRIPTION_VERSION1, 0x68)]
    [InlineData(DEVICE_DESCRIPTION_VERSION2, 0x80)]
    [InlineData(DEVICE_DESCRIPTION_VERSION3, 0x138)]
    public void The_description_says_which_version_of_the_operations_there_is(uint version, int size) => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter(d => d.Version = version);
        Assert.Equal((1, 0x10, (uint)size, 17u), (adapter.Version, adapter.Size, adapter.DmaOperations.Size, mapRegisters));
        for (int offset = 8; offset < size; offset += 8) Assert.NotEqual(0ul, GuestMemory.Ref<ulong>(adapter.DmaOperations.Address + (ulong)offset));
        Put(adapter);
    });

    [Fact]
    public void There_is_no_adapter_of_an_unknown_version_or_channel() => Run(() =>
    {
        Assert.True(Adapter(d => d.Version = 4).IsNull);
        Assert.True(Adapter(d => (d.Master, d.DmaChannel) = (false, 8)).IsNull);
    });

    [Fact]
    public void HalGetAdapter_makes_an_adapter_for_devices_without_plug_and_play() => Run(() =>
    {
        PDEVICE_DESCRIPTION description = new(Memory(DEVICE_DESCRIPTION.SizeOf).Address);
        description.DmaChannel = 2;
        description.MaximumLength = 512;
        PDMA_ADAPTER adapter = HalGetAdapter(description, out uint registers);
        Assert.Equal((2u, 0x68u), (registers, adapter.DmaOperations.Size));
        Put(adapter);
    });

    [Fact]
    public void What_this_version_lacks_stops_by_name()
    {
        var stop = Assert.Throws<MachineUnsupportedException>(() => Run(() =>
        {
            PDMA_ADAPTER adapter = Adapter(d => d.Version = DEVICE_DESCRIPTION_VERSION3);
            Machine.Code.Call(new PDRIVER_UNLOAD(adapter.DmaOperations.MapTransferEx.Address), DriverObject);
        }));
        Assert.Contains("DMA_OPERATIONS.MapTransferEx", stop.Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_common_buffer_is_memory_of_driver_and_device(bool reaches32Bits) => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter(d => d.Dma32BitAddresses = reaches32Bits);
        PLARGE_INTEGER logical = new(Memory(8).Address);
        PVOID buffer = Machine.Code.Call(adapter.DmaOperations.AllocateCommonBuffer, adapter, 8192u, logical, true);
        Assert.InRange(logical.Value, 1, reaches32Bits ? uint.MaxValue : 0xFF_FFFF);
        Fill(buffer, 8192);
        Assert.Equal(Bytes(buffer, 8192), DeviceReads(logical.Value, 8192));
        Machine.Hardware.WriteMemory((ulong)logical.Value + 4000, new byte[200]);
        Assert.Equal(new byte[200], Bytes(new PVOID(buffer.Address + 4000), 200));
        Machine.Code.Call(adapter.DmaOperations.FreeCommonBuffer, adapter, 8192u, logical.Value, buffer, true);
        Assert.False(MmIsAddressValid(buffer));
        Put(adapter);
    });

    [Fact]
    public void A_bus_master_gets_its_buffer_in_runs() => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PMDL mdl = Scattered(out PVOID buffer);
        Fill(buffer, 3 * PageSize);
        PULONG length = new(Memory(4).Address);
        AtDispatch(() => Assert.Equal(STATUS_SUCCESS, Allocate(adapter, NewDevice(), 2, (_, _, registers, context) =>
        {
            Assert.Equal(0x77ul, context.Address);
            length.Value = 2 * PageSize;
            PVOID at = MmGetMdlVirtualAddress(mdl);
            Assert.Equal(MmGetPhysicalAddress(buffer), Machine.Code.Call(adapter.DmaOperations.MapTransfer, adapter, mdl, registers, at, length, true));
            Assert.Equal((uint)PageSize, length.Value);
            Assert.Equal(MmGetPhysicalAddress(buffer) + 2 * PageSize,
                Machine.Code.Call(adapter.DmaOperations.MapTransfer, adapter, mdl, registers, new PVOID(at.Address + PageSize), length, true));
            Assert.True(Machine.Code.Call(adapter.DmaOperations.FlushAdapterBuffers, adapter, mdl, registers, at, 2u * PageSize, true));
            return DeallocateObject;
        })));
        Put(adapter);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_bus_master_without_scatter_gather_uses_a_copy_of_a_scattered_buffer(bool write) => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter(d => d.ScatterGather = false);
        PMDL mdl = Scattered(out PVOID buffer);
        Fill(buffer, 3 * PageSize);
        byte[] before = [.. Bytes(buffer, PageSize), .. Bytes(new PVOID(buffer.Address + 2 * PageSize), PageSize)];
        PULONG length = new(Memory(4).Address);
        length.Value = 2 * PageSize;
        AtDispatch(() => Allocate(adapter, NewDevice(), 2, (_, _, registers, _) =>
        {
            PVOID at = MmGetMdlVirtualAddress(mdl);
            long logical = Machine.Code.Call(adapter.DmaOperations.MapTransfer, adapter, mdl, registers, at, length, write);
            Assert.Equal(2u * PageSize, length.Value);
            if (write) Assert.Equal(before, DeviceReads(logical, length.Value));
            Machine.Hardware.WriteMemory((ulong)logical, new byte[2 * PageSize]);
            Assert.Equal(before[0], Bytes(buffer, 1)[0]);
            Machine.Code.Call(adapter.DmaOperations.FlushAdapterBuffers, adapter, mdl, registers, at, length.Value, write);
            return DeallocateObject;
        }));
        byte[] after = [.. Bytes(buffer, PageSize), .. Bytes(new PVOID(buffer.Address + 2 * PageSize), PageSize)];
        Assert.Equal(write ? before : new byte[2 * PageSize], after);
        Put(adapter);
    });

    [Fact]
    public void Who_waits_for_the_channel_gets_it_when_it_is_free() => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PDEVICE_OBJECT first = NewDevice(), second = NewDevice(), third = NewDevice();
        first.CurrentIrp = Packet(first);
        AtDispatch(() =>
        {
            Allocate(adapter, first, 17, (_, irp, _, _) =>
            {
                Step($"first {irp == first.CurrentIrp}");
                return KeepObject;
            });
            PVOID kept = default;
            Allocate(adapter, second, 1, (_, irp, registers, _) =>
            {
                Step($"second {irp.IsNull}");
                kept = registers;
                return DeallocateObjectKeepRegisters;
            });
            Allocate(adapter, third, 17, (_, _, _, _) =>
            {
                Step("third");
                return DeallocateObject;
            });
            Step("free");
            Machine.Code.Call(adapter.DmaOperations.FreeAdapterChannel, adapter);
            Step("registers"); // the third needs all of them
            Machine.Code.Call(adapter.DmaOperations.FreeMapRegisters, adapter, kept, 1u);
            Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, Allocate(adapter, third, 18, (_, _, _, _) => DeallocateObject));
        });
        Put(adapter);
        Assert.Equal(["first True", "free", "second True", "registers", "third"], Steps);
        IoFreeIrp(first.CurrentIrp);
    });

    [Fact]
    public void A_scatter_gather_list_has_the_runs_of_a_chain_of_MDLs() => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PDEVICE_OBJECT device = NewDevice();
        PMDL mdl = Scattered(out PVOID buffer);
        PVOID tail = Memory(100);
        mdl.Next = Locked(tail, 100);
        PULONG size = new(Memory(8).Address), count = new(size.Address + 4);
        PSCATTER_GATHER_LIST got = default;
        AtDispatch(() =>
        {
            Assert.Equal(STATUS_SUCCESS, Machine.Code.Call(adapter.DmaOperations.CalculateScatterGatherList, adapter, mdl, MmGetMdlVirtualAddress(mdl), 8292u, size, count));
            Assert.Equal((0x10u + 3 * 0x18, 3u), (size.Value, count.Value));
            Assert.Equal(STATUS_SUCCESS, GetList(adapter, device, mdl, 8292, (_, _, list, context) =>
            {
                got = list;
                Assert.Equal((3u, 0x77ul), (list.NumberOfElements, context.Address));
            }, write: true));
            long first = MmGetPhysicalAddress(buffer);
            Assert.Equal((first, (uint)PageSize), (Element(got, 0).Address, Element(got, 0).Length));
            Assert.Equal((first + 2 * PageSize, (uint)PageSize), (Element(got, 1).Address, Element(got, 1).Length));
            Assert.Equal((MmGetPhysicalAddress(tail), 100u), (Element(got, 2).Address, Element(got, 2).Length));
            PPVOID same = new(Memory(8).Address);
            Assert.Equal(STATUS_SUCCESS, Machine.Code.Call(adapter.DmaOperations.BuildMdlFromScatterGatherList, adapter, got, mdl, same));
            Assert.Equal(mdl.Address, same.Value.Address);
            Machine.Code.Call(adapter.DmaOperations.PutScatterGatherList, adapter, got, true);
            Assert.Equal(STATUS_BUFFER_TOO_SMALL, GetList(adapter, device, mdl, 8293, (_, _, _, _) => Step("called"), write: true));
        });
        Put(adapter);
        Assert.Empty(Steps);
    });

    [Fact]
    public void A_list_in_the_drivers_own_memory_must_have_room() => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter(d => d.ScatterGather = false);
        PDEVICE_OBJECT device = NewDevice();
        PMDL mdl = Scattered(out PVOID buffer);
        Fill(buffer, 3 * PageSize);
        PVOID memory = Memory(0x28);
        PPVOID target = new(Memory(8).Address);
        NTSTATUS Build(uint room) => Machine.Code.Call(adapter.DmaOperations.BuildScatterGatherList, adapter, device, mdl, MmGetMdlVirtualAddress(mdl), 8192u,
            Routine((DRIVER_LIST_CONTROL)((_, _, list, _) => Step($"{list.Address == memory.Address} {list.NumberOfElements}"))), default, true, memory, room);
        AtDispatch(() =>
        {
            Assert.Equal(STATUS_BUFFER_TOO_SMALL, Build(0x27));
            Assert.Equal(STATUS_SUCCESS, Build(0x28));
            PSCATTER_GATHER_LIST list = new(memory.Address);
            Assert.Equal(STATUS_SUCCESS, Machine.Code.Call(adapter.DmaOperations.BuildMdlFromScatterGatherList, adapter, list, mdl, target));
            PMDL copy = new(target.Value.Address);
            Assert.Equal(Element(list, 0).Address, MmGetPhysicalAddress(MmGetSystemAddressForMdl(copy)));
            Assert.Equal(Bytes(new PVOID(buffer.Address + 2 * PageSize), 16), Bytes(new PVOID(MmGetSystemAddressForMdl(copy).Address + PageSize), 16));
            Assert.Equal(STATUS_NONE_MAPPED, Machine.Code.Call(adapter.DmaOperations.BuildMdlFromScatterGatherList, adapter, list, mdl, target));
            Assert.Equal(STATUS_INVALID_PARAMETER, Machine.Code.Call(adapter.DmaOperations.BuildMdlFromScatterGatherList, adapter, list, default, target));
            Machine.Code.Call(adapter.DmaOperations.PutScatterGatherList, adapter, list, true);
        });
        Put(adapter);
        Assert.Equal(["True 1"], Steps);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_system_controller_moves_what_the_wired_device_takes_or_gives(bool write) => Run(() =>
    {
        PDMA_ADAPTER adapter = Adapter(d => (d.Master, d.DmaChannel, d.DmaWidth) = (false, 5, Width16Bits));
        Assert.Equal(2u, Machine.Code.Call(adapter.DmaOperations.GetDmaAlignment, adapter));
        DmaChannel wire = Machine.DmaAdapters.Channel(5);
        PMDL mdl = Scattered(out PVOID buffer);
        Fill(buffer, 3 * PageSize);
        byte[] before = Bytes(buffer, PageSize);
        PULONG length = new(Memory(4).Address);
        length.Value = 2 * PageSize;
        AtDispatch(() => Allocate(adapter, NewDevice(), 2, (_, _, registers, _) =>
        {
            PVOID at = MmGetMdlVirtualAddress(mdl);
            Machine.Code.Call(adapter.DmaOperations.MapTransfer, adapter, mdl, registers, at, length, write);
            Assert.Equal((write, 2u * PageSize), (wire.IsWriteToDevice, wire.Remaining));
            var data = new byte[PageSize];
            Assert.Equal(0, write ? wire.Give(data) : wire.Take(data));
            if (write)
            {
                Assert.Equal(PageSize, wire.Take(data));
                Assert.Equal(before, data);
            }
            else
            {
                Assert.Equal(PageSize, wire.Give(data));
                Assert.Equal(data, Bytes(buffer, PageSize));
            }
            Assert.Equal((uint)PageSize, Machine.Code.Call(adapter.DmaOperations.ReadDmaCounter, adapter));
            Machine.Code.Call(adapter.DmaOperations.FlushAdapterBuffers, adapter, mdl, registers, at, length.Value, write);
            Assert.Equal(0u, wire.Remaining);
            return DeallocateObject;
        }));
        Put(adapter);
    });

    // ---- Misuse

    void Violates(uint code, Action scenario) => Assert.Equal((ulong)code, Stops(DRIVER_VERIFIER_DMA_VIOLATION, scenario).Parameter1);

    [Fact]
    public void A_common_buffer_can_be_freed_once() => Violates(0x03, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PLARGE_INTEGER logical = new(Memory(8).Address);
        PVOID buffer = Machine.Code.Call(adapter.DmaOperations.AllocateCommonBuffer, adapter, 512u, logical, true);
        Machine.Code.Call(adapter.DmaOperations.FreeCommonBuffer, adapter, 512u, logical.Value, buffer, true);
        Machine.Code.Call(adapter.DmaOperations.FreeCommonBuffer, adapter, 512u, logical.Value, buffer, true);
    });

    [Fact]
    public void A_channel_that_nobody_has_cannot_be_freed() => Violates(0x04, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        AtDispatch(() => Machine.Code.Call(adapter.DmaOperations.FreeAdapterChannel, adapter));
    });

    [Fact]
    public void A_scatter_gather_list_can_be_freed_once() => Violates(0x06, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PMDL mdl = Locked(Memory(100), 100);
        AtDispatch(() => GetList(adapter, NewDevice(), mdl, 100, (_, _, list, _) =>
        {
            Machine.Code.Call(adapter.DmaOperations.PutScatterGatherList, adapter, list, false);
            Machine.Code.Call(adapter.DmaOperations.PutScatterGatherList, adapter, list, false);
        }, write: false));
    });

    [Fact]
    public void An_adapter_that_is_freed_has_no_common_buffers() => Violates(0x07, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        Machine.Code.Call(adapter.DmaOperations.AllocateCommonBuffer, adapter, 512u, new PLARGE_INTEGER(Memory(8).Address), true);
        Put(adapter);
    });

    [Fact]
    public void An_adapter_that_is_freed_has_no_scatter_gather_lists() => Violates(0x0A, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        AtDispatch(() => GetList(adapter, NewDevice(), Locked(Memory(100), 100), 100, (_, _, _, _) => { }, write: false));
        Put(adapter);
    });

    [Fact]
    public void Only_locked_pages_can_be_transferred() => Violates(0x0E, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PMDL mdl = IoAllocateMdl(Memory(100), 100, false, false, default);
        AtDispatch(() => GetList(adapter, NewDevice(), mdl, 100, (_, _, _, _) => { }, write: false));
    });

    [Fact]
    public void Map_registers_are_not_freed_before_the_buffers_are_flushed() => Violates(0x10, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PMDL mdl = Locked(Memory(100), 100);
        PULONG length = new(Memory(4).Address);
        length.Value = 100;
        AtDispatch(() => Allocate(adapter, NewDevice(), 1, (_, _, registers, _) =>
        {
            Machine.Code.Call(adapter.DmaOperations.MapTransfer, adapter, mdl, registers, MmGetMdlVirtualAddress(mdl), length, false);
            return DeallocateObject;
        }));
    });

    [Fact]
    public void Routines_of_an_adapter_have_their_IRQL() => Violates(0x13, () => Allocate(Adapter(), NewDevice(), 1, (_, _, _, _) => DeallocateObject));

    [Fact]
    public void A_freed_adapter_is_none() => Violates(0x00, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PDMA_OPERATIONS operations = adapter.DmaOperations;
        Put(adapter);
        Machine.Code.Call(operations.PutDmaAdapter, adapter);
    });

    [Fact]
    public void Map_registers_are_freed_once_and_all() => Violates(0x05, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        AtDispatch(() => Allocate(adapter, NewDevice(), 2, (_, _, registers, _) =>
        {
            Machine.Code.Call(adapter.DmaOperations.FreeMapRegisters, adapter, registers, 2u);
            Machine.Code.Call(adapter.DmaOperations.FreeMapRegisters, adapter, registers, 2u);
            return KeepObject;
        }));
    });

    [Fact]
    public void An_adapter_that_is_freed_has_no_channel() => Violates(0x08, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        AtDispatch(() => Allocate(adapter, NewDevice(), 1, (_, _, _, _) => KeepObject));
        Put(adapter);
    });

    [Fact]
    public void An_adapter_that_is_freed_has_no_map_registers() => Violates(0x09, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        AtDispatch(() => Allocate(adapter, NewDevice(), 1, (_, _, _, _) => DeallocateObjectKeepRegisters));
        Put(adapter);
    });

    [Fact]
    public void A_device_waits_for_its_channel_once() => Violates(0x0B, () =>
    {
        PDMA_ADAPTER adapter = Adapter();
        PDEVICE_OBJECT second = NewDevice();
        AtDispatch(() =>
        {
            Allocate(adapter, NewDevice(), 1, (_, _, _, _) => KeepObject);
            Allocate(adapter, second, 1, (_, _, _, _) => KeepObject);
            Allocate(adapter, second, 1, (_, _, _, _) => KeepObject);
        });
    });

    void Transfers(Action<PDMA_ADAPTER, PMDL, PVOID, PULONG> with)
    {
        PDMA_ADAPTER adapter = Adapter();
        PMDL mdl = Locked(Memory(100), 100);
        PULONG length = new(Memory(4).Address);
        length.Value = 100;
        AtDispatch(() => Allocate(adapter, NewDevice(), 4, (_, _, registers, _) =>
        {
            with(adapter, mdl, registers, length);
            return KeepObject;
        }));
    }

    long Map(PDMA_ADAPTER adapter, PMDL mdl, PVOID registers, PULONG length) =>
        Machine.Code.Call(adapter.DmaOperations.MapTransfer, adapter, mdl, registers, MmGetMdlVirtualAddress(mdl), length, false);

    [Fact]
    public void What_is_not_mapped_is_not_flushed() => Violates(0x16, () => Transfers((adapter, mdl, registers, length) =>
        Machine.Code.Call(adapter.DmaOperations.FlushAdapterBuffers, adapter, mdl, registers, MmGetMdlVirtualAddress(mdl), length.Value, false)));

    [Fact]
    public void A_buffer_is_mapped_once_at_a_time() => Violates(0x1D, () => Transfers((adapter, mdl, registers, length) =>
    {
        Map(adapter, mdl, registers, length);
        Map(adapter, mdl, registers, length);
    }));

    [Fact]
    public void Nothing_cannot_be_mapped() => Violates(0x21, () => Transfers((adapter, mdl, registers, length) =>
    {
        length.Value = 0;
        Map(adapter, mdl, registers, length);
    }));
}
