using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Hal;

public class BusDataTests : DriverTest
{
    const uint PCIConfiguration = 4;

    readonly RegisterBlock function = new(0x1000);

    /// <summary>Vendor 0x8086, device 0x1229 in slot 3, function 1 of bus 0.</summary>
    uint WithFunction()
    {
        function.Set(0, 4, 0x12298086);
        function.Set(4, 4, 0x02900107);
        Machine.BusData.Connect(0, 3, 1, function);
        return 3 | 1 << 5;
    }

    [Fact]
    public void Configuration_space_is_read_from_the_beginning_or_an_offset() => Run(() =>
    {
        uint slot = WithFunction();
        PVOID buffer = Memory(16);
        Assert.Equal(6U, HalGetBusData(PCIConfiguration, 0, slot, buffer, 6));
        Assert.Equal("868029120701", Convert.ToHexString(Bytes(buffer, 6)));
        Assert.Equal(["read 0 4", "read 4 2"], function.Accesses);
        function.Accesses.Clear();
        Assert.Equal(5U, HalGetBusDataByOffset(PCIConfiguration, 0, slot, buffer, 1, 5));
        Assert.Equal("8029120701", Convert.ToHexString(Bytes(buffer, 5)));
        Assert.Equal(["read 1 1", "read 2 2", "read 4 2"], function.Accesses);
        Assert.Equal(2U, HalGetBusDataByOffset(PCIConfiguration, 0, slot, buffer, 0xFFE, 8));
        Assert.Equal(0U, HalGetBusDataByOffset(PCIConfiguration, 0, slot, buffer, 0x1000, 8));
    });

    [Fact]
    public void Configuration_space_is_written_byte_for_byte() => Run(() =>
    {
        uint slot = WithFunction();
        PVOID buffer = Memory(8);
        Fill(buffer, 8);
        Assert.Equal(3U, HalSetBusDataByOffset(PCIConfiguration, 0, slot, buffer, 0x3C, 3));
        Assert.Equal("80818200", Convert.ToHexString(function.Bytes[0x3C..0x40]));
        Assert.Equal(["write 3C 2 8180", "write 3E 1 82"], function.Accesses);
        Assert.Equal(8U, HalSetBusData(PCIConfiguration, 0, slot, buffer, 8));
        Assert.Equal(Bytes(buffer, 8), function.Bytes[..8]);
    });

    [Fact]
    public void An_empty_slot_has_an_invalid_vendor_and_a_missing_bus_nothing() => Run(() =>
    {
        WithFunction();
        PVOID buffer = Memory(8);
        Assert.Equal(2U, HalGetBusData(PCIConfiguration, 0, 4, buffer, 8));
        Assert.Equal(0xFFFF, GuestMemory.Ref<ushort>(buffer.Address));
        Assert.Equal(0U, HalGetBusDataByOffset(PCIConfiguration, 0, 4, buffer, 4, 4));
        Assert.Equal(0U, HalGetBusData(PCIConfiguration, 1, 0, buffer, 8));
        Assert.Equal(0U, HalGetBusData(0, 0, 3 | 1 << 5, buffer, 8));
        Assert.Equal(0U, HalSetBusData(PCIConfiguration, 0, 4, buffer, 8));
        Assert.Throws<ArgumentException>(() => Machine.BusData.Connect(0, 3, 1, function));
        Assert.Throws<ArgumentException>(() => Machine.BusData.Connect(0, 32, 0, function));
        Machine.BusData.Connect(1, 0, 0, new RegisterBlock(0x100));
        Assert.Equal(2U, HalGetBusData(PCIConfiguration, 1, 1, buffer, 8));
    });

    [Fact]
    public void Bus_addresses_are_physical_addresses() => Run(() =>
    {
        uint space = 1;
        Assert.True(HalTranslateBusAddress(Isa, 0, 0x3F8, ref space, out PHYSICAL_ADDRESS translated));
        Assert.Equal((1U, 0x3F8L), (space, translated));
        space = 0;
        Assert.True(HalTranslateBusAddress(PCIBus, 0, 0xFEB0_0000, ref space, out translated));
        Assert.Equal((0U, 0xFEB0_0000L), (space, translated));
        space = 2;
        Assert.False(HalTranslateBusAddress(PCIBus, 0, 0, ref space, out _));
    });

    [Fact]
    public void Flushing_caches_changes_nothing() => Run(() =>
    {
        PVOID buffer = Memory(64);
        Fill(buffer, 64);
        byte[] before = Bytes(buffer, 64);
        PMDL mdl = IoAllocateMdl(buffer, 64, false, false, default);
        MmBuildMdlForNonPagedPool(mdl);
        KeFlushIoBuffers(mdl, true, true);
        Assert.Equal(before, Bytes(buffer, 64));
        IoFreeMdl(mdl);
    });
}
