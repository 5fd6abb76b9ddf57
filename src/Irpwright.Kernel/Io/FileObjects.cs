using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How a file is to be opened: the parameters of IoCreateFile.</summary>
/// <param name="Access">Generic rights are allowed.</param>
/// <param name="Options">FILE_SYNCHRONOUS_IO_NONALERT and the like.</param>
readonly record struct OpenRequest(uint Access, uint Options)
{
    /// <summary>IRP_MJ_CREATE, or that for named pipes or mailslots.</summary>
    public byte MajorFunction { get; init; } = IRP_MJ_CREATE;

    /// <summary>Of a named pipe or mailslot.</summary>
    public PVOID Parameters { get; init; }

    public uint Disposition { get; init; } = FILE_OPEN;

    public ushort FileAttributes { get; init; }

    public ushort ShareAccess { get; init; } = FILE_SHARE_READ | FILE_SHARE_WRITE;

    public SL_FLAGS Flags { get; init; }

    public PVOID EaBuffer { get; init; }

    public uint EaLength { get; init; }

    /// <summary>Bytes that a new file gets at once.</summary>
    public long AllocationSize { get; init; }

    public MODE Mode { get; init; } = MODE.KernelMode;

    /// <summary>The device in the stack that requests go to instead of the top; null for the top.</summary>
    public PDEVICE_OBJECT DeviceObject { get; init; }
}

/// <summary>File objects: opening a device by name, closing the handle, and the requests that go with both.</summary>
public sealed class FileObjects
{
    const uint Tag = 0x656C6946; // "File"

    readonly Machine machine;

    internal FileObjects(Machine machine)
    {
        this.machine = machine;
        ObjectType type = machine.Objects.Types.File;
        type.Closed = file => LastHandleClosed((PFILE_OBJECT)file);
        type.Deleting = file => LastReferenceGone((PFILE_OBJECT)file);
        type.NameOf = file => NameOf((PFILE_OBJECT)file);
    }

    string? NameOf(PFILE_OBJECT file) =>
        !file.DeviceObject.IsNull && machine.Objects.TryGetName(file.DeviceObject) is { } device ? device + Strings.Read(PUNICODE_STRING.To(ref file.FileName)) : null;

