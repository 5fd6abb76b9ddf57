using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing.Tests;

/// <summary>Goal: a file of the host behaves as an asynchronous disk. Method: requests from scenarios on both schedulers.</summary>
public sealed class FileDiskTests : IDisposable
{
    const int Size = 100_000;

    readonly string path = Path.GetTempFileName();
    readonly byte[] content = new byte[Size];

    public FileDiskTests()
    {
        new Random(1).NextBytes(content);
        File.WriteAllBytes(path, content);
    }

    public void Dispose()
    {
        File.SetAttributes(path, FileAttributes.Normal);
        File.Delete(path);
    }

    static Machine NewMachine(bool freeRunning = false) => new(new MachineOptions { Strategy = freeRunning ? null : new FifoStrategy() });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_read_is_pending_first_and_returns_the_files_bytes(bool freeRunning)
    {
        using Machine machine = NewMachine(freeRunning);
        DeviceStack stack = DeviceStack.Build(machine, new FileDisk(path));
        byte[] buffer = new byte[5000];
        machine.Run(() =>
        {
            using DeviceHandle disk = stack.Open();
            IoOperation read = disk.StartRead(buffer, 777);
            Assert.Equal(STATUS_PENDING, read.InitialStatus);
            Assert.Equal(new IoResult(STATUS_SUCCESS, 5000), read.Wait());
        });
        Assert.Equal(content[777..5777], buffer);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_written_is_in_the_file(bool freeRunning)
    {
        using Machine machine = NewMachine(freeRunning);
        DeviceStack stack = DeviceStack.Build(machine, new FileDisk(path), new PassThrough());
        machine.Run(() =>
        {
            using DeviceHandle disk = stack.Open();
            Assert.Equal(new IoResult(STATUS_SUCCESS, 3), disk.Write(new byte[] { 1, 2, 3 }, 10));
            Assert.Equal(new IoResult(STATUS_SUCCESS, 0), disk.Flush());
        });
        Assert.Equal([.. content[..10], 1, 2, 3, .. content[13..]], File.ReadAllBytes(path));
    }

    [Theory]
    [InlineData(Size, 1, STATUS_INVALID_PARAMETER)]
    [InlineData(Size - 1, 2, STATUS_INVALID_PARAMETER)]
    [InlineData(-1, 1, STATUS_INVALID_PARAMETER)]
    [InlineData(Size, 0, STATUS_SUCCESS)]
    public void Nothing_beyond_the_end_is_read(long offset, int length, NTSTATUS expected)
    {
        using Machine machine = NewMachine();
        using DeviceHandle disk = DeviceStack.Build(machine, new FileDisk(path)).Open();
        Assert.Equal(new IoResult(expected, 0), disk.Read(new byte[length], offset));
    }

    [Theory]
    [InlineData(512, 1024, STATUS_SUCCESS)]
    [InlineData(511, 1024, STATUS_INVALID_PARAMETER)]
    [InlineData(512, 1000, STATUS_INVALID_PARAMETER)]
    public void Whole_sectors_can_be_demanded(long offset, int length, NTSTATUS expected)
    {
        using Machine machine = NewMachine();
        using DeviceHandle disk = DeviceStack.Build(machine, new FileDisk(path) { WholeSectors = true }).Open();
        Assert.Equal(expected, disk.Read(new byte[length], offset).Status);
    }

    [Fact]
    public void A_read_only_file_is_a_write_protected_disk()
    {
        File.SetAttributes(path, FileAttributes.ReadOnly);
        using Machine machine = NewMachine();
        using DeviceHandle disk = DeviceStack.Build(machine, new FileDisk(path)).Open();
        Assert.Equal(STATUS_MEDIA_WRITE_PROTECTED, disk.Write(new byte[1]).Status);
        Assert.Equal(STATUS_MEDIA_WRITE_PROTECTED, disk.Control(IOCTL_DISK_IS_WRITABLE).Status);
        Assert.Equal(STATUS_SUCCESS, disk.Read(new byte[1]).Status);
    }

    [Fact]
    public void A_file_that_became_shorter_ends_a_read_with_an_error()
    {
        using Machine machine = NewMachine();
        using DeviceHandle disk = DeviceStack.Build(machine, new FileDisk(path)).Open();
        using (FileStream shorten = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) shorten.SetLength(100);
        Assert.Equal(new IoResult(STATUS_END_OF_FILE, 0), disk.Read(new byte[200]));
    }

    [Fact]
    public void A_missing_file_is_reported_where_the_disk_is_made() =>
        Assert.Throws<FileNotFoundException>(() => new FileDisk(path + ".missing"));

    [Fact]
    public void Length_and_geometry_can_be_asked_for()
    {
        using Machine machine = NewMachine();
        using DeviceHandle disk = DeviceStack.Build(machine, new FileDisk(path)).Open();
        byte[] length = new byte[8];
        Assert.Equal(new IoResult(STATUS_SUCCESS, 8), disk.Control(IOCTL_DISK_GET_LENGTH_INFO, output: length));
        Assert.Equal(Size, BitConverter.ToInt64(length));
        byte[] geometry = new byte[DISK_GEOMETRY.SizeOf];
        Assert.Equal(new IoResult(STATUS_SUCCESS, 24), disk.Control(IOCTL_DISK_GET_DRIVE_GEOMETRY, output: geometry));
        Assert.Equal(512, BitConverter.ToInt32(geometry, 20));
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, disk.Control(IOCTL_DISK_GET_LENGTH_INFO, output: new byte[7]).Status);
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, disk.Control(0x70FFC).Status);
    }

    [Fact]
    public void A_queued_request_can_be_cancelled_and_the_one_in_progress_cannot()
    {
        using Machine machine = NewMachine();
        DeviceStack stack = DeviceStack.Build(machine, new FileDisk(path));
        machine.Run(() =>
        {
            using DeviceHandle disk = stack.Open();
            IoOperation inProgress = disk.StartRead(new byte[512]);
            IoOperation queued = disk.StartRead(new byte[512], 512);
            IoOperation next = disk.StartRead(new byte[512], 1024);
            Assert.True(inProgress.Cancel());
            Assert.True(queued.Cancel());
            Assert.Equal(new IoResult(STATUS_CANCELLED, 0), queued.Wait());
            Assert.Equal(new IoResult(STATUS_SUCCESS, 512), inProgress.Wait());
            Assert.Equal(new IoResult(STATUS_SUCCESS, 512), next.Wait());
        });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Many_requests_at_once_all_get_their_own_bytes(bool freeRunning)
    {
        using Machine machine = NewMachine(freeRunning);
        DeviceStack stack = DeviceStack.Build(machine, new FileDisk(path) { Latency = TimeSpan.Zero }, new PassThrough());
        machine.RunAsync(async () =>
        {
            using DeviceHandle disk = stack.Open();
            byte[][] buffers = [.. Enumerable.Range(0, 40).Select(_ => new byte[1000])];
            await Task.WhenAll(buffers.Select((b, i) => disk.ReadAsync(b, i * 1000).AsTask()));
            Assert.Equal(content[..40_000], buffers.SelectMany(b => b));
        });
    }

    [Fact]
    public void Time_passes_while_the_hardware_works()
    {
        using Machine machine = NewMachine();
        using DeviceHandle disk = DeviceStack.Build(machine, new FileDisk(path) { Latency = TimeSpan.FromMilliseconds(3) }).Open();
        long before = machine.Scheduler.InterruptTime;
        disk.Read(new byte[1]);
        Assert.Equal(TimeSpan.FromMilliseconds(3).Ticks, machine.Scheduler.InterruptTime - before);
    }
}
