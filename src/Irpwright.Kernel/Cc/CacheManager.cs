using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The cache manager: data of files in memory, read when it is asked for and written back later.</summary>
/// <remarks>
/// A file is known by its SECTION_OBJECT_POINTERS, which its file objects share. Errors are raised: <see cref="NtStatusException"/>.
/// Nothing leaves the cache by itself, and nothing is read ahead.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ifs/cache-manager-routines"/>
public sealed class CacheManager
{
    const uint PrivateTag = 0x63507343; // "CsPc"
    const short PrivateCacheMapType = 0x2FE;
    const long LazyWriteInterval = -10_000_000; // a second

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, CachedFile> files = [];
    bool lazyWriterRuns;

    internal CacheManager(Machine machine) => this.machine = machine;

    internal static PSECTION_OBJECT_POINTERS PointersOf(PFILE_OBJECT file) => new(file.SectionObjectPointer.Address);

    CachedFile? Find(PSECTION_OBJECT_POINTERS pointers)
    {
        if (pointers.IsNull || pointers.SharedCacheMap.IsNull) return null;
        lock (gate) return files.GetValueOrDefault(pointers.Address);
    }

    /// <summary>The cached data of a file object, which must have some.</summary>
    internal CachedFile Require(PFILE_OBJECT file, string routine) =>
        Find(PointersOf(file)) ?? throw Stop(0, $"{routine} was called for the file object {file}, whose file is not cached; CcInitializeCacheMap comes first.");

    internal BugCheckException Stop(ulong parameter2, string explanation) =>
        machine.BugChecks.Stop(BugCheckCode.CACHE_MANAGER, 0, parameter2, 0, 0, explanation);

    // ---- Files

