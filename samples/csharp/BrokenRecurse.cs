namespace Irpwright.Samples;

/// <summary>Recurses until the kernel stack is used up. Counterpart of <c>broken-recurse.c</c>.</summary>
/// <remarks>
/// The completion routine sends a failed READ down again, as Retry.cs does, but has forgotten to count. A device that keeps failing
/// at once makes every try nest in the one before.
/// <para>
/// The C driver recurses in a routine of its own. In .NET that would end the process, so here the recursion goes through
/// IoCallDriver, which watches the stack.
/// </para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x7f--unexpected-kernel-mode-trap"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-kernel-stack"/>
public sealed class BrokenRecurse : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenRecurseAddDevice, BrokenRecurseDispatchRead);

    NTSTATUS BrokenRecurseAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
        FilterAttach(DriverObject, PhysicalDeviceObject, SizeOf<FILTER_EXTENSION>(), out _);

    NTSTATUS BrokenRecurseDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoMarkIrpPending(Irp);
        _ = BrokenRecurseSend(DeviceObject, Irp);

        return STATUS_PENDING;
    }

    NTSTATUS BrokenRecurseSend(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFILTER_EXTENSION)DeviceObject.DeviceExtension;

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, BrokenRecurseReadDone, default, true, true, true);

        return IoCallDriver(extension.LowerDevice, Irp);
    }

    NTSTATUS BrokenRecurseReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        if (!Irp.IoStatus.Status.IsSuccess)
        {
            // BUG: never gives up.
            _ = BrokenRecurseSend(DeviceObject, Irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        }

        return STATUS_CONTINUE_COMPLETION;
    }
}
