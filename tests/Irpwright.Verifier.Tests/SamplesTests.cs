using Irpwright.Exploration;
using Irpwright.Guest;
using Irpwright.Guest.Images;

namespace Irpwright.Verification.Tests;

/// <summary>Goal: no false alarms. Method: drivers that are meant to be right, in many stacks and interleavings, break no rule.</summary>
public sealed class SamplesTests : IDisposable
{
    const int DiskSize = 128 * 1024;

    internal static readonly string Samples = TestFiles.FindFolder("samples", "native", "bin");

    readonly string file = Path.GetTempFileName();

    public SamplesTests() => File.WriteAllBytes(file, new byte[DiskSize]);

    public void Dispose() => File.Delete(file);

    /// <summary>How threads, DPCs, timers and devices interleave.</summary>
    static readonly (string Name, Func<IScheduleStrategy?> Make)[] Schedules =
    [
        ("fifo", static () => new FifoStrategy()),
        ("random 1", static () => new RandomStrategy(1)),
        ("random 2", static () => new RandomStrategy(2)),
        ("random 3", static () => new RandomStrategy(3)),
        ("free running", static () => null),
    ];

    static readonly string[] Disks = ["RamDisk", "FileDisk", "at once", "pending at once", "later", "now and then failing"];

    public static TheoryData<string, string, string> Stacks()
    {
        string[] filters =
        [
            .. SampleNames().Where(n => n is not ("queue" or "csq" or "startio" or "pnpbus" or "pnpfunc" or "seh" or "msvclike")),
            "PassThrough", "passthrough PassThrough retry", "split syncquery", "retry split passthrough",
        ];
        var stacks = new TheoryData<string, string, string>();
        foreach (string filter in filters)
        {
            foreach (string disk in Disks)
            {
                foreach ((string schedule, _) in Schedules) stacks.Add(disk, filter, schedule);
            }
        }
        foreach ((string schedule, _) in Schedules) stacks.Add("queue", "", schedule);
        return stacks;
    }

    [Theory]
    [MemberData(nameof(Stacks))]
    public void Drivers_that_are_right_break_no_rule(string disk, string filters, string schedule)
    {
        using var machine = new Machine(new MachineOptions { Strategy = Schedules.Single(s => s.Name == schedule).Make(), ChecksMemory = true });
        var verifier = Verifier.Attach(machine);
        var guest = new GuestDrivers(machine);
        string[] above = filters.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        DeviceStack stack = DeviceStack.Build(machine, [Disk(guest, disk), .. above.Select(f => Filter(guest, f))]);

        bool transferred = Exercise(machine, stack);
        stack.Remove();
        verifier.Finish();

        Assert.Empty(verifier.Violations);
        Assert.True(transferred || disk == "now and then failing", "Nothing was read at all.");
    }

    [Fact]
    public void A_scripted_device_is_unloaded_with_the_interrupt_of_a_cancelled_request_on_its_way()
    {
        const long millisecond = 10_000;
        for (int attempt = 0; attempt < 500; attempt++)
        {
            using var machine = new Machine(new MachineOptions { Strategy = null });
            var verifier = Verifier.Attach(machine);
            var device = new ScriptedDevice();
            device.Enqueue(Respond.After(TimeSpan.FromTicks(millisecond)));
            DeviceStack stack = DeviceStack.Build(machine, device);

            machine.Run(() =>
            {
                long interruptTime;
                using (DeviceHandle handle = stack.Open())
                {
                    interruptTime = machine.Scheduler.InterruptTime + millisecond;
                    IoOperation read = handle.StartRead(new byte[512]);
                    read.Cancel();
                    read.Wait();
                }
                // From a little before it to a good while after it.
                SpinWait.SpinUntil(() => machine.Scheduler.InterruptTime >= interruptTime - 300 + attempt * 4);
                stack.Remove();
            });
            verifier.Finish();

            Assert.Empty(verifier.Violations);
        }
    }

