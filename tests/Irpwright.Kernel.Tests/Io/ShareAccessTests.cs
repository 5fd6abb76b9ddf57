using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class ShareAccessTests : DriverTest
{
    PFILE_OBJECT File() => new(Memory(FILE_OBJECT.SizeOf).Address);

    static uint[] Counts(in SHARE_ACCESS s) => [s.OpenCount, s.Readers, s.Writers, s.Deleters, s.SharedRead, s.SharedWrite, s.SharedDelete];

    [Fact]
    public void The_first_open_is_counted_by_what_it_wants_and_grants() => Run(() =>
    {
        PFILE_OBJECT file = File();
        IoSetShareAccess(FILE_EXECUTE | FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_DELETE, file, out SHARE_ACCESS share);
        Assert.Equal([1, 1, 1, 0, 1, 0, 1], Counts(share));
        Assert.Equal<bool>([true, true, false], [file.ReadAccess, file.WriteAccess, file.DeleteAccess]);
        Assert.Equal<bool>([true, false, true], [file.SharedRead, file.SharedWrite, file.SharedDelete]);
        IoRemoveShareAccess(file, ref share);
        Assert.Equal(new uint[7], Counts(share));
    });

    [Theory]
    [InlineData(FILE_READ_DATA, FILE_SHARE_READ, FILE_READ_DATA, FILE_SHARE_READ, true)]
    [InlineData(FILE_READ_DATA, FILE_SHARE_READ, FILE_WRITE_DATA, FILE_SHARE_READ, false)] // the first does not share writing
    [InlineData(FILE_READ_DATA, FILE_SHARE_WRITE, FILE_WRITE_DATA, FILE_SHARE_READ, true)]
    [InlineData(FILE_READ_DATA, FILE_SHARE_WRITE, FILE_WRITE_DATA, FILE_SHARE_WRITE, false)] // the second does not share reading
    [InlineData(FILE_WRITE_DATA, FILE_SHARE_READ, FILE_READ_DATA, FILE_SHARE_READ, false)]
    [InlineData(DELETE, FILE_SHARE_READ, FILE_READ_DATA, FILE_SHARE_READ, false)]
    [InlineData(DELETE, FILE_SHARE_READ, FILE_READ_DATA, FILE_SHARE_DELETE, true)]
    [InlineData(FILE_READ_DATA, FILE_SHARE_READ, DELETE, FILE_SHARE_READ, false)]
    [InlineData(FILE_READ_DATA, 0, FILE_READ_ATTRIBUTES, 0, true)] // which disturbs nobody
    public void A_second_open_must_suit_the_first(uint firstAccess, int firstShare, uint access, int shared, bool allowed) => Run(() =>
    {
        IoSetShareAccess(firstAccess, (uint)firstShare, File(), out SHARE_ACCESS share);
        uint[] before = Counts(share);
        PFILE_OBJECT second = File();
        Assert.Equal(allowed ? STATUS_SUCCESS : STATUS_SHARING_VIOLATION, IoCheckShareAccess(access, (uint)shared, second, ref share, false));
        Assert.Equal(before, Counts(share));
        Assert.Equal(allowed ? STATUS_SUCCESS : STATUS_SHARING_VIOLATION, IoCheckShareAccess(access, (uint)shared, second, ref share, true));
        Assert.Equal(before[0] + (allowed && access != FILE_READ_ATTRIBUTES ? 1U : 0), share.OpenCount);
    });

    [Fact]
    public void An_open_that_was_only_checked_is_counted_later() => Run(() =>
    {
        IoSetShareAccess(FILE_READ_DATA, FILE_SHARE_READ, File(), out SHARE_ACCESS share);
        PFILE_OBJECT second = File();
        Assert.Equal(STATUS_SUCCESS, IoCheckShareAccess(FILE_READ_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, second, ref share, false));
        IoUpdateShareAccess(second, ref share);
        Assert.Equal([2, 2, 0, 0, 2, 1, 0], Counts(share));
        IoRemoveShareAccess(second, ref share);
        Assert.Equal([1, 1, 0, 0, 1, 0, 0], Counts(share));
    });
}
