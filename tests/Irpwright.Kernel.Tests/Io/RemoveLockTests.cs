using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class RemoveLockTests : DriverTest
{
    PIO_REMOVE_LOCK New()
    {
        var removeLock = new PIO_REMOVE_LOCK(Memory(IO_REMOVE_LOCK.SizeOf).Address);
        Fill(removeLock, IO_REMOVE_LOCK.SizeOf);
        IoInitializeRemoveLock(removeLock, 0x21, 1, 2);
        return removeLock;
    }

    PKEVENT EventOf(PIO_REMOVE_LOCK removeLock) => new(removeLock.Address + 8);

    [Fact]
    [Spec("RMLOCK-01")]
    public void A_new_lock_is_not_removed_and_counts_the_device_itself() => Run(() =>
    {
        PIO_REMOVE_LOCK removeLock = New();
        Assert.False(removeLock.Common.Removed);
        Assert.Equal(1, removeLock.Common.IoCount);
        Assert.False(IsSet(EventOf(removeLock)));
        Assert.Equal(EventSynchronizationObject, new PDISPATCHER_HEADER(EventOf(removeLock).Address).Type);
    });

    [Fact]
    [Spec("RMLOCK-02"), Spec("RMLOCK-03")]
    public void Acquiring_and_releasing_count() => Run(() =>
    {
        PIO_REMOVE_LOCK removeLock = New();
        Assert.Equal(STATUS_SUCCESS, IoAcquireRemoveLock(removeLock, default));
        Assert.Equal(STATUS_SUCCESS, IoAcquireRemoveLock(removeLock, default));
        Assert.Equal(3, removeLock.Common.IoCount);
        IoReleaseRemoveLock(removeLock, default);
        Assert.Equal(2, removeLock.Common.IoCount);
        Assert.False(IsSet(EventOf(removeLock)));
    });

    [Fact]
    [Spec("RMLOCK-02"), Spec("RMLOCK-06")]
    public void After_removal_every_acquisition_fails_and_counts_nothing() => Run(() =>
    {
        PIO_REMOVE_LOCK removeLock = New();
        IoAcquireRemoveLock(removeLock, default);
        IoReleaseRemoveLockAndWait(removeLock, default);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(STATUS_DELETE_PENDING, IoAcquireRemoveLock(removeLock, default));
            Assert.Equal(0, removeLock.Common.IoCount);
        }
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("RMLOCK-03"), Spec("RMLOCK-04"), Spec("RMLOCK-05")]
    public void Removal_waits_until_whoever_it_is_releases_the_last_acquisition(Scheduling scheduling) => Run(scheduling, () =>
    {
        PIO_REMOVE_LOCK removeLock = New();
        IoAcquireRemoveLock(removeLock, default);
        IoAcquireRemoveLock(removeLock, default); // for a request that is still out
        AfterOneMillisecond((_, _, _, _) =>
        {
            Step("released");
            IoReleaseRemoveLock(removeLock, default);
        });
        IoReleaseRemoveLockAndWait(removeLock, default);
        Step("removed");
        Assert.Equal(["released", "removed"], Steps);
        Assert.Equal(0, removeLock.Common.IoCount);
        Assert.True(removeLock.Common.Removed);
    });

    [Theory]
    [InlineData(0x20U)]
    [InlineData(0x78U)]
    [Spec("RMLOCK-08")]
    public void Both_structure_sizes_are_taken_and_tags_ignored(uint size) => Run(() =>
    {
        PVOID memory = Memory((int)size + 8);
        Fill(memory, (int)size + 8);
        var removeLock = new PIO_REMOVE_LOCK(memory.Address);
        IoInitializeRemoveLockEx(removeLock, 0x21, 1, 1, size);
        Assert.Equal(STATUS_SUCCESS, IoAcquireRemoveLockEx(removeLock, new PVOID(1), default, 0, size));
        Assert.Equal(STATUS_SUCCESS, IoAcquireRemoveLockEx(removeLock, new PVOID(2), default, 0, size));
        IoReleaseRemoveLockEx(removeLock, new PVOID(3), size);
        IoReleaseRemoveLockAndWaitEx(removeLock, new PVOID(4), size);
        Assert.Equal(Enumerable.Range((int)size, 8).Select(i => (byte)(0x80 | i)), Bytes(new PVOID(memory.Address + size), 8));
    });
}
