namespace Irpwright.Verification.Tests;

public class VerifierTests
{
    static Bench BrokenBench(MuteList? mutes = null)
    {
        var bench = new Bench(mutes: mutes);
        bench.Lower.Read = irp =>
        {
            PKSPIN_LOCK spinLock = bench.Lower.NewSpinLock();
            bench.Lower.KeAcquireSpinLock(spinLock, out byte irql);
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.KeReleaseSpinLock(spinLock, irql);
            return STATUS_SUCCESS;
        };
        return bench;
    }

    [Fact]
    public void A_violation_at_the_same_place_counts_once()
    {
        using Bench bench = BrokenBench();
        bench.Read();
        bench.Read();
        Assert.Equal(2, Assert.Single(bench.Verifier.Violations).Occurrences);
    }

    [Theory]
    [InlineData("SpinLockSafe", 1)]
    [InlineData("spinlocksafe@LOWER", 1)]
    [InlineData("SpinLockSafe@lower!Dispatch", 1)]
    [InlineData("@lower", 1)]
    [InlineData("SpinLockSafe@upper", 0)]
    [InlineData("SpinLockSafe@lower!Other", 0)]
    [InlineData("DoubleCompletion", 0)]
    public void What_is_muted_by_rule_driver_or_place_is_counted_and_not_reported(string entry, int muted)
    {
        var mutes = new MuteList();
        mutes.AddLines($"# known\n\n  {entry}  # since long\n", "mutes.txt");
        using Bench bench = BrokenBench(mutes);
        bench.Read();
        Assert.Equal(1 - muted, bench.Verifier.Violations.Count);
        Assert.Equal(muted, bench.Verifier.MutedCount);
    }

    [Theory]
    [InlineData("SpinLockSaf", "mutes.txt(2): 'SpinLockSaf' is no rule. `irpwright rules` lists them.")]
    [InlineData("@", "mutes.txt(2): '@' mutes nothing: write RULE, @DRIVER, RULE@DRIVER or RULE@DRIVER!FUNCTION.")]
    [InlineData("SpinLockSafe@lower!", "mutes.txt(2): 'SpinLockSafe@lower!' mutes nothing: write RULE, @DRIVER, RULE@DRIVER or RULE@DRIVER!FUNCTION.")]
    public void A_wrong_entry_is_an_error_that_names_its_line(string entry, string message) =>
        Assert.Equal(message, Assert.Throws<FormatException>(() => new MuteList().AddLines("\n" + entry, "mutes.txt")).Message);

    [Fact]
    public void Only_chosen_rules_are_watched_for()
    {
        using var machine = new Machine();
        RuleInfo chosen = RuleCatalog.Find("SpinLockSafe")!;
        Assert.Equal([chosen], Verifier.Attach(machine, [chosen]).Rules);
    }

    [Fact]
    public void A_violation_says_who_where_and_when()
    {
        using Bench bench = BrokenBench();
        Violation? told = null;
        bench.Verifier.Found = v => told = v;
        bench.Read();
        Violation violation = Assert.Single(bench.Verifier.Violations);
        Assert.Same(violation, told);
        Assert.Equal("lower", violation.Driver);
        Assert.Equal("lower!Dispatch", violation.Symbol);
        Assert.NotEqual(0UL, violation.Routine);
        Assert.NotEqual(0UL, violation.Irp);
        Assert.EndsWith("user", violation.Thread, StringComparison.Ordinal);
        Assert.Equal(DISPATCH_LEVEL, violation.Irql);
        Assert.True(violation.Step > 0);
        Assert.StartsWith("SpinLockSafe: lower!Dispatch completed irp#", violation.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Drivers_that_break_no_rule_cost_no_memory()
    {
        using var bench = new Bench(filterCount: 2);
        bench.Top.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.Machine.Run(() =>
        {
            PIRP irp = bench.Top.IoAllocateIrp(bench.Top.Lower.StackSize, false);
            Send(100);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Send(100);
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

            void Send(int count)
            {
                for (int i = 0; i < count; i++)
                {
                    bench.Top.Prepare(irp);
                    bench.Top.SetCompletionRoutine(irp, bench.Top.CompletionRoutine);
                    bench.Top.IoCallDriver(bench.Top.Lower, irp);
                    bench.Top.IoReuseIrp(irp, STATUS_SUCCESS);
                }
            }
        });
        Assert.Empty(bench.Verifier.Violations);
    }

    [Fact]
    public void Rules_cost_a_read_no_memory() => Assert.Equal(BytesOfReads(watched: false), BytesOfReads(watched: true));

    static long BytesOfReads(bool watched)
    {
        using var machine = new Machine(new MachineOptions { Strategy = Bench.Here() });
        if (watched) Verifier.Attach(machine);
        using DeviceHandle handle = DeviceStack.Build(machine, new RamDisk(4096), new PassThrough()).Open();
        byte[] buffer = new byte[512];
        return machine.Run(() =>
        {
            Read(100);
            // On real threads a wait that meets another thread allocates, now and then.
            return Enumerable.Range(0, 5).Min(_ =>
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                Read(100);
                return GC.GetAllocatedBytesForCurrentThread() - before;
            });
        });

        void Read(int count)
        {
            for (int i = 0; i < count; i++) Assert.Equal(STATUS_SUCCESS, handle.Read(buffer, 0).Status);
        }
    }

    [Fact]
    public void On_the_free_running_scheduler_threads_are_told_apart()
    {
        using var bench = new Bench(options: new MachineOptions { Strategy = null });
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.Upper.Done = irp =>
        {
            if (irp.PendingReturned) bench.Upper.IoMarkIrpPending(irp);
            return STATUS_CONTINUE_COMPLETION;
        };
        Parallel.For(0, 4, _ =>
        {
            for (int i = 0; i < 20; i++) bench.Machine.Run(() => ReadOnce(bench));
        });
        Assert.Empty(bench.Verifier.Violations);
    }

    [Fact]
    public async Task Who_comes_beside_the_one_thread_that_runs_waits_for_it_and_makes_it_wait()
    {
        using var machine = new Machine(new MachineOptions { Strategy = Bench.Here() });
        var gate = new EventGate(machine);
        using var isInside = new ManualResetEventSlim();
        bool hasLeft = false;
        Task<bool> guest = Task.Run(
            () => machine.Run(() =>
            {
                bool isAlone = gate.Enter();
                isInside.Set();
                Thread.Sleep(20);
                Volatile.Write(ref hasLeft, true);
                gate.Exit(isAlone);
                isAlone = gate.Enter();
                gate.Exit(isAlone);
                return isAlone;
            }),
            TestContext.Current.CancellationToken);
        isInside.Wait(TestContext.Current.CancellationToken);
        gate.EnterShared();
        Assert.True(Volatile.Read(ref hasLeft));
        gate.Exit(isAlone: false);
        Assert.False(await guest);
    }

    static void ReadOnce(Bench bench)
    {
        using DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName);
        Assert.Equal(STATUS_SUCCESS, handle.Read(new byte[16]).Status);
    }
}
