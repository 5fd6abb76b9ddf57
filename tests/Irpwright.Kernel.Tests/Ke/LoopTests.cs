using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

/// <summary>Goal: C# code that loops stops its machine, never the process. Method: drivers that loop in every way.</summary>
public sealed class LoopTests
{
    static readonly MachineOptions Impatient = new() { Watchdog = TimeSpan.FromMilliseconds(100) };

    [Theory]
    [InlineData(0)]
    [InlineData(DISPATCH_LEVEL)]
    public void A_driver_that_polls_its_memory_is_stopped_and_its_thread_ends(byte irql)
    {
        using var machine = new Machine(Impatient);
        var driver = new Looping(() => { }, irql);
        BugCheckReport report = Assert.Throws<BugCheckException>(() => driver.LoadIn(machine)).Report;

        Assert.Equal(irql == 0 ? THREAD_STUCK_IN_DEVICE_DRIVER : DPC_WATCHDOG_VIOLATION, report.Code);
        Assert.Contains("loops", report.Explanation);
        Assert.Empty(machine.Scheduler.Threads);
        Assert.Equal(0UL, GuestMemory.Ref<ulong>(driver.Flag.Address)); // the memory can be looked at
    }

    [Fact]
    public void A_thread_that_waits_is_no_loop()
    {
        using var machine = new Machine(Impatient with { Strategy = null, Watchdog = TimeSpan.FromMilliseconds(500) });
        machine.Run(() => Assert.Equal(STATUS_SUCCESS, machine.Drivers.Load(new Sleeping(), "sleeping", out _)));
    }

    [Fact]
    public void The_memory_of_a_machine_whose_thread_cannot_be_ended_is_not_used_again()
    {
        bool go = true;
        ulong slice;
        using (var machine = new Machine(Impatient))
        {
            slice = machine.Memory.SliceBase;
            var driver = new Looping(() => { while (Volatile.Read(ref go)) Thread.SpinWait(10); }, 0);
            Assert.Throws<BugCheckException>(() => driver.LoadIn(machine));
        }
        using (var other = new Machine()) Assert.NotEqual(slice, other.Memory.SliceBase);
        Volatile.Write(ref go, false);
    }

    sealed class Looping(Action before, byte irql) : WdmDriver
    {
        internal PVOID Flag { get; private set; }

        internal void LoadIn(Machine machine) => machine.Run(() => machine.Drivers.Load(this, "looping", out _));

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            Flag = ExAllocatePoolZero(NonPagedPoolNx, 8, 0x706F6F4C);
            KeRaiseIrql(irql, out _);
            before();
            while (Volatile.Read(ref GuestMemory.Ref<ulong>(Flag.Address)) == 0) Thread.SpinWait(1);
            return STATUS_SUCCESS;
        }
    }

    sealed class Sleeping : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            using LocalVariable<KEVENT> never = Local<KEVENT>();
            KeInitializeEvent(PKEVENT.To(ref never.Value), NotificationEvent, false);
            NTSTATUS status = KeWaitForSingleObject(never.Address, Executive, KernelMode, false, -10_000_000L);
            return status == STATUS_TIMEOUT ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
        }
    }
}
