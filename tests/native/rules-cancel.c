/* rules-cancel.c: cancel. See rules.h. */
#include "rules.h"

WRONG(IwCompletedCancelable)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoSetCancelRoutine(Irp, Cancel);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(IwCompletedCancelable)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoSetCancelRoutine(Irp, Cancel);
    IoSetCancelRoutine(Irp, NULL);
    return Complete(Irp, STATUS_SUCCESS);
}

WRONG(IwForwardedCancelable)
{
    IoSetCancelRoutine(Irp, Cancel);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwForwardedCancelable)
{
    IoSetCancelRoutine(Irp, Cancel);
    IoSetCancelRoutine(Irp, NULL);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IrpCancelField)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, Cancel);
    return STATUS_PENDING;
}

RIGHT(IrpCancelField)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, Cancel);
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        Complete(Irp, STATUS_CANCELLED);
    }
    return STATUS_PENDING;
}

WRONG(CancelSpinLock)
{
    KIRQL irql;
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    IoReleaseCancelSpinLock(irql);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(CancelSpinLock)
{
    KIRQL irql;
    IoAcquireCancelSpinLock(&irql);
    IoReleaseCancelSpinLock(irql);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwCancelIgnored)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    return STATUS_PENDING;
}

RIGHT(IwCancelIgnored)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, Cancel);
    return STATUS_PENDING;
}

WRONG(IwCancelableWhileBelow)
{
    NTSTATUS status = SkipDown(DeviceObject, Irp);
    IoSetCancelRoutine(Irp, Cancel);
    return status;
}

RIGHT(IwCancelableWhileBelow)
{
    IoSetCancelRoutine(Irp, Cancel);
    IoSetCancelRoutine(Irp, NULL);
    return SkipDown(DeviceObject, Irp);
}

WRONG(StartIoCancel)
{
    IoMarkIrpPending(Irp);
    IoSetStartIoAttributes(DeviceObject, FALSE, FALSE);
    IoSetCancelRoutine(Irp, Cancel);
    return STATUS_PENDING;
}

RIGHT(StartIoCancel)
{
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, Cancel);
    IoSetStartIoAttributes(DeviceObject, FALSE, FALSE);
    return STATUS_PENDING;
}

CASES(
    CASE(IwCompletedCancelable),
    CASE(IwForwardedCancelable),
    CASE(IrpCancelField),
    CASE(CancelSpinLock),
    CASE(IwCancelIgnored),
    CASE(IwCancelableWhileBelow),
    CASE(StartIoCancel)
)