    /// <summary>Opens a device: IRP_MJ_CREATE goes to the top of its stack and is waited for (FILE-02, FILE-03, FILE-04).</summary>
    /// <param name="name">Name of a device or symbolic link; what follows the device's name becomes FileName.</param>
    /// <param name="options">FILE_SYNCHRONOUS_IO_NONALERT makes the I/O manager serialise and wait.</param>
    /// <param name="file">The file object, with one handle; close it with <see cref="Close"/>.</param>
    public NTSTATUS Open(string name, uint access, uint options, MODE mode, out PFILE_OBJECT file)
    {
        using SystemCall call = machine.CurrentThread.Enter(mode);
        try
        {
            return OpenInKernel(name, access, options, mode, out file);
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }

    NTSTATUS OpenInKernel(string name, uint access, uint options, MODE mode, out PFILE_OBJECT file)
    {
        file = default;
        ObjectNamespace.Place place = machine.Objects.LookForWin32(name);
        if (place.Object is not { } found) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        var request = new OpenRequest(access, options) { Mode = mode };
        NTSTATUS status = OpenObject(found, place.Rest, in request, out file, out _);
        if (status < 0) return status;
        file.Flags |= FO_HANDLE_CREATED;
        // From here on the handle holds the reference.
        machine.Objects.HandleOpened(machine.Objects.Require(file));
        machine.Objects.ObfDereferenceObject(file);
        return status;
    }

    /// <summary>Opens what a name leads to, relative to a directory or an open file if there is one.</summary>
    /// <param name="information">What became of the file: FILE_OPENED, FILE_CREATED, ...</param>
    /// <returns>Why the name leads to no device, or the status of the create request.</returns>
    internal NTSTATUS Open(string name, KernelObject? root, in OpenRequest request, out PFILE_OBJECT file, out ulong information)
    {
        if (root?.Type == machine.Objects.Types.File) return OpenObject(root, name, in request, out file, out information);
        file = default;
        information = 0;
        ObjectNamespace.Place place = machine.Objects.Look(name, root);
        return place.Object is { } found ? OpenObject(found, place.Rest, in request, out file, out information) : place.Status;
    }

    NTSTATUS OpenObject(KernelObject found, string rest, in OpenRequest request, out PFILE_OBJECT file, out ulong information)
    {
        const int maximumReparses = 32;
        for (int i = 0; i < maximumReparses; i++)
        {
            NTSTATUS status = OpenOnce(found, rest, in request, out file, out information, out string newName);
            if (status != NTSTATUS.STATUS_REPARSE) return status;
            ObjectNamespace.Place place = machine.Objects.Look(newName);
            if (place.Object is null) return place.Status;
            found = place.Object;
            rest = place.Rest;
        }
        file = default;
        information = 0;
        return NTSTATUS.STATUS_REPARSE_POINT_NOT_RESOLVED;
    }

    /// <param name="newName">With STATUS_REPARSE: the name to open instead.</param>
    NTSTATUS OpenOnce(KernelObject found, string rest, in OpenRequest request, out PFILE_OBJECT file, out ulong information, out string newName)
    {
        file = default;
        information = 0;
        newName = "";
        // Its driver may have deleted it since its name was looked up.
        if (!machine.Objects.TryReference(found)) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        NTSTATUS status = OpenReferenced(found, rest, in request, ref file, ref information, ref newName);
        machine.Objects.ObfDereferenceObject(new PVOID(found.Address));
        return status;
    }

    NTSTATUS OpenReferenced(KernelObject found, string rest, in OpenRequest request, ref PFILE_OBJECT file, ref ulong information, ref string newName)
    {
        PFILE_OBJECT related = found.Type == machine.Objects.Types.File ? new PFILE_OBJECT(found.Address) : default;
        if (related.IsNull && found.Type != machine.Objects.Types.Device) return NTSTATUS.STATUS_OBJECT_TYPE_MISMATCH;
        PDEVICE_OBJECT device = related.IsNull ? new PDEVICE_OBJECT(found.Address) : related.DeviceObject;
        int users = machine.Devices.Use(device);
        if (users == 0) return NTSTATUS.STATUS_NO_SUCH_DEVICE;
        NTSTATUS status = MayOpen(device, users, request.DeviceObject);
        if (status >= 0)
        {
            file = CreateFileObject(device, rest, in request);
            if (file.IsNull) status = NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        }
        if (!file.IsNull)
        {
            file.RelatedFileObject = related;
            file.FileObjectExtension = request.DeviceObject;
            status = related.IsNull ? machine.FileSystems.Bind(file, rest.Length == 0) : NTSTATUS.STATUS_SUCCESS;
            if (!related.IsNull) file.Vpb = related.Vpb;
            if (status >= 0) status = SendCreate(file, in request, out information);
            // Valid during the create request only.
            file.RelatedFileObject = default;
        }
        if (status >= 0 && status != NTSTATUS.STATUS_REPARSE)
        {
            file.Flags |= FO_FILE_OPEN;
            return status;
        }
        if (!file.IsNull)
        {
            newName = Strings.Read(PUNICODE_STRING.To(ref file.FileName));
            file.DeviceObject = default; // no CLOSE for a file that was never open
            machine.Objects.ObfDereferenceObject(file);
            file = default;
        }
        ReleaseDevice(device);
        return status;
    }

    NTSTATUS MayOpen(PDEVICE_OBJECT device, int users, PDEVICE_OBJECT target)
    {
        // Nobody opens a Plug and Play device before it is started.
        PDEVICE_OBJECT bottom = device;
        while (bottom.DeviceObjectExtension.AttachedTo is { IsNull: false } lower) bottom = lower;
        if ((bottom.DeviceObjectExtension.ExtensionFlags & DOE_START_PENDING) != 0) return NTSTATUS.STATUS_NO_SUCH_DEVICE;
        if (!target.IsNull && !IsInStack(target, device)) return NTSTATUS.STATUS_INVALID_DEVICE_OBJECT_PARAMETER;
        return (device.Flags & DO_EXCLUSIVE) != 0 && users > 1 ? NTSTATUS.STATUS_ACCESS_DENIED : NTSTATUS.STATUS_SUCCESS;
    }

    bool IsInStack(PDEVICE_OBJECT wanted, PDEVICE_OBJECT device)
    {
        if (!device.Vpb.IsNull && !device.Vpb.DeviceObject.IsNull) device = device.Vpb.DeviceObject;
        while (!device.IsNull && device != wanted) device = device.AttachedDevice;
        return !device.IsNull;
    }

    /// <summary>Signalled when a request on the file is over that has no event of its own.</summary>
    internal static PKEVENT EventOf(PFILE_OBJECT file) => new(file.Address + 0x98);

    // Held during each request on a synchronous file.
    static PKEVENT LockOf(PFILE_OBJECT file) => new(file.Address + 0x80);

    /// <summary>Waits for the end of what others do with a synchronous file (FILE-06); it stays until <see cref="Unlock"/>, whoever closes it.</summary>
    internal void Lock(PFILE_OBJECT file)
    {
        machine.Objects.ObfReferenceObject(file);
        WaitFor(LockOf(file));
    }

    internal void Unlock(PFILE_OBJECT file)
    {
        machine.Dispatcher.Signal(new PDISPATCHER_HEADER(LockOf(file).Address));
        machine.Objects.ObfDereferenceObject(file);
    }

    /// <summary>Requests that belong to no thread (CANCEL-17).</summary>
    internal static PLIST_ENTRY IrpListOf(PFILE_OBJECT file) => new(file.Address + 0xC0);

    PFILE_OBJECT CreateFileObject(PDEVICE_OBJECT device, string fileName, in OpenRequest request)
    {
        PFILE_OBJECT created = new(machine.Objects.Create(machine.Objects.Types.File, FILE_OBJECT.SizeOf));
        if (created.IsNull) return created;
        created.Type = IO_TYPE_FILE;
        created.Size = FILE_OBJECT.SizeOf;
        created.DeviceObject = device;
        created.ReadAccess = (request.Access & (FILE_READ_DATA | GENERIC_READ | GENERIC_ALL | MAXIMUM_ALLOWED)) != 0;
        created.WriteAccess = (request.Access & (FILE_WRITE_DATA | FILE_APPEND_DATA | GENERIC_WRITE | GENERIC_ALL | MAXIMUM_ALLOWED)) != 0;
        created.Flags = FlagsOf(request.Options);
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(LockOf(created).Address), (byte)EVENT_TYPE.SynchronizationEvent, KEVENT.SizeOf, 1);
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(EventOf(created).Address), (byte)EVENT_TYPE.NotificationEvent, KEVENT.SizeOf, 0);
        Lists.Initialize(IrpListOf(created));
        if (fileName.Length == 0 || SetName(created, fileName)) return created;
        created.DeviceObject = default;
        machine.Objects.ObfDereferenceObject(created);
        return default;
    }

    static FO_FLAGS FlagsOf(uint options)
    {
        FO_FLAGS flags = 0;
        if ((options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT)) != 0) flags |= FO_SYNCHRONOUS_IO;
        if ((options & FILE_SYNCHRONOUS_IO_ALERT) != 0) flags |= FO_ALERTABLE_IO;
        if ((options & FILE_NO_INTERMEDIATE_BUFFERING) != 0) flags |= FO_NO_INTERMEDIATE_BUFFERING;
        if ((options & FILE_WRITE_THROUGH) != 0) flags |= FO_WRITE_THROUGH;
        if ((options & FILE_SEQUENTIAL_ONLY) != 0) flags |= FO_SEQUENTIAL_ONLY;
        if ((options & FILE_RANDOM_ACCESS) != 0) flags |= FO_RANDOM_ACCESS;
        return flags;
    }

    bool SetName(PFILE_OBJECT file, ReadOnlySpan<char> name)
    {
        ushort bytes = (ushort)(name.Length * 2);
        ulong buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, bytes, Tag, 0);
        if (buffer == 0) return false;
        System.Runtime.InteropServices.MemoryMarshal.AsBytes(name).CopyTo(GuestMemory.Write(buffer, bytes));
        FreeName(file);
        file.FileName.Buffer = new(buffer);
        file.FileName.Length = file.FileName.MaximumLength = bytes;
        return true;
    }

    // Old file systems and filters put buffers of their own there.
    void FreeName(PFILE_OBJECT file)
    {
        if (!file.FileName.Buffer.IsNull) machine.Pool.Free(file.FileName.Buffer.Address, 0);
    }

    /// <summary>Gives a file object another name, for a create request that ends with STATUS_REPARSE. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="FileNameLength">Bytes.</param>
    /// <returns>STATUS_INVALID_PARAMETER when there is no name to replace, STATUS_INSUFFICIENT_RESOURCES when memory is short.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoReplaceFileObjectName(PFILE_OBJECT FileObject, PWSTR NewFileName, ushort FileNameLength)
    {
        if (FileObject.FileName.Buffer.IsNull) return NTSTATUS.STATUS_INVALID_PARAMETER;
        ReadOnlySpan<char> name = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, char>(GuestMemory.Read(NewFileName.Address, FileNameLength));
        return SetName(FileObject, name.ToArray()) ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
    }

    /// <summary>Makes the name that a mount point leads to that of the file, with what follows the mount point in the old one.</summary>
    internal void FollowMountPoint(PIRP irp)
    {
        ulong point = irp.Tail.Overlay.AuxiliaryBuffer.Address; // REPARSE_DATA_BUFFER
        PFILE_OBJECT file = irp.Tail.Overlay.OriginalFileObject;
        int remaining = GuestMemory.Ref<ushort>(point + 6), offset = GuestMemory.Ref<ushort>(point + 8), length = GuestMemory.Ref<ushort>(point + 10);
        string old = Strings.Read(PUNICODE_STRING.To(ref file.FileName));
        string target = System.Text.Encoding.Unicode.GetString(GuestMemory.Read(point + 0x10 + (ulong)offset, length));
        SetName(file, target + old[Math.Max(0, old.Length - remaining / 2)..]);
        machine.Pool.Free(point, 0);
        irp.Tail.Overlay.AuxiliaryBuffer = default;
    }

    NTSTATUS SendCreate(PFILE_OBJECT file, in OpenRequest request, out ulong information)
    {
        information = 0;
        PDEVICE_OBJECT top = machine.Devices.IoGetRelatedDeviceObject(file);
        PIRP irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Request);
        if (irp.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        using var block = new RequestBlock(machine);
        PIO_SECURITY_CONTEXT security = block.SecurityContext;
        security.DesiredAccess = request.Access;
        security.FullCreateOptions = request.Options;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = request.MajorFunction;
        location.Flags = request.Flags;
        location.FileObject = file;
        location.Parameters.Create.SecurityContext = security;
        location.Parameters.Create.Options = (request.Disposition << 24) | request.Options;
        location.Parameters.Create.FileAttributes = request.FileAttributes;
        location.Parameters.Create.ShareAccess = request.ShareAccess;
        location.Parameters.Create.EaLength = request.EaLength;
        // A pipe or mailslot has its parameters where a file has the length of its attributes.
        if (request.MajorFunction != IRP_MJ_CREATE) location.Parameters.CreatePipe.Parameters = request.Parameters;
        irp.Flags = IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION;
        irp.AssociatedIrp.SystemBuffer = request.EaBuffer;
        irp.Overlay.AllocationSize = request.AllocationSize;
        irp.UserIosb = block.Iosb;
        NTSTATUS status = machine.Requests.SendAndOwn(file, irp, top, request.Mode);
        if (status == NTSTATUS.STATUS_PENDING)
        {
            WaitFor(EventOf(file));
            status = block.Iosb.Status;
        }
        information = block.Iosb.Information;
        return status;
    }

    /// <summary>A file object of a file system's own, cleaned up already. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="FileObject">The file that it belongs to; NULL for a volume.</param>
    /// <param name="DeviceObject">The volume, if <paramref name="FileObject"/> is NULL.</param>
    /// <exception cref="NtStatusException">STATUS_INSUFFICIENT_RESOURCES.</exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public PFILE_OBJECT IoCreateStreamFileObject(PFILE_OBJECT FileObject, PDEVICE_OBJECT DeviceObject) =>
        IoCreateStreamFileObjectEx(FileObject, DeviceObject, default);

    /// <summary>The same; with <paramref name="FileObjectHandle"/> it has a handle, and is cleaned up when that is closed. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="IoCreateStreamFileObject"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public PFILE_OBJECT IoCreateStreamFileObjectEx(PFILE_OBJECT FileObject, PDEVICE_OBJECT DeviceObject, PHANDLE FileObjectHandle)
    {
        PFILE_OBJECT created = IoCreateStreamFileObjectLite(FileObject, DeviceObject);
        NTSTATUS status = machine.Handles.Open(machine.Objects.Require(created), FILE_READ_DATA, OBJ_FLAGS.OBJ_KERNEL_HANDLE, out HANDLE handle);
        if (status < 0)
        {
            machine.Objects.ObfDereferenceObject(created);
            throw new NtStatusException(status);
        }
        created.Flags = (created.Flags & ~FO_CLEANUP_COMPLETE) | FO_HANDLE_CREATED;
        if (FileObjectHandle.IsNull) machine.Handles.ZwClose(handle);
        else FileObjectHandle.Value = handle;
        return created;
    }

    /// <summary>The same, never cleaned up: no IRP_MJ_CLEANUP is sent. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="IoCreateStreamFileObject"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PFILE_OBJECT IoCreateStreamFileObjectLite(PFILE_OBJECT FileObject, PDEVICE_OBJECT DeviceObject)
    {
        PDEVICE_OBJECT device = FileObject.IsNull ? DeviceObject : FileObject.DeviceObject;
        PFILE_OBJECT created = CreateFileObject(device, "", new OpenRequest(0, 0));
        if (created.IsNull) throw new NtStatusException(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES);
        Interlocked.Increment(ref device.ReferenceCount);
        created.Flags |= FO_STREAM_FILE | FO_CLEANUP_COMPLETE;
        if (!FileObject.IsNull) created.Vpb = FileObject.Vpb;
        return created;
    }

    /// <summary>Closes a handle: IRP_MJ_CLEANUP with the last one, IRP_MJ_CLOSE when the last request is over (FILE-05).</summary>
    public void Close(PFILE_OBJECT file)
    {
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            machine.Objects.HandleClosed(machine.Objects.Require(file));
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }

    void LastHandleClosed(PFILE_OBJECT file)
    {
        // Others may still be in a service on it, unless it never had a handle.
        bool isShared = (file.Flags & FO_SYNCHRONOUS_IO) != 0 && (file.Flags & FO_HANDLE_CREATED) != 0;
        if (isShared) Lock(file);
        SendAndForget(file, IRP_MJ_CLEANUP);
        file.Flags |= FO_CLEANUP_COMPLETE;
        if (isShared) Unlock(file);
    }

    void LastReferenceGone(PFILE_OBJECT file)
    {
        PDEVICE_OBJECT device = file.DeviceObject;
        if (!device.IsNull)
        {
            // It never had a handle: then nobody has cleaned up either.
            if ((file.Flags & (FO_HANDLE_CREATED | FO_CLEANUP_COMPLETE)) == 0) LastHandleClosed(file);
            SendAndForget(file, IRP_MJ_CLOSE);
            ReleaseDevice(device);
        }
        machine.Ports.Detach(file);
        FreeName(file);
    }

    internal void ReleaseDevice(PDEVICE_OBJECT device)
    {
        // The handle may have been all that kept a lost device; its drivers delete it in another thread then.
        machine.Objects.ObfReferenceObject(device);
        Interlocked.Decrement(ref device.ReferenceCount);
        machine.Devices.DeleteIfUnused(device);
        machine.PlugAndPlay.HandleClosed(device);
        machine.Objects.ObfDereferenceObject(device);
    }

    // Status is ignored: there is nobody left to tell.
    void SendAndForget(PFILE_OBJECT file, byte major)
    {
        PDEVICE_OBJECT top = machine.Devices.IoGetRelatedDeviceObject(file);
        PIRP irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Request);
        if (irp.IsNull) throw new InsufficientMemoryException("The nonpaged pool of the machine is exhausted.");
        using var block = new RequestBlock(machine);
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = major;
        location.FileObject = file;
        irp.Flags = IRP_CLOSE_OPERATION | IRP_SYNCHRONOUS_API;
        irp.UserIosb = block.Iosb;
        irp.UserEvent = block.Event;
        irp.Tail.Overlay.Thread = machine.CurrentThread.Object;
        irp.Tail.Overlay.OriginalFileObject = file;
        machine.Outstanding.Add(irp, machine.CurrentThread.IrpList);
        machine.Events.Emit(new RequestSent(irp, file, top));
        if (machine.Dispatch.IoCallDriver(top, irp) == NTSTATUS.STATUS_PENDING) WaitFor(block.Event);
        machine.Outstanding.Remove(irp);
        machine.Events.Emit(new RequestFinished(irp, irp.IoStatus.Status, irp.IoStatus.Information));
        machine.Irps.IoFreeIrp(irp);
    }

    void WaitFor(PKEVENT signal) => machine.Dispatcher.KeWaitForSingleObject(signal, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
}
