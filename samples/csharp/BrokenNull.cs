namespace Irpwright.Samples;

/// <summary>Dereferences NULL in a completion routine. Twin of <c>broken-null.c</c>.</summary>
/// <remarks>
/// The filter counts bytes read in a block that IRP_MN_START_DEVICE was meant to allocate. Nobody wrote that part, so every
/// completed READ hands the completion routine a NULL context.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0xd1--driver-irql-not-less-or-equal"/>
public sealed class BrokenNull : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenNullAddDevice, BrokenNullDispatchRead);

    NTSTATUS BrokenNullAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
        FilterAttach(DriverObject, PhysicalDeviceObject, SizeOf<BROKEN_NULL_EXTENSION>(), out _);

    NTSTATUS BrokenNullDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PBROKEN_NULL_EXTENSION)DeviceObject.DeviceExtension;

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, BrokenNullReadDone, extension.Counters, true, true, true);

        return IoCallDriver(extension.Filter.LowerDevice, Irp);
    }

    NTSTATUS BrokenNullReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var counters = (PREAD_COUNTERS)Context;

        if (Irp.PendingReturned)
        {
            IoMarkIrpPending(Irp);
        }

        InterlockedIncrement64(ref counters.Requests);
        InterlockedExchangeAdd64(ref counters.Bytes, (long)Irp.IoStatus.Information);

        return STATUS_CONTINUE_COMPLETION;
    }
}

struct READ_COUNTERS
{
    public long Requests;
    public long Bytes;
}

[PointerTo(typeof(READ_COUNTERS))] readonly partial struct PREAD_COUNTERS;

struct BROKEN_NULL_EXTENSION
{
    public FILTER_EXTENSION Filter;
    public PREAD_COUNTERS Counters; // BUG: never allocated
}

[PointerTo(typeof(BROKEN_NULL_EXTENSION))] readonly partial struct PBROKEN_NULL_EXTENSION;
