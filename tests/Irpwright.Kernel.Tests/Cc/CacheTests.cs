using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cc;

/// <summary>
/// Goal: the cache as file systems use it. Method: the test is a file system whose files all have the same data; it notes what paging
/// requests it gets.
/// </summary>
public class CacheTests : DriverTest
{
    const int Page = 4096;
    const int FileLength = 0x60000;

    readonly byte[] disk = new byte[FileLength];
    NTSTATUS readStatus = STATUS_SUCCESS, writeStatus = STATUS_SUCCESS;
    Completing how = Completing.Inline;
    bool mayWriteLazily = true;
    PSECTION_OBJECT_POINTERS pointers;
    PCACHE_MANAGER_CALLBACKS callbacks;
    PDEVICE_OBJECT fileSystem;
    long validDataLength = FileLength;

    PFILE_OBJECT Open()
    {
        if (fileSystem.IsNull)
        {
            for (int i = 0; i < disk.Length; i++) disk[i] = (byte)(i / Page + i);
            pointers = new(Memory(SECTION_OBJECT_POINTERS.SizeOf).Address);
            callbacks = new(Memory(CACHE_MANAGER_CALLBACKS.SizeOf).Address);
            callbacks.AcquireForLazyWrite = AcquireForLazyWriteRoutine((context, _) =>
            {
                Step($"acquire {context.Address}");
                return mayWriteLazily;
            });
            callbacks.ReleaseFromLazyWrite = ReleaseFromLazyWriteRoutine(_ => Step("release"));
            fileSystem = Device(Dispatch, name: @"\Device\Fs");
        }
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Fs\file", FILE_READ_DATA | FILE_WRITE_DATA, 0, KernelMode, out PFILE_OBJECT file));
        return file;
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT device, PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        switch (location.MajorFunction)
        {
            case IRP_MJ_CREATE:
                location.FileObject.SectionObjectPointer = pointers;
                break;
            case IRP_MJ_CLOSE:
                Step("close");
                break;
            case IRP_MJ_SET_INFORMATION:
                Assert.True(location.Parameters.SetFile.AdvanceOnly);
                Step($"valid {new PFILE_END_OF_FILE_INFORMATION(irp.AssociatedIrp.SystemBuffer.Address).EndOfFile:x}");
                break;
            case IRP_MJ_READ or IRP_MJ_WRITE:
                return Transfer(irp, location);
        }
        return Complete(irp, STATUS_SUCCESS);
    }

    NTSTATUS Transfer(PIRP irp, PIO_STACK_LOCATION location)
    {
        Assert.Equal(IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO | IRP_NOCACHE, irp.Flags);
        bool isRead = location.MajorFunction == IRP_MJ_READ;
        int offset = (int)location.Parameters.Read.ByteOffset, length = (int)location.Parameters.Read.Length;
        Step($"{(isRead ? "read" : "write")} {offset:x} {length:x}");
        NTSTATUS status = isRead ? readStatus : writeStatus;
        if (status < 0) return CompleteSomehow(irp, how, status);
        // As file systems do: nothing is transferred behind the end of the file.
        length = Math.Clamp(disk.Length - offset, 0, length);
        if (length == 0) return CompleteSomehow(irp, how, STATUS_END_OF_FILE);
        ulong address = MmGetSystemAddressForMdlSafe(irp.MdlAddress, NormalPagePriority).Address;
        if (isRead) disk.AsSpan(offset, length).CopyTo(GuestMemory.Write(address, length));
        else GuestMemory.Read(address, length).CopyTo(disk.AsSpan(offset));
        return CompleteSomehow(irp, how, STATUS_SUCCESS, (ulong)length);
    }

    PCC_FILE_SIZES Sizes(long size, long? valid = null)
    {
        PCC_FILE_SIZES sizes = new(Memory(CC_FILE_SIZES.SizeOf).Address);
        sizes.AllocationSize = sizes.FileSize = size;
        sizes.ValidDataLength = valid ?? validDataLength;
        return sizes;
    }

    PFILE_OBJECT Cached(long size = FileLength)
    {
        PFILE_OBJECT file = Open();
        CcInitializeCacheMap(file, Sizes(size), true, callbacks, new PVOID(7));
        Assert.Equal((false, false), (pointers.SharedCacheMap.IsNull, file.PrivateCacheMap.IsNull));
        return file;
    }

    byte[] Read(PFILE_OBJECT file, long offset, int length)
    {
        PVOID buffer = Memory(length);
        PIO_STATUS_BLOCK iosb = StatusBlock();
        Assert.True(CcCopyRead(file, offset, (uint)length, true, buffer, iosb));
        Assert.Equal((STATUS_SUCCESS, (ulong)length), (iosb.Status, iosb.Information));
        byte[] data = Bytes(buffer, length);
        Free(buffer);
        return data;
    }

