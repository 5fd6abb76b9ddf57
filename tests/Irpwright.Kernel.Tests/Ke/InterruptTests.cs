using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

/// <summary>
/// Goal: interrupts and DPCs leave the thread whose processor they take as it was. Method: a device whose interrupt queues a DPC
/// that sets an event, while the thread waits, runs, spins or ends.
/// </summary>
public sealed class InterruptTests : IDisposable
{
    readonly Device device = new();
    Machine machine = new();

    public void Dispose() => machine.Dispose();

    void Run(Action scenario) => machine.Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, machine.Drivers.Load(device, "device", out _));
        scenario();
    });

    [Fact]
    public void A_waiting_thread_is_woken_by_the_dpc_of_an_interrupt() => Run(() =>
    {
        PKEVENT answer = device.NewEvent();
        device.InterruptAfter(TimeSpan.FromMilliseconds(1), answer);
        Assert.Equal(STATUS_SUCCESS, device.Wait(answer));
        Assert.Equal(TimeSpan.FromMilliseconds(1).Ticks, machine.Scheduler.InterruptTime);
    });

    [Fact]
    public void A_waiting_thread_goes_on_waiting_after_an_interrupt_that_is_not_for_it() => Run(() =>
    {
        PKEVENT answer = device.NewEvent();
        device.InterruptAfter(TimeSpan.FromMilliseconds(1), default);
        device.InterruptAfter(TimeSpan.FromMilliseconds(2), device.NewEvent());
        device.InterruptAfter(TimeSpan.FromMilliseconds(3), answer);
        Assert.Equal(STATUS_SUCCESS, device.Wait(answer));
        Assert.Equal(TimeSpan.FromMilliseconds(3).Ticks, machine.Scheduler.InterruptTime);
    });

    [Fact]
    public void A_wait_still_times_out_after_an_interrupt() => Run(() =>
    {
        device.InterruptAfter(TimeSpan.FromMilliseconds(1), default);
        Assert.Equal(STATUS_TIMEOUT, device.Wait(device.NewEvent(), -TimeSpan.FromMilliseconds(2).Ticks));
        Assert.Equal(TimeSpan.FromMilliseconds(2).Ticks, machine.Scheduler.InterruptTime);
    });

    [Fact]
    public void An_interrupt_in_a_thread_that_ends_reaches_the_others() => Run(() =>
    {
        PKEVENT answer = device.NewEvent();
        machine.Scheduler.Start("short", ThreadKind.System, () => device.InterruptAfter(TimeSpan.Zero, answer));
        Assert.Equal(STATUS_SUCCESS, device.Wait(answer));
    });

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void Whatever_is_chosen_every_wait_ends(int seed)
    {
        const int threads = 4, rounds = 20;
        machine.Dispose();
        machine = new Machine(new MachineOptions { Strategy = new Chance(seed) });
        int done = 0;
        Run(() =>
        {
            PKEVENT end = device.NewEvent();
            for (int i = 0; i < threads; i++)
            {
                machine.Scheduler.Start($"waiter {i}", ThreadKind.System, () =>
                {
                    PKEVENT answer = device.NewEvent();
                    for (int n = 0; n < rounds; n++)
                    {
                        device.InterruptAfter(TimeSpan.FromMicroseconds(n), answer);
                        device.Wait(answer);
                    }
                    if (Interlocked.Increment(ref done) == threads) device.InterruptAfter(TimeSpan.Zero, end);
                });
            }
            device.Wait(end);
        });
        Assert.Equal(threads, done);
    }

    sealed class Chance(int seed) : IScheduleStrategy
    {
        readonly Random random = new(seed);

        public bool MovesTimeEarly => true;

        public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) => random.Next(choices.Length);
    }

    sealed class Device : WdmDriver
    {
        const uint Tag = 0x20747354; // "Tst "

        PKSPIN_LOCK registers;

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            registers = (PKSPIN_LOCK)ExAllocatePoolWithTag(NonPagedPool, KSPIN_LOCK.SizeOf, Tag);
            KeInitializeSpinLock(registers);
            return STATUS_SUCCESS;
        }

        internal PKEVENT NewEvent()
        {
            var created = (PKEVENT)ExAllocatePoolWithTag(NonPagedPool, KEVENT.SizeOf, Tag);
            KeInitializeEvent(created, SynchronizationEvent, false);
            return created;
        }

        /// <param name="sets">Set by the interrupt's DPC; none if null.</param>
        internal void InterruptAfter(TimeSpan delay, PKEVENT sets)
        {
            var dpc = (PKDPC)ExAllocatePoolWithTag(NonPagedPool, KDPC.SizeOf, Tag);
            KeInitializeDpc(dpc, Answer, sets);
            var interrupt = new Interrupt("device", 5, () => KeInsertQueueDpc(dpc, default, default));
            Machine.Scheduler.Schedule(interrupt, Machine.Scheduler.InterruptTime + delay.Ticks);
        }

        void Answer(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
        {
            KeAcquireSpinLockAtDpcLevel(registers);
            KeReleaseSpinLockFromDpcLevel(registers);
            if (!DeferredContext.IsNull) KeSetEvent((PKEVENT)DeferredContext, 0, false);
        }

        internal NTSTATUS Wait(PKEVENT answer, long? timeout = null)
        {
            KeAcquireSpinLock(registers, out KIRQL irql);
            KeReleaseSpinLock(registers, irql);
            return KeWaitForSingleObject(answer, Executive, KernelMode, false, timeout);
        }
    }
}
