using Irpwright.Wdk;

namespace Irpwright.Kernel;

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
        if (!machine.Objects.TryFind(name, out ulong address, out string rest)) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        PDEVICE_OBJECT device = new(address);
        if (device.Type != IO_TYPE_DEVICE) return NTSTATUS.STATUS_OBJECT_TYPE_MISMATCH;
        const DOE_FLAGS goingAway = DOE_UNLOAD_PENDING | DOE_DELETE_PENDING;
        if ((device.Flags & DO_DEVICE_INITIALIZING) != 0 || (device.DeviceObjectExtension.ExtensionFlags & goingAway) != 0) return NTSTATUS.STATUS_NO_SUCH_DEVICE;
        // Nobody opens a Plug and Play device before it is started.
        PDEVICE_OBJECT bottom = device;
        while (bottom.DeviceObjectExtension.AttachedTo is { IsNull: false } lower) bottom = lower;
        if ((bottom.DeviceObjectExtension.ExtensionFlags & DOE_START_PENDING) != 0) return NTSTATUS.STATUS_NO_SUCH_DEVICE;
        int references = Interlocked.Increment(ref device.ReferenceCount);
        if ((device.Flags & DO_EXCLUSIVE) != 0 && references > 1)
        {
            Interlocked.Decrement(ref device.ReferenceCount);
            return NTSTATUS.STATUS_ACCESS_DENIED;
        }

        file = CreateFileObject(device, rest, access, options);
        NTSTATUS status = file.IsNull ? NTSTATUS.STATUS_INSUFFICIENT_RESOURCES : SendCreate(file, access, options, mode);
        if (status >= 0)
        {
            file.Flags |= FO_HANDLE_CREATED;
            // From here on the handle holds the reference.
            machine.Objects.HandleOpened(machine.Objects.Require(file));
            machine.Objects.ObfDereferenceObject(file);
            return status;
        }
        if (!file.IsNull)
        {
            file.DeviceObject = default; // no CLOSE for a file that was never open
            machine.Objects.ObfDereferenceObject(file);
            file = default;
        }
        ReleaseDevice(device);
        return status;
    }

    /// <summary>Signalled when a request on the file is over that has no event of its own.</summary>
    internal static PKEVENT EventOf(PFILE_OBJECT file) => new(file.Address + 0x98);

    /// <summary>Held during each request on a synchronous file.</summary>
    internal static PKEVENT LockOf(PFILE_OBJECT file) => new(file.Address + 0x80);

    /// <summary>Requests that belong to no thread (CANCEL-17).</summary>
    internal static PLIST_ENTRY IrpListOf(PFILE_OBJECT file) => new(file.Address + 0xC0);

    PFILE_OBJECT CreateFileObject(PDEVICE_OBJECT device, string fileName, uint access, uint options)
    {
        PFILE_OBJECT created = new(machine.Objects.Create(machine.Objects.Types.File, FILE_OBJECT.SizeOf));
        if (created.IsNull) return created;
        created.Type = IO_TYPE_FILE;
        created.Size = FILE_OBJECT.SizeOf;
        created.DeviceObject = device;
        created.ReadAccess = (access & (FILE_READ_DATA | GENERIC_READ)) != 0;
        created.WriteAccess = (access & (FILE_WRITE_DATA | GENERIC_WRITE)) != 0;
        if ((options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT)) != 0) created.Flags |= FO_SYNCHRONOUS_IO;
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(LockOf(created).Address), (byte)EVENT_TYPE.SynchronizationEvent, KEVENT.SizeOf, 1);
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(EventOf(created).Address), (byte)EVENT_TYPE.NotificationEvent, KEVENT.SizeOf, 0);
        Lists.Initialize(IrpListOf(created));
        if (fileName.Length > 0)
        {
            ushort bytes = (ushort)(fileName.Length * 2);
            ulong buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, bytes, Tag, 0);
            System.Runtime.InteropServices.MemoryMarshal.AsBytes(fileName.AsSpan()).CopyTo(GuestMemory.Write(buffer, bytes));
            created.FileName.Buffer = new(buffer);
            created.FileName.Length = created.FileName.MaximumLength = bytes;
        }
        return created;
    }

    NTSTATUS SendCreate(PFILE_OBJECT file, uint access, uint options, MODE mode)
    {
        PDEVICE_OBJECT top = machine.Devices.IoGetAttachedDevice(file.DeviceObject);
        PIRP irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Request);
        if (irp.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        using var block = new RequestBlock(machine);
        PIO_SECURITY_CONTEXT security = block.SecurityContext;
        security.DesiredAccess = access;
        security.FullCreateOptions = options;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = IRP_MJ_CREATE;
        location.FileObject = file;
        location.Parameters.Create.SecurityContext = security;
        location.Parameters.Create.Options = (FILE_OPEN << 24) | options;
        location.Parameters.Create.ShareAccess = FILE_SHARE_READ | FILE_SHARE_WRITE;
        irp.Flags = IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION;
        irp.UserIosb = block.Iosb;
        NTSTATUS status = machine.Requests.SendAndOwn(file, irp, top, mode);
        if (status != NTSTATUS.STATUS_PENDING) return status;
        WaitFor(EventOf(file));
        return block.Iosb.Status;
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
        SendAndForget(file, IRP_MJ_CLEANUP);
        file.Flags |= FO_CLEANUP_COMPLETE;
    }

    void LastReferenceGone(PFILE_OBJECT file)
    {
        PDEVICE_OBJECT device = file.DeviceObject;
        if (!device.IsNull)
        {
            SendAndForget(file, IRP_MJ_CLOSE);
            ReleaseDevice(device);
        }
        machine.Ports.Detach(file);
        if (!file.FileName.Buffer.IsNull) machine.Pool.Free(file.FileName.Buffer.Address, Tag);
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
        PDEVICE_OBJECT top = machine.Devices.IoGetAttachedDevice(file.DeviceObject);
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
        machine.Events.Emit(new RequestSent(irp, file, top));
        if (machine.Dispatch.IoCallDriver(top, irp) == NTSTATUS.STATUS_PENDING) WaitFor(block.Event);
        machine.Events.Emit(new RequestFinished(irp, irp.IoStatus.Status, irp.IoStatus.Information));
        machine.Irps.IoFreeIrp(irp);
    }

    void WaitFor(PKEVENT signal) => machine.Dispatcher.KeWaitForSingleObject(signal, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
}
