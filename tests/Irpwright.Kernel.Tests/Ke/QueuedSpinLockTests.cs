using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class QueuedSpinLockTests : SynchronizationTest
{
    PKSPIN_LOCK NewLock()
    {
        var spinLock = new PKSPIN_LOCK(Memory(KSPIN_LOCK.SizeOf).Address);
        KeInitializeSpinLock(spinLock);
        return spinLock;
    }

    PKLOCK_QUEUE_HANDLE Handle() => new(Memory(KLOCK_QUEUE_HANDLE.SizeOf).Address);

    [Fact]
    public void The_handle_keeps_the_lock_and_the_level_to_return_to() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        PKLOCK_QUEUE_HANDLE handle = Handle();
        foreach (byte irql in new[] { PASSIVE_LEVEL, APC_LEVEL })
        {
            KeRaiseIrql(irql, out KIRQL old);
            KeAcquireInStackQueuedSpinLock(spinLock, handle);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Assert.Equal(spinLock, handle.LockQueue.Lock);
            Assert.False(KeTestSpinLock(spinLock));
            Assert.False(KeTryToAcquireSpinLockAtDpcLevel(spinLock));
            KeReleaseInStackQueuedSpinLock(handle);
            Assert.Equal(irql, KeGetCurrentIrql());
            Assert.True(KeTestSpinLock(spinLock));
            KeLowerIrql(old);
        }
    });

    [Fact]
    public void At_DISPATCH_LEVEL_and_in_threaded_DPCs_there_are_forms_of_their_own() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        PKLOCK_QUEUE_HANDLE handle = Handle();
        KeAcquireInStackQueuedSpinLockForDpc(spinLock, handle);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeReleaseInStackQueuedSpinLockForDpc(handle);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        KeAcquireInStackQueuedSpinLockAtDpcLevel(spinLock, handle);
        Assert.False(KeTestSpinLock(spinLock));
        KeReleaseInStackQueuedSpinLockFromDpcLevel(handle);
        Assert.True(KeTestSpinLock(spinLock));
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        Assert.True(KeTryToAcquireSpinLockAtDpcLevel(spinLock));
        KeReleaseSpinLockFromDpcLevel(spinLock);
        KeLowerIrql(old);
        byte before = KeAcquireSpinLockForDpc(spinLock);
        Assert.Equal(PASSIVE_LEVEL, before);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeReleaseSpinLockForDpc(spinLock, before);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        before = KeAcquireSpinLockRaiseToSynch(spinLock);
        Assert.Equal(SYNCH_LEVEL, KeGetCurrentIrql());
        KeReleaseSpinLockFromDpcLevel(spinLock);
        KeLowerIrql(before);
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void One_thread_at_a_time_holds_it(int order) => RunInOrder(order, () =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        using var mine = new ThreadLocal<PKLOCK_QUEUE_HANDLE>(() => Handle());
        Contend(() => KeAcquireInStackQueuedSpinLock(spinLock, mine.Value), () => KeReleaseInStackQueuedSpinLock(mine.Value));
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Acquiring_twice_or_releasing_what_is_free_stops_the_machine(bool twice) => Stops(twice ? SPIN_LOCK_ALREADY_OWNED : SPIN_LOCK_NOT_OWNED, () =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        PKLOCK_QUEUE_HANDLE handle = Handle();
        KeAcquireInStackQueuedSpinLock(spinLock, handle);
        if (twice) KeAcquireInStackQueuedSpinLockAtDpcLevel(spinLock, Handle());
        KeReleaseInStackQueuedSpinLockFromDpcLevel(handle);
        KeReleaseInStackQueuedSpinLock(handle);
    });
}