    [Fact]
    public void A_compiled_driver_that_completes_twice_is_named_with_its_code()
    {
        using var machine = new Machine();
        var verifier = Verifier.Attach(machine);
        var guest = new GuestDrivers(machine);
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(1 << 20), Load(guest, "broken-double"));

        Assert.Throws<BugCheckException>(() => machine.Run(() => stack.Open().Read(new byte[1 << 20])));

        Violation violation = Assert.Single(verifier.Violations);
        Assert.Equal(("DoubleCompletion", "broken-double"), (violation.Rule.Name, violation.Driver));
        Assert.StartsWith("broken-double!", violation.Symbol, StringComparison.Ordinal);
    }

    StackDriver Disk(GuestDrivers guest, string disk) => disk switch
    {
        "RamDisk" => new RamDisk(DiskSize),
        "FileDisk" => new FileDisk(file),
        "at once" => new ScriptedDevice { Otherwise = static _ => Respond.Now() },
        "pending at once" => new ScriptedDevice { Otherwise = static _ => Respond.PendingInline() },
        "later" => new ScriptedDevice
        {
            Buffering = DO_FLAGS.DO_BUFFERED_IO,
            Otherwise = static _ => Respond.After(TimeSpan.FromMilliseconds(1)),
        },
        "now and then failing" => Failing(),
        _ => Load(guest, disk),
    };

    static ScriptedDevice Failing()
    {
        int count = 0;
        return new ScriptedDevice
        {
            Otherwise = request => (request.MajorFunction is IRP_MJ_READ or IRP_MJ_WRITE ? Interlocked.Increment(ref count) % 5 : -1) switch
            {
                0 => Respond.Now(STATUS_DEVICE_NOT_READY),
                1 => Respond.After(TimeSpan.FromMilliseconds(1), STATUS_DEVICE_NOT_READY),
                2 => Respond.PendingInline(STATUS_DEVICE_NOT_READY),
                _ => Respond.Now(),
            },
        };
    }

    static StackDriver Filter(GuestDrivers guest, string filter) => filter == "PassThrough" ? new PassThrough() : Load(guest, filter);

    static StackDriver Load(GuestDrivers guest, string name)
    {
        bool isRead = guest.TryRead(Path.Combine(Samples, name + ".sys"), out DriverImage? image, out ImageDiagnostic? error);
        Assert.True(isRead, error?.ToString());
        Assert.Equal(STATUS_SUCCESS, guest.Start(image!, out Driver? driver));
        return driver!;
    }

    /// <returns>Whether any read brought bytes.</returns>
    static bool Exercise(Machine machine, DeviceStack stack)
    {
        bool transferred = false;
        const uint getLength = 0x0007405C;
        const uint unknown = 0x00222000;
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            transferred |= handle.Read(new byte[512], 512).Information > 0;
            handle.Write(new byte[512], 1024);
            transferred |= handle.Read(new byte[48 * 1024]).Information > 0;
            handle.Write(new byte[40 * 1024], 512);
            handle.Read(new byte[512], DiskSize * 2);
            handle.Read(Memory<byte>.Empty);
            handle.Flush();
            handle.Control(getLength, default, new byte[8]);
            handle.Control(unknown, new byte[4], new byte[4]);
        });
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            int[] lengths = [512, 40 * 1024, 512, 40 * 1024];
            IoOperation[] reads = [.. lengths.Select((length, i) => handle.StartRead(new byte[length], 512 * i))];
            reads[1].Cancel();
            reads[2].Cancel();
            foreach (IoOperation read in reads) transferred |= read.Wait().Information > 0;
        });
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            handle.StartRead(new byte[512]);
            handle.StartRead(new byte[40 * 1024], 512);
            // The handle is closed, and the thread ends, with both on their way.
        });
        return transferred;
    }

    static IEnumerable<string> SampleNames() =>
        Directory.EnumerateFiles(Samples, "*.sys")
            .Select(f => Path.GetFileNameWithoutExtension(f)!)
            .Where(n => !n.StartsWith("broken-", StringComparison.Ordinal) && !n.StartsWith("fixed-", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);
}
