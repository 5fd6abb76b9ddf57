namespace Irpwright.Samples;

/// <summary>Never returns from its dispatch routine. Twin of <c>broken-loop.c</c>.</summary>
/// <remarks>READ polls a flag that IRP_MN_START_DEVICE was meant to set. Nobody sets it, and the processor spins for good.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x133-dpc-watchdog-violation"/>
public sealed class BrokenLoop : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenLoopAddDevice, BrokenLoopDispatchRead);

    NTSTATUS BrokenLoopAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
        FilterAttach(DriverObject, PhysicalDeviceObject, SizeOf<BROKEN_LOOP_EXTENSION>(), out _);

    NTSTATUS BrokenLoopDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PBROKEN_LOOP_EXTENSION)DeviceObject.DeviceExtension;

        while (Volatile.Read(ref extension.Ready) == 0)
        {
            Thread.SpinWait(1);
        }

        return FilterDispatchPassDown(DeviceObject, Irp);
    }
}

struct BROKEN_LOOP_EXTENSION
{
    public FILTER_EXTENSION Filter;
    public byte Ready; // BUG: never set
}

[PointerTo(typeof(BROKEN_LOOP_EXTENSION))] readonly partial struct PBROKEN_LOOP_EXTENSION;
