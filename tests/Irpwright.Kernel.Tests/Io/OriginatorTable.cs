using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>Who can be at the other end of an IRP.</summary>
public enum Originator
{
    SynchronousFile,
    SynchronousControl,
    AsynchronousFile,
    AsynchronousControl,
    FileWithEvent,
    FileWithApc,
    FileWithPort,
    SynchronousService,
    SynchronousServiceWithPort,
    BuiltControl,
    BuiltSynchronousRead,
    BuiltAsynchronousRead,
    Allocated,
    Associated,
    SynchronousPaging,
    AsynchronousPaging,
    Create,
    Cleanup,
    Close,
    PlugAndPlay,
    Power,
}

/// <summary>
/// What of a request's end reaches its originator, for every kind of originator and every outcome, with a filter above the device that
/// must not change anything.
/// </summary>
public abstract class OriginatorTable : DriverTest
{
    const string Name = @"\Device\Originated";
    const int Length = 8, Answered = 5;

    /// <summary>
    /// What is delivered: I status block, E event of its own, F event of the file object, S final status of the file object, A APC routine,
    /// P packet in the completion port, R the originator's IoCompletion routine, M completion of the master.
    /// </summary>
    /// <param name="Full">For success, information and warning, and for an error of an asynchronous request after STATUS_PENDING.</param>
    /// <param name="List">Where the packet is queued while the drivers have it.</param>
    sealed record Delivery(string Full, string InlineError, string LateError, string List)
    {
        /// <summary>There is no data, or nobody looks at it; the device wants it buffered.</summary>
        internal static readonly DO_FLAGS[] None = [DO_BUFFERED_IO];

        /// <summary>How the device can want its data.</summary>
        internal DO_FLAGS[] Transfers { get; init; } = None;

        /// <summary>Whether the originator waits in the call that sends, and is told the final status by it.</summary>
        internal bool Waits { get; init; }
    }

    static readonly DO_FLAGS[] Every = [DO_BUFFERED_IO, DO_DIRECT_IO, 0], Buffered = [DO_BUFFERED_IO];

    static readonly Dictionary<Originator, Delivery> Table = new()
    {
        [Originator.SynchronousFile] = new("IFS", "", "FS", "thread") { Transfers = Every, Waits = true },
        [Originator.SynchronousControl] = new("IFS", "", "FS", "thread") { Transfers = Every, Waits = true },
        [Originator.AsynchronousFile] = new("IFS", "", "IFS", "thread") { Transfers = Every },
        [Originator.AsynchronousControl] = new("IFS", "", "IFS", "thread") { Transfers = Every },
        [Originator.FileWithEvent] = new("IE", "", "IE", "thread") { Transfers = Every },
        [Originator.FileWithApc] = new("IFSA", "", "IFSA", "thread") { Transfers = Every },
        [Originator.FileWithPort] = new("IFSP", "", "IFSP", "file") { Transfers = Every },
        [Originator.SynchronousService] = new("I", "", "I", "thread") { Transfers = Buffered, Waits = true },
        [Originator.SynchronousServiceWithPort] = new("I", "", "I", "thread") { Transfers = Buffered, Waits = true },
        [Originator.BuiltControl] = new("IE", "", "IE", "thread") { Transfers = Every },
        [Originator.BuiltSynchronousRead] = new("IE", "", "IE", "thread") { Transfers = Every },
        [Originator.BuiltAsynchronousRead] = new("R", "R", "R", "none"),
        [Originator.Allocated] = new("R", "R", "R", "none"),
        [Originator.Associated] = new("M", "M", "M", "none"),
        [Originator.SynchronousPaging] = new("IE", "IE", "IE", "none"),
        [Originator.AsynchronousPaging] = new("IA", "IA", "IA", "none"),
        [Originator.Create] = new("FS", "", "", "thread") { Waits = true },
        [Originator.Cleanup] = new("", "", "", "thread"),
        [Originator.Close] = new("", "", "", "thread"),
        [Originator.PlugAndPlay] = new("", "", "", "none") { Waits = true },
        [Originator.Power] = new("", "", "", "none") { Waits = true },
    };

    static readonly NTSTATUS[] Outcomes =
    [
        STATUS_SUCCESS, STATUS_FT_READ_FROM_COPY, STATUS_BUFFER_OVERFLOW, STATUS_VERIFY_REQUIRED, STATUS_DEVICE_NOT_READY, STATUS_CANCELLED,
    ];

