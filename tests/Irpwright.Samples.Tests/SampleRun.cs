using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests;

/// <summary>In which form a sample is loaded.</summary>
public enum Form
{
    CSharp,
    Compiled,
    /// <summary>Compiled, in a machine that checks memory.</summary>
    Checked,
}

/// <summary>A scenario with one sample driver, in a machine of its own. Scenarios do not know in which form the sample is.</summary>
public sealed class SampleRun : IDisposable
{
    readonly string sample;
    readonly Form form;
    readonly PoolBlock[] blocksBefore;
    GuestDrivers? guest;
    DeviceStack? stack;

    public SampleRun(string sample, Form form, MachineOptions? options = null)
    {
        this.sample = sample;
        this.form = form;
        Machine = new Machine((options ?? new MachineOptions()) with { ChecksMemory = form == Form.Checked });
        // The root bus comes with its first device, and stays.
        if (sample.StartsWith("pnp", StringComparison.Ordinal))
            Machine.Run(() => Machine.PlugAndPlay.Unplug(Machine.PlugAndPlay.Report(new DeviceDescription(@"ROOT\FIRST"))));
        Events = new IoRecorder(Machine);
        Machine.Events.Add(Events);
        blocksBefore = [.. Machine.Pool.LiveBlocks];
    }

    public Machine Machine { get; }

    public IoRecorder Events { get; }

    public void Dispose() => Machine.Dispose();

    /// <summary>Stacks the sample on a device, or on nothing, and opens it.</summary>
    public DeviceHandle Open(WdmDriver? lower = null)
    {
        StackDriver driver = form == Form.CSharp ? InCSharp(sample) : Compiled();
        stack = lower is null ? DeviceStack.Build(Machine, driver) : DeviceStack.Build(Machine, lower, driver);
        return stack.Open();
    }

    /// <summary>Has the root bus report a device and attaches drivers to it, lowest first; it is not started.</summary>
    public DeviceStack Build(params ReadOnlySpan<StackDriver> drivers) =>
        stack = DeviceStack.Build(Machine, new DeviceDescription(@"ROOT\SAMPLE"), drivers);

    /// <summary>The sample, or another one, in the form of this run.</summary>
    public StackDriver Driver(string? name = null) => form == Form.CSharp ? InCSharp(name ?? sample) : Compiled(name);

    /// <summary>A sample to be installed for devices, in the form of this run.</summary>
    public DriverService Service(string name) => new(name,
        () =>
        {
            if (form != Form.CSharp) return (STATUS_SUCCESS, Compiled(name));
            NTSTATUS status = Machine.Drivers.Load(InCSharp(name), name, out Driver? loaded);
            return (status, loaded);
        },
        driver => driver.Managed is null ? guest!.Unload(driver) : Machine.Drivers.Unload(driver));

    /// <summary>Removes and unloads everything, and checks that nothing is left of it.</summary>
    public void Remove()
    {
        stack?.Remove();
        Assert.Empty(Events.LivePackets);
        Assert.Empty(Machine.Pool.LiveBlocks.Except(blocksBefore).Select(b => $"{Pool.TagText(b.Tag)} {b.Size} bytes"));
        Assert.Empty(Machine.Drivers.All);
        Assert.Empty(Machine.Objects.Names);
    }

    static WdmDriver InCSharp(string sample) => sample switch
    {
        "passthrough" => new PassThrough(),
        "retry" => new Retry(),
        "split" => new Split(),
        "associated" => new Associated(),
        "syncquery" => new SyncQuery(),
        "queue" => new Queue(),
        "csq" => new Csq(),
        "startio" => new StartIo(),
        "pnpbus" => new PnpBus(),
        "pnpfunc" => new PnpFunc(),
        "pnpfilter" => new PnpFilter(),
        "seh" => new Seh(),
        "msvclike" => new MsvcLike(),
        "broken-cancelset" => new BrokenCancelSet(),
        "broken-errorpath" => new BrokenErrorPath(),
        "broken-event" => new BrokenEvent(),
        "broken-forgotten" => new BrokenForgotten(),
        "broken-freeirp" => new BrokenFreeIrp(),
        "broken-lockheld" => new BrokenLockHeld(),
        "broken-lostcancel" => new BrokenLostCancel(),
        "broken-pending" => new BrokenPending(),
        "broken-remove" => new BrokenRemove(),
        "broken-removelock" => new BrokenRemoveLock(),
        "broken-status" => new BrokenStatus(),
        "broken-null" => new BrokenNull(),
        "broken-wild" => new BrokenWild(),
        "broken-loop" => new BrokenLoop(),
        "broken-recurse" => new BrokenRecurse(),
        "broken-double" => new BrokenDouble(),
        "broken-stack" => new BrokenStack(),
        "broken-seh" => new BrokenSeh(),
        _ => throw new ArgumentException($"there is no {sample} in C#", nameof(sample)),
    };

    Driver Compiled(string? name = null)
    {
        guest ??= new GuestDrivers(Machine);
        Assert.True(guest.TryRead(Path.Combine(SampleFiles.NativeImages, $"{name ?? sample}.sys"), out var image, out var error), error?.ToString());
        Assert.Empty(image.UnsupportedImports);
        Assert.Equal(STATUS_SUCCESS, guest.Start(image, out Driver? driver));
        return driver!;
    }
}
