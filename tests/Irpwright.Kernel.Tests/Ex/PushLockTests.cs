using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

/// <summary>Push locks as their page has them: shared or exclusive, no nesting, one word in any memory.</summary>
public class PushLockTests : SynchronizationTest
{
    PEX_PUSH_LOCK Push()
    {
        var created = new PEX_PUSH_LOCK(ExAllocatePoolWithTag(PagedPool, EX_PUSH_LOCK.SizeOf, 0x50545354).Address);
        ExInitializePushLock(created);
        return created;
    }

    static ulong Word(PEX_PUSH_LOCK target) => GuestMemory.Ref<ulong>(target.Address);

    void Exclusively(PEX_PUSH_LOCK target, Action act)
    {
        KeEnterCriticalRegion();
        ExAcquirePushLockExclusive(target);
        act();
        ExReleasePushLockExclusive(target);
        KeLeaveCriticalRegion();
    }

    void Shared(PEX_PUSH_LOCK target, Action act)
    {
        KeEnterCriticalRegion();
        ExAcquirePushLockSharedEx(target, 0);
        act();
        ExReleasePushLockSharedEx(target, 0);
        KeLeaveCriticalRegion();
    }

    [Fact]
    public void A_free_push_lock_is_zero_before_and_after() => Run(() =>
    {
        PEX_PUSH_LOCK push = Push();
        Assert.Equal(0ul, Word(push));
        Exclusively(push, () => Assert.NotEqual(0ul, Word(push)));
        KeEnterCriticalRegion();
        ExAcquirePushLockShared(push);
        ExReleasePushLockShared(push);
        KeLeaveCriticalRegion();
        Shared(push, () => Shared(push, () => Assert.NotEqual(0ul, Word(push))));
        Assert.Equal(0ul, Word(push));
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Fact]
    public void Many_share_it_and_nobody_gets_it_exclusively_meanwhile() => Run(() =>
    {
        PEX_PUSH_LOCK push = Push();
        Shared(push, () =>
        {
            Fork(() => Shared(push, () => Step("shared")));
            Join();
            Fork(() => Exclusively(push, () => Step("exclusive")));
            Sleep(1);
            Step("released");
        });
        Join();
        Assert.Equal(["shared", "released", "exclusive"], Steps);
    });

    [Fact]
    public void Who_wants_to_share_it_waits_behind_one_who_wants_it_exclusively() => Run(() =>
    {
        PEX_PUSH_LOCK push = Push();
        Shared(push, () =>
        {
            Fork(() => Exclusively(push, () => Step("exclusive")));
            Eventually(() => (Word(push) & 2) != 0);
            Fork(() => Shared(push, () => Step("shared")));
            Sleep(1);
            Assert.Empty(Steps);
        });
        Join();
        Assert.Equal(["exclusive", "shared"], Steps);
        Assert.Equal(0ul, Word(push));
    });

    [Fact]
    public void All_that_wait_to_share_it_get_it_together() => Run(() =>
    {
        PEX_PUSH_LOCK push = Push();
        int inside = 0;
        Exclusively(push, () =>
        {
            for (int i = 0; i < 3; i++)
            {
                Fork(() => Shared(push, () =>
                {
                    Interlocked.Increment(ref inside);
                    Eventually(() => Volatile.Read(ref inside) == 3);
                }));
            }
            Sleep(1);
            Assert.Equal(0, inside);
        });
        Join();
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void Two_never_have_it_exclusively_at_once(int order) => RunInOrder(order, () =>
    {
        PEX_PUSH_LOCK push = Push();
        Contend(() =>
        {
            KeEnterCriticalRegion();
            ExAcquirePushLockExclusiveEx(push, 1);
        }, () =>
        {
            ExReleasePushLockExclusiveEx(push, 1);
            KeLeaveCriticalRegion();
        });
        Assert.Equal(0ul, Word(push));
    });

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void A_thread_that_acquires_it_twice_waits_for_itself(bool firstExclusive, bool thenExclusive)
    {
        PEX_PUSH_LOCK push = default;
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            push = Push();
            KeEnterCriticalRegion();
            if (firstExclusive) ExAcquirePushLockExclusive(push);
            else ExAcquirePushLockShared(push);
            if (thenExclusive) ExAcquirePushLockExclusive(push);
            else ExAcquirePushLockShared(push);
        }));
        Assert.Contains($"the push lock at {push}, which it has already", hang.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_hang_names_who_has_it()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PEX_PUSH_LOCK push = Push();
            PKEVENT taken = Event();
            Start(() =>
            {
                KeEnterCriticalRegion();
                ExAcquirePushLockExclusive(push);
                KeSetEvent(taken, 0, false);
                Wait(Event());
            });
            Wait(taken);
            Exclusively(push, () => { });
        }));
        Assert.Matches("waits to have the push lock at .*; it is had by T\\d+", hang.Message);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    public void Releasing_what_one_does_not_have_in_that_way_stops_the_machine(bool acquire, bool exclusive) => Stops(KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE, () =>
    {
        PEX_PUSH_LOCK push = Push();
        KeEnterCriticalRegion();
        if (acquire) ExAcquirePushLockExclusive(push);
        if (exclusive) ExReleasePushLockExclusive(push);
        else ExReleasePushLockShared(push);
    });

    [Fact]
    public void Flags_that_are_not_modelled_stop_by_name() => Assert.Contains("ExAcquirePushLockSharedEx was called with flags 0x80",
        Assert.Throws<MachineUnsupportedException>(() => Run(() => ExAcquirePushLockSharedEx(Push(), 0x80))).Message);
}
