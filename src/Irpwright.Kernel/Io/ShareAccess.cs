using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Who may open a file at the same time. The caller locks the SHARE_ACCESS, which is its own.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iocheckshareaccess"/>
public sealed class ShareAccess
{
    internal ShareAccess(Machine machine)
    {
    }

    /// <summary>Checks a further open against those that there are, and counts it if asked to. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DesiredAccess">FILE_READ_DATA, FILE_EXECUTE, FILE_WRITE_DATA, FILE_APPEND_DATA and DELETE count.</param>
    /// <param name="DesiredShareAccess">FILE_SHARE_*: what others may do meanwhile.</param>
    /// <returns>STATUS_SHARING_VIOLATION when one of both does not allow what the other does.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCheckShareAccess(
        ACCESS_MASK DesiredAccess, uint DesiredShareAccess, PFILE_OBJECT FileObject, ref SHARE_ACCESS ShareAccess, BOOLEAN Update)
    {
        if (!Describe(FileObject, DesiredAccess, DesiredShareAccess)) return NTSTATUS.STATUS_SUCCESS;
        uint opens = ShareAccess.OpenCount;
        bool collides = (FileObject.ReadAccess && ShareAccess.SharedRead < opens)
            || (FileObject.WriteAccess && ShareAccess.SharedWrite < opens)
            || (FileObject.DeleteAccess && ShareAccess.SharedDelete < opens)
            || (ShareAccess.Readers > 0 && !FileObject.SharedRead)
            || (ShareAccess.Writers > 0 && !FileObject.SharedWrite)
            || (ShareAccess.Deleters > 0 && !FileObject.SharedDelete);
        if (collides) return NTSTATUS.STATUS_SHARING_VIOLATION;
        if (Update) Count(FileObject, ref ShareAccess, 1);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Starts a SHARE_ACCESS with the first open. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoSetShareAccess(ACCESS_MASK DesiredAccess, uint DesiredShareAccess, PFILE_OBJECT FileObject, out SHARE_ACCESS ShareAccess)
    {
        ShareAccess = default;
        if (Describe(FileObject, DesiredAccess, DesiredShareAccess)) Count(FileObject, ref ShareAccess, 1);
    }

    /// <summary>Counts an open that IoCheckShareAccess allowed without counting it. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoUpdateShareAccess(PFILE_OBJECT FileObject, ref SHARE_ACCESS ShareAccess)
    {
        if (TakesPart(FileObject)) Count(FileObject, ref ShareAccess, 1);
    }

    /// <summary>Takes back what an open counts, when its last handle is closed. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoRemoveShareAccess(PFILE_OBJECT FileObject, ref SHARE_ACCESS ShareAccess)
    {
        if (TakesPart(FileObject)) Count(FileObject, ref ShareAccess, -1);
    }

    /// <returns>False for an open that only looks at attributes: it disturbs nobody.</returns>
    static bool Describe(PFILE_OBJECT file, uint access, uint share)
    {
        file.ReadAccess = (access & (FILE_READ_DATA | FILE_EXECUTE)) != 0;
        file.WriteAccess = (access & (FILE_WRITE_DATA | FILE_APPEND_DATA)) != 0;
        file.DeleteAccess = (access & DELETE) != 0;
        if (!TakesPart(file)) return false;
        file.SharedRead = (share & FILE_SHARE_READ) != 0;
        file.SharedWrite = (share & FILE_SHARE_WRITE) != 0;
        file.SharedDelete = (share & FILE_SHARE_DELETE) != 0;
        return true;
    }

    static bool TakesPart(PFILE_OBJECT file) => file.ReadAccess || file.WriteAccess || file.DeleteAccess;

    static void Count(PFILE_OBJECT file, ref SHARE_ACCESS share, int by)
    {
        Add(ref share.OpenCount, true, by);
        Add(ref share.Readers, file.ReadAccess, by);
        Add(ref share.Writers, file.WriteAccess, by);
        Add(ref share.Deleters, file.DeleteAccess, by);
        Add(ref share.SharedRead, file.SharedRead, by);
        Add(ref share.SharedWrite, file.SharedWrite, by);
        Add(ref share.SharedDelete, file.SharedDelete, by);
    }

    static void Add(ref uint count, bool counts, int by)
    {
        if (counts) count += (uint)by;
    }
}