    public static MatrixTheoryData<Originator, Completing> EveryEnd => new(Enum.GetValues<Originator>(), Enum.GetValues<Completing>());

    // ---- What is seen

    byte watched;
    DO_FLAGS transfer;
    Completing how;
    NTSTATUS status;
    PIRP packet;
    string list = "";
    readonly List<char> delivered = [];

    /// <summary>Puts a driver between originator and device that lets everything pass.</summary>
    protected abstract void Between(PDEVICE_OBJECT bottom);

    PDEVICE_OBJECT bottom, top;

    void Build()
    {
        bottom = Device(Answer, name: Name);
        Between(bottom);
        top = IoGetAttachedDevice(bottom);
        Assert.NotEqual(bottom, top);
    }

    NTSTATUS Answer(PDEVICE_OBJECT device, PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        if (location.MajorFunction != watched) return Complete(irp, STATUS_SUCCESS);
        packet = irp;
        list = ListOf(irp);
        PVOID buffer = (irp.Flags & IRP_BUFFERED_IO) != 0 ? irp.AssociatedIrp.SystemBuffer
            : !irp.MdlAddress.IsNull ? MmGetSystemAddressForMdlSafe(irp.MdlAddress, NormalPagePriority)
            : irp.UserBuffer;
        if (!buffer.IsNull && location.MajorFunction != IRP_MJ_WRITE) GuestMemory.Write(buffer.Address, Length).Fill(0xEE);
        return CompleteSomehow(irp, how, status, Answered);
    }

    string ListOf(PIRP irp)
    {
        PFILE_OBJECT file = irp.Tail.Overlay.OriginalFileObject;
        if (Contains(Machine.CurrentThread.IrpList, irp)) return "thread";
        return !file.IsNull && Contains(new PLIST_ENTRY(file.Address + 0xC0), irp) ? "file" : "none";
    }

    static bool Contains(PLIST_ENTRY head, PIRP irp)
    {
        for (PLIST_ENTRY entry = head.Flink; entry != head; entry = entry.Flink)
        {
            if (entry.Address == irp.Address + 0x20) return true;
        }
        return false;
    }

    void Note(char what)
    {
        lock (delivered) delivered.Add(what);
    }

    // ---- The table

    [Theory, MemberData(nameof(EveryEnd))]
    [Spec("COMPLETE-FINAL-04"), Spec("COMPLETE-FINAL-05"), Spec("COMPLETE-FINAL-08"), Spec("COMPLETE-FINAL-10"), Spec("COMPLETE-FINAL-13"), Spec("COMPLETE-FINAL-14")]
    [Spec("COMPLETE-FINAL-15"), Spec("COMPLETE-FINAL-16"), Spec("COMPLETE-FINAL-18"), Spec("COMPLETE-FINAL-19"), Spec("ASSOC-03"), Spec("BUILD-13"), Spec("CANCEL-17")]
    [Spec("FILE-02"), Spec("FILE-03"), Spec("FILE-05"), Spec("FILE-06"), Spec("FILE-07"), Spec("SYNC-06"), Spec("SYNC-07"), Spec("BUF-01"), Spec("BUF-02")]
    public void Each_originator_is_told_what_the_table_says(Originator originator, Completing completing) => Run(() =>
    {
        Build();
        how = completing;
        Delivery expected = Table[originator];
        foreach ((NTSTATUS outcome, DO_FLAGS flags) in Outcomes.SelectMany(o => expected.Transfers, (o, f) => (o, f)))
        {
            status = outcome;
            transfer = flags;
            for (PDEVICE_OBJECT device = bottom; !device.IsNull; device = device.AttachedDevice)
                device.Flags = (device.Flags & ~(DO_BUFFERED_IO | DO_DIRECT_IO)) | flags;
            packet = default;
            delivered.Clear();
            int before = Packets();
            NTSTATUS returned = Originate(originator, out byte[] data);
            string context = $"{originator} {completing} {outcome.Name} {flags}";
            bool isInline = completing == Completing.Inline;
            // A file that a warning keeps from being opened is gone.
            string letters = originator == Originator.Create && outcome < 0 ? "" : !outcome.IsError ? expected.Full : isInline ? expected.InlineError : expected.LateError;
            Assert.Equal($"{context}: {letters}", $"{context}: {string.Concat(delivered)}");
            Assert.Equal($"{context}: {expected.List}", $"{context}: {list}");
            Assert.Equal($"{context}: {(isInline || expected.Waits ? outcome : STATUS_PENDING).Name}", $"{context}: {returned.Name}");
            Assert.Equal(Arriving(expected), data);
            Assert.Equal($"{context}: {before} packets and buffers", $"{context}: {Packets()} packets and buffers");
            Assert.True(Lists.IsEmpty(Machine.CurrentThread.IrpList), context);
            Assert.Equal(0, Machine.Mdls.LockedPages);
            Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        }
        Assert.Equal(0, bottom.ReferenceCount);
    });

