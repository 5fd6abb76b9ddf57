/* rules-pending.c: pending. See rules.h. */
#include "rules.h"

WRONG(MarkIrpPending)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(MarkIrpPending)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    Complete(Irp, STATUS_SUCCESS);
    return STATUS_PENDING;
}

WRONG(MarkIrpPending2)
{
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

RIGHT(MarkIrpPending2)
{
    IoMarkIrpPending(Irp);
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

WRONG(PendedCompletedRequest)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    Complete(Irp, STATUS_SUCCESS);
    return STATUS_PENDING;
}

RIGHT(PendedCompletedRequest)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

WRONG(PendedCompletedRequest2)
{
    IoMarkIrpPending(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoCallDriver(Lower(DeviceObject), Irp);
    Complete(Irp, STATUS_SUCCESS);
    return STATUS_PENDING;
}

RIGHT(PendedCompletedRequest2)
{
    return ForwardAndWait(DeviceObject, Irp);
}

WRONG(PendedCompletedRequest3)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    Complete(Irp, STATUS_SUCCESS);
    return STATUS_PENDING;
}

RIGHT(PendedCompletedRequest3)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

WRONG(IwForwardedWhileBelow)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoCallDriver(Lower(DeviceObject), Irp);
    IoSkipCurrentIrpStackLocation(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

RIGHT(IwForwardedWhileBelow)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    if (CopyDown(DeviceObject, Irp, Signal, &extension->Event) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    KeClearEvent(&extension->Event);
    if (CopyDown(DeviceObject, Irp, Signal, &extension->Event) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return Complete(Irp, Irp->IoStatus.Status);
}

WRONG(IwPendingNotPropagated)
{
    return CopyDown(DeviceObject, Irp, Forget, NULL);
}

RIGHT(IwPendingNotPropagated)
{
    return CopyDown(DeviceObject, Irp, Propagate, NULL);
}

WRONG(MarkingInterlockedQueuedIrps)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    ExInterlockedInsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry, &extension->Lock);
    IoMarkIrpPending(Irp);
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

RIGHT(MarkingInterlockedQueuedIrps)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    IoMarkIrpPending(Irp);
    ExInterlockedInsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry, &extension->Lock);
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

WRONG(MarkingQueuedIrps)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KIRQL irql;
    KeAcquireSpinLock(&extension->Lock, &irql);
    InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->Lock, irql);
    IoMarkIrpPending(Irp);
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

RIGHT(MarkingQueuedIrps)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KIRQL irql;
    KeAcquireSpinLock(&extension->Lock, &irql);
    IoMarkIrpPending(Irp);
    InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->Lock, irql);
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

static NTSTATUS PendDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    IoMarkIrpPending(Irp);
    CopyDown(DeviceObject, Irp, Propagate, NULL);
    return STATUS_PENDING;
}

WRONG(MarkPower)
{
    return SkipDown(DeviceObject, Irp);
}

RIGHT(MarkPower)
{
    return PendDown(DeviceObject, Irp);
}

WRONG(MarkPowerDown)
{
    return SkipDown(DeviceObject, Irp);
}

RIGHT(MarkPowerDown)
{
    return PendDown(DeviceObject, Irp);
}

WRONG(MarkQueryRelations)
{
    return SkipDown(DeviceObject, Irp);
}

RIGHT(MarkQueryRelations)
{
    return PendDown(DeviceObject, Irp);
}

WRONG(MarkStartDevice)
{
    return SkipDown(DeviceObject, Irp);
}

RIGHT(MarkStartDevice)
{
    return PendDown(DeviceObject, Irp);
}

WRONG(IoBuildDeviceControlWait)
{
    IoCallDriver(Lower(DeviceObject), BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildDeviceControlWait)
{
    SendAndWait(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoBuildSynchronousFsdRequestWait)
{
    IoCallDriver(Lower(DeviceObject), BuildSynchronousFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildSynchronousFsdRequestWait)
{
    SendAndWait(DeviceObject, BuildSynchronousFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwWaitForNoObject)
{
    KeWaitForSingleObject((PVOID)(ULONG_PTR)0x4C, Executive, KernelMode, FALSE, NULL);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwWaitForNoObject)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeSetEvent(&extension->Event, IO_NO_INCREMENT, FALSE);
    Wait(&extension->Event);
    return SkipDown(DeviceObject, Irp);
}

static BOOLEAN IsSystemPower(PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    return location->MinorFunction == IRP_MN_SET_POWER && location->Parameters.Power.Type == SystemPowerState;
}

static VOID RequestD0(PDEVICE_OBJECT DeviceObject)
{
    POWER_STATE state = { .DeviceState = PowerDeviceD0 };
    PoRequestPowerIrp(DeviceObject, IRP_MN_SET_POWER, state, NULL, NULL, NULL);
}

WRONG(MarkDevicePower)
{
    if (IsSystemPower(Irp)) {
        RequestD0(DeviceObject);
    }
    return SkipDown(DeviceObject, Irp);
}

RIGHT(MarkDevicePower)
{
    if (!IsSystemPower(Irp)) {
        return SkipDown(DeviceObject, Irp);
    }
    IoMarkIrpPending(Irp);
    RequestD0(DeviceObject);
    CopyDown(DeviceObject, Irp, Propagate, NULL);
    return STATUS_PENDING;
}

static VOID SendAndWaitWithLimit(PDEVICE_OBJECT DeviceObject, PIRP Own)
{
    if (IoCallDriver(Lower(DeviceObject), Own) == STATUS_PENDING) {
        WaitWithLimit(&Extension(DeviceObject)->Event, Own);
    }
}

WRONG(IoBuildDeviceControlWaitTimeout)
{
    SendAndWait(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildDeviceControlWaitTimeout)
{
    SendAndWaitWithLimit(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoBuildSynchronousFsdRequestWaitTimeout)
{
    SendAndWait(DeviceObject, BuildSynchronousFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildSynchronousFsdRequestWaitTimeout)
{
    SendAndWaitWithLimit(DeviceObject, BuildSynchronousFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

CASES(
    CASE(MarkIrpPending),
    CASE(MarkIrpPending2),
    CASE(PendedCompletedRequest),
    CASE(PendedCompletedRequest2),
    CASE(PendedCompletedRequest3),
    CASE(IwForwardedWhileBelow),
    CASE(IwPendingNotPropagated),
    CASE(MarkingInterlockedQueuedIrps),
    CASE(MarkingQueuedIrps),
    CASE_OF(IRP_MJ_POWER, MarkPower),
    CASE_OF(IRP_MJ_POWER, MarkPowerDown),
    CASE_OF(IRP_MJ_PNP, MarkQueryRelations),
    CASE_OF(IRP_MJ_PNP, MarkStartDevice),
    CASE(IoBuildDeviceControlWait),
    CASE(IoBuildSynchronousFsdRequestWait),
    CASE(IwWaitForNoObject),
    CASE_OF(IRP_MJ_POWER, MarkDevicePower),
    CASE(IoBuildDeviceControlWaitTimeout),
    CASE(IoBuildSynchronousFsdRequestWaitTimeout)
)
