using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Kernel.Tests.Io;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests;

/// <summary>What the tests of the kernel say about every kind of IRP, through a compiled driver that sees each twice.</summary>
public class CompiledFilterTests : OriginatorTable
{
    protected override void Between(PDEVICE_OBJECT bottom)
    {
        var guest = new GuestDrivers(Machine);
        Assert.True(guest.TryRead(Path.Combine(SampleFiles.NativeImages, "passthrough.sys"), out var image, out var error), error?.ToString());
        Assert.Equal(STATUS_SUCCESS, guest.Start(image, out Driver? driver));
        DeviceNode node = Machine.PlugAndPlay.Report(bottom, @"ROOT\ORIGINATED");
        Assert.Equal(STATUS_SUCCESS, Machine.PlugAndPlay.AddDriver(node, DriverService.Of(Machine, driver!)));
    }
}
