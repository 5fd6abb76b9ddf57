using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>A disk in memory that completes every request at once: the simplest lowest-level driver.</summary>
/// <param name="size">Bytes.</param>
/// <param name="name">Of the device object.</param>
public sealed class RamDisk(int size, string name = @"\Device\RamDisk0") : LowestDriver
{
    readonly byte[] content = new byte[size];
    PDEVICE_OBJECT device;

    /// <summary>The disk's bytes, for tests to fill and look at.</summary>
    public Span<byte> Content => content;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(name), FILE_DEVICE_DISK, 0, false, out device);
        if (!status.IsSuccess) return status;
        device.Flags |= DO_DIRECT_IO;
        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(Succeed);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(Succeed);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(Succeed);
        DriverObject.MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Routine(Succeed);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(ReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(ReadWrite);
        AnswerAsBus(DriverObject);
        DriverObject.DriverUnload = Routine(Unload);
        return STATUS_SUCCESS;
    }

    NTSTATUS Succeed(PDEVICE_OBJECT DeviceObject, PIRP Irp) => Complete(Irp, STATUS_SUCCESS, 0);

    NTSTATUS ReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        if (IsGone) return Complete(Irp, STATUS_DEVICE_REMOVED, 0);
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        long offset = stack.Parameters.Read.ByteOffset;
        uint length = stack.Parameters.Read.Length;
        if (offset < 0 || offset > content.Length || length > content.Length - offset) return Complete(Irp, STATUS_INVALID_PARAMETER, 0);
        if (length == 0) return Complete(Irp, STATUS_SUCCESS, 0);
        PVOID buffer = MmGetSystemAddressForMdlSafe(Irp.MdlAddress, NormalPagePriority);
        if (buffer.IsNull) return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
        Span<byte> blocks = content.AsSpan((int)offset, (int)length);
        if (stack.MajorFunction == IRP_MJ_READ) blocks.CopyTo(GuestMemory.Write(buffer.Address, (int)length));
        else GuestMemory.Read(buffer.Address, (int)length).CopyTo(blocks);
        return Complete(Irp, STATUS_SUCCESS, length);
    }

    NTSTATUS Complete(PIRP Irp, NTSTATUS status, ulong information)
    {
        Irp.IoStatus.Status = status;
        Irp.IoStatus.Information = information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }

    void Unload(PDRIVER_OBJECT DriverObject) => IoDeleteDevice(device);
}
