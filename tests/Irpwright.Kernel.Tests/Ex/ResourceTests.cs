using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class ResourceTests : SynchronizationTest
{
    PERESOURCE Resource()
    {
        var resource = new PERESOURCE(Memory(ERESOURCE.SizeOf).Address);
        Assert.Equal(STATUS_SUCCESS, ExInitializeResourceLite(resource));
        return resource;
    }

    /// <summary>Has another thread do something and waits for it.</summary>
    T Elsewhere<T>(Func<T> body)
    {
        T result = default!;
        Fork(() => result = body());
        Join();
        return result;
    }

    [Fact]
    public void Nobody_owns_a_new_resource() => Run(() =>
    {
        PERESOURCE resource = Resource();
        Assert.False(ExIsResourceAcquiredExclusiveLite(resource));
        Assert.Equal(0u, ExIsResourceAcquiredSharedLite(resource));
        Assert.Equal(0u, ExGetExclusiveWaiterCount(resource));
        Assert.Equal(0u, ExGetSharedWaiterCount(resource));
        Assert.Equal(STATUS_SUCCESS, ExDeleteResourceLite(resource));
    });

    [Fact]
    public void An_exclusive_owner_may_take_it_again_in_any_way_and_keeps_others_out() => Run(() =>
    {
        PERESOURCE resource = Resource();
        Assert.True(ExAcquireResourceExclusiveLite(resource, false));
        Assert.True(ExAcquireResourceExclusiveLite(resource, true));
        Assert.True(ExAcquireResourceSharedLite(resource, true));
        Assert.True(ExAcquireSharedWaitForExclusive(resource, true));
        Assert.True(ExIsResourceAcquiredExclusiveLite(resource));
        Assert.Equal(4u, ExIsResourceAcquiredSharedLite(resource));
        Assert.Equal(4u, ExIsResourceAcquiredLite(resource));
        Assert.Equal((false, false, false, false, 0u), Elsewhere(() => ((bool)ExAcquireResourceExclusiveLite(resource, false),
            (bool)ExAcquireResourceSharedLite(resource, false), (bool)ExAcquireSharedStarveExclusive(resource, false),
            (bool)ExIsResourceAcquiredExclusiveLite(resource), ExIsResourceAcquiredSharedLite(resource))));
        for (int i = 0; i < 4; i++)
        {
            Assert.True(ExIsResourceAcquiredExclusiveLite(resource));
            ExReleaseResourceLite(resource);
        }
        Assert.False(ExIsResourceAcquiredExclusiveLite(resource));
        Assert.True(Elsewhere(() =>
        {
            bool acquired = ExAcquireResourceExclusiveLite(resource, false);
            ExReleaseResourceLite(resource);
            return acquired;
        }));
    });

    [Fact]
    public void Many_share_it_more_than_fit_in_the_structure() => Run(() =>
    {
        const int threads = 12;
        PERESOURCE resource = Resource();
        PKEVENT end = Event();
        int sharing = 0;
        for (int i = 0; i < threads; i++)
        {
            Fork(() =>
            {
                Assert.True(ExAcquireResourceSharedLite(resource, false));
                Assert.True(ExAcquireResourceSharedLite(resource, false));
                Assert.Equal(2u, ExIsResourceAcquiredSharedLite(resource));
                Assert.False(ExIsResourceAcquiredExclusiveLite(resource));
                Interlocked.Increment(ref sharing);
                Wait(end);
                ExReleaseResourceLite(resource);
                ExReleaseResourceLite(resource);
            });
        }
        Eventually(() => sharing == threads);
        Assert.Equal(threads, resource.ActiveCount);
        Assert.False(ExAcquireResourceExclusiveLite(resource, false));
        KeSetEvent(end, 0, false);
        Join();
        Assert.Equal(0, resource.ActiveCount);
        Assert.True(ExAcquireResourceExclusiveLite(resource, false));
        ExReleaseResourceLite(resource);
        Assert.Equal(STATUS_SUCCESS, ExReinitializeResourceLite(resource));
        Assert.True(ExAcquireResourceSharedLite(resource, false));
        ExReleaseResourceLite(resource);
        ulong table = resource.OwnerTable.Address;
        ExDeleteResourceLite(resource);
        Assert.False(Machine.Pool.TryFind(table, out _));
    });

    [Fact]
    public void Behind_a_thread_that_waits_to_own_it_three_ways_to_share_differ() => Run(() =>
    {
        PERESOURCE resource = Resource();
        Assert.True(ExAcquireResourceSharedLite(resource, false));
        Fork(() =>
        {
            Assert.True(ExAcquireResourceExclusiveLite(resource, true));
            ExReleaseResourceLite(resource);
        });
        Eventually(() => ExGetExclusiveWaiterCount(resource) == 1);
        // Who shares it already.
        Assert.True(ExAcquireResourceSharedLite(resource, false));
        Assert.False(ExAcquireSharedWaitForExclusive(resource, false));
        // Who does not.
        PKEVENT end = Event(), done = Event();
        Start(() =>
        {
            Assert.False(ExAcquireResourceSharedLite(resource, false));
            Assert.False(ExAcquireSharedWaitForExclusive(resource, false));
            Assert.True(ExAcquireSharedStarveExclusive(resource, false));
            KeSetEvent(done, 0, false);
            Wait(end);
            ExReleaseResourceLite(resource);
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        KeClearEvent(done);
        KeSetEvent(end, 0, false);
        Wait(done);
        ExReleaseResourceLite(resource);
        ExReleaseResourceLite(resource);
        Join();
        Assert.Equal(0u, ExGetExclusiveWaiterCount(resource));
    });

    [Fact]
    public void An_exclusive_owner_is_followed_by_all_that_wait_to_share_then_by_the_next_exclusive_one() => Run(() =>
    {
        PERESOURCE resource = Resource();
        ExAcquireResourceExclusiveLite(resource, true);
        PKEVENT end = Event();
        Fork(() =>
        {
            ExAcquireResourceExclusiveLite(resource, true);
            Step("exclusive");
            ExReleaseResourceLite(resource);
        });
        Eventually(() => ExGetExclusiveWaiterCount(resource) == 1);
        for (int i = 0; i < 2; i++)
        {
            Fork(() =>
            {
                ExAcquireResourceSharedLite(resource, true);
                Step("shared");
                Wait(end);
                ExReleaseResourceLite(resource);
            });
        }
        Eventually(() => ExGetSharedWaiterCount(resource) == 2);
        Assert.Equal(3u, resource.ContentionCount);
        ExReleaseResourceLite(resource);
        Eventually(() => Steps.Count == 2);
        Assert.Equal(0u, ExGetSharedWaiterCount(resource));
        KeSetEvent(end, 0, false);
        Join();
        Assert.Equal(["shared", "shared", "exclusive"], Steps);
    });

    [Fact]
    public void Converting_lets_those_in_that_wait_to_share() => Run(() =>
    {
        PERESOURCE resource = Resource();
        ExAcquireResourceExclusiveLite(resource, true);
        Fork(() =>
        {
            ExAcquireResourceSharedLite(resource, true);
            Step("shared");
            ExReleaseResourceLite(resource);
        });
        Eventually(() => ExGetSharedWaiterCount(resource) == 1);
        ExConvertExclusiveToSharedLite(resource);
        Join();
        Assert.Equal(["shared"], Steps);
        Assert.False(ExIsResourceAcquiredExclusiveLite(resource));
        Assert.Equal(1u, ExIsResourceAcquiredSharedLite(resource));
        ExReleaseResourceLite(resource);
    });

    [Fact]
    public void The_forms_with_a_critical_region_enter_and_leave_it() => Run(() =>
    {
        PERESOURCE resource = Resource();
        foreach (Action acquire in new Action[]
        {
            () => ExEnterCriticalRegionAndAcquireResourceExclusive(resource),
            () => ExEnterCriticalRegionAndAcquireResourceShared(resource),
            () => ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(resource),
        })
        {
            acquire();
            Assert.True(KeAreApcsDisabled());
            Assert.Equal(1u, ExIsResourceAcquiredSharedLite(resource));
            ExReleaseResourceAndLeaveCriticalRegion(resource);
            Assert.False(KeAreApcsDisabled());
            Assert.Equal(0u, ExIsResourceAcquiredSharedLite(resource));
        }
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Another_thread_releases_what_belongs_to_an_owner_pointer(bool shared) => Run(() =>
    {
        PERESOURCE resource = Resource();
        PVOID pointer = new(Memory(8).Address | 3);
        for (int i = 0; i < 2; i++)
        {
            if (shared) ExAcquireResourceSharedLite(resource, true);
            else ExAcquireResourceExclusiveLite(resource, true);
            if (i == 0 || shared) ExSetResourceOwnerPointer(resource, pointer);
            Assert.Equal(0u, ExIsResourceAcquiredSharedLite(resource));
            if (!shared) break;
        }
        Assert.Equal(1, resource.ActiveCount);
        Assert.True(Elsewhere(() =>
        {
            for (int i = 0; i < (shared ? 2 : 1); i++)
            {
                Assert.False(ExAcquireResourceExclusiveLite(resource, false));
                ExReleaseResourceForThreadLite(resource, pointer.Address);
            }
            bool free = ExAcquireResourceExclusiveLite(resource, false);
            ExReleaseResourceForThreadLite(resource, ExGetCurrentResourceThread());
            return free;
        }));
    });

    [Fact]
    public void An_owner_pointer_without_its_mark_stops_the_machine()
    {
        PERESOURCE resource = default;
        BugCheckReport report = Stops(RESOURCE_OWNER_POINTER_INVALID, () =>
        {
            resource = Resource();
            ExAcquireResourceSharedLite(resource, true);
            ExSetResourceOwnerPointerEx(resource, new PVOID(0x1230), FLAG_OWNER_POINTER_IS_THREAD);
        });
        Assert.Equal(resource.Address, report.Parameter1);
        Assert.Equal(0x1230UL, report.Parameter4);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Releasing_or_changing_what_one_does_not_own_stops_the_machine(int what)
    {
        PERESOURCE resource = default;
        BugCheckReport report = Stops(RESOURCE_NOT_OWNED, () =>
        {
            resource = Resource();
            if (what == 0) ExReleaseResourceLite(resource);
            ExAcquireResourceSharedLite(resource, true);
            if (what == 1) ExConvertExclusiveToSharedLite(resource);
            Fork(() => ExSetResourceOwnerPointer(resource, new PVOID(7)));
            Join();
        });
        Assert.Equal(resource.Address, report.Parameter1);
    }

    [Fact]
    public void A_hang_names_owners()
    {
        PERESOURCE resource = default;
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            resource = Resource();
            ExAcquireResourceSharedLite(resource, true);
            ExAcquireResourceExclusiveLite(resource, true);
        }));
        Assert.Matches($"waits to own the resource at {resource}, shared by T\\d+ user", hang.Message);
    }

    [Theory, MemberData(nameof(EveryOrder))]
    public void Readers_and_writers_never_meet(int order) => RunInOrder(order, () =>
    {
        const int rounds = 20;
        PERESOURCE resource = Resource();
        int readers = 0, writers = 0;
        for (int i = 0; i < 2; i++)
        {
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    ExAcquireResourceExclusiveLite(resource, true);
                    Assert.Equal(1, Interlocked.Increment(ref writers));
                    Assert.Equal(0, readers);
                    Interlocked.Decrement(ref writers);
                    if (n % 3 == 0) ExConvertExclusiveToSharedLite(resource);
                    ExReleaseResourceLite(resource);
                }
            });
            bool starve = i == 0;
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    if (starve) ExAcquireSharedStarveExclusive(resource, true);
                    else ExAcquireResourceSharedLite(resource, true);
                    Interlocked.Increment(ref readers);
                    Assert.Equal(0, writers);
                    Interlocked.Decrement(ref readers);
                    ExReleaseResourceLite(resource);
                }
            });
        }
        Join();
        Assert.Equal(0, resource.ActiveCount);
    });
}
