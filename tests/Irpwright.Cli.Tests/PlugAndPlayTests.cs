namespace Irpwright.Cli.Tests;

public class PlugAndPlayTests
{
    static string[] Statuses(Command run) => [.. run.Lines.Where(l => !l.StartsWith(' ')).Select(l => string.Join(' ', l.Split("  ").Take(2)))];

    [Theory]
    [InlineData("passthrough")]
    [InlineData(null)]
    public void A_filter_goes_through_its_states(string? builtIn)
    {
        string[] requests =
        [
            "read:0:1", "pnp:query-stop", "pnp:cancel-stop", "pnp:stop", "pnp:start", "power:S3", "power:S0", "power:D3", "power:D0", "pnp:query-remove",
            "pnp:cancel-remove", "read:0:1", "pnp:remove", "read:0:1", "pnp:start", "read:0:1", "pnp:surprise", "read:0:1",
        ];
        Command run = Command.Run(["run", builtIn ?? TestFiles.Sample("passthrough"), .. requests.SelectMany(r => new[] { "-r", r }), "--verify"]);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(
            [.. requests.Select((r, i) => $"{r} {(i == 13 ? "STATUS_NO_SUCH_DEVICE" : i == 17 ? "STATUS_DEVICE_REMOVED" : "STATUS_SUCCESS")}")],
            Statuses(run));
    }

    [Fact]
    public void A_device_of_the_root_bus_needs_no_disk()
    {
        Command run = Command.Run("run", "passthrough", "--device", "root", "-r", "pnp:start", "-r", "power:S4", "-r", "power:S0", "-r", "pnp:eject");

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(["pnp:start STATUS_SUCCESS", "power:S4 STATUS_SUCCESS", "power:S0 STATUS_SUCCESS", "pnp:eject STATUS_SUCCESS"], Statuses(run));
    }

    [Fact]
    public void The_trace_names_requests_and_states()
    {
        Command run = Command.Run("run", "passthrough", "-r", "pnp:start", "-r", "power:S3", "-r", "pnp:surprise", "--trace", "text");

        Assert.Contains("IRP_MJ_PNP  IRP_MN_START_DEVICE", run.Output, StringComparison.Ordinal);
        Assert.Contains("IRP_MJ_PNP  IRP_MN_QUERY_DEVICE_RELATIONS  BusRelations", run.Output, StringComparison.Ordinal);
        Assert.Contains("IRP_MJ_POWER  IRP_MN_QUERY_POWER  S3", run.Output, StringComparison.Ordinal);
        Assert.Matches(@"=  pnp +ROOT\\ramdisk\\0000 +Started", run.Output);
        Assert.Matches(@"=  pnp +ROOT\\ramdisk\\0000 +SurpriseRemoved", run.Output);
        Assert.Matches("=  system +power +S0 -> S3", run.Output);
    }

    [Fact]
    public void A_software_device_takes_no_part()
    {
        string complaint = Command.Run("run", TestFiles.Sample("queue"), "-r", "pnp:start").AssertComplains(2);

        Assert.Equal("irpwright: --request pnp:start: no driver was added to a device; drivers with AddDevice take part in Plug and Play.", complaint);
    }
}
