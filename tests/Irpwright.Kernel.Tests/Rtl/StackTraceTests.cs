using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class StackTraceTests : DriverTest
{
    [Fact]
    public void A_csharp_driver_has_one_frame() => Run(() =>
    {
        var frames = new PPVOID(Memory(64).Address);
        var hash = new PULONG(Memory(4).Address);
        Assert.Equal(1, RtlCaptureStackBackTrace(0, 8, frames, hash));
        Assert.Equal(CallerAddress, frames.Value.Address);
        Assert.Equal((uint)CallerAddress, hash.Value);
        Assert.Equal(0, RtlCaptureStackBackTrace(0, 0, frames, default));
        Assert.Equal(0, RtlCaptureStackBackTrace(1, 8, frames, hash));
        Assert.Equal(0u, hash.Value);
    });
}