    /// <summary>
    /// A system buffer is copied as far as the driver says, but not for an error or STATUS_VERIFY_REQUIRED; into any other buffer the driver
    /// has written by itself.
    /// </summary>
    byte[] Arriving(Delivery expected)
    {
        byte[] data = new byte[Length];
        bool isBuffered = transfer == DO_BUFFERED_IO;
        bool isCopied = !status.IsError && status != STATUS_VERIFY_REQUIRED;
        if (expected.Transfers != Delivery.None && (!isBuffered || isCopied)) data.AsSpan(0, isBuffered ? Answered : Length).Fill(0xEE);
        return data;
    }

    /// <summary>With the transfer method that goes with the flags of the device.</summary>
    uint ControlCode => 0x222000 | (transfer == DO_BUFFERED_IO ? METHOD_BUFFERED : transfer == DO_DIRECT_IO ? METHOD_OUT_DIRECT : METHOD_NEITHER);

    /// <summary>IRPs, system buffers and MDLs.</summary>
    int Packets() => Machine.Pool.LiveBlocks.Count(b => b.Tag is 0x20707249 or IrpBuilders.SystemBufferTag or 0x206C644D);

    NTSTATUS Originate(Originator originator, out byte[] data)
    {
        data = new byte[Length];
        switch (originator)
        {
            case Originator.SynchronousFile or Originator.SynchronousControl:
                return FromFile(originator, FILE_SYNCHRONOUS_IO_NONALERT, out data);
            case Originator.AsynchronousFile or Originator.AsynchronousControl or Originator.FileWithEvent or Originator.FileWithApc or Originator.FileWithPort
                or Originator.SynchronousService or Originator.SynchronousServiceWithPort:
                return FromFile(originator, 0, out data);
            case Originator.BuiltControl or Originator.BuiltSynchronousRead:
                return Built(originator == Originator.BuiltControl, out data);
            case Originator.BuiltAsynchronousRead or Originator.Allocated:
                return Own(originator == Originator.BuiltAsynchronousRead);
            case Originator.Associated:
                return OfMaster();
            case Originator.SynchronousPaging or Originator.AsynchronousPaging:
                return Paging(originator == Originator.SynchronousPaging);
            case Originator.Create:
                return Opened();
            case Originator.Cleanup or Originator.Close:
                return Closed(originator == Originator.Cleanup ? IRP_MJ_CLEANUP : IRP_MJ_CLOSE);
            case Originator.PlugAndPlay:
                watched = IRP_MJ_PNP;
                RequestAnswer answer = Machine.PlugAndPlay.Requests.Send(bottom, IRP_MJ_PNP, IRP_MN_QUERY_CAPABILITIES);
                Assert.Equal((ulong)Answered, answer.Information);
                return answer.Status;
            default:
                return Powered();
        }
    }

    // ---- Requests of a program

