using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What a request came to that needed no IRP.</summary>
/// <param name="IsRefused">Its buffers were found to be bad before the driver was asked.</param>
readonly record struct FastIoOutcome(IO_STATUS_BLOCK IoStatus, bool IsRefused = false);

/// <summary>Fast I/O: requests that the driver of the topmost device carries out at once, in the requestor's own buffers.</summary>
/// <remarks>
/// Of the table, the routines for device control, for reads and writes of cached files and for detaching are called; requests that query
/// information, lock or open are always IRPs.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_fast_io_dispatch"/>
public sealed class FastIo
{
    const uint Tag = 0x6F497346; // "FsIo"
    const ulong BlockSize = 0x18, OffsetInBlock = 0x10;

    readonly Machine machine;

    internal FastIo(Machine machine) => this.machine = machine;

    /// <summary>Has the driver carry out a request; null if it needs an IRP.</summary>
    internal FastIoOutcome? Try(PFILE_OBJECT file, in IoRequest request, PDEVICE_OBJECT device)
    {
        PFAST_IO_DISPATCH table = device.DriverObject.FastIoDispatch;
        // Nothing says whether the routine of a request that has one would be called.
        if (table.IsNull || !request.ApcRoutine.IsNull) return null;
        ulong routine = request.MajorFunction switch
        {
            IRP_MJ_DEVICE_CONTROL => table.FastIoDeviceControl.Address,
            IRP_MJ_READ when IsCached(file) => table.FastIoRead.Address,
            IRP_MJ_WRITE when IsCached(file) => table.FastIoWrite.Address,
            _ => 0,
        };
        if (routine == 0) return null;
        if (!HasGoodBuffers(in request)) return new(new IO_STATUS_BLOCK { Status = NTSTATUS.STATUS_ACCESS_VIOLATION }, IsRefused: true);
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, BlockSize, Tag, 0);
        if (block == 0) return null;
        try
        {
            return Call(routine, file, in request, device, block);
        }
        finally
        {
            machine.Pool.Free(block, Tag);
        }
    }

    static bool IsCached(PFILE_OBJECT file) => !file.PrivateCacheMap.IsNull && (file.Flags & FO_SYNCHRONOUS_IO) != 0;

    FastIoOutcome? Call(ulong routine, PFILE_OBJECT file, in IoRequest request, PDEVICE_OBJECT device, ulong block)
    {
        PIO_STATUS_BLOCK iosb = new(block);
        iosb.Value = default;
        PLARGE_INTEGER offset = new(block + OffsetInBlock);
        offset.Value = request.Offset;
        PVOID buffer = new(request.Buffer);
        string name = request.MajorFunction switch { IRP_MJ_READ => "FastIoRead", IRP_MJ_WRITE => "FastIoWrite", _ => "FastIoDeviceControl" };
        machine.Events.Emit(new FastIoCalled(name, routine, device, file));
        bool isOver = request.MajorFunction switch
        {
            IRP_MJ_READ => machine.Code.Call(new PFAST_IO_READ(routine), file, offset, request.Length, true, request.Key, buffer, iosb, device),
            IRP_MJ_WRITE => machine.Code.Call(new PFAST_IO_WRITE(routine), file, offset, request.Length, true, request.Key, buffer, iosb, device),
            _ => machine.Code.Call(new PFAST_IO_DEVICE_CONTROL(routine), file, true, new PVOID(request.Input), request.InputLength, buffer, request.Length,
                request.ControlCode, iosb, device),
        };
        // A transfer that failed is tried again with an IRP.
        isOver &= request.MajorFunction switch
        {
            IRP_MJ_READ => iosb.Status is NTSTATUS.STATUS_SUCCESS or NTSTATUS.STATUS_BUFFER_OVERFLOW or NTSTATUS.STATUS_END_OF_FILE,
            IRP_MJ_WRITE => iosb.Status == NTSTATUS.STATUS_SUCCESS,
            _ => true,
        };
        machine.Events.Emit(new FastIoReturned(name, routine, device, isOver ? iosb.Status : null));
        return isOver ? new(iosb.Value) : null;
    }

    /// <summary>What the system service looks at before it asks the driver: less than an IRP's buffers are looked at.</summary>
    bool HasGoodBuffers(in IoRequest request)
    {
        if (request.RequestorMode == MODE.KernelMode) return true;
        uint method = request.ControlCode & 3;
        bool isControl = request.MajorFunction == IRP_MJ_DEVICE_CONTROL;
        if (isControl && method == METHOD_NEITHER) return true;
        try
        {
            if (isControl) machine.Mdls.ProbeForRead(new PVOID(request.Input), request.Input == 0 ? 0 : request.InputLength, 1);
            PVOID buffer = new(request.Buffer);
            uint length = request.Buffer == 0 ? 0 : request.Length;
            if (request.MajorFunction == IRP_MJ_WRITE || (isControl && method == METHOD_IN_DIRECT)) machine.Mdls.ProbeForRead(buffer, length, 1);
            else machine.Mdls.ProbeForWrite(buffer, length, 1);
            return true;
        }
        catch (NtStatusException)
        {
            return false;
        }
    }

    /// <summary>Asks the driver of the device above to detach it from one that is being deleted.</summary>
    internal void Detach(PDEVICE_OBJECT device)
    {
        PDEVICE_OBJECT above = device.AttachedDevice;
        PFAST_IO_DISPATCH table = above.DriverObject.FastIoDispatch;
        if (table.IsNull || table.FastIoDetachDevice.IsNull) return;
        PFAST_IO_DETACH_DEVICE routine = table.FastIoDetachDevice;
        machine.Events.Emit(new FastIoCalled("FastIoDetachDevice", routine.Address, above, default));
        machine.Code.Call(routine, above, device);
        machine.Events.Emit(new FastIoReturned("FastIoDetachDevice", routine.Address, default, null));
    }
}
