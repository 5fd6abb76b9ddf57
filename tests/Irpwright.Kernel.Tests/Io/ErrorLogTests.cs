using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class ErrorLogTests : DriverTest
{
    sealed class Log : KernelObserver
    {
        internal readonly List<ErrorLogEntry> Entries = [];

        public override void On(in ErrorLogged e) => Entries.Add(e.Entry);
    }

    readonly Log log = new();

    public ErrorLogTests() => Observer = log;

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_entry_is_logged_with_data_and_strings_for_its_device(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Failing");
        int before = Machine.Pool.LiveBlocks.Count;
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        byte[] strings = Encoding.Unicode.GetBytes("disk\0bad\0");
        PVOID entry = IoAllocateErrorLogEntry(device, (byte)(IO_ERROR_LOG_PACKET.SizeOf + 4 + strings.Length));
        Assert.Equal(new byte[IO_ERROR_LOG_PACKET.SizeOf], Bytes(entry, IO_ERROR_LOG_PACKET.SizeOf));
        var packet = new PIO_ERROR_LOG_PACKET(entry.Address);
        packet.ErrorCode = unchecked((NTSTATUS)0xC0040001);
        packet.UniqueErrorValue = 0x17;
        packet.FinalStatus = STATUS_DEVICE_NOT_READY;
        packet.MajorFunctionCode = IRP_MJ_READ;
        packet.DumpDataSize = 8;
        packet.NumberOfStrings = 2;
        packet.StringOffset = 0x30;
        Fill(new PVOID(entry.Address + 0x28), 8);
        strings.CopyTo(GuestMemory.Write(entry.Address + 0x30, strings.Length));
        IoWriteErrorLogEntry(entry);
        KeLowerIrql(old);

        ErrorLogEntry logged = Assert.Single(Machine.ErrorLog.Entries);
        Assert.Same(logged, Assert.Single(log.Entries));
        Assert.Equal(("test", @"\Device\Failing"), (logged.Driver, logged.Device));
        Assert.Equal((unchecked((NTSTATUS)0xC0040001), 0x17U, STATUS_DEVICE_NOT_READY), (logged.ErrorCode, logged.UniqueErrorValue, logged.FinalStatus));
        Assert.Equal([0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87], logged.DumpData);
        Assert.Equal(["disk", "bad"], logged.Strings);
        Assert.Equal(IRP_MJ_READ, logged.Packet.MajorFunctionCode);
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
    });

    [Fact]
    public void A_driver_logs_too_and_an_entry_may_be_given_back() => Run(() =>
    {
        int before = Machine.Pool.LiveBlocks.Count;
        IoFreeErrorLogEntry(IoAllocateErrorLogEntry(DriverObject, IO_ERROR_LOG_PACKET.SizeOf));
        Assert.Empty(Machine.ErrorLog.Entries);
        IoWriteErrorLogEntry(IoAllocateErrorLogEntry(DriverObject, IO_ERROR_LOG_PACKET.SizeOf));
        Assert.Null(Assert.Single(Machine.ErrorLog.Entries).Device);
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
    });

    [Theory]
    [InlineData(IO_ERROR_LOG_PACKET.SizeOf - 1, false)]
    [InlineData(IO_ERROR_LOG_PACKET.SizeOf, true)]
    [InlineData(ERROR_LOG_MAXIMUM_SIZE, true)]
    [InlineData(ERROR_LOG_MAXIMUM_SIZE + 1, false)]
    public void An_entry_has_a_least_and_a_largest_size(int size, bool allocated) => Run(() =>
    {
        PVOID entry = IoAllocateErrorLogEntry(DriverObject, (byte)size);
        Assert.Equal(allocated, !entry.IsNull);
        if (allocated) IoFreeErrorLogEntry(entry);
    });

    [Fact]
    public void Without_memory_there_is_no_entry() => Run(() =>
    {
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.True(IoAllocateErrorLogEntry(DriverObject, IO_ERROR_LOG_PACKET.SizeOf).IsNull);
    });
}
