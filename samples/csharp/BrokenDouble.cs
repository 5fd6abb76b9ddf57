namespace Irpwright.Samples;

/// <summary>Completes an IRP twice in its error path. Twin of <c>broken-double.c</c>.</summary>
/// <remarks>
/// The length check completes a request that is too long, and so does its caller when the check fails. The limit was to come from
/// the registry; it stayed zero, so every READ of at least one byte takes that path.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x44--multiple-irp-complete-requests"/>
public sealed class BrokenDouble : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenDoubleAddDevice, BrokenDoubleDispatchRead);

    NTSTATUS BrokenDoubleAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
        FilterAttach(DriverObject, PhysicalDeviceObject, SizeOf<BROKEN_DOUBLE_EXTENSION>(), out _);

    NTSTATUS BrokenDoubleDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        NTSTATUS status = BrokenDoubleCheckLength((PBROKEN_DOUBLE_EXTENSION)DeviceObject.DeviceExtension, Irp);

        if (!status.IsSuccess)
        {
            // BUG: the check has completed the IRP already.
            Irp.IoStatus.Status = status;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return status;
        }

        return FilterDispatchPassDown(DeviceObject, Irp);
    }

    NTSTATUS BrokenDoubleCheckLength(PBROKEN_DOUBLE_EXTENSION Extension, PIRP Irp)
    {
        if (IoGetCurrentIrpStackLocation(Irp).Parameters.Read.Length <= Extension.MaximumLength)
        {
            return STATUS_SUCCESS;
        }

        Irp.IoStatus.Status = STATUS_INVALID_PARAMETER;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return STATUS_INVALID_PARAMETER;
    }
}

struct BROKEN_DOUBLE_EXTENSION
{
    public FILTER_EXTENSION Filter;
    public uint MaximumLength;
}

[PointerTo(typeof(BROKEN_DOUBLE_EXTENSION))] readonly partial struct PBROKEN_DOUBLE_EXTENSION;
