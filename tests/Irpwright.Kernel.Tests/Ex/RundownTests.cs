using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class RundownTests : SynchronizationTest
{
    PEX_RUNDOWN_REF Reference()
    {
        var reference = new PEX_RUNDOWN_REF(Memory(EX_RUNDOWN_REF.SizeOf).Address);
        ExInitializeRundownProtection(reference);
        return reference;
    }

    [Fact]
    public void Rundown_waits_for_the_users_and_lets_nobody_new_in() => Run(() =>
    {
        PEX_RUNDOWN_REF reference = Reference();
        Assert.True(ExAcquireRundownProtection(reference));
        Assert.True(ExAcquireRundownProtectionEx(reference, 3));
        Fork(() =>
        {
            ExWaitForRundownProtectionRelease(reference);
            Step("down");
        });
        Eventually(() => (reference.Count & 1) != 0);
        Assert.False(ExAcquireRundownProtection(reference));
        Assert.False(ExAcquireRundownProtectionEx(reference, 1));
        ExReleaseRundownProtectionEx(reference, 3);
        Sleep(2);
        Assert.Empty(Steps);
        ExReleaseRundownProtection(reference);
        Join();
        Assert.Equal(["down"], Steps);
        ExRundownCompleted(reference);
        Assert.False(ExAcquireRundownProtection(reference));
        ExReInitializeRundownProtection(reference);
        Assert.True(ExAcquireRundownProtection(reference));
        ExReleaseRundownProtection(reference);
        ExWaitForRundownProtectionRelease(reference);
        Assert.False(ExAcquireRundownProtection(reference));
    });

    [Fact]
    public void The_cache_aware_form_does_the_same() => Run(() =>
    {
        PEX_RUNDOWN_REF allocated = ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, 0x6E755220);
        ulong size = ExSizeOfRundownProtectionCacheAware();
        var own = new PEX_RUNDOWN_REF(Memory((int)size).Address);
        Fill(own, (int)size);
        ExInitializeRundownProtectionCacheAware(own, size);
        foreach (PEX_RUNDOWN_REF reference in new[] { allocated, own })
        {
            Assert.True(ExAcquireRundownProtectionCacheAware(reference));
            Assert.True(ExAcquireRundownProtectionCacheAwareEx(reference, 2));
            Fork(() => ExWaitForRundownProtectionReleaseCacheAware(reference));
            Eventually(() => (reference.Count & 1) != 0);
            Assert.False(ExAcquireRundownProtectionCacheAware(reference));
            ExReleaseRundownProtectionCacheAwareEx(reference, 2);
            ExReleaseRundownProtectionCacheAware(reference);
            Join();
            ExRundownCompletedCacheAware(reference);
            Assert.False(ExAcquireRundownProtectionCacheAware(reference));
            ExReInitializeRundownProtectionCacheAware(reference);
            Assert.True(ExAcquireRundownProtectionCacheAware(reference));
            ExReleaseRundownProtectionCacheAware(reference);
        }
        ExFreeCacheAwareRundownProtection(allocated);
        Assert.False(Machine.Pool.TryFind(allocated.Address, out _));
    });

    [Fact]
    public void A_hang_tells_of_users_that_never_end()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PEX_RUNDOWN_REF reference = Reference();
            ExAcquireRundownProtection(reference);
            ExWaitForRundownProtectionRelease(reference);
        }));
        Assert.Matches("waits for the rundown of [0-9a-f`]+, which has 1 users", hang.Message);
    }

    [Theory, MemberData(nameof(EveryOrder))]
    public void Nobody_uses_the_object_after_its_rundown(int order) => RunInOrder(order, () =>
    {
        PEX_RUNDOWN_REF reference = Reference();
        bool gone = false;
        for (int i = 0; i < 3; i++)
        {
            Fork(() =>
            {
                while (ExAcquireRundownProtection(reference))
                {
                    Assert.False(Volatile.Read(ref gone));
                    KeSetEvent(Event(), 0, false);
                    Assert.False(Volatile.Read(ref gone));
                    ExReleaseRundownProtection(reference);
                    Sleep(1);
                }
            });
        }
        Sleep(3);
        ExWaitForRundownProtectionRelease(reference);
        Volatile.Write(ref gone, true);
        Join();
    });
}
