namespace Irpwright.Samples;

/// <summary>Lets an exception go that nobody takes. Twin of <c>broken-seh.c</c>.</summary>
/// <remarks>
/// The filter counts how many READs begin at each sector size it was told, and divides by a size that is zero until
/// IRP_MN_START_DEVICE sets it, which nobody wrote. The try block is there, but its filter only takes access violations, "the only
/// thing that can happen". The finally block does not run: the system stops where the exception was raised.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x3b--system-service-exception"/>
public sealed class BrokenSeh : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenSehAddDevice, BrokenSehDispatchRead);

    NTSTATUS BrokenSehAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
        FilterAttach(DriverObject, PhysicalDeviceObject, SizeOf<BROKEN_SEH_EXTENSION>(), out _);

    static uint BrokenSehSectorOf(PBROKEN_SEH_EXTENSION Extension, uint Offset) => Offset % Extension.SectorSize;

    NTSTATUS BrokenSehDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PBROKEN_SEH_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        try
        {
            try
            {
                InterlockedIncrement(ref extension.Looking);
                if (BrokenSehSectorOf(extension, (uint)location.Parameters.Read.ByteOffset) == 0)
                {
                    extension.Aligned++;
                }
            }
            finally
            {
                InterlockedDecrement(ref extension.Looking);
            }
        }
        catch (NtStatusException e) when (e.Status == STATUS_ACCESS_VIOLATION)
        {
            return STATUS_UNSUCCESSFUL;
        }

        IoSkipCurrentIrpStackLocation(Irp);

        return IoCallDriver(extension.Filter.LowerDevice, Irp);
    }
}

struct BROKEN_SEH_EXTENSION
{
    public FILTER_EXTENSION Filter;
    public uint SectorSize; // BUG: never set
    public int Aligned;
    public int Looking;
}

[PointerTo(typeof(BROKEN_SEH_EXTENSION))] readonly partial struct PBROKEN_SEH_EXTENSION;
