/* rules-forwarding.c: forwarding. See rules.h. */
#include "rules.h"

WRONG(IwSentNoIrp)
{
    PIRP irp = NewFlush(DeviceObject);
    IoFreeIrp(irp);
    IoCallDriver(Lower(DeviceObject), irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwSentNoIrp)
{
    SendOwn(DeviceObject, NewFlush(DeviceObject), Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwLeftStackLocations)
{
    IoSkipCurrentIrpStackLocation(Irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwLeftStackLocations)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwControlNotCleared)
{
    IoMarkIrpPending(Irp);
    *IoGetNextIrpStackLocation(Irp) = *IoGetCurrentIrpStackLocation(Irp);
    IoCallDriver(Lower(DeviceObject), Irp);
    return STATUS_PENDING;
}

RIGHT(IwControlNotCleared)
{
    IoMarkIrpPending(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoCallDriver(Lower(DeviceObject), Irp);
    return STATUS_PENDING;
}

WRONG(IwTooFewLocations)
{
    PIRP irp = IoAllocateIrp((CCHAR)(Lower(DeviceObject)->StackSize - 1), FALSE);
    IoCallDriver(Lower(DeviceObject), irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwTooFewLocations)
{
    SendOwn(DeviceObject, NewFlush(DeviceObject), Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwStatusOfUnknownChanged)
{
    Irp->IoStatus.Information = 1;
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwStatusOfUnknownChanged)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwCopiedWithoutRoutine)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

RIGHT(IwCopiedWithoutRoutine)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwCompletionRoutineCopied)
{
    *IoGetNextIrpStackLocation(Irp) = *IoGetCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

RIGHT(IwCompletionRoutineCopied)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

WRONG(IwSentToNoDevice)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(NULL, Irp);
}

RIGHT(IwSentToNoDevice)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwSentPastDevice)
{
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Extension(DeviceObject)->PhysicalDevice, Irp);
}

RIGHT(IwSentPastDevice)
{
    return SkipDown(DeviceObject, Irp);
}

static NTSTATUS SendWithFile(PDEVICE_OBJECT DeviceObject, PIRP Irp, UCHAR Major)
{
    PIRP own = NewFlush(DeviceObject);
    IoGetNextIrpStackLocation(own)->MajorFunction = Major;
    IoGetNextIrpStackLocation(own)->FileObject = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    SendOwn(DeviceObject, own, Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwCreateWithClosedFile)
{
    return SendWithFile(DeviceObject, Irp, IRP_MJ_CREATE);
}

RIGHT(IwCreateWithClosedFile)
{
    return SendWithFile(DeviceObject, Irp, IRP_MJ_FLUSH_BUFFERS);
}

CASES(
    CASE(IwSentNoIrp),
    CASE(IwLeftStackLocations),
    CASE(IwControlNotCleared),
    CASE(IwTooFewLocations),
    CASE_OF(IRP_MJ_PNP, IwStatusOfUnknownChanged),
    CASE(IwCopiedWithoutRoutine),
    CASE(IwCompletionRoutineCopied),
    CASE(IwSentToNoDevice),
    CASE(IwSentPastDevice),
    CASE_OF(IRP_MJ_CLOSE, IwCreateWithClosedFile)
)
