namespace Irpwright.Verification.Tests;

/// <summary>A device with two probes, one above the other, under the verifier; a user reads from it.</summary>
public sealed class Bench : IDisposable
{
    public const string DeviceName = @"\Device\Probe";

    readonly List<Probe> filters = [];

    /// <summary>The filters, lowest first.</summary>
    public IReadOnlyList<Probe> Filters => filters;

    public Bench(int filterCount = 1, MachineOptions? options = null, IReadOnlyList<RuleInfo>? rules = null, MuteList? mutes = null)
    {
        Machine = new Machine(options ?? new MachineOptions { Strategy = Here() });
        Verifier = Verifier.Attach(Machine, rules, mutes);
        Lower = new Probe(DeviceName);
        Machine.Run(() =>
        {
            Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(Lower, "lower", out _));
            for (int i = 0; i < filterCount; i++)
            {
                var filter = new Probe(null);
                Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(filter, i == 0 ? "upper" : $"upper{i + 1}", out Driver? loaded));
                Assert.Equal(STATUS_SUCCESS, Machine.Drivers.AddDevice(loaded!, Lower.Device));
                filters.Add(filter);
            }
        });
    }

    // These sources are compiled twice: every test runs on both schedulers.
    internal static FifoStrategy? Here() =>
#if FREE_RUNNING
        null;
#else
        new FifoStrategy();
#endif

    public Machine Machine { get; }

    public Verifier Verifier { get; }

    /// <summary>The function driver.</summary>
    public Probe Lower { get; }

    /// <summary>The filter right above it.</summary>
    public Probe Upper => filters[0];

    /// <summary>The filter on top.</summary>
    public Probe Top => filters[^1];

    /// <summary>What the machine stopped with; null if it did not.</summary>
    public Exception? Stop { get; private set; }

    /// <summary>What a case does, on a user thread; reads once if nothing is written.</summary>
    public Action? Act { get; set; }

    /// <summary>Does it.</summary>
    public void Do()
    {
        if (Act is null) Read();
        else Try(() => { Act(); return default(IoResult); });
        Verifier.Finish();
    }

    /// <summary>Reads once. What the kernel makes of a broken driver afterwards is not this project's business.</summary>
    public IoResult Read(int length = 16) => Try(() =>
    {
        DeviceHandle handle = DeviceHandle.Open(Machine, DeviceName);
        IoResult result = handle.Read(new byte[length]);
        handle.Dispose();
        return result;
    });

    /// <summary>The IRP that the function driver keeps, after <see cref="KeepReads"/> or <see cref="Keep"/>.</summary>
    public PIRP Kept { get; private set; }

    /// <summary>The function driver marks reads pending and keeps them.</summary>
    public void KeepReads(Action<PIRP>? before = null) => Lower.Read = irp =>
    {
        before?.Invoke(irp);
        return KeepPending(irp);
    };

    /// <summary>The function driver marks requests of a kind pending and keeps them.</summary>
    public void Keep(byte major) => Lower.Other = irp => Probe.Major(irp) == major ? KeepPending(irp) : Lower.Complete(irp, STATUS_SUCCESS);

    NTSTATUS KeepPending(PIRP irp)
    {
        Lower.IoMarkIrpPending(irp);
        Kept = irp;
        return STATUS_PENDING;
    }

    /// <summary>The function driver completes requests of a kind later.</summary>
    public void CompleteLater(byte major, NTSTATUS status = STATUS_SUCCESS) => Lower.Other = irp =>
        Probe.Major(irp) == major ? Lower.CompleteLater(irp, status) : Lower.Complete(irp, STATUS_SUCCESS);

    /// <summary>Has a read started, then something done, and then the read waited for.</summary>
    public void ActDuringRead(Action<IoOperation> meanwhile) => Act = () =>
    {
        using DeviceHandle handle = DeviceHandle.Open(Machine, DeviceName);
        IoOperation read = handle.StartRead(new byte[16]);
        meanwhile(read);
        read.Wait();
    };

    /// <summary>Sends a request to the stack as the PnP, power and WMI managers do, and waits for it.</summary>
    public void Send(byte major, byte minor, IO_STACK_LOCATION.ParametersUnion parameters = default) => Act = () =>
        Machine.PlugAndPlay.Do(() => Machine.PlugAndPlay.Requests.Send(Lower.Device, major, minor, location => location.Parameters = parameters));

    /// <summary>Has the upper filter handle a request of the PnP or power manager.</summary>
    public void Handle(byte major, byte minor, Func<PIRP, NTSTATUS> handle, IO_STACK_LOCATION.ParametersUnion parameters = default)
    {
        Send(major, minor, parameters);
        Upper.Other = irp => Probe.Major(irp) == major && Probe.Minor(irp) == minor ? handle(irp) : Upper.SkipDown(irp);
    }

    /// <summary>Loads a driver and has it add a device to the stack, after what the constructor loaded.</summary>
    public void Add(Probe probe)
    {
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(probe, "added", out Driver? loaded));
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.AddDevice(loaded!, Lower.Device));
    }

    /// <summary>Tells the PnP manager that the function driver's device is a PDO; the filters above it are filters of the bus then.</summary>
    public void Report() => Machine.PlugAndPlay.Report(Lower.Device, @"ROOT\PROBE");

    IoResult Try(Func<IoResult> scenario)
    {
        try
        {
            return Machine.Run(scenario);
        }
        catch (Exception e) when (e is BugCheckException or MachineHungException)
        {
            Stop = e;
            return default;
        }
    }

    /// <summary>Reads and gives the names of the rules that were broken.</summary>
    public string[] Broken(int length = 16)
    {
        Read(length);
        return [.. Verifier.Violations.Select(v => v.Rule.Name)];
    }

    /// <summary>Reads, and has exactly this rule broken.</summary>
    public Violation Breaks(string rule, string driver)
    {
        Read();
        Violation violation = Assert.Single(Verifier.Violations);
        Assert.Equal(rule, violation.Rule.Name);
        Assert.Equal(driver, violation.Driver);
        return violation;
    }

    /// <summary>Reads with success, and has no rule broken.</summary>
    public void IsSilent()
    {
        IoResult result = Read();
        Assert.Empty(Verifier.Violations);
        Assert.Null(Stop);
        Assert.Equal(STATUS_SUCCESS, result.Status);
    }

    public void Dispose() => Machine.Dispose();
}
