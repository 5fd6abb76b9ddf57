using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests;

public class CompiledDriverTests
{
    [Theory]
    [InlineData("passthrough")]
    [InlineData("retry")]
    public void A_compiled_filter_above_a_csharp_disk_returns_the_disks_bytes(string name)
    {
        using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here });
        var guest = new GuestDrivers(machine);
        var disk = new RamDisk(4096);
        disk.Content.Fill(0x5A);
        Assert.True(guest.TryRead(Sample(name), out var image, out var error), error?.ToString());
        machine.Run(() =>
        {
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.Load(disk, "ramdisk", out _));
            machine.Objects.TryFind(@"\Device\RamDisk0", out ulong pdo, out _);
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, guest.Start(image, out Driver? driver));
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Drivers.AddDevice(driver!, new PDEVICE_OBJECT(pdo)));
            using DeviceHandle handle = DeviceHandle.Open(machine, @"\Device\RamDisk0");
            byte[] buffer = new byte[512];
            Assert.Equal(new IoResult(NTSTATUS.STATUS_SUCCESS, 512), handle.Read(buffer, 1024));
            Assert.All(buffer, b => Assert.Equal(0x5A, b));
        });
    }

    internal static string Sample(string name)
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string path = Path.Combine(folder, "samples", "native", "bin", name + ".sys");
            if (File.Exists(path)) return path;
        }
        throw new FileNotFoundException(name);
    }
}
