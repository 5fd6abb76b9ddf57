using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class IoTimerTests : DriverTest
{
    const long Second = 10_000_000;

    PDEVICE_OBJECT NewDevice() => Device((_, irp) => Complete(irp, STATUS_SUCCESS));

    [Fact]
    [Spec("DPC-10")]
    public void The_routine_is_called_once_a_second_while_the_timer_is_started() => Run(() =>
    {
        PDEVICE_OBJECT device = NewDevice();
        PKEVENT ticked = Event(SynchronizationEvent);
        int ticks = 0;
        Assert.Equal(STATUS_SUCCESS, IoInitializeTimer(device, (d, context) =>
        {
            Assert.Equal(device, d);
            Assert.Equal(0x77UL, context.Address);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Interlocked.Increment(ref ticks);
            KeSetEvent(ticked, 0, false);
        }, new PVOID(0x77)));
        KeDelayExecutionThread(KernelMode, false, -Second * 3 / 2);
        Assert.Equal(0, ticks);
        long start = (long)KeQueryInterruptTime();
        IoStartTimer(device);
        Wait(ticked);
        ItIs(start + Second);
        Wait(ticked);
        ItIs(start + 2 * Second);
        IoStopTimer(device);
        KeDelayExecutionThread(KernelMode, false, -Second * 3 / 2);
        Assert.Equal(2, ticks);
        IoStartTimer(device);
        Wait(ticked);
        IoDeleteDevice(device);
        Assert.Equal(3, ticks);
    });

    [Fact]
    [Spec("DPC-10")]
    public void All_devices_tick_together_and_a_deleted_one_no_more() => Run(() =>
    {
        PDEVICE_OBJECT first = NewDevice(), second = NewDevice();
        PKEVENT ticked = Event(SynchronizationEvent);
        IoInitializeTimer(first, (_, _) => Step("replaced"), default);
        IoInitializeTimer(first, (_, _) => Step("first"), default);
        IoInitializeTimer(second, (_, _) =>
        {
            Step("second");
            KeSetEvent(ticked, 0, false);
        }, default);
        IoStartTimer(first);
        IoStartTimer(second);
        Wait(ticked);
        IoDeleteDevice(first);
        Wait(ticked);
        IoStopTimer(second);
        Assert.Equal(["first", "second", "second"], Steps);
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Spec("DPC-10")]
    public void A_timer_is_stopped_when_its_routine_has_returned(bool deletes) => Run(Scheduling.FreeRunning, () =>
    {
        PDEVICE_OBJECT device = NewDevice();
        PKEVENT entered = Event();
        bool isLeft = false;
        IoInitializeTimer(device, (_, _) =>
        {
            KeSetEvent(entered, 0, false);
            KeStallExecutionProcessor(2000);
            Volatile.Write(ref isLeft, true);
        }, default);
        IoStartTimer(device);
        Wait(entered);
        if (deletes) IoDeleteDevice(device);
        else IoStopTimer(device);
        Assert.True(Volatile.Read(ref isLeft));
    });
}
