using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class FirstLightTests
{
    [Fact]
    public void A_read_through_two_filters_returns_the_disks_bytes()
    {
        using var machine = new Machine();
        var disk = new RamDisk(4096);
        disk.Content.Fill(0x5A);
        machine.Run(() =>
        {
            Assert.Equal(STATUS_SUCCESS, machine.Drivers.Load(disk, "ramdisk", out _));
            machine.Objects.TryFind(@"\Device\RamDisk0", out ulong pdo, out _);
            for (int i = 0; i < 2; i++)
            {
                Assert.Equal(STATUS_SUCCESS, machine.Drivers.Load(new PassThrough(), $"pass{i}", out Driver? filter));
                Assert.Equal(STATUS_SUCCESS, machine.Drivers.AddDevice(filter!, new PDEVICE_OBJECT(pdo)));
            }
            using DeviceHandle handle = DeviceHandle.Open(machine, @"\Device\RamDisk0");
            byte[] buffer = new byte[512];
            IoResult result = handle.Read(buffer, 1024);
            Assert.Equal(STATUS_SUCCESS, result.Status);
            Assert.Equal(512UL, result.Information);
            Assert.All(buffer, b => Assert.Equal(0x5A, b));
        });
    }
}