    NTSTATUS FromFile(Originator originator, uint options, out byte[] data)
    {
        ulong user = Machine.Memory.AllocateUser(4096);
        var block = new PIO_STATUS_BLOCK(user);
        ulong buffer = user + 0x100;
        GuestMemory.Write(buffer, Length).Clear();
        block.Status = Untouched;
        watched = 0xFF;
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ | GENERIC_WRITE, options, UserMode, out PFILE_OBJECT file));
        PKQUEUE port = default;
        if (originator is Originator.FileWithPort or Originator.SynchronousServiceWithPort)
        {
            port = Machine.Ports.Create();
            Assert.Equal(STATUS_SUCCESS, Machine.Ports.Associate(file, port, 77));
        }
        KeSetEvent(FileObjects.EventOf(file), 0, false); // sending resets it
        file.FinalStatus = Untouched;
        PKEVENT own = default;
        if (originator == Originator.FileWithEvent)
        {
            Assert.Equal(STATUS_SUCCESS, ZwCreateEvent(out HANDLE handle, EVENT_ALL_ACCESS, default, NotificationEvent, true));
            Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, 0, default, KernelMode, out PVOID created, default));
            own = new PKEVENT(created.Address);
            ObReferenceObject(own); // which the request takes over
            ZwClose(handle);
        }
        PIO_APC_ROUTINE routine = default;
        if (originator == Originator.FileWithApc)
        {
            routine = Machine.Code.Routine(new IO_APC_ROUTINE((context, iosb, _) =>
            {
                Assert.Equal((0x55UL, block, PASSIVE_LEVEL), (context.Address, iosb, KeGetCurrentIrql()));
                Note('A');
            }));
        }
        watched = originator switch
        {
            Originator.SynchronousControl or Originator.AsynchronousControl => IRP_MJ_DEVICE_CONTROL,
            Originator.SynchronousService or Originator.SynchronousServiceWithPort => IRP_MJ_QUERY_INFORMATION,
            _ => IRP_MJ_READ,
        };
        var request = new IoRequest(watched, buffer, Length, ControlCode: ControlCode)
        {
            Event = own,
            ApcRoutine = routine,
            ApcContext = new PVOID(0x55),
            IsSynchronous = watched == IRP_MJ_QUERY_INFORMATION,
        };
        NTSTATUS returned = Machine.Requests.Send(file, in request, block, null, out _);
        // An APC and a packet in a port keep the IRP until they are taken.
        if (returned == STATUS_PENDING || !returned.IsError)
        {
            if (!routine.IsNull) Eventually(() => !IsLive() || Machine.SleepAlertable(TimeSpan.FromMilliseconds(1)));
            if (originator == Originator.FileWithPort && Machine.Ports.Remove(port, null, out CompletionPacket entry) == STATUS_SUCCESS)
            {
                Assert.Equal(new CompletionPacket(77, 0x55, status, Answered), entry);
                Note('P');
            }
        }
        Eventually(() => !IsLive());
        CompareEnd(block, own, file);
        data = GuestMemory.Read(buffer, Length).ToArray();
        if (!own.IsNull) ObDereferenceObject(own);
        watched = 0xFF;
        Machine.Files.Close(file);
        if (!port.IsNull)
        {
            Assert.Equal(STATUS_TIMEOUT, Machine.Ports.Remove(port, 0, out _));
            ObDereferenceObject(port);
        }
        Machine.Memory.FreeUser(user, 4096);
        return returned;
    }

    bool IsLive() => packet.Type == IO_TYPE_IRP;

    /// <summary>Notes what the requestor can see, in the order of the table.</summary>
    void CompareEnd(PIO_STATUS_BLOCK block, PKEVENT own, PFILE_OBJECT file)
    {
        var seen = new List<char>();
        if (block.Status != Untouched)
        {
            Assert.Equal((status, (ulong)Answered), (block.Status, block.Information));
            seen.Add('I');
        }
        if (!own.IsNull && IsSet(own)) seen.Add('E');
        if (!file.IsNull && IsSet(FileObjects.EventOf(file))) seen.Add('F');
        if (!file.IsNull && file.FinalStatus != Untouched)
        {
            Assert.Equal(status, file.FinalStatus);
            seen.Add('S');
        }
        lock (delivered) delivered.InsertRange(0, seen);
    }

    // ---- Requests of drivers

    NTSTATUS Built(bool isControl, out byte[] data)
    {
        PVOID buffer = Memory(Length);
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        watched = isControl ? IRP_MJ_DEVICE_CONTROL : IRP_MJ_READ;
        PIRP irp = isControl
            ? IoBuildDeviceIoControlRequest(ControlCode, top, default, 0, buffer, Length, false, done, block)
            : IoBuildSynchronousFsdRequest(IRP_MJ_READ, top, buffer, Length, 0, done, block);
        NTSTATUS returned = IoCallDriver(top, irp);
        if (returned == STATUS_PENDING) Wait(done);
        Eventually(() => !IsLive());
        CompareEnd(block, done, default);
        data = Bytes(buffer, Length);
        return returned;
    }

    NTSTATUS Own(bool isBuilt)
    {
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        watched = IRP_MJ_READ;
        PIRP irp = isBuilt ? IoBuildAsynchronousFsdRequest(IRP_MJ_READ, top, Memory(Length), Length, 0, block) : Packet(top);
        OnCompletion(irp, (device, i, _) =>
        {
            Assert.True(device.IsNull);
            Assert.Equal((status, (ulong)Answered, how != Completing.Inline), (i.IoStatus.Status, i.IoStatus.Information, (bool)i.PendingReturned));
            Note('R');
            if ((i.Flags & IRP_DEALLOCATE_BUFFER) != 0) Free(i.AssociatedIrp.SystemBuffer);
            IoFreeIrp(i);
            KeSetEvent(done, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        NTSTATUS returned = IoCallDriver(top, irp);
        Wait(done);
        CompareEnd(block, default, default);
        return returned;
    }

    NTSTATUS OfMaster()
    {
        PKEVENT done = Event();
        watched = IRP_MJ_READ;
        PIRP master = IoAllocateIrp(1, false);
        master.Tail.Overlay.Thread = Machine.CurrentThread.Object;
        OnCompletion(master, (_, i, _) =>
        {
            Assert.Equal(0, i.AssociatedIrp.IrpCount);
            Note('M');
            KeSetEvent(done, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        IoSetNextIrpStackLocation(master);
        master.AssociatedIrp.IrpCount = 1;
        PIRP part = IoMakeAssociatedIrp(master, top.StackSize);
        IoGetNextIrpStackLocation(part).MajorFunction = IRP_MJ_READ;
        NTSTATUS returned = IoCallDriver(top, part);
        Wait(done);
        IoFreeIrp(master);
        return returned;
    }

    NTSTATUS Paging(bool isSynchronous)
    {
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PMDL pages = IoAllocateMdl(Memory(4096), 4096, false, false, default);
        MmProbeAndLockPages(pages, KernelMode, IoReadAccess);
        watched = IRP_MJ_WRITE;
        PIRP irp = Packet(top, IRP_MJ_WRITE);
        irp.Flags = IRP_NOCACHE | IRP_PAGING_IO | (isSynchronous ? IRP_SYNCHRONOUS_PAGING_IO : 0);
        irp.MdlAddress = pages;
        irp.UserIosb = block;
        irp.Tail.Overlay.Thread = Machine.CurrentThread.Object;
        if (isSynchronous)
        {
            irp.UserEvent = done;
        }
        else
        {
            irp.Overlay.AsynchronousParameters.UserApcRoutine = Machine.Code.Routine(new IO_APC_ROUTINE((_, _, _) =>
            {
                Note('A');
                KeSetEvent(done, 0, false);
            }));
        }
        NTSTATUS returned = IoCallDriver(top, irp);
        Wait(done);
        Assert.False(IsLive());
        CompareEnd(block, isSynchronous ? done : default, default);
        MmUnlockPages(pages); // which stay its sender's
        IoFreeMdl(pages);
        return returned;
    }

    // ---- Requests of the I/O manager and its relatives

    NTSTATUS Opened()
    {
        watched = IRP_MJ_CREATE;
        NTSTATUS returned = Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file);
        Assert.Equal(status < 0, file.IsNull);
        watched = 0xFF;
        if (file.IsNull) return returned;
        CompareEnd(new PIO_STATUS_BLOCK(StatusBlock().Address), default, file);
        Machine.Files.Close(file);
        return returned;
    }

    NTSTATUS Closed(byte major)
    {
        watched = 0xFF;
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        watched = major;
        Machine.Files.Close(file);
        Assert.Equal(0, bottom.ReferenceCount); // whatever the driver answers
        return how == Completing.Inline ? status : STATUS_PENDING;
    }

    NTSTATUS Powered()
    {
        PKEVENT done = Event();
        NTSTATUS answered = Untouched;
        watched = IRP_MJ_POWER;
        var state = new POWER_STATE { DeviceState = PowerDeviceD3 };
        Assert.Equal(STATUS_PENDING, PoRequestPowerIrp(bottom, IRP_MN_QUERY_POWER, state, (_, _, _, _, block) =>
        {
            answered = block.Status;
            KeSetEvent(done, 0, false);
        }, default, out _));
        Wait(done);
        Eventually(() => !IsLive());
        return answered;
    }
}
