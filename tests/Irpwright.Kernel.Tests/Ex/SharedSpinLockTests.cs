using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class SharedSpinLockTests : SynchronizationTest
{
    PEX_SPIN_LOCK NewLock()
    {
        // What follows the lock is not part of it.
        var spinLock = new PEX_SPIN_LOCK(Memory(8).Address);
        spinLock[1] = -1;
        return spinLock;
    }

    [Fact]
    public void Several_share_it_and_one_holds_it_exclusively() => Run(() =>
    {
        PEX_SPIN_LOCK spinLock = NewLock();
        byte old = ExAcquireSpinLockShared(spinLock);
        Assert.Equal(PASSIVE_LEVEL, old);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        ExAcquireSpinLockSharedAtDpcLevel(spinLock);
        Assert.True(ExTryAcquireSpinLockSharedAtDpcLevel(spinLock));
        Assert.False(ExTryAcquireSpinLockExclusiveAtDpcLevel(spinLock));
        Assert.Equal(3, spinLock.Value);
        ExReleaseSpinLockSharedFromDpcLevel(spinLock);
        ExReleaseSpinLockSharedFromDpcLevel(spinLock);
        ExReleaseSpinLockShared(spinLock, old);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        old = ExAcquireSpinLockExclusive(spinLock);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        Assert.False(ExTryAcquireSpinLockSharedAtDpcLevel(spinLock));
        Assert.False(ExTryAcquireSpinLockExclusiveAtDpcLevel(spinLock));
        ExReleaseSpinLockExclusive(spinLock, old);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        KeRaiseIrql(DISPATCH_LEVEL, out old);
        Assert.True(ExTryAcquireSpinLockExclusiveAtDpcLevel(spinLock));
        ExReleaseSpinLockExclusiveFromDpcLevel(spinLock);
        ExAcquireSpinLockExclusiveAtDpcLevel(spinLock);
        ExReleaseSpinLockExclusive(spinLock, old);
        Assert.Equal(0, spinLock.Value);
    });

    [Fact]
    public void Only_the_last_that_shares_it_can_convert() => Run(() =>
    {
        PEX_SPIN_LOCK spinLock = NewLock();
        byte old = ExAcquireSpinLockShared(spinLock);
        ExAcquireSpinLockSharedAtDpcLevel(spinLock);
        Assert.False(ExTryConvertSharedSpinLockExclusive(spinLock));
        ExReleaseSpinLockSharedFromDpcLevel(spinLock);
        Assert.True(ExTryConvertSharedSpinLockExclusive(spinLock));
        Assert.False(ExTryAcquireSpinLockSharedAtDpcLevel(spinLock));
        ExReleaseSpinLockExclusive(spinLock, old);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Releasing_what_is_not_held_that_way_stops_the_machine(bool shared) => Stops(SPIN_LOCK_NOT_OWNED, () =>
    {
        PEX_SPIN_LOCK spinLock = NewLock();
        if (shared)
        {
            ExAcquireSpinLockExclusive(spinLock);
            ExReleaseSpinLockShared(spinLock, PASSIVE_LEVEL);
        }
        else
        {
            ExAcquireSpinLockShared(spinLock);
            ExReleaseSpinLockExclusive(spinLock, PASSIVE_LEVEL);
        }
    });

    [Fact]
    public void Acquiring_it_exclusively_while_sharing_it_is_reported_as_a_hang()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PEX_SPIN_LOCK spinLock = NewLock();
            ExAcquireSpinLockShared(spinLock);
            ExAcquireSpinLockExclusiveAtDpcLevel(spinLock);
        }));
        Assert.Contains("spins on the lock at", hang.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(EveryOrder))]
    public void Readers_and_writers_never_meet(int order) => RunInOrder(order, () =>
    {
        const int rounds = 30;
        PEX_SPIN_LOCK spinLock = NewLock();
        int readers = 0, writers = 0;
        for (int i = 0; i < 2; i++)
        {
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    byte old = ExAcquireSpinLockExclusive(spinLock);
                    Assert.Equal(1, Interlocked.Increment(ref writers));
                    KeGetCurrentIrql();
                    Assert.Equal(0, readers);
                    Interlocked.Decrement(ref writers);
                    ExReleaseSpinLockExclusive(spinLock, old);
                }
            });
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    byte old = ExAcquireSpinLockShared(spinLock);
                    Interlocked.Increment(ref readers);
                    Assert.Equal(0, writers);
                    Interlocked.Decrement(ref readers);
                    if (n % 2 == 0 && ExTryConvertSharedSpinLockExclusive(spinLock)) ExReleaseSpinLockExclusive(spinLock, old);
                    else ExReleaseSpinLockShared(spinLock, old);
                }
            });
        }
        Join();
        Assert.Equal(0, spinLock.Value & int.MaxValue & ~0x40000000);
    });
}