    bool Write(PFILE_OBJECT file, long offset, byte[] data, bool wait = true)
    {
        PVOID buffer = Memory(data.Length);
        data.CopyTo(GuestMemory.Write(buffer.Address, data.Length));
        bool done = CcCopyWrite(file, offset, (uint)data.Length, wait, buffer);
        Free(buffer);
        return done;
    }

    static byte[] Data(int length) => [.. Enumerable.Range(0, length).Select(i => (byte)(200 - i))];

    void Close(PFILE_OBJECT file, bool gone = true)
    {
        Assert.Equal(gone, (bool)CcUninitializeCacheMap(file, null, default));
        Machine.Files.Close(file);
    }

    [Theory]
    [InlineData(Completing.Inline)]
    [InlineData(Completing.FromADpc)]
    [InlineData(Completing.FromAnotherThread)]
    public void What_was_read_once_is_in_memory(Completing how) => Run(() =>
    {
        this.how = how;
        PFILE_OBJECT file = Cached();
        Assert.Equal(disk[0x1234..0x3456], Read(file, 0x1234, 0x2222));
        Assert.Equal(disk[0x1000..0x4000], Read(file, 0x1000, 0x3000));
        Assert.Equal(["read 1000 3000"], Steps);
        Close(file);
        Assert.True(pointers.SharedCacheMap.IsNull);
    });