    /// <summary>Begins to cache a file for a file object; the first one also makes the file's own cache map. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="FileObject">Its SectionObjectPointer must be set. It is referenced until the file is no longer cached.</param>
    /// <param name="PinAccess">Without effect: every file can be pinned.</param>
    /// <param name="Callbacks">In nonpaged memory; of the first file object.</param>
    /// <exception cref="NtStatusException">STATUS_INSUFFICIENT_RESOURCES.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcInitializeCacheMap(PFILE_OBJECT FileObject, PCC_FILE_SIZES FileSizes, BOOLEAN PinAccess, PCACHE_MANAGER_CALLBACKS Callbacks, PVOID LazyWriteContext)
    {
        PSECTION_OBJECT_POINTERS pointers = PointersOf(FileObject);
        if (pointers.IsNull) throw Stop(0, $"CcInitializeCacheMap was called for the file object {FileObject}, whose SectionObjectPointer is null.");
        lock (gate)
        {
            if (!files.TryGetValue(pointers.Address, out CachedFile? file))
            {
                file = new CachedFile(machine, FileObject, Callbacks, LazyWriteContext);
                file.SetSizes(in FileSizes.Value);
                files.Add(pointers.Address, file);
                pointers.SharedCacheMap = pointers.DataSectionObject = file.SharedCacheMap;
                machine.Objects.ObfReferenceObject(FileObject);
            }
            if (!FileObject.PrivateCacheMap.IsNull) return;
            ulong map = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, 0x10, PrivateTag, 0, zero: true);
            if (map == 0) throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES);
            GuestMemory.Ref<short>(map) = PrivateCacheMapType;
            FileObject.PrivateCacheMap = new PVOID(map);
            file.Openers.Add(FileObject);
        }
    }

    /// <summary>Ends the caching for a file object; with the last one, the file is no longer cached once its data is written. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="TruncateSize">Null, or the file's size from now on.</param>
    /// <param name="UninitializeEvent">Null, or set when the file is no longer cached.</param>
    /// <returns>Whether the file is no longer cached now; FALSE also if it never was.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcUninitializeCacheMap(PFILE_OBJECT FileObject, long? TruncateSize, PCACHE_UNINITIALIZE_EVENT UninitializeEvent)
    {
        PSECTION_OBJECT_POINTERS pointers = PointersOf(FileObject);
        if (Find(pointers) is not { } file)
        {
            if (!UninitializeEvent.IsNull) machine.Dispatcher.KeSetEvent(EventOf(UninitializeEvent), 0, false);
            return false;
        }
        if (TruncateSize is { } size) Truncate(file, size);
        bool isLast;
        lock (gate)
        {
            ForgetOpener(file, FileObject);
            isLast = file.Openers.Count == 0;
            if (!UninitializeEvent.IsNull) file.WhenGone.Add(UninitializeEvent);
        }
        if (isLast && TryRemove(file, pointers)) return true;
        Dirtied();
        return false;
    }

    static PKEVENT EventOf(PCACHE_UNINITIALIZE_EVENT target) => new(target.Address + 8);

    void ForgetOpener(CachedFile file, PFILE_OBJECT opener)
    {
        if (!file.Openers.Remove(opener)) return;
        machine.Pool.Free(opener.PrivateCacheMap.Address, PrivateTag);
        opener.PrivateCacheMap = default;
    }

    /// <summary>Ends the caching of a file that nobody uses, and that has nothing to write.</summary>
    internal bool TryRemove(CachedFile file, PSECTION_OBJECT_POINTERS pointers)
    {
        lock (gate)
        {
            if (file.Openers.Count > 0 || file.IsInUse(0, long.MaxValue) || file.IsDirty || !files.Remove(pointers.Address)) return false;
            pointers.SharedCacheMap = pointers.DataSectionObject = default;
        }
        file.Free();
        foreach (PCACHE_UNINITIALIZE_EVENT target in file.WhenGone) machine.Dispatcher.KeSetEvent(EventOf(target), 0, false);
        machine.Objects.ObfDereferenceObject(file.File);
        return true;
    }

    /// <summary>The file's sizes have changed; what is behind a smaller file size is forgotten. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcSetFileSizes(PFILE_OBJECT FileObject, PCC_FILE_SIZES FileSizes)
    {
        if (Find(PointersOf(FileObject)) is not { } file) return;
        if (FileSizes.FileSize < file.FileSize) Truncate(file, FileSizes.FileSize);
        lock (gate) file.SetSizes(in FileSizes.Value);
    }

    void Truncate(CachedFile file, long size)
    {
        file.Truncate(size);
        lock (gate)
        {
            file.FileSize = Math.Min(file.FileSize, size);
            if (file.ValidDataLength != long.MaxValue) file.ValidDataLength = Math.Min(file.ValidDataLength, size);
            file.NewValidDataLength = Math.Min(file.NewValidDataLength, size);
        }
    }

    /// <summary>Turns write-behind of a file off or on; nothing is read ahead in any case. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcSetAdditionalCacheAttributes(PFILE_OBJECT FileObject, BOOLEAN DisableReadAhead, BOOLEAN DisableWriteBehind)
    {
        Require(FileObject, nameof(CcSetAdditionalCacheAttributes)).WriteBehindDisabled = DisableWriteBehind;
        if (!DisableWriteBehind) Dirtied();
    }

    // ---- Copying

    /// <summary>Copies data of a cached file into a buffer. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Wait">FALSE: only if all of it is in memory.</param>
    /// <returns>FALSE: nothing was copied, because the caller would have had to wait.</returns>
    /// <exception cref="NtStatusException">What the file's device answered.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcCopyRead(PFILE_OBJECT FileObject, in long FileOffset, uint Length, BOOLEAN Wait, PVOID Buffer, PIO_STATUS_BLOCK IoStatus)
    {
        CachedFile file = Require(FileObject, nameof(CcCopyRead));
        long offset = FileOffset;
        if (offset < 0 || offset + Length > file.FileSize) OutsideFile(file, nameof(CcCopyRead), offset, Length);
        if (!file.MakeResident(offset, Length, Wait, overwrites: false)) return false;
        for (uint done = 0, count; done < Length; done += count)
        {
            count = CachedFile.InView(offset + done, Length - done);
            GuestMemory.Read(file.AddressOf(offset + done), (int)count).CopyTo(GuestMemory.Write(Buffer.Address + done, (int)count));
        }
        IoStatus.Value = new IO_STATUS_BLOCK { Status = STATUS_SUCCESS, Information = Length };
        return true;
    }

    /// <summary>The same for the first 4 GiB, waiting. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="CcCopyRead"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcFastCopyRead(PFILE_OBJECT FileObject, uint FileOffset, uint Length, uint PageCount, PVOID Buffer, PIO_STATUS_BLOCK IoStatus) =>
        CcCopyRead(FileObject, FileOffset, Length, true, Buffer, IoStatus);

    /// <summary>Copies data into a cached file, whose size must have been set before. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Wait">FALSE: only if no page must be read and the file object does not write through.</param>
    /// <inheritdoc cref="CcCopyRead"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcCopyWrite(PFILE_OBJECT FileObject, in long FileOffset, uint Length, BOOLEAN Wait, PVOID Buffer)
    {
        bool through = (FileObject.Flags & FO_WRITE_THROUGH) != 0;
        if (through && !Wait) return false;
        CachedFile file = Require(FileObject, nameof(CcCopyWrite));
        long offset = FileOffset;
        if (!Put(file, nameof(CcCopyWrite), offset, Length, Wait, (at, done, count) => GuestMemory.Read(Buffer.Address + done, count).CopyTo(GuestMemory.Write(at, count))))
            return false;
        if (through) FlushOrRaise(file, offset, Length);
        return true;
    }

    /// <summary>The same for the first 4 GiB, waiting. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="CcCopyWrite"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcFastCopyWrite(PFILE_OBJECT FileObject, uint FileOffset, uint Length, PVOID Buffer) => CcCopyWrite(FileObject, FileOffset, Length, true, Buffer);

    /// <summary>Fills a range of a cached file with zeros. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="EndOffset">Of the first byte that is kept.</param>
    /// <inheritdoc cref="CcCopyWrite"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcZeroData(PFILE_OBJECT FileObject, in long StartOffset, in long EndOffset, BOOLEAN Wait)
    {
        if (Find(PointersOf(FileObject)) is not { } file)
            throw machine.BugChecks.StopUnsupported("CcZeroData was called for a file that is not cached, which this version does not have.");
        bool through = (FileObject.Flags & FO_WRITE_THROUGH) != 0;
        if (through && !Wait) return false;
        long start = StartOffset;
        uint length = checked((uint)Math.Max(0, EndOffset - start));
        if (!Put(file, nameof(CcZeroData), start, length, Wait, static (at, _, count) => GuestMemory.Write(at, count).Clear())) return false;
        if (through) FlushOrRaise(file, start, length);
        return true;
    }

    /// <param name="put">Fills memory: the address, how many bytes came before it, how many go there.</param>
    bool Put(CachedFile file, string routine, long offset, uint length, bool wait, Action<ulong, uint, int> put)
    {
        if (offset < 0 || offset + length > file.SectionSize) OutsideFile(file, routine, offset, length);
        if (!file.MakeResident(offset, length, wait, overwrites: true)) return false;
        for (uint done = 0, count; done < length; done += count)
        {
            count = CachedFile.InView(offset + done, length - done);
            put(file.AddressOf(offset + done), done, (int)count);
        }
        if (length > 0) file.SetDirty(offset, length);
        return true;
    }

    [DoesNotReturn]
    void OutsideFile(CachedFile file, string routine, long offset, uint length) => throw Stop((ulong)offset,
        $"{routine} was called for {length} bytes at offset {offset} of a file of {file.FileSize} bytes; CcSetFileSizes comes first.");

    void FlushOrRaise(CachedFile file, long offset, uint length)
    {
        NTSTATUS status = file.Flush(offset, offset + length, out _);
        if (status < 0) throw new NtStatusException(status);
    }

    // ---- Writing back

    /// <summary>Writes what is dirty in a file, or in a range of it, and waits. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="FileOffset">Null for all of it.</param>
    /// <param name="IoStatus">May be null. Information is Length, or what was written before a failure.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CcFlushCache(PSECTION_OBJECT_POINTERS SectionObjectPointer, long? FileOffset, uint Length, PIO_STATUS_BLOCK IoStatus)
    {
        NTSTATUS status = STATUS_SUCCESS;
        ulong written = 0;
        if (Find(SectionObjectPointer) is { } file)
        {
            status = FileOffset is { } from ? file.Flush(from, from + Length, out written) : file.Flush(0, long.MaxValue, out written);
            if (status >= 0) TryRemove(file, SectionObjectPointer);
        }
        if (!IoStatus.IsNull) IoStatus.Value = new IO_STATUS_BLOCK { Status = status, Information = status < 0 ? written : Length };
    }

    /// <summary>Forgets a file's data, or a range of it, also what is not written yet. IRQL &lt; DISPATCH_LEVEL.</summary>
    /// <param name="FileOffset">Null for all of it.</param>
    /// <param name="Length">0: to the end.</param>
    /// <param name="Flags">Bit 0: the file is no longer cached for any file object.</param>
    /// <returns>FALSE when some of it is mapped or pinned.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN CcPurgeCacheSection(PSECTION_OBJECT_POINTERS SectionObjectPointer, long? FileOffset, uint Length, uint Flags)
    {
        if (Find(SectionObjectPointer) is not { } file) return true;
        long from = FileOffset ?? 0, end = FileOffset is null || Length == 0 ? long.MaxValue : from + Length;
        bool uninitialize = (Flags & 1) != 0;
        lock (gate)
        {
            if (file.IsInUse(from, end)) return false;
            if (uninitialize) foreach (PFILE_OBJECT opener in file.Openers.ToArray()) ForgetOpener(file, opener);
        }
        file.Purge(from, end);
        TryRemove(file, SectionObjectPointer);
        return true;
    }

    /// <summary>Writes what the lazy writer would write next. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS CcWaitForCurrentLazyWriterActivity()
    {
        WriteBehind();
        return STATUS_SUCCESS;
    }

    /// <summary>There is something to write: the lazy writer looks for it within a second.</summary>
    internal void Dirtied()
    {
        lock (gate)
        {
            if (lazyWriterRuns || !files.Values.Any(IsForLazyWriter)) return;
            lazyWriterRuns = true;
        }
        machine.Scheduler.Start("lazy writer", ThreadKind.System, RunLazyWriter);
    }

    static bool IsForLazyWriter(CachedFile file) =>
        file.Openers.Count == 0 ? file.IsDirty || !file.IsInUse(0, long.MaxValue) : file.IsDirty && !file.WriteBehindDisabled;

    void RunLazyWriter()
    {
        while (true)
        {
            machine.Dispatcher.KeDelayExecutionThread(MODE.KernelMode, false, LazyWriteInterval);
            WriteBehind();
            lock (gate)
            {
                if (files.Values.Any(IsForLazyWriter)) continue;
                lazyWriterRuns = false;
                return;
            }
        }
    }

    void WriteBehind()
    {
        (ulong Pointers, CachedFile File)[] pending;
        lock (gate) pending = [.. files.Where(f => IsForLazyWriter(f.Value)).Select(f => (f.Key, f.Value))];
        foreach ((ulong pointers, CachedFile file) in pending)
        {
            PCACHE_MANAGER_CALLBACKS callbacks = file.Callbacks;
            if (!machine.Code.Call(callbacks.AcquireForLazyWrite, file.Context, true)) continue;
            NTSTATUS status = file.Flush(0, long.MaxValue, out _);
            if (status >= 0) TellValidDataLength(file);
            machine.Code.Call(callbacks.ReleaseFromLazyWrite, file.Context);
            if (status < 0) Lose(file, status);
            TryRemove(file, new PSECTION_OBJECT_POINTERS(pointers));
        }
    }

    void TellValidDataLength(CachedFile file)
    {
        long length;
        lock (gate)
        {
            length = file.NewValidDataLength;
            if (length <= file.ValidDataLength) return;
            file.ValidDataLength = length;
        }
        PagingRequests.AdvanceValidDataLength(machine, file.File, length);
    }

    /// <summary>Whoever wrote the data was told long ago that it is written. Windows says so in the error log and drops it.</summary>
    void Lose(CachedFile file, NTSTATUS status)
    {
        const NTSTATUS lostDelayedWrite = unchecked((NTSTATUS)0x80040032);
        PVOID entry = machine.ErrorLog.IoAllocateErrorLogEntry(machine.Devices.IoGetRelatedDeviceObject(file.File), IO_ERROR_LOG_PACKET.SizeOf);
        if (!entry.IsNull)
        {
            PIO_ERROR_LOG_PACKET packet = new(entry.Address);
            packet.ErrorCode = lostDelayedWrite;
            packet.FinalStatus = status;
            machine.ErrorLog.IoWriteErrorLogEntry(entry);
        }
        file.Purge(0, long.MaxValue);
    }
}
