namespace Irpwright.Samples;

/// <summary>Has a wild routine address called. Twin of <c>broken-wild.c</c>.</summary>
/// <remarks>
/// A relic of 32-bit days: the filter keeps the address of its log routine in a ULONG. On x64 the upper half is lost, and every
/// READ calls somewhere into the low 4 GiB. The C filter makes that call itself; here the I/O manager makes it, at completion.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/porting-your-driver-to-64-bit-windows"/>
public sealed class BrokenWild : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenWildAddDevice, BrokenWildDispatchRead);

    NTSTATUS BrokenWildAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = FilterAttach(
            DriverObject, PhysicalDeviceObject, SizeOf<BROKEN_WILD_EXTENSION>(), out PDEVICE_OBJECT deviceObject);
        if (status.IsSuccess)
        {
            var extension = (PBROKEN_WILD_EXTENSION)deviceObject.DeviceExtension;

            extension.Log = (uint)Routine(BrokenWildLog).Address;
        }

        return status;
    }

    NTSTATUS BrokenWildDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PBROKEN_WILD_EXTENSION)DeviceObject.DeviceExtension;

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, new PIO_COMPLETION_ROUTINE(extension.Log), default, true, true, true);

        return IoCallDriver(extension.Filter.LowerDevice, Irp);
    }

    NTSTATUS BrokenWildLog(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PBROKEN_WILD_EXTENSION)DeviceObject.DeviceExtension;

        InterlockedIncrement(ref extension.Logged);

        return STATUS_CONTINUE_COMPLETION;
    }
}

struct BROKEN_WILD_EXTENSION
{
    public FILTER_EXTENSION Filter;
    public uint Log; // BUG: half a pointer
    public int Logged;
}

[PointerTo(typeof(BROKEN_WILD_EXTENSION))] readonly partial struct PBROKEN_WILD_EXTENSION;
