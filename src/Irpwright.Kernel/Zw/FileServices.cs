using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>System services on files, as drivers call them: the requests that the I/O manager builds from handles.</summary>
/// <remarks>
/// Called by drivers they trust their caller: neither buffers nor the access of handles are checked. There is no file system behind the
/// names of Win32 drives; a name that leads to no device is not found.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-files-in-a-driver"/>
public sealed class FileServices
{
    const uint CheckCreateParameters = 0x200; // IO_CHECK_CREATE_PARAMETERS
    const uint OpenTargetDirectory = 0x4; // IO_OPEN_TARGET_DIRECTORY

    readonly Machine machine;

    internal FileServices(Machine machine) => this.machine = machine;

    // ---- Opening

    /// <summary>Creates or opens a file or device. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DesiredAccess">With SYNCHRONIZE for a synchronous file.</param>
    /// <param name="IoStatusBlock">Receives the status, and FILE_OPENED, FILE_CREATED, ... .</param>
    /// <param name="AllocationSize">Bytes of a new file; may be null.</param>
    /// <param name="EaBuffer">Extended attributes of a new file; may be null.</param>
    /// <returns>
    /// STATUS_OBJECT_NAME_NOT_FOUND or STATUS_OBJECT_PATH_NOT_FOUND where no device is, what is wrong with the attributes, or the
    /// driver's answer.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ZwCreateFile(out HANDLE FileHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, PIO_STATUS_BLOCK IoStatusBlock,
        long? AllocationSize, uint FileAttributes, uint ShareAccess, uint CreateDisposition, uint CreateOptions, PVOID EaBuffer, uint EaLength) =>
        IoCreateFile(out FileHandle, DesiredAccess, ObjectAttributes, IoStatusBlock, AllocationSize, FileAttributes, ShareAccess, CreateDisposition,
            CreateOptions, EaBuffer, EaLength, CREATE_FILE_TYPE.CreateFileTypeNone, default, 0);

    /// <summary>Opens a file or device that exists. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="ZwCreateFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ZwOpenFile(out HANDLE FileHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, PIO_STATUS_BLOCK IoStatusBlock,
        uint ShareAccess, uint OpenOptions) =>
        IoCreateFile(out FileHandle, DesiredAccess, ObjectAttributes, IoStatusBlock, null, 0, ShareAccess, FILE_OPEN, OpenOptions, default, 0,
            CREATE_FILE_TYPE.CreateFileTypeNone, default, 0);

    /// <summary>As ZwCreateFile, for named pipes and mailslots too. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="InternalParameters">NAMED_PIPE_CREATE_PARAMETERS or MAILSLOT_CREATE_PARAMETERS.</param>
    /// <param name="Options">IO_CHECK_CREATE_PARAMETERS checks them as for a program; IO_OPEN_TARGET_DIRECTORY opens the file's directory.</param>
    /// <inheritdoc cref="ZwCreateFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCreateFile(out HANDLE FileHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, PIO_STATUS_BLOCK IoStatusBlock,
        long? AllocationSize, uint FileAttributes, uint ShareAccess, uint Disposition, uint CreateOptions, PVOID EaBuffer, uint EaLength,
        CREATE_FILE_TYPE CreateFileType, PVOID InternalParameters, uint Options) =>
        IoCreateFileSpecifyDeviceObjectHint(out FileHandle, DesiredAccess, ObjectAttributes, IoStatusBlock, AllocationSize, FileAttributes, ShareAccess,
            Disposition, CreateOptions, EaBuffer, EaLength, CreateFileType, InternalParameters, Options, default);

    /// <summary>As IoCreateFile; the file's requests go to a device in the middle of the stack, and not to those above. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DeviceObject">May be null: the top.</param>
    /// <returns>STATUS_INVALID_DEVICE_OBJECT_PARAMETER when that device is not in the stack.</returns>
    /// <inheritdoc cref="IoCreateFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCreateFileSpecifyDeviceObjectHint(out HANDLE FileHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
        PIO_STATUS_BLOCK IoStatusBlock, long? AllocationSize, uint FileAttributes, uint ShareAccess, uint Disposition, uint CreateOptions, PVOID EaBuffer,
        uint EaLength, CREATE_FILE_TYPE CreateFileType, PVOID InternalParameters, uint Options, PDEVICE_OBJECT DeviceObject)
    {
        FileHandle = default;
        if ((Options & CheckCreateParameters) != 0 && !AreValid(DesiredAccess, FileAttributes, ShareAccess, Disposition, CreateOptions))
            return NTSTATUS.STATUS_INVALID_PARAMETER;
        NTSTATUS status = Kernel.ObjectAttributes.Read(machine, ObjectAttributes, out ObjectAttributes wanted);
        if (status < 0) return status;
        var request = new OpenRequest(DesiredAccess, CreateOptions)
        {
            MajorFunction = CreateFileType switch
            {
                CREATE_FILE_TYPE.CreateFileTypeNamedPipe => IRP_MJ_CREATE_NAMED_PIPE,
                CREATE_FILE_TYPE.CreateFileTypeMailslot => IRP_MJ_CREATE_MAILSLOT,
                _ => IRP_MJ_CREATE,
            },
            Parameters = InternalParameters,
            Disposition = Disposition,
            FileAttributes = (ushort)FileAttributes,
            ShareAccess = (ushort)ShareAccess,
            Flags = ((wanted.Flags & OBJ_CASE_INSENSITIVE) == 0 ? SL_FLAGS.SL_CASE_SENSITIVE : 0)
                | ((Options & OpenTargetDirectory) != 0 ? SL_FLAGS.SL_OPEN_TARGET_DIRECTORY : 0),
            EaBuffer = EaBuffer,
            EaLength = EaLength,
            AllocationSize = AllocationSize ?? 0,
            DeviceObject = DeviceObject,
        };
        status = machine.Files.Open(wanted.Name ?? "", wanted.Root, in request, out PFILE_OBJECT file, out ulong information);
        if (status >= 0) status = OpenHandle(file, DesiredAccess, wanted.Flags, status, out FileHandle);
        IoStatusBlock.Value = new IO_STATUS_BLOCK { Status = status, Information = information };
        return status;
    }

    NTSTATUS OpenHandle(PFILE_OBJECT file, uint access, OBJ_FLAGS flags, NTSTATUS opened, out HANDLE handle)
    {
        NTSTATUS status = machine.Handles.Open(machine.Objects.Require(file), access, flags & ~OBJ_EXCLUSIVE, out handle);
        if (status >= 0) file.Flags |= FO_HANDLE_CREATED;
        machine.Objects.ObfDereferenceObject(file);
        return status < 0 ? status : opened;
    }

    static bool AreValid(uint access, uint attributes, uint share, uint disposition, uint options)
    {
        const uint validAttributes = 0x7FB7, synchronous = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
        if ((attributes & ~validAttributes) != 0 || (share & ~(uint)FILE_SHARE_VALID_FLAGS) != 0) return false;
        if (disposition > FILE_MAXIMUM_DISPOSITION || (options & ~FILE_VALID_OPTION_FLAGS) != 0) return false;
        if ((options & synchronous) == synchronous || ((options & synchronous) != 0 && (access & SYNCHRONIZE) == 0)) return false;
        if ((options & FILE_DELETE_ON_CLOSE) != 0 && (access & DELETE) == 0) return false;
        if ((options & FILE_NO_INTERMEDIATE_BUFFERING) != 0 && (access & FILE_APPEND_DATA) != 0) return false;
        return (options & FILE_DIRECTORY_FILE) == 0
            || ((options & FILE_NON_DIRECTORY_FILE) == 0 && disposition is FILE_CREATE or FILE_OPEN or FILE_OPEN_IF);
    }

    /// <summary>Deletes a file: opens it with FILE_DELETE_ON_CLOSE and closes it. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="ZwCreateFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwDeleteFile(POBJECT_ATTRIBUTES ObjectAttributes)
    {
        using var block = new RequestBlock(machine);
        const uint share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
        NTSTATUS status = ZwOpenFile(out HANDLE handle, DELETE, ObjectAttributes, block.Iosb, share, FILE_DELETE_ON_CLOSE);
        return status < 0 ? status : machine.Handles.ZwClose(handle);
    }

    // ---- Data and control

    /// <summary>Reads. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Event">Handle of an event that is set at the end; may be null.</param>
    /// <param name="ApcRoutine">Called at the end with <paramref name="ApcContext"/>; may be null.</param>
    /// <param name="ByteOffset">Null, or FILE_USE_FILE_POINTER_POSITION, means the current position of a synchronous file.</param>
    /// <returns>
    /// The final status for a synchronous file, possibly STATUS_PENDING for another. STATUS_INVALID_PARAMETER for an asynchronous file
    /// without offset; what is wrong with a handle.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwReadFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
        PVOID Buffer, uint Length, long? ByteOffset, uint? Key) =>
        Transfer(IRP_MJ_READ, FileHandle, Event, ApcRoutine, ApcContext, IoStatusBlock, Buffer, Length, ByteOffset, Key);

    /// <summary>Writes. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="ByteOffset">As for ZwReadFile; FILE_WRITE_TO_END_OF_FILE appends.</param>
    /// <inheritdoc cref="ZwReadFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwWriteFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
        PVOID Buffer, uint Length, long? ByteOffset, uint? Key) =>
        Transfer(IRP_MJ_WRITE, FileHandle, Event, ApcRoutine, ApcContext, IoStatusBlock, Buffer, Length, ByteOffset, Key);

    NTSTATUS Transfer(byte major, HANDLE handle, HANDLE eventHandle, PIO_APC_ROUTINE routine, PVOID context, PIO_STATUS_BLOCK iosb, PVOID buffer,
        uint length, long? offset, uint? key)
    {
        NTSTATUS status = Reference(handle, out PFILE_OBJECT file, out uint access);
        if (status < 0) return status;
        bool synchronous = (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        bool appends = major == IRP_MJ_WRITE && (access & (FILE_APPEND_DATA | FILE_WRITE_DATA)) == FILE_APPEND_DATA;
        long position = offset ?? FILE_USE_FILE_POINTER_POSITION;
        if (appends)
        {
            position = FILE_WRITE_TO_END_OF_FILE;
        }
        else if (position == FILE_USE_FILE_POINTER_POSITION)
        {
            if (!synchronous && (file.Flags & (FO_NAMED_PIPE | FO_MAILSLOT)) == 0) status = NTSTATUS.STATUS_INVALID_PARAMETER;
            position = synchronous ? file.CurrentByteOffset : 0;
        }
        else if (position < 0 && !(major == IRP_MJ_WRITE && position == FILE_WRITE_TO_END_OF_FILE))
        {
            status = NTSTATUS.STATUS_INVALID_PARAMETER;
        }
        if (status >= 0)
        {
            SL_FLAGS flags = key is null ? 0 : SL_FLAGS.SL_KEY_SPECIFIED;
            if (major == IRP_MJ_WRITE && (file.Flags & FO_WRITE_THROUGH) != 0) flags |= SL_FLAGS.SL_WRITE_THROUGH;
            var request = new IoRequest(major, buffer.Address, length, position) { Key = key ?? 0, Flags = flags };
            status = Send(file, request, eventHandle, routine, context, iosb);
            if (synchronous && status >= 0 && position >= 0) file.CurrentByteOffset = position + (long)iosb.Information;
        }
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    /// <summary>Sends IRP_MJ_DEVICE_CONTROL. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="ZwReadFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwDeviceIoControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
        uint IoControlCode, PVOID InputBuffer, uint InputBufferLength, PVOID OutputBuffer, uint OutputBufferLength) =>
        Send(FileHandle, new IoRequest(IRP_MJ_DEVICE_CONTROL, OutputBuffer.Address, OutputBufferLength, 0, IoControlCode, InputBuffer.Address, InputBufferLength),
            Event, ApcRoutine, ApcContext, IoStatusBlock);

    /// <summary>Sends IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MN_USER_FS_REQUEST. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="ZwReadFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwFsControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
        uint FsControlCode, PVOID InputBuffer, uint InputBufferLength, PVOID OutputBuffer, uint OutputBufferLength) =>
        Send(FileHandle, new IoRequest(IRP_MJ_FILE_SYSTEM_CONTROL, OutputBuffer.Address, OutputBufferLength, 0, FsControlCode, InputBuffer.Address, InputBufferLength),
            Event, ApcRoutine, ApcContext, IoStatusBlock);

    /// <summary>Sends IRP_MJ_FLUSH_BUFFERS and waits for its end. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwFlushBuffersFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock) =>
        Send(FileHandle, new IoRequest(IRP_MJ_FLUSH_BUFFERS) { IsSynchronous = true }, default, default, default, IoStatusBlock);

    /// <summary>Sends IRP_MN_QUERY_DIRECTORY. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="FileName">Pattern of the names that are asked for; may be null.</param>
    /// <inheritdoc cref="ZwReadFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQueryDirectoryFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
        PVOID FileInformation, uint Length, FILE_INFORMATION_CLASS FileInformationClass, BOOLEAN ReturnSingleEntry, PUNICODE_STRING FileName, BOOLEAN RestartScan) =>
        Send(FileHandle, new IoRequest(IRP_MJ_DIRECTORY_CONTROL, FileInformation.Address, Length)
        {
            MinorFunction = IRP_MN_QUERY_DIRECTORY,
            Flags = (ReturnSingleEntry ? SL_FLAGS.SL_RETURN_SINGLE_ENTRY : 0) | (RestartScan ? SL_FLAGS.SL_RESTART_SCAN : 0),
            InformationClass = (int)FileInformationClass,
            FileName = FileName.IsNull ? null : Strings.Read(FileName),
        }, Event, ApcRoutine, ApcContext, IoStatusBlock);

    /// <summary>Cancels what the calling thread has outstanding on a file. IRQL = PASSIVE_LEVEL. (CANCEL-16)</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwCancelIoFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock)
    {
        NTSTATUS status = Reference(FileHandle, out PFILE_OBJECT file, out _);
        if (status < 0) return status;
        machine.Cancellation.CancelThreadRequests(file);
        machine.Objects.ObfDereferenceObject(file);
        IoStatusBlock.Value = new IO_STATUS_BLOCK { Status = NTSTATUS.STATUS_SUCCESS };
        return NTSTATUS.STATUS_SUCCESS;
    }

    // ---- Information

    /// <summary>Asks about a file. IRQL = PASSIVE_LEVEL.</summary>
    /// <remarks>The I/O manager itself knows position, mode, access and alignment; all else is the driver's.</remarks>
    /// <returns>STATUS_INVALID_INFO_CLASS, STATUS_INFO_LENGTH_MISMATCH when <paramref name="Length"/> is too small for the class, or the driver's answer.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQueryInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FileInformation, uint Length, FILE_INFORMATION_CLASS FileInformationClass)
    {
        NTSTATUS status = Check(FileInformationClasses.ToQuery(FileInformationClass), Length);
        if (status < 0) return status;
        status = Reference(FileHandle, out PFILE_OBJECT file, out uint access);
        if (status < 0) return status;
        bool synchronous = (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        switch (FileInformationClass)
        {
            case FILE_INFORMATION_CLASS.FilePositionInformation when synchronous:
                status = Answer(IoStatusBlock, FileInformation, file.CurrentByteOffset);
                break;
            case FILE_INFORMATION_CLASS.FileModeInformation:
                status = Answer(IoStatusBlock, FileInformation, FileInformationClasses.ModeOf(file.Flags));
                break;
            case FILE_INFORMATION_CLASS.FileAccessInformation:
                status = Answer(IoStatusBlock, FileInformation, access);
                break;
            case FILE_INFORMATION_CLASS.FileAlignmentInformation:
                status = Answer(IoStatusBlock, FileInformation, machine.Devices.IoGetRelatedDeviceObject(file).AlignmentRequirement);
                break;
            default:
                status = SendInformation(file, IRP_MJ_QUERY_INFORMATION, IoStatusBlock, FileInformation, Length, (int)FileInformationClass);
                break;
        }
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    static NTSTATUS Answer<T>(PIO_STATUS_BLOCK iosb, PVOID buffer, T value) where T : unmanaged
    {
        GuestMemory.Ref<T>(buffer.Address) = value;
        iosb.Value = new IO_STATUS_BLOCK { Status = NTSTATUS.STATUS_SUCCESS, Information = (ulong)System.Runtime.CompilerServices.Unsafe.SizeOf<T>() };
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Changes something about a file. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="ZwQueryInformationFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwSetInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FileInformation, uint Length, FILE_INFORMATION_CLASS FileInformationClass)
    {
        NTSTATUS status = Check(FileInformationClasses.ToSet(FileInformationClass), Length);
        if (status < 0) return status;
        status = Reference(FileHandle, out PFILE_OBJECT file, out _);
        if (status < 0) return status;
        bool synchronous = (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        ulong information = FileInformation.Address;
        switch (FileInformationClass)
        {
            case FILE_INFORMATION_CLASS.FilePositionInformation when synchronous:
                long position = GuestMemory.Ref<long>(information);
                status = position < 0 ? NTSTATUS.STATUS_INVALID_PARAMETER : Done(IoStatusBlock);
                if (status >= 0) file.CurrentByteOffset = position;
                break;
            case FILE_INFORMATION_CLASS.FileModeInformation:
                status = FileInformationClasses.SetMode(file, GuestMemory.Ref<uint>(information));
                if (status >= 0) Done(IoStatusBlock);
                break;
            case FILE_INFORMATION_CLASS.FileCompletionInformation:
                status = SetPort(file, GuestMemory.Ref<HANDLE>(information), GuestMemory.Ref<ulong>(information + 8));
                if (status >= 0) Done(IoStatusBlock);
                break;
            case FILE_INFORMATION_CLASS.FileIoCompletionNotificationInformation:
                status = machine.Ports.SetNotificationModes(file, GuestMemory.Ref<uint>(information));
                if (status >= 0) Done(IoStatusBlock);
                break;
            default:
                status = SendInformation(file, IRP_MJ_SET_INFORMATION, IoStatusBlock, FileInformation, Length, (int)FileInformationClass);
                break;
        }
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    static NTSTATUS Done(PIO_STATUS_BLOCK iosb)
    {
        iosb.Value = new IO_STATUS_BLOCK { Status = NTSTATUS.STATUS_SUCCESS };
        return NTSTATUS.STATUS_SUCCESS;
    }

    NTSTATUS SetPort(PFILE_OBJECT file, HANDLE portHandle, ulong key)
    {
        NTSTATUS status = machine.Handles.Find(portHandle, 0, machine.Objects.Types.IoCompletion, MODE.KernelMode, out HandleEntry? port);
        return status < 0 ? status : machine.Ports.Associate(file, new PKQUEUE(port!.Object.Address), key);
    }

    /// <summary>Asks about the volume that a file is on. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_INFO_CLASS, STATUS_INFO_LENGTH_MISMATCH, or the driver's answer.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQueryVolumeInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FsInformation, uint Length, FS_INFORMATION_CLASS FsInformationClass)
    {
        NTSTATUS status = Check(FileInformationClasses.ToQuery(FsInformationClass), Length);
        if (status < 0) return status;
        status = Reference(FileHandle, out PFILE_OBJECT file, out _);
        if (status < 0) return status;
        PDEVICE_OBJECT device = file.DeviceObject;
        // What is asked of a device without a volume, the I/O manager knows.
        bool isAnswered = FsInformationClass == FS_INFORMATION_CLASS.FileFsDeviceInformation && (file.Vpb.IsNull || device.DeviceType == FILE_DEVICE_NETWORK_FILE_SYSTEM);
        status = isAnswered
            ? Answer(IoStatusBlock, FsInformation, device.DeviceType | (ulong)device.Characteristics << 32)
            : SendInformation(file, IRP_MJ_QUERY_VOLUME_INFORMATION, IoStatusBlock, FsInformation, Length, (int)FsInformationClass);
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    /// <summary>Changes something about the volume that a file is on. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="ZwQueryVolumeInformationFile"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwSetVolumeInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FsInformation, uint Length, FS_INFORMATION_CLASS FsInformationClass)
    {
        NTSTATUS status = Check(FileInformationClasses.ToSet(FsInformationClass), Length);
        if (status < 0) return status;
        status = Reference(FileHandle, out PFILE_OBJECT file, out _);
        if (status < 0) return status;
        status = SendInformation(file, IRP_MJ_SET_VOLUME_INFORMATION, IoStatusBlock, FsInformation, Length, (int)FsInformationClass);
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    static NTSTATUS Check(uint? leastLength, uint length) =>
        leastLength is not { } least ? NTSTATUS.STATUS_INVALID_INFO_CLASS : length < least ? NTSTATUS.STATUS_INFO_LENGTH_MISMATCH : NTSTATUS.STATUS_SUCCESS;

    NTSTATUS SendInformation(PFILE_OBJECT file, byte major, PIO_STATUS_BLOCK iosb, PVOID buffer, uint length, int informationClass) =>
        Send(file, new IoRequest(major, buffer.Address, length) { InformationClass = informationClass, IsSynchronous = true }, default, default, default, iosb);

    // ---- What all have in common

    /// <summary>The file behind a handle, referenced.</summary>
    NTSTATUS Reference(HANDLE handle, out PFILE_OBJECT file, out uint access)
    {
        file = default;
        access = 0;
        NTSTATUS status = machine.Handles.Find(handle, 0, machine.Objects.Types.File, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        file = new PFILE_OBJECT(entry!.Object.Address);
        access = entry.Access;
        machine.Objects.ObfReferenceObject(file);
        return status;
    }

    NTSTATUS Send(HANDLE handle, IoRequest request, HANDLE eventHandle, PIO_APC_ROUTINE routine, PVOID context, PIO_STATUS_BLOCK iosb)
    {
        NTSTATUS status = Reference(handle, out PFILE_OBJECT file, out _);
        if (status < 0) return status;
        status = Send(file, request, eventHandle, routine, context, iosb);
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    NTSTATUS Send(PFILE_OBJECT file, IoRequest request, HANDLE eventHandle, PIO_APC_ROUTINE routine, PVOID context, PIO_STATUS_BLOCK iosb)
    {
        PKEVENT signal = default;
        if (!eventHandle.IsNull)
        {
            NTSTATUS found = machine.Handles.Find(eventHandle, EVENT_MODIFY_STATE, machine.Objects.Types.Event, MODE.KernelMode, out HandleEntry? entry);
            if (found < 0) return found;
            signal = new PKEVENT(entry!.Object.Address);
            machine.Objects.ObfReferenceObject(signal);
        }
        return machine.Requests.SendInKernel(
            file, request with { RequestorMode = MODE.KernelMode, Event = signal, ApcRoutine = routine, ApcContext = context }, iosb, null, out _);
    }
}
