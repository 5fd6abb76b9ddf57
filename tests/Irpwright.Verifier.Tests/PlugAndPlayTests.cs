namespace Irpwright.Verification.Tests;

/// <summary>PnP IRPs as the PnP manager sends them: to the top of the stack, STATUS_NOT_SUPPORTED at first.</summary>
public class PlugAndPlayTests
{
    static string[] Send(Bench bench, byte minor)
    {
        bench.Send(IRP_MJ_PNP, minor);
        bench.Do();
        Assert.Null(bench.Stop);
        Assert.All(bench.Verifier.Violations, v => Assert.Equal("upper", v.Driver));
        return [.. bench.Verifier.Violations.Select(v => v.Rule.Name)];
    }

    static Bench NewBench(Func<Bench, PIRP, NTSTATUS> onPnp)
    {
        var bench = new Bench(filterCount: 2);
        bench.Upper.Other = irp => bench.Upper.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_PNP
            ? onPnp(bench, irp)
            : bench.Upper.SkipDown(irp);
        return bench;
    }

    [Theory, Spec("PNP-07")]
    [InlineData(STATUS_SUCCESS)]
    [InlineData(STATUS_NOT_SUPPORTED)]
    public void Completing_what_is_to_be_sent_down_breaks_PnpIrpCompletion(NTSTATUS status)
    {
        using Bench bench = NewBench((bench, irp) => bench.Upper.Complete(irp, status));
        Assert.Equal(["PnpIrpCompletion"], Send(bench, IRP_MN_START_DEVICE));
    }

    [Fact, Spec("PNP-07")]
    public void Failing_a_start_is_right()
    {
        using Bench bench = NewBench((bench, irp) => bench.Upper.Complete(irp, STATUS_INSUFFICIENT_RESOURCES));
        Assert.Empty(Send(bench, IRP_MN_START_DEVICE));
    }

    [Fact]
    public void Sending_down_what_it_does_not_know_is_right()
    {
        using Bench bench = NewBench((bench, irp) => bench.Upper.SkipDown(irp));
        Assert.Empty(Send(bench, IRP_MN_QUERY_CAPABILITIES));
    }

    [Fact, Spec("PNP-07")]
    public void Sending_a_failed_one_down_breaks_IwFailedPnpSentDown()
    {
        using Bench bench = NewBench((bench, irp) =>
        {
            irp.IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
            return bench.Upper.SkipDown(irp);
        });
        Assert.Equal(["IwFailedPnpSentDown"], Send(bench, IRP_MN_START_DEVICE));
    }

    [Fact, Spec("PNP-07")]
    public void Turning_a_status_back_to_not_supported_breaks_IwPnpNotSupportedAgain()
    {
        using var bench = new Bench(filterCount: 3);
        Probe middle = bench.Filters[1];
        middle.Other = irp =>
        {
            if (middle.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_PNP) irp.IoStatus.Status = STATUS_SUCCESS;
            return middle.SkipDown(irp);
        };
        bench.Upper.Other = irp =>
        {
            if (bench.Upper.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_PNP) irp.IoStatus.Status = STATUS_NOT_SUPPORTED;
            return bench.Upper.SkipDown(irp);
        };
        Assert.Equal(["IwPnpNotSupportedAgain"], Send(bench, IRP_MN_QUERY_CAPABILITIES));
    }

    [Fact, Spec("PNP-07")]
    public void Failing_a_removal_breaks_PnpRemove()
    {
        using Bench bench = NewBench((bench, irp) => bench.Upper.Complete(irp, STATUS_DELETE_PENDING));
        Assert.Equal(["PnpRemove"], Send(bench, IRP_MN_REMOVE_DEVICE));
    }
}
