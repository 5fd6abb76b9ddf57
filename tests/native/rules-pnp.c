/* rules-pnp.c: requests of the PnP and power managers. See rules.h. */
#include "rules.h"

static NTSTATUS SendDownWith(PDEVICE_OBJECT DeviceObject, PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwAnsweredForBus)
{
    return SendDownWith(DeviceObject, Irp, STATUS_SUCCESS);
}

RIGHT(IwAnsweredForBus)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwFailedPnpSentDown)
{
    return SendDownWith(DeviceObject, Irp, STATUS_INSUFFICIENT_RESOURCES);
}

RIGHT(IwFailedPnpSentDown)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES);
}

WRONG(IwFailedPowerSentDown)
{
    return SendDownWith(DeviceObject, Irp, STATUS_DEVICE_BUSY);
}

RIGHT(IwFailedPowerSentDown)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_DEVICE_BUSY);
}

WRONG(IwPnpNotSupportedAgain)
{
    return SendDownWith(DeviceObject, Irp, STATUS_NOT_SUPPORTED);
}

RIGHT(IwPnpNotSupportedAgain)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwPowerNotSupportedAgain)
{
    return SendDownWith(DeviceObject, Irp, STATUS_NOT_SUPPORTED);
}

RIGHT(IwPowerNotSupportedAgain)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwPowerIrpCompletion)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(IwPowerIrpCompletion)
{
    return SkipDown(DeviceObject, Irp);
}

static NTSTATUS SendQuery(PDEVICE_OBJECT DeviceObject, PIRP Irp, NTSTATUS Status)
{
    PIRP own = NewFlush(DeviceObject);
    IoGetNextIrpStackLocation(own)->MajorFunction = IRP_MJ_PNP;
    IoGetNextIrpStackLocation(own)->MinorFunction = IRP_MN_QUERY_INTERFACE;
    own->IoStatus.Status = Status;
    SendOwn(DeviceObject, own, Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwInitialStatusMissing)
{
    return SendQuery(DeviceObject, Irp, STATUS_SUCCESS);
}

RIGHT(IwInitialStatusMissing)
{
    return SendQuery(DeviceObject, Irp, STATUS_NOT_SUPPORTED);
}

WRONG(IwPnpLeftUnhandled)
{
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwPnpLeftUnhandled)
{
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    return minor == IRP_MN_QUERY_STOP_DEVICE ? SendDownWith(DeviceObject, Irp, STATUS_SUCCESS) : SkipDown(DeviceObject, Irp);
}

/* Not the dispatch routine itself; and it calls nothing that other rules ask for. */
__attribute__((section("PAGE"), noinline)) static BOOLEAN HasRequestor(VOID)
{
    return PsGetCurrentThreadId() != NULL;
}

WRONG(PagedCodeAtPowerTrans)
{
    if (!HasRequestor()) return Complete(Irp, STATUS_UNSUCCESSFUL);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(PagedCodeAtPowerTrans)
{
    return SkipDown(DeviceObject, Irp);
}

CASES(
    CASE_OF(IRP_MJ_PNP, IwAnsweredForBus),
    CASE_OF(IRP_MJ_PNP, IwFailedPnpSentDown),
    CASE_OF(IRP_MJ_PNP, IwPnpNotSupportedAgain),
    CASE_OF(IRP_MJ_POWER, IwFailedPowerSentDown),
    CASE_OF(IRP_MJ_POWER, IwPowerNotSupportedAgain),
    CASE_OF(IRP_MJ_POWER, IwPowerIrpCompletion),
    CASE(IwInitialStatusMissing),
    CASE_OF(IRP_MJ_PNP, IwPnpLeftUnhandled),
    CASE_OF(IRP_MJ_POWER, PagedCodeAtPowerTrans)
)
