using System.Text;
using Irpwright.Kernel.Tests.Ob;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Zw;

/// <summary>Drivers that call system services on files: what arrives at the driver below, and what comes back.</summary>
public class FileServiceTests : ObjectTest
{
    const string Name = @"\Device\Served";

    Func<PIRP, PIO_STACK_LOCATION, (NTSTATUS Status, ulong Information)> answer = (_, _) => (STATUS_SUCCESS, 0);
    Completing how = Completing.Inline;

    PDEVICE_OBJECT Serving(DO_FLAGS flags = DO_BUFFERED_IO, string name = Name) => Device((_, irp) =>
    {
        PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
        if (own.MajorFunction is IRP_MJ_CLEANUP or IRP_MJ_CLOSE)
        {
            Step(own.MajorFunction == IRP_MJ_CLOSE ? "close" : "cleanup");
            return Complete(irp, STATUS_SUCCESS);
        }
        (NTSTATUS status, ulong information) = answer(irp, own);
        return CompleteSomehow(irp, own.MajorFunction == IRP_MJ_CREATE ? Completing.Inline : how, status, information);
    }, flags: flags, name: name);

    HANDLE Open(uint options = FILE_SYNCHRONOUS_IO_NONALERT, uint access = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE)
    {
        Assert.Equal(STATUS_SUCCESS, ZwOpenFile(out HANDLE handle, access, Attributes(Name), StatusBlock(), FILE_SHARE_READ, options));
        return handle;
    }