    [Fact]
    public void Pages_that_are_missing_are_read_view_by_view() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Read(file, 0x3F000, 1);
        Assert.Equal(disk[0x3E000..0x42000], Read(file, 0x3E000, 0x4000));
        Assert.Equal(["read 3f000 1000", "read 3e000 1000", "read 40000 2000"], Steps);
        Close(file);
    });

    [Fact]
    public void Who_cannot_wait_gets_only_what_is_in_memory() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        PVOID buffer = Memory(16);
        Assert.False(CcCopyRead(file, 0, 16, false, buffer, StatusBlock()));
        Assert.False(Write(file, 8, Data(16), wait: false));
        Assert.Empty(Steps);
        Read(file, 0, 1);
        Assert.True(CcCopyRead(file, 0, 16, false, buffer, StatusBlock()));
        Assert.True(Write(file, 8, Data(16), wait: false));
        CcFlushCache(pointers, null, 0, default);
        Close(file);
    });

    [Fact]
    public void Writes_reach_the_device_when_they_are_flushed() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Write(file, 0x1800, Data(0x1800)); // half a page, and a whole one
        Assert.Equal(["read 1000 1000"], Steps);
        Write(file, 0x5000, Data(0x1000));
        PIO_STATUS_BLOCK iosb = StatusBlock();
        CcFlushCache(pointers, 0x2000, 0x1000, iosb);
        Assert.Equal((STATUS_SUCCESS, 0x1000ul, "write 2000 1000"), (iosb.Status, iosb.Information, Steps[^1]));
        CcFlushCache(pointers, null, 0, default);
        Assert.Equal(["write 2000 1000", "write 1000 1000", "write 5000 1000"], Steps.Skip(1));
        Assert.Equal(Data(0x1800), disk[0x1800..0x3000]);
        Assert.Equal(Data(0x1000), disk[0x5000..0x6000]);
        Close(file);
    });

    [Fact]
    public void The_lazy_writer_writes_between_the_callbacks_of_the_file_system() => Run(() =>
    {
        validDataLength = 0x800;
        PFILE_OBJECT file = Cached();
        Write(file, 0x1000, Data(0x1100));
        Eventually(() => Steps.Contains("release"));
        Assert.Equal(["acquire 7", "write 1000 2000", "valid 2100", "release"], Steps);
        Assert.Equal(Data(0x1100), disk[0x1000..0x2100]);
        Close(file);
    });

    [Fact]
    public void The_lazy_writer_waits_for_the_file_system_and_leaves_files_alone_that_it_must_not_write() => Run(() =>
    {
        mayWriteLazily = false;
        PFILE_OBJECT file = Cached();
        CcSetAdditionalCacheAttributes(file, false, true);
        Write(file, 0, Data(Page));
        KeDelayExecutionThread(KernelMode, false, -30_000_000);
        Assert.Empty(Steps);
        CcSetAdditionalCacheAttributes(file, false, false);
        Eventually(() => Steps.Count >= 2);
        Assert.All(Steps, step => Assert.Equal("acquire 7", step));
        mayWriteLazily = true;
        Eventually(() => Steps.Contains("release"));
        Assert.Contains("write 0 1000", Steps);
        Close(file);
    });

    [Fact]
    public void What_the_lazy_writer_cannot_write_is_lost_and_logged() => Run(() =>
    {
        writeStatus = STATUS_IO_DEVICE_ERROR;
        PFILE_OBJECT file = Cached();
        Write(file, 0, Data(Page));
        Assert.Equal(STATUS_SUCCESS, CcWaitForCurrentLazyWriterActivity());
        Assert.Equal(STATUS_IO_DEVICE_ERROR, Assert.Single(Machine.ErrorLog.Entries).FinalStatus);
        Assert.Equal(disk[..16], Read(file, 0, 16));
        Close(file);
    });

    [Fact]
    public void A_file_object_that_writes_through_waits_for_the_device() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        file.Flags |= FO_WRITE_THROUGH;
        Assert.False(Write(file, 0, Data(Page), wait: false));
        Assert.True(Write(file, 0, Data(Page)));
        Assert.Equal(["write 0 1000"], Steps);
        writeStatus = STATUS_DISK_FULL;
        Assert.Equal(STATUS_DISK_FULL, Assert.Throws<NtStatusException>(() => Write(file, 0, Data(Page))).Status);
        writeStatus = STATUS_SUCCESS;
        CcFlushCache(pointers, null, 0, default);
        Close(file);
    });

    [Fact]
    public void Errors_of_the_device_are_raised_and_what_was_not_read_is_tried_again() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        readStatus = STATUS_DEVICE_DATA_ERROR;
        Assert.Equal(STATUS_DEVICE_DATA_ERROR, Assert.Throws<NtStatusException>(() => Read(file, 0, 16)).Status);
        readStatus = STATUS_SUCCESS;
        Assert.Equal(disk[..16], Read(file, 0, 16));
        writeStatus = STATUS_IO_DEVICE_ERROR;
        Write(file, 0, Data(16));
        PIO_STATUS_BLOCK iosb = StatusBlock();
        CcFlushCache(pointers, null, 0, iosb);
        Assert.Equal(STATUS_IO_DEVICE_ERROR, iosb.Status);
        writeStatus = STATUS_SUCCESS;
        CcFlushCache(pointers, null, 0, iosb);
        Assert.Equal(STATUS_SUCCESS, iosb.Status);
        Assert.Equal(Data(16), disk[..16]);
        Close(file);
    });

    [Fact]
    public void A_file_stays_cached_until_its_last_file_object_is_done_and_its_data_is_written() => Run(() =>
    {
        PFILE_OBJECT first = Cached(), second = Cached();
        PCACHE_UNINITIALIZE_EVENT gone = new(Memory(CACHE_UNINITIALIZE_EVENT.SizeOf).Address);
        PKEVENT set = new(gone.Address + 8);
        KeInitializeEvent(set, NotificationEvent, false);
        Write(second, 0, Data(Page));
        Close(first, gone: false);
        Assert.Empty(Steps); // the cache refers to the first file object
        Assert.False(CcUninitializeCacheMap(second, null, gone));
        Assert.False(IsSet(set));
        Machine.Files.Close(second);
        Wait(set);
        Eventually(() => Steps.Count(s => s == "close") == 2);
        Assert.Equal(["close", "acquire 7", "write 0 1000", "release", "close"], Steps);
        Assert.True(pointers.SharedCacheMap.IsNull && pointers.DataSectionObject.IsNull);
    });

    [Fact]
    public void A_file_that_is_not_cached_is_uninitialized_all_the_same() => Run(() =>
    {
        PFILE_OBJECT file = Open();
        PCACHE_UNINITIALIZE_EVENT gone = new(Memory(CACHE_UNINITIALIZE_EVENT.SizeOf).Address);
        KeInitializeEvent(new PKEVENT(gone.Address + 8), NotificationEvent, false);
        Assert.False(CcUninitializeCacheMap(file, null, gone));
        Assert.True(IsSet(new PKEVENT(gone.Address + 8)));
    });

    [Fact]
    public void A_file_that_is_truncated_to_nothing_has_nothing_to_write() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Write(file, 0, Data(Page));
        Assert.True(CcUninitializeCacheMap(file, 0, default));
        Assert.Empty(Steps);
    });

    [Fact]
    public void A_file_that_becomes_shorter_and_longer_again_has_zeros_there() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Read(file, 0, 0x3000);
        CcSetFileSizes(file, Sizes(0x1800, valid: 0x1800));
        disk.AsSpan(0x1800).Clear();
        CcSetFileSizes(file, Sizes(0x5000, valid: 0x1800));
        Assert.Equal(disk[..0x5000], Read(file, 0, 0x5000));
        Assert.Equal(["read 0 3000", "read 2000 3000"], Steps);
        Close(file);
    });

    [Fact]
    public void Purged_data_is_read_again_or_never_written() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Read(file, 0, 0x3000);
        Write(file, 0x1000, Data(Page));
        Assert.True(CcPurgeCacheSection(pointers, 0x1000, 0x1000, 0));
        Assert.Equal(disk[..0x3000], Read(file, 0, 0x3000));
        Assert.Equal(["read 0 3000", "read 1000 1000"], Steps);
        Assert.True(CcMapData(file, 0x2000, 16, MAP_WAIT, out PVOID bcb, out _));
        Assert.False(CcPurgeCacheSection(pointers, null, 0, 0));
        CcUnpinData(bcb);
        Assert.True(CcPurgeCacheSection(pointers, null, 0, 1));
        Assert.True(file.PrivateCacheMap.IsNull && pointers.SharedCacheMap.IsNull);
    });

    [Fact]
    public void Zeros_are_written_like_other_data() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Assert.True(CcZeroData(file, 0x800, 0x2800, true));
        CcFlushCache(pointers, null, 0, default);
        Assert.All(disk[0x800..0x2800], b => Assert.Equal(0, b));
        Assert.NotEqual(0, disk[0x2801]);
        Close(file);
    });

    [Fact]
    public void The_fast_forms_copy_the_same() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        PVOID buffer = Memory(32);
        Fill(buffer, 32);
        byte[] data = Bytes(buffer, 32);
        CcFastCopyWrite(file, 100, 32, buffer);
        GuestMemory.Write(buffer.Address, 32).Clear();
        PIO_STATUS_BLOCK iosb = StatusBlock();
        CcFastCopyRead(file, 100, 32, 1, buffer, iosb);
        Assert.Equal((32ul, STATUS_SUCCESS), (iosb.Information, iosb.Status));
        Assert.Equal(data, Bytes(buffer, 32));
        CcFlushCache(pointers, null, 0, default);
        Close(file);
    });

    // ---- In place

    [Fact]
    public void Mapped_data_is_the_cached_data_itself() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Assert.False(CcMapData(file, 0x1010, 32, 0, out _, out _));
        Assert.False(CcMapData(file, 0x1010, 32, MAP_WAIT | MAP_NO_READ, out _, out _));
        Assert.True(CcMapData(file, 0x1010, 32, MAP_WAIT, out PVOID bcb, out PVOID buffer));
        Assert.Equal(disk[0x1010..0x1030], Bytes(buffer, 32));
        Write(file, 0x1010, Data(4));
        Assert.Equal(Data(4), Bytes(buffer, 4));
        CcFlushCache(pointers, null, 0, default);
        Assert.False(CcUninitializeCacheMap(file, null, default)); // not while it is mapped
        Assert.Equal(disk[0x1010..0x1030], Bytes(buffer, 32));
        CcUnpinData(bcb);
        Assert.True(pointers.SharedCacheMap.IsNull);
    });

    [Fact]
    public void Pinned_data_is_written_after_it_was_called_dirty() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Assert.False(CcPinRead(file, 0x2000, 0x100, PIN_WAIT | PIN_IF_BCB, out PVOID bcb, out _));
        Assert.True(CcPinRead(file, 0x2000, 0x100, PIN_WAIT, out bcb, out PVOID buffer));
        PPUBLIC_BCB range = new(bcb.Address);
        Assert.Equal((0x2000L, 0x100u), (range.MappedFileOffset, range.MappedLength));
        Assert.Equal(file, CcGetFileObjectFromBcb(bcb));
        Assert.True(CcPinRead(file, 0x2080, 0x10, PIN_WAIT | PIN_IF_BCB, out PVOID same, out PVOID inside));
        Assert.Equal((bcb, buffer.Address + 0x80), (same, inside.Address));
        GuestMemory.Write(buffer.Address, 4).Fill(9);
        CcFlushCache(pointers, null, 0, default);
        Assert.Equal(["read 2000 1000"], Steps);
        CcSetDirtyPinnedData(bcb, default);
        CcUnpinData(same);
        CcUnpinData(bcb);
        CcFlushCache(pointers, null, 0, default);
        Assert.Equal([9, 9, 9, 9], disk[0x2000..0x2004]);
        Close(file);
    });

    [Fact]
    public void A_mapped_range_can_be_pinned_later() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        CcMapData(file, 0, 64, MAP_WAIT, out PVOID bcb, out PVOID buffer);
        Assert.True(CcPinMappedData(file, 0, 64, PIN_WAIT, ref bcb));
        GuestMemory.Write(buffer.Address, 1)[0] = 99;
        CcSetDirtyPinnedData(bcb, default);
        CcUnpinData(bcb);
        CcFlushCache(pointers, null, 0, default);
        Assert.Equal(99, disk[0]);
        Close(file);
    });

    [Fact]
    public void A_range_prepared_for_writing_is_dirty_and_was_not_read() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Assert.True(CcPreparePinWrite(file, 0x1000, 0x1000, true, PIN_WAIT, out PVOID bcb, out PVOID buffer));
        Assert.Equal(new byte[0x1000], Bytes(buffer, 0x1000));
        CcUnpinData(bcb);
        CcFlushCache(pointers, null, 0, default);
        Assert.Equal(["write 1000 1000"], Steps);
        Close(file);
    });

    [Fact]
    public void A_range_that_is_pinned_exclusively_is_waited_for() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        CcPinRead(file, 0, 64, PIN_WAIT | PIN_EXCLUSIVE, out PVOID bcb, out _);
        PKEVENT done = Event();
        KernelThread other = Start(() =>
        {
            Assert.False(CcPinRead(file, 0, 64, 0, out _, out _));
            CcPinRead(file, 0, 64, PIN_WAIT, out PVOID pinned, out _);
            Step("pinned");
            CcUnpinData(pinned);
            KeSetEvent(done, 0, false);
        });
        Eventually(() => other.WaitReason is not null);
        Step("unpin");
        CcUnpinData(bcb);
        Wait(done);
        Assert.Equal(["read 0 1000", "unpin", "pinned"], Steps);
        Close(file);
    });

    [Fact]
    public void A_range_can_be_given_to_another_owner_and_unpinned_by_another_thread() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        CcPinRead(file, 0, 64, PIN_WAIT, out PVOID bcb, out _);
        const ulong owner = 0xFFFF_A000_0000_1003; // the lowest bits are set for what is no thread
        CcSetBcbOwnerPointer(bcb, new PVOID(owner));
        PKEVENT done = Event();
        Start(() =>
        {
            CcUnpinDataForThread(bcb, owner);
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        Close(file);
    });

    [Fact]
    public void One_page_is_read_once_whoever_asks_for_it() => Run(() =>
    {
        how = Completing.FromADpc;
        PFILE_OBJECT file = Cached();
        int left = 4;
        PKEVENT done = Event();
        for (int i = 0; i < 4; i++)
        {
            Start(() =>
            {
                Assert.Equal(disk[..0x2000], Read(file, 0, 0x2000));
                if (Interlocked.Decrement(ref left) == 0) KeSetEvent(done, 0, false);
            });
        }
        Wait(done);
        Assert.Equal(["read 0 2000"], Steps);
        Close(file);
    });

    // ---- Misuse

    [Fact]
    public void A_range_is_given_back_once() => Stops(CACHE_MANAGER, () =>
    {
        PFILE_OBJECT file = Cached();
        CcMapData(file, 0, 64, MAP_WAIT, out PVOID bcb, out _);
        CcUnpinData(bcb);
        CcUnpinData(bcb);
    });

    [Fact]
    public void A_range_that_is_only_mapped_is_not_dirty() => Stops(CACHE_MANAGER, () =>
    {
        PFILE_OBJECT file = Cached();
        CcMapData(file, 0, 64, MAP_WAIT, out PVOID bcb, out _);
        CcSetDirtyPinnedData(bcb, default);
    });

    [Fact]
    public void Ranges_do_not_cross_views() => Stops(CACHE_MANAGER, () => CcMapData(Cached(), VACB_MAPPING_GRANULARITY - 8, 16, MAP_WAIT, out _, out _));

    [Fact]
    public void Nothing_is_read_behind_the_end_of_the_file() => Stops(CACHE_MANAGER, () => Read(Cached(0x1234), 0x1200, 0x35));

    [Fact]
    public void A_file_that_is_not_cached_cannot_be_copied() => Stops(CACHE_MANAGER, () => Read(Open(), 0, 1));

    [Fact]
    public void Short_memory_is_raised() => Run(() =>
    {
        PFILE_OBJECT file = Cached();
        Machine.Pool.FailAllocation = (size, _) => size == VACB_MAPPING_GRANULARITY;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, Assert.Throws<NtStatusException>(() => Read(file, 0, 16)).Status);
        Machine.Pool.FailAllocation = null;
        Assert.Equal(disk[..16], Read(file, 0, 16));
    });
}
