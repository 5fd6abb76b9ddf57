using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Synchronous paging requests: whole pages between memory and the device of a file.</summary>
static class PagingRequests
{
    /// <summary>Reads or writes whole pages.</summary>
    /// <param name="major">IRP_MJ_READ or IRP_MJ_WRITE.</param>
    /// <param name="address">Page-aligned memory.</param>
    internal static NTSTATUS Transfer(Machine machine, PFILE_OBJECT file, byte major, long offset, ulong address, uint length, out ulong information)
    {
        information = 0;
        PMDL mdl = machine.Mdls.IoAllocateMdl(new PVOID(address), length, false, false, default);
        if (mdl.IsNull) return STATUS_INSUFFICIENT_RESOURCES;
        machine.Mdls.MmProbeAndLockPages(mdl, MODE.KernelMode, major == IRP_MJ_READ ? LOCK_OPERATION.IoWriteAccess : LOCK_OPERATION.IoReadAccess);
        if (major == IRP_MJ_READ) mdl.MdlFlags |= MDL_FLAGS.MDL_IO_PAGE_READ;
        NTSTATUS status = Send(machine, file, irp =>
        {
            irp.MdlAddress = mdl;
            irp.UserBuffer = new PVOID(address);
            PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
            location.MajorFunction = major;
            location.Parameters.Read.Length = length;
            location.Parameters.Read.ByteOffset = offset;
        }, out information);
        machine.Mdls.MmUnlockPages(mdl);
        machine.Mdls.IoFreeMdl(mdl);
        return status;
    }

    /// <summary>Tells a file system that data up to here has been written: FileEndOfFileInformation that only advances.</summary>
    internal static NTSTATUS AdvanceValidDataLength(Machine machine, PFILE_OBJECT file, long length)
    {
        ulong buffer = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, FILE_END_OF_FILE_INFORMATION.SizeOf, CachedFile.Tag, 0);
        if (buffer == 0) return STATUS_INSUFFICIENT_RESOURCES;
        new PFILE_END_OF_FILE_INFORMATION(buffer).EndOfFile = length;
        NTSTATUS status = Send(machine, file, irp =>
        {
            irp.AssociatedIrp.SystemBuffer = new PVOID(buffer);
            PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
            location.MajorFunction = IRP_MJ_SET_INFORMATION;
            location.Parameters.SetFile.Length = FILE_END_OF_FILE_INFORMATION.SizeOf;
            location.Parameters.SetFile.FileInformationClass = FILE_INFORMATION_CLASS.FileEndOfFileInformation;
            location.Parameters.SetFile.FileObject = file;
            location.Parameters.SetFile.AdvanceOnly = true;
        }, out _);
        machine.Pool.Free(buffer, CachedFile.Tag);
        return status;
    }

    static NTSTATUS Send(Machine machine, PFILE_OBJECT file, Action<PIRP> fillIn, out ulong information)
    {
        information = 0;
        PDEVICE_OBJECT top = machine.Devices.IoGetRelatedDeviceObject(file);
        PIRP irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Request);
        if (irp.IsNull) return STATUS_INSUFFICIENT_RESOURCES;
        fillIn(irp);
        IrpStackLocations.IoGetNextIrpStackLocation(irp).FileObject = file;
        irp.Flags = IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO | IRP_NOCACHE;
        irp.Tail.Overlay.Thread = machine.CurrentThread.Object;
        irp.Tail.Overlay.OriginalFileObject = file;
        using var block = new RequestBlock(machine);
        NTSTATUS status = block.Send(irp, top);
        information = block.Iosb.Information;
        return status;
    }
}