    PFILE_OBJECT FileOf(HANDLE handle) => new(Object(handle).Address);

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("FILE-02"), Spec("FILE-05")]
    public void Creating_sends_what_was_asked_for_and_closing_the_handle_cleans_up(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT device = Serving();
        PVOID attributes = Memory(16);
        answer = (irp, own) =>
        {
            Assert.Equal(IRP_MJ_CREATE, own.MajorFunction);
            Assert.Equal(KernelMode, irp.RequestorMode);
            Assert.Equal(FILE_OVERWRITE_IF << 24 | FILE_NON_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT, own.Parameters.Create.Options);
            Assert.Equal((ushort)FILE_ATTRIBUTE_NORMAL, own.Parameters.Create.FileAttributes);
            Assert.Equal((ushort)FILE_SHARE_DELETE, own.Parameters.Create.ShareAccess);
            Assert.Equal(12U, own.Parameters.Create.EaLength);
            Assert.Equal(attributes, irp.AssociatedIrp.SystemBuffer);
            Assert.Equal(4096, irp.Overlay.AllocationSize);
            Assert.Equal(@"\dir\file", Strings.Read(PUNICODE_STRING.To(ref own.FileObject.FileName)));
            Assert.NotEqual((FO_FLAGS)0, own.FileObject.Flags & FO_SYNCHRONOUS_IO);
            Step("create");
            return (STATUS_SUCCESS, FILE_OVERWRITTEN);
        };
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, ZwCreateFile(out HANDLE handle, FILE_WRITE_DATA | SYNCHRONIZE, Attributes(Name + @"\dir\file", OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE),
            block, 4096, FILE_ATTRIBUTE_NORMAL, FILE_SHARE_DELETE, FILE_OVERWRITE_IF, FILE_NON_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT, attributes, 12));
        Assert.Equal((STATUS_SUCCESS, (ulong)FILE_OVERWRITTEN), (block.Status, block.Information));
        Assert.Equal(1, device.ReferenceCount);
        Assert.Equal(STATUS_SUCCESS, ZwClose(handle));
        Assert.Equal(["create", "cleanup", "close"], Steps);
        Assert.Equal(0, device.ReferenceCount);
        Assert.Equal(STATUS_INVALID_HANDLE, ZwFlushBuffersFile(handle, block));
    });

    [Theory]
    [InlineData(@"\??\C:\file.txt", STATUS_OBJECT_PATH_NOT_FOUND)]
    [InlineData(@"\SystemRoot\system32\drivers", STATUS_OBJECT_PATH_NOT_FOUND)]
    [InlineData(@"\Device\Nothing", STATUS_OBJECT_NAME_NOT_FOUND)]
    [InlineData(@"\Device", STATUS_OBJECT_TYPE_MISMATCH)]
    [InlineData("relative", STATUS_OBJECT_PATH_SYNTAX_BAD)]
    public void A_name_that_leads_to_no_device_is_not_found(string name, NTSTATUS status) => Run(() =>
    {
        Assert.Equal(status, ZwOpenFile(out HANDLE handle, GENERIC_READ, Attributes(name), StatusBlock(), 0, 0));
        Assert.True(handle.IsNull);
    });

    [Theory]
    [InlineData(GENERIC_READ, 0x8000U, 0U, FILE_OPEN, 0U, false)] // attributes
    [InlineData(GENERIC_READ, 0U, 8U, FILE_OPEN, 0U, false)] // sharing
    [InlineData(GENERIC_READ, 0U, 0U, FILE_MAXIMUM_DISPOSITION + 1, 0U, false)]
    [InlineData(GENERIC_READ, 0U, 0U, FILE_OPEN, 0x01000000U, false)] // options
    [InlineData(GENERIC_READ, 0U, 0U, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, false)] // without SYNCHRONIZE
    [InlineData(GENERIC_READ | SYNCHRONIZE, 0U, 0U, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, true)]
    [InlineData(GENERIC_READ | SYNCHRONIZE, 0U, 0U, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT | FILE_SYNCHRONOUS_IO_ALERT, false)]
    [InlineData(GENERIC_READ, 0U, 0U, FILE_OPEN, FILE_DELETE_ON_CLOSE, false)] // without DELETE
    [InlineData(FILE_APPEND_DATA, 0U, 0U, FILE_OPEN, FILE_NO_INTERMEDIATE_BUFFERING, false)]
    [InlineData(GENERIC_READ, 0U, 0U, FILE_OVERWRITE, FILE_DIRECTORY_FILE, false)]
    [InlineData(GENERIC_READ, 0U, 0U, FILE_OPEN, FILE_DIRECTORY_FILE | FILE_NON_DIRECTORY_FILE, false)]
    [InlineData(GENERIC_READ, 0U, 0U, FILE_OPEN, FILE_DIRECTORY_FILE, true)]
    public void Parameters_are_checked_when_the_driver_asks_for_it(uint access, uint attributes, uint share, uint disposition, uint options, bool valid) => Run(() =>
    {
        Serving();
        const uint check = 0x200; // IO_CHECK_CREATE_PARAMETERS
        foreach (uint checking in (uint[])[check, 0])
        {
            NTSTATUS status = IoCreateFile(out HANDLE handle, access, Attributes(Name), StatusBlock(), null, attributes, share, disposition, options, default, 0,
                CreateFileTypeNone, default, checking);
            Assert.Equal(valid || checking == 0 ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER, status);
            if (status == STATUS_SUCCESS) ZwClose(handle);
        }
    });

    [Fact]
    public void A_named_pipe_has_a_request_and_parameters_of_its_own() => Run(() =>
    {
        Serving();
        PVOID parameters = Memory(40);
        answer = (_, own) =>
        {
            Assert.Equal((IRP_MJ_CREATE_NAMED_PIPE, parameters), (own.MajorFunction, own.Parameters.CreatePipe.Parameters));
            Step("pipe");
            return (STATUS_SUCCESS, FILE_CREATED);
        };
        Assert.Equal(STATUS_SUCCESS, IoCreateFile(out HANDLE handle, GENERIC_READ, Attributes(Name), StatusBlock(), null, 0, 0, FILE_CREATE, 0, default, 0,
            CreateFileTypeNamedPipe, parameters, 0));
        ZwClose(handle);
        Assert.Equal(["pipe", "cleanup", "close"], Steps);
    });

    [Fact]
    public void A_name_may_be_relative_to_an_open_file() => Run(() =>
    {
        Serving();
        HANDLE directory = Open();
        PFILE_OBJECT root = FileOf(directory);
        answer = (_, own) =>
        {
            Assert.Equal(root, own.FileObject.RelatedFileObject);
            Assert.Equal("child", Strings.Read(PUNICODE_STRING.To(ref own.FileObject.FileName)));
            Step("related");
            return (STATUS_SUCCESS, 0);
        };
        Assert.Equal(STATUS_SUCCESS, ZwOpenFile(out HANDLE child, GENERIC_READ, Attributes("child", root: directory), StatusBlock(), 0, 0));
        Assert.True(FileOf(child).RelatedFileObject.IsNull);
        Assert.Equal(["related"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("FILE-06")]
    public void Reading_and_writing_a_synchronous_file_waits_and_moves_its_position(Completing completing, Scheduling scheduling) => Run(scheduling, () =>
    {
        Serving();
        how = completing;
        List<long> offsets = [];
        answer = (irp, own) =>
        {
            if (own.MajorFunction is not (IRP_MJ_READ or IRP_MJ_WRITE)) return (STATUS_SUCCESS, 0);
            offsets.Add(own.Parameters.Read.ByteOffset);
            if (own.MajorFunction == IRP_MJ_READ) Fill(irp.AssociatedIrp.SystemBuffer, 4);
            else Step(Encoding.ASCII.GetString(Bytes(irp.AssociatedIrp.SystemBuffer, 3)));
            return (STATUS_SUCCESS, own.Parameters.Read.Length);
        };
        HANDLE handle = Open();
        PVOID buffer = Memory(8);
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, ZwReadFile(handle, default, default(PIO_APC_ROUTINE), default, block, buffer, 4, null, null));
        Assert.Equal((STATUS_SUCCESS, 4UL), (block.Status, block.Information));
        Assert.Equal([0x80, 0x81, 0x82, 0x83, 0, 0, 0, 0], Bytes(buffer, 8));
        "abc"u8.CopyTo(GuestMemory.Write(buffer.Address, 3));
        Assert.Equal(STATUS_SUCCESS, ZwWriteFile(handle, default, default(PIO_APC_ROUTINE), default, block, buffer, 3, FILE_USE_FILE_POINTER_POSITION, null));
        Assert.Equal(STATUS_SUCCESS, ZwReadFile(handle, default, default(PIO_APC_ROUTINE), default, block, buffer, 4, 100, null));
        Assert.Equal(STATUS_SUCCESS, ZwReadFile(handle, default, default(PIO_APC_ROUTINE), default, block, buffer, 4, null, null));
        "end"u8.CopyTo(GuestMemory.Write(buffer.Address, 3));
        Assert.Equal(STATUS_SUCCESS, ZwWriteFile(handle, default, default(PIO_APC_ROUTINE), default, block, buffer, 3, FILE_WRITE_TO_END_OF_FILE, null));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwReadFile(handle, default, default(PIO_APC_ROUTINE), default, block, buffer, 4, -5, null));
        Assert.Equal([0, 4, 100, 104, FILE_WRITE_TO_END_OF_FILE], offsets);
        Assert.Equal(["abc", "end"], Steps);
        Assert.Equal(108, FileOf(handle).CurrentByteOffset);
    });

    [Fact]
    public void A_handle_that_may_only_append_writes_at_the_end() => Run(() =>
    {
        Serving();
        HANDLE handle = Open(access: FILE_APPEND_DATA | SYNCHRONIZE);
        answer = (_, own) =>
        {
            Assert.Equal((FILE_WRITE_TO_END_OF_FILE, 7U, SL_FLAGS.SL_KEY_SPECIFIED), (own.Parameters.Write.ByteOffset, own.Parameters.Write.Key, own.Flags));
            Step("write");
            return (STATUS_SUCCESS, 0);
        };
        ZwWriteFile(handle, default, default(PIO_APC_ROUTINE), default, StatusBlock(), Memory(4), 4, 0, 7);
        Assert.Equal(["write"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("FILE-07"), Spec("COMPLETE-FINAL-15")]
    public void An_asynchronous_file_answers_at_once_and_sets_the_event(Completing completing, Scheduling scheduling) => Run(scheduling, () =>
    {
        Serving();
        how = completing;
        HANDLE handle = Open(options: 0);
        var created = new PVOID(Machine.Objects.Create(Machine.Objects.Types.Event, KEVENT.SizeOf));
        KeInitializeEvent(new PKEVENT(created.Address), NotificationEvent, true);
        Machine.Handles.Open(Machine.Objects.Require(created), EVENT_ALL_ACCESS, OBJ_KERNEL_HANDLE, out HANDLE eventHandle);
        answer = (_, own) =>
        {
            Assert.Equal(0, KeReadStateEvent(new PKEVENT(created.Address)));
            return (STATUS_SUCCESS, 2);
        };
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwReadFile(handle, eventHandle, default(PIO_APC_ROUTINE), default, block, Memory(4), 4, null, null));
        Assert.Equal(completing == Completing.Inline ? STATUS_SUCCESS : STATUS_PENDING,
            ZwReadFile(handle, eventHandle, default(PIO_APC_ROUTINE), default, block, Memory(4), 4, 0, null));
        Wait(new PKEVENT(created.Address));
        Assert.Equal((STATUS_SUCCESS, 2UL), (block.Status, block.Information));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwReadFile(handle, handle, default(PIO_APC_ROUTINE), default, block, Memory(4), 4, 0, null));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwReadFile(eventHandle, default, default(PIO_APC_ROUTINE), default, block, Memory(4), 4, 0, null));
        KeWaitForSingleObject(Event(), Executive, KernelMode, false, -10_000);
        Assert.Equal(3, ObfReferenceObject(created)); // the creator's, the handle's and this one: the request gave its own back
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("COMPLETE-FINAL-16")]
    public void A_drivers_APC_routine_is_called_without_an_alertable_wait(Scheduling scheduling) => Run(scheduling, () =>
    {
        Serving();
        how = Completing.FromADpc;
        HANDLE handle = Open(options: 0);
        PIO_STATUS_BLOCK block = StatusBlock();
        PKEVENT called = Event();
        IO_APC_ROUTINE routine = (context, status, reserved) =>
        {
            Assert.Equal((0x55UL, block, 0U, PASSIVE_LEVEL), (context.Address, status, reserved, KeGetCurrentIrql()));
            KeSetEvent(called, 0, false);
        };
        Assert.Equal(STATUS_PENDING, ZwDeviceIoControlFile(handle, default, routine, new PVOID(0x55), block, 0x222003, default, 0, default, 0));
        Wait(called);
        Assert.Equal(STATUS_SUCCESS, block.Status);
    });

    [Theory]
    [InlineData(IRP_MJ_DEVICE_CONTROL)]
    [InlineData(IRP_MJ_FILE_SYSTEM_CONTROL)]
    public void Control_requests_carry_code_and_both_buffers(byte major) => Run(() =>
    {
        Serving();
        HANDLE handle = Open();
        answer = (irp, own) =>
        {
            Assert.Equal((major, (byte)0), (own.MajorFunction, own.MinorFunction));
            Assert.Equal((0x222000U, 2U, 4U),
                (own.Parameters.DeviceIoControl.IoControlCode, own.Parameters.DeviceIoControl.InputBufferLength, own.Parameters.DeviceIoControl.OutputBufferLength));
            Assert.Equal([0x80, 0x81], Bytes(irp.AssociatedIrp.SystemBuffer, 2));
            GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, 4).Fill(9);
            return (STATUS_SUCCESS, 4);
        };
        PVOID input = Memory(2), output = Memory(4);
        Fill(input, 2);
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, major == IRP_MJ_DEVICE_CONTROL
            ? ZwDeviceIoControlFile(handle, default, default(PIO_APC_ROUTINE), default, block, 0x222000, input, 2, output, 4)
            : ZwFsControlFile(handle, default, default(PIO_APC_ROUTINE), default, block, 0x222000, input, 2, output, 4));
        Assert.Equal([9, 9, 9, 9], Bytes(output, 4));
        Assert.Equal(4UL, block.Information);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("BUF-08")]
    public void Information_is_always_buffered_and_waited_for(Completing completing, Scheduling scheduling) => Run(scheduling, () =>
    {
        Serving(DO_DIRECT_IO);
        how = completing;
        foreach (uint options in (uint[])[FILE_SYNCHRONOUS_IO_NONALERT, 0])
        {
            HANDLE handle = Open(options);
            byte expected = 0;
            answer = (irp, own) =>
            {
                Assert.Equal(expected, own.MajorFunction);
                Assert.True(irp.MdlAddress.IsNull);
                bool query = own.MajorFunction is IRP_MJ_QUERY_INFORMATION or IRP_MJ_QUERY_VOLUME_INFORMATION;
                Assert.Equal(IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | (query ? IRP_INPUT_OPERATION : 0),
                    irp.Flags & (IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | IRP_INPUT_OPERATION));
                Assert.Equal(options == 0, (irp.Flags & IRP_SYNCHRONOUS_API) != 0);
                int length = (int)own.Parameters.QueryFile.Length;
                if (query) Fill(irp.AssociatedIrp.SystemBuffer, length);
                else Step($"{own.MajorFunction} {(int)own.Parameters.SetFile.FileInformationClass} {Bytes(irp.AssociatedIrp.SystemBuffer, length)[^1]:X}");
                return (STATUS_SUCCESS, (ulong)length);
            };
            PVOID buffer = Memory(40);
            PIO_STATUS_BLOCK block = StatusBlock();
            expected = IRP_MJ_QUERY_INFORMATION;
            Assert.Equal(STATUS_SUCCESS, ZwQueryInformationFile(handle, block, buffer, 24, FileStandardInformation));
            Assert.Equal((STATUS_SUCCESS, 24UL), (block.Status, block.Information));
            Assert.Equal(0x97, Bytes(buffer, 40)[23]);
            Assert.Equal(0, Bytes(buffer, 40)[24]);
            expected = IRP_MJ_SET_INFORMATION;
            Assert.Equal(STATUS_SUCCESS, ZwSetInformationFile(handle, block, buffer, 8, FileEndOfFileInformation));
            expected = IRP_MJ_QUERY_VOLUME_INFORMATION;
            Assert.Equal(STATUS_SUCCESS, ZwQueryVolumeInformationFile(handle, block, buffer, 32, FileFsFullSizeInformation));
            Assert.Equal(32UL, block.Information);
            expected = IRP_MJ_SET_VOLUME_INFORMATION;
            Assert.Equal(STATUS_SUCCESS, ZwSetVolumeInformationFile(handle, block, buffer, 8, FileFsLabelInformation));
            Assert.Equal(["6 20 87", "11 2 87"], Steps.TakeLast(2));
            answer = (_, _) => (STATUS_SUCCESS, 0);
            ZwClose(handle);
        }
    });

    [Fact]
    public void Information_must_be_of_a_class_that_there_is_and_fit() => Run(() =>
    {
        Serving();
        HANDLE handle = Open();
        PVOID buffer = Memory(64);
        PIO_STATUS_BLOCK block = StatusBlock();
        answer = (_, _) =>
        {
            Step("request");
            return (STATUS_SUCCESS, 0);
        };
        Assert.Equal(STATUS_INVALID_INFO_CLASS, ZwQueryInformationFile(handle, block, buffer, 64, FileDirectoryInformation));
        Assert.Equal(STATUS_INVALID_INFO_CLASS, ZwSetInformationFile(handle, block, buffer, 64, FileStandardInformation));
        Assert.Equal(STATUS_INVALID_INFO_CLASS, ZwQueryVolumeInformationFile(handle, block, buffer, 64, FileFsLabelInformation));
        Assert.Equal(STATUS_INVALID_INFO_CLASS, ZwSetVolumeInformationFile(handle, block, buffer, 64, FileFsSizeInformation));
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwQueryInformationFile(handle, block, buffer, 23, FileStandardInformation));
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwSetInformationFile(handle, block, buffer, 7, FileEndOfFileInformation));
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwQueryVolumeInformationFile(handle, block, buffer, 23, FileFsSizeInformation));
        Assert.Empty(Steps);
    });

    [Fact]
    public void What_the_IO_manager_knows_it_answers_itself() => Run(() =>
    {
        PDEVICE_OBJECT device = Serving();
        device.AlignmentRequirement = 3;
        device.Characteristics = FILE_REMOVABLE_MEDIA;
        HANDLE handle = Open(FILE_SYNCHRONOUS_IO_ALERT | FILE_WRITE_THROUGH);
        answer = (_, _) => throw new InvalidOperationException("The driver is not asked.");
        PVOID buffer = Memory(16);
        PIO_STATUS_BLOCK block = StatusBlock();
        GuestMemory.Ref<long>(buffer.Address) = 1234;
        Assert.Equal(STATUS_SUCCESS, ZwSetInformationFile(handle, block, buffer, 8, FilePositionInformation));
        GuestMemory.Ref<long>(buffer.Address) = -1;
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwSetInformationFile(handle, block, buffer, 8, FilePositionInformation));
        Assert.Equal(STATUS_SUCCESS, ZwQueryInformationFile(handle, block, buffer, 16, FilePositionInformation));
        Assert.Equal((1234L, 8UL), (GuestMemory.Ref<long>(buffer.Address), block.Information));
        Assert.Equal(STATUS_SUCCESS, ZwQueryInformationFile(handle, block, buffer, 4, FileModeInformation));
        Assert.Equal(FILE_SYNCHRONOUS_IO_ALERT | FILE_WRITE_THROUGH, GuestMemory.Ref<uint>(buffer.Address));
        GuestMemory.Ref<uint>(buffer.Address) = FILE_SYNCHRONOUS_IO_NONALERT | FILE_SEQUENTIAL_ONLY;
        Assert.Equal(STATUS_SUCCESS, ZwSetInformationFile(handle, block, buffer, 4, FileModeInformation));
        Assert.Equal(FO_SYNCHRONOUS_IO | FO_SEQUENTIAL_ONLY, FileOf(handle).Flags & (FO_SYNCHRONOUS_IO | FO_ALERTABLE_IO | FO_WRITE_THROUGH | FO_SEQUENTIAL_ONLY));
        GuestMemory.Ref<uint>(buffer.Address) = 0; // a synchronous file stays one
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwSetInformationFile(handle, block, buffer, 4, FileModeInformation));
        Assert.Equal(STATUS_SUCCESS, ZwQueryInformationFile(handle, block, buffer, 4, FileAlignmentInformation));
        Assert.Equal(3U, GuestMemory.Ref<uint>(buffer.Address));
        Assert.Equal(STATUS_SUCCESS, ZwQueryInformationFile(handle, block, buffer, 4, FileAccessInformation));
        Assert.Equal(FILE_GENERIC_READ | FILE_GENERIC_WRITE, GuestMemory.Ref<uint>(buffer.Address));
        Assert.Equal(STATUS_SUCCESS, ZwQueryVolumeInformationFile(handle, block, buffer, 8, FileFsDeviceInformation));
        Assert.Equal((FILE_DEVICE_UNKNOWN, FILE_REMOVABLE_MEDIA), (GuestMemory.Ref<uint>(buffer.Address), (DEVICE_CHARACTERISTICS)GuestMemory.Ref<uint>(buffer.Address + 4)));
    });

    [Fact]
    public void A_driver_binds_a_file_to_a_port_and_has_it_leave_notifications_out() => Run(() =>
    {
        Serving();
        HANDLE handle = Open(options: 0);
        PKQUEUE port = Machine.Ports.Create();
        Machine.Handles.Open(Machine.Objects.Require(port), GENERIC_ALL, OBJ_KERNEL_HANDLE, out HANDLE portHandle);
        PVOID buffer = Memory(16);
        GuestMemory.Ref<HANDLE>(buffer.Address) = portHandle;
        GuestMemory.Ref<ulong>(buffer.Address + 8) = 42;
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, ZwSetInformationFile(handle, block, buffer, 16, FileCompletionInformation));
        ZwReadFile(handle, default, default(PIO_APC_ROUTINE), new PVOID(5), block, Memory(4), 4, 0, null);
        Assert.Equal(STATUS_SUCCESS, Machine.Ports.Remove(port, 0, out CompletionPacket packet));
        Assert.Equal((42UL, 5UL), (packet.Key, packet.ApcContext));
        GuestMemory.Ref<uint>(buffer.Address) = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;
        Assert.Equal(STATUS_SUCCESS, ZwSetInformationFile(handle, block, buffer, 4, FileIoCompletionNotificationInformation));
        ZwReadFile(handle, default, default(PIO_APC_ROUTINE), new PVOID(5), block, Memory(4), 4, 0, null);
        Assert.Equal(STATUS_TIMEOUT, Machine.Ports.Remove(port, 0, out _));
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    public void Flushing_waits_on_asynchronous_files_too(Completing completing, Scheduling scheduling) => Run(scheduling, () =>
    {
        Serving();
        how = completing;
        HANDLE handle = Open(options: 0);
        answer = (_, own) => (own.MajorFunction == IRP_MJ_FLUSH_BUFFERS ? STATUS_DEVICE_NOT_READY : STATUS_SUCCESS, 0);
        Assert.Equal(STATUS_DEVICE_NOT_READY, ZwFlushBuffersFile(handle, StatusBlock()));
    });

    [Fact]
    public void A_directory_is_asked_for_names_by_a_pattern() => Run(() =>
    {
        Serving();
        HANDLE handle = Open();
        answer = (irp, own) =>
        {
            Assert.Equal((IRP_MJ_DIRECTORY_CONTROL, IRP_MN_QUERY_DIRECTORY), (own.MajorFunction, own.MinorFunction));
            Assert.Equal(SL_FLAGS.SL_RETURN_SINGLE_ENTRY | SL_FLAGS.SL_RESTART_SCAN, own.Flags);
            Assert.Equal((64U, FileNamesInformation, "*.txt"),
                (own.Parameters.QueryDirectory.Length, own.Parameters.QueryDirectory.FileInformationClass, Strings.Read(own.Parameters.QueryDirectory.FileName)));
            Fill(irp.AssociatedIrp.SystemBuffer, 5);
            return (STATUS_SUCCESS, 5);
        };
        int before = Machine.Pool.LiveBlocks.Count;
        PVOID buffer = Memory(64);
        Assert.Equal(STATUS_SUCCESS, ZwQueryDirectoryFile(handle, default, default(PIO_APC_ROUTINE), default, StatusBlock(), buffer, 64, FileNamesInformation, true, RTL_CONSTANT_STRING("*.txt"), true));
        Assert.Equal(0x84, Bytes(buffer, 5)[4]);
        Assert.Equal(before + 2, Machine.Pool.LiveBlocks.Count); // buffer and status block
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CANCEL-16")]
    public void A_driver_cancels_what_it_has_outstanding_on_a_file(Scheduling scheduling) => Run(scheduling, () =>
    {
        Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_READ) return Complete(irp, STATUS_SUCCESS);
            IoMarkIrpPending(irp);
            IoSetCancelRoutine(irp, (_, i) =>
            {
                IoReleaseCancelSpinLock(i.CancelIrql);
                Complete(i, STATUS_CANCELLED);
            });
            return STATUS_PENDING;
        }, name: Name);
        HANDLE handle = Open(options: 0);
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_PENDING, ZwReadFile(handle, default, default(PIO_APC_ROUTINE), default, block, Memory(4), 4, 0, null));
        Assert.Equal(STATUS_SUCCESS, ZwCancelIoFile(handle, StatusBlock()));
        Assert.Equal(STATUS_CANCELLED, block.Status);
        Assert.Equal(STATUS_SUCCESS, ZwCancelIoFile(handle, StatusBlock()));
    });

    [Fact]
    public void Deleting_opens_for_deletion_and_closes() => Run(() =>
    {
        Serving();
        answer = (_, own) =>
        {
            Assert.Equal(FILE_OPEN << 24 | FILE_DELETE_ON_CLOSE, own.Parameters.Create.Options);
            Assert.Equal(DELETE, own.Parameters.Create.SecurityContext.DesiredAccess);
            return (STATUS_SUCCESS, 0);
        };
        Assert.Equal(STATUS_SUCCESS, ZwDeleteFile(Attributes(Name + @"\old")));
        Assert.Equal(["cleanup", "close"], Steps);
        answer = (_, _) => (STATUS_OBJECT_NAME_NOT_FOUND, 0);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwDeleteFile(Attributes(Name + @"\old")));
        Assert.Equal(2, Steps.Count);
    });

    [Theory]
    [InlineData(GENERIC_READ, true, false)]
    [InlineData(GENERIC_WRITE, false, true)]
    public void Programs_need_the_access_that_they_opened_for_drivers_do_not(uint access, bool reads, bool writes) => Run(() =>
    {
        Serving();
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, access, FILE_SYNCHRONOUS_IO_NONALERT, UserMode, out PFILE_OBJECT file));
        foreach ((byte major, bool allowed) in ((byte, bool)[])[(IRP_MJ_READ, reads), (IRP_MJ_WRITE, writes)])
        {
            Assert.Equal(allowed ? STATUS_SUCCESS : STATUS_ACCESS_DENIED, Machine.Requests.Send(file, new IoRequest(major), StatusBlock(), null, out _));
            Assert.Equal(STATUS_SUCCESS, Machine.Requests.Send(file, new IoRequest(major) { RequestorMode = KernelMode }, StatusBlock(), null, out _));
        }
        Machine.Files.Close(file);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_hint_sends_requests_below_the_filters_above_it(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Serving();
        PDEVICE_OBJECT Passing(string name, PDEVICE_OBJECT below) => Device((_, irp) =>
        {
            Step($"{name} 0x{IoGetCurrentIrpStackLocation(irp).MajorFunction:X}");
            IoSkipCurrentIrpStackLocation(irp);
            return IoCallDriver(below, irp);
        }, above: below);
        PDEVICE_OBJECT middle = Passing("middle", bottom);
        Passing("top", middle);
        NTSTATUS OpenAt(PDEVICE_OBJECT hint, out HANDLE handle) => IoCreateFileSpecifyDeviceObjectHint(out handle, GENERIC_READ, Attributes(Name), StatusBlock(), null,
            0, 0, FILE_OPEN, 0, default, 0, CreateFileTypeNone, default, 0, hint);
        Assert.Equal(STATUS_SUCCESS, OpenAt(middle, out HANDLE handle));
        Assert.Equal(middle, IoGetRelatedDeviceObject(FileOf(handle)));
        ZwFlushBuffersFile(handle, StatusBlock());
        ZwClose(handle);
        Assert.Equal(["middle 0x0", "middle 0x9", "middle 0x12", "cleanup", "middle 0x2", "close"], Steps);
        Assert.Equal(STATUS_INVALID_DEVICE_OBJECT_PARAMETER, OpenAt(Device((_, irp) => Complete(irp, STATUS_SUCCESS)), out _));
    });

    public static MatrixTheoryData<bool, Completing> EveryReparse => new([false, true], Enum.GetValues<Completing>());

    /// <summary>A create request that sends its file elsewhere.</summary>
    [Theory, MemberData(nameof(EveryReparse))]
    [Spec("COMPLETE-FINAL-03"), Spec("FILE-02"), Spec("FILE-03")]
    public void A_name_that_a_driver_replaced_is_opened_instead(bool byMountPoint, Completing completing) => Run(() =>
    {
        Serving(name: @"\Device\New");
        Device((_, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            const string target = @"\Device\New";
            PVOID name = Memory(200);
            if (byMountPoint)
            {
                PVOID data = Memory(200); // REPARSE_DATA_BUFFER
                GuestMemory.Ref<ushort>(data.Address + 6) = 2 * 5; // \tail
                GuestMemory.Ref<ushort>(data.Address + 10) = (ushort)(2 * target.Length);
                Encoding.Unicode.GetBytes(target).CopyTo(GuestMemory.Write(data.Address + 16, 2 * target.Length));
                irp.Tail.Overlay.AuxiliaryBuffer = data;
                return CompleteSomehow(irp, completing, STATUS_REPARSE, IO_REPARSE_TAG_MOUNT_POINT);
            }
            string whole = target + @"\tail";
            Encoding.Unicode.GetBytes(whole).CopyTo(GuestMemory.Write(name.Address, 2 * whole.Length));
            Assert.Equal(STATUS_SUCCESS, IoReplaceFileObjectName(own.FileObject, new PWSTR(name.Address), (ushort)(2 * whole.Length)));
            return CompleteSomehow(irp, completing, STATUS_REPARSE, IO_REPARSE);
        }, name: Name);
        answer = (_, own) =>
        {
            Step(Strings.Read(PUNICODE_STRING.To(ref own.FileObject.FileName)));
            return (STATUS_SUCCESS, FILE_OPENED);
        };
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, ZwOpenFile(out HANDLE handle, GENERIC_READ, Attributes(Name + @"\mount\tail"), block, 0, 0));
        Assert.Equal((STATUS_SUCCESS, (ulong)FILE_OPENED), (block.Status, block.Information));
        ZwClose(handle);
        Assert.Equal([@"\tail", "cleanup", "close"], Steps); // the first file was never open
    });

    [Fact]
    public void A_circle_of_names_ends() => Run(() =>
    {
        Device((_, irp) => Complete(irp, STATUS_REPARSE, IO_REPARSE), name: Name);
        Assert.Equal(STATUS_OBJECT_PATH_SYNTAX_BAD, ZwOpenFile(out _, GENERIC_READ, Attributes(Name), StatusBlock(), 0, 0)); // without a name
        Device((_, irp) =>
        {
            PVOID name = Memory(100);
            Encoding.Unicode.GetBytes(@"\Device\Circle\x").CopyTo(GuestMemory.Write(name.Address, 32));
            IoReplaceFileObjectName(IoGetCurrentIrpStackLocation(irp).FileObject, new PWSTR(name.Address), 32);
            return Complete(irp, STATUS_REPARSE, IO_REPARSE);
        }, name: @"\Device\Circle");
        Assert.Equal(STATUS_REPARSE_POINT_NOT_RESOLVED, ZwOpenFile(out _, GENERIC_READ, Attributes(@"\Device\Circle\x"), StatusBlock(), 0, 0));
    });

    [Fact]
    public void Only_a_file_with_a_name_has_it_replaced() => Run(() =>
    {
        Serving();
        PVOID name = Memory(8);
        Assert.Equal(STATUS_INVALID_PARAMETER, IoReplaceFileObjectName(FileOf(Open()), new PWSTR(name.Address), 8));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_stream_file_object_is_closed_with_its_last_reference(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT device = Serving();
        PFILE_OBJECT stream = IoCreateStreamFileObject(default, device);
        Assert.Equal(FO_STREAM_FILE, stream.Flags & FO_STREAM_FILE);
        Assert.Equal((device, 1), (stream.DeviceObject, device.ReferenceCount));
        Assert.Equal(["cleanup"], Steps);
        ObDereferenceObject(stream);
        Assert.Equal(["cleanup", "close"], Steps);

        PFILE_OBJECT lite = IoCreateStreamFileObjectLite(default, device);
        ObDereferenceObject(lite);
        Assert.Equal(["cleanup", "close", "close"], Steps);

        HANDLE file = Open();
        using LocalVariable<HANDLE> handle = Local<HANDLE>();
        PFILE_OBJECT related = IoCreateStreamFileObjectEx(FileOf(file), default, new PHANDLE(handle.Address.Address));
        Assert.Equal(related, FileOf(handle.Value));
        Assert.Equal(device, related.DeviceObject);
        Assert.Equal(3, Steps.Count);
        ZwClose(handle.Value);
        Assert.Equal(["cleanup"], Steps.Skip(3));
        ObDereferenceObject(related);
        Assert.Equal(["cleanup", "close"], Steps.Skip(3));
        ZwClose(file);
        Assert.Equal(0, device.ReferenceCount);
    });

    /// <summary>A disk, and a file system that mounts it.</summary>
    [Theory, MemberData(nameof(EverySchedule))]
    public void A_file_on_a_disk_is_opened_by_the_file_system_that_mounts_the_volume(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.Equal(STATUS_SUCCESS, IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Disk"), FILE_DEVICE_DISK, 0, false, out PDEVICE_OBJECT disk));
        disk.Flags &= ~DO_DEVICE_INITIALIZING;
        Assert.Equal((disk, (short)IO_TYPE_VPB), (disk.Vpb.RealDevice, disk.Vpb.Type));
        NTSTATUS verified = STATUS_SUCCESS;
        PDEVICE_OBJECT volume = Device((_, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            Step($"volume 0x{own.MajorFunction:X}");
            if (own.MajorFunction == IRP_MJ_FILE_SYSTEM_CONTROL) return Complete(irp, verified);
            return Complete(irp, STATUS_SUCCESS);
        });
        PDEVICE_OBJECT other = Device((_, irp) => Complete(irp, STATUS_UNRECOGNIZED_VOLUME));
        PDEVICE_OBJECT fileSystem = Device((_, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            Step($"mount {own.MinorFunction}");
            Assert.Equal((disk.Vpb, disk), (own.Parameters.MountVolume.Vpb, own.Parameters.MountVolume.DeviceObject));
            own.Parameters.MountVolume.Vpb.DeviceObject = volume;
            return CompleteSomehow(irp, how, STATUS_SUCCESS);
        });
        how = Completing.FromADpc;
        fileSystem.DeviceType = other.DeviceType = FILE_DEVICE_DISK_FILE_SYSTEM;
        Assert.Equal(STATUS_SUCCESS, IoVerifyVolume(disk, true) is STATUS_UNRECOGNIZED_VOLUME ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL);
        IoRegisterFileSystem(fileSystem);
        IoRegisterFileSystem(other); // which is asked first
        Assert.Equal(STATUS_SUCCESS, ZwOpenFile(out HANDLE handle, GENERIC_READ, Attributes(@"\Device\Disk\file"), StatusBlock(), 0, 0));
        Assert.Equal(volume, IoGetRelatedDeviceObject(FileOf(handle)));
        Assert.NotEqual((VPB_FLAGS)0, disk.Vpb.Flags & VPB_FLAGS.VPB_MOUNTED);
        Assert.Equal(disk.StackSize + 1, volume.StackSize);
        ZwClose(handle);
        Assert.Equal(["mount 1", "volume 0x0", "volume 0x12", "volume 0x2"], Steps);

        Assert.Equal(STATUS_SUCCESS, IoVerifyVolume(disk, false));
        verified = STATUS_WRONG_VOLUME;
        disk.Flags |= DO_VERIFY_VOLUME;
        PVPB old = disk.Vpb;
        Assert.Equal(STATUS_WRONG_VOLUME, IoVerifyVolume(disk, false));
        Assert.NotEqual(old, disk.Vpb);
        Assert.Equal((DO_FLAGS)0, disk.Flags & DO_VERIFY_VOLUME);
        Assert.Equal(["volume 0xD", "volume 0xD", "mount 1"], Steps.Skip(4));
        IoUnregisterFileSystem(fileSystem);
        IoUnregisterFileSystem(other);
    });
}
