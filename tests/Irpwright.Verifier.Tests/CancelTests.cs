namespace Irpwright.Verification.Tests;

public class CancelTests
{
    [Theory, Spec("CANCEL-14")]
    [InlineData(true, "IwCancelledForeign")]
    [InlineData(false, null)]
    public void Cancelling_a_request_that_was_received_breaks_IwCancelledForeign(bool foreign, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            PIRP own = bench.Upper.IoAllocateIrp(1, false);
            bench.Upper.IoCancelIrp(foreign ? irp : own);
            bench.Upper.IoFreeIrp(own);
            return bench.Upper.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }
}
