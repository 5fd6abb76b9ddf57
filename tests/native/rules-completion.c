/* rules-completion.c: completion. See rules.h. */
#include "rules.h"

WRONG(CompleteRequestStatusCheck)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    Complete(Irp, STATUS_PENDING);
    return STATUS_PENDING;
}

RIGHT(CompleteRequestStatusCheck)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    Complete(Irp, STATUS_SUCCESS);
    return STATUS_PENDING;
}

WRONG(DoubleCompletion)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    Complete(Irp, STATUS_SUCCESS);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(DoubleCompletion)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

WRONG(CompleteRequest)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    return STATUS_PENDING;
}

RIGHT(CompleteRequest)
{
    IoMarkIrpPending(Irp);
    CompleteLater(DeviceObject, Irp);
    return STATUS_PENDING;
}

WRONG(IrpProcessingComplete)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    return STATUS_INVALID_PARAMETER;
}

RIGHT(IrpProcessingComplete)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_INVALID_PARAMETER);
}

WRONG(LowerDriverReturn)
{
    SkipDown(DeviceObject, Irp);
    return STATUS_UNSUCCESSFUL;
}

RIGHT(LowerDriverReturn)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwOtherStatusReturned)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    Complete(Irp, STATUS_DEVICE_NOT_READY);
    return STATUS_SUCCESS;
}

RIGHT(IwOtherStatusReturned)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_DEVICE_NOT_READY);
}

WRONG(IwInformationTooLarge)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length + 1;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

RIGHT(IwInformationTooLarge)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

WRONG(IwEventSetBeforeSending)
{
    PIRP irp = BuildControl(DeviceObject);
    KeSetEvent(&Extension(DeviceObject)->Event, IO_NO_INCREMENT, FALSE);
    SendAndWait(DeviceObject, irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwEventSetBeforeSending)
{
    SendAndWait(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoBuildDeviceIoControlSetEvent)
{
    PIRP irp = BuildControl(DeviceObject);
    IoSetCompletionRoutine(irp, SignalOnly, &Extension(DeviceObject)->Event, TRUE, TRUE, TRUE);
    SendAndWait(DeviceObject, irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildDeviceIoControlSetEvent)
{
    PIRP irp = BuildControl(DeviceObject);
    IoSetCompletionRoutine(irp, SignalOnly, &Extension(DeviceObject)->Other, TRUE, TRUE, TRUE);
    SendAndWait(DeviceObject, irp);
    return SkipDown(DeviceObject, Irp);
}

WRONG(CompletionRoutineRegistered)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutineEx(DeviceObject, Irp, Propagate, NULL, TRUE, TRUE, TRUE);
    return Complete(Irp, STATUS_DELETE_PENDING);
}

RIGHT(CompletionRoutineRegistered)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutineEx(DeviceObject, Irp, Propagate, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

WRONG(IoSetCompletionExCompleteIrp)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutineEx(DeviceObject, Irp, Propagate, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

RIGHT(IoSetCompletionExCompleteIrp)
{
    NTSTATUS status;
    IoCopyCurrentIrpStackLocationToNext(Irp);
    status = IoSetCompletionRoutineEx(DeviceObject, Irp, Propagate, NULL, TRUE, TRUE, TRUE);
    return NT_SUCCESS(status) ? IoCallDriver(Lower(DeviceObject), Irp) : Complete(Irp, status);
}

WRONG(IoSetCompletionRoutineExCheckDeviceObject)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutineEx(Lower(DeviceObject), Irp, Propagate, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

RIGHT(IoSetCompletionRoutineExCheckDeviceObject)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutineEx(DeviceObject, Irp, Propagate, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

WRONG(SignalEventInCompletion)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    if (CopyDown(DeviceObject, Irp, Keep, NULL) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return Complete(Irp, Irp->IoStatus.Status);
}

RIGHT(SignalEventInCompletion)
{
    return ForwardAndWait(DeviceObject, Irp);
}

WRONG(SignalEventInCompletion2)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Signal, &extension->Event, FALSE, TRUE, TRUE);
    if (IoCallDriver(extension->LowerDevice, Irp) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return Complete(Irp, Irp->IoStatus.Status);
}

RIGHT(SignalEventInCompletion2)
{
    return ForwardAndWait(DeviceObject, Irp);
}

WRONG(SignalEventInCompletion3)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    if (IoCallDriver(extension->LowerDevice, Irp) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return Complete(Irp, Irp->IoStatus.Status);
}

RIGHT(SignalEventInCompletion3)
{
    return ForwardAndWait(DeviceObject, Irp);
}

static NTSTATUS OwnAndWait(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIRP Own, BOOLEAN Signals)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    IoSetCompletionRoutine(Own, Free, Signals ? &extension->Event : NULL, TRUE, TRUE, TRUE);
    if (IoCallDriver(extension->LowerDevice, Own) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoAllocateIrpSignalEventInCompletion)
{
    return OwnAndWait(DeviceObject, Irp, NewFlush(DeviceObject), FALSE);
}

RIGHT(IoAllocateIrpSignalEventInCompletion)
{
    return OwnAndWait(DeviceObject, Irp, NewFlush(DeviceObject), TRUE);
}

WRONG(IoBuildFsdIrpSignalEventInCompletion)
{
    return OwnAndWait(DeviceObject, Irp, BuildFlush(DeviceObject), FALSE);
}

RIGHT(IoBuildFsdIrpSignalEventInCompletion)
{
    return OwnAndWait(DeviceObject, Irp, BuildFlush(DeviceObject), TRUE);
}

WRONG(IwWaitedForOtherEvent)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    if (IoCallDriver(extension->LowerDevice, BuildControl(DeviceObject)) == STATUS_PENDING) {
        Wait(&extension->Other);
    }
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwWaitedForOtherEvent)
{
    SendAndWait(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(CompletionEventChecking)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    if (CopyDown(DeviceObject, Irp, MarkAndSignal, &extension->Event) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    Complete(Irp, Irp->IoStatus.Status);
    return STATUS_PENDING;
}

RIGHT(CompletionEventChecking)
{
    return ForwardAndWait(DeviceObject, Irp);
}

WRONG(WmiForward)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    return STATUS_SUCCESS;
}

RIGHT(WmiForward)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwWmiCompletedForOther)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(IwWmiCompletedForOther)
{
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwMustNotFail)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_UNSUCCESSFUL);
}

RIGHT(IwMustNotFail)
{
    Irp->IoStatus.Status = STATUS_SUCCESS;
    return SkipDown(DeviceObject, Irp);
}

WRONG(PnpIrpCompletion)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(PnpIrpCompletion)
{
    return SkipDown(DeviceObject, Irp);
}

static VOID SendPnp(PDEVICE_OBJECT DeviceObject, UCHAR Minor)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    PIRP irp;
    KeClearEvent(&extension->Event);
    irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, extension->LowerDevice, NULL, 0, NULL, &extension->Event, &extension->Block);
    IoGetNextIrpStackLocation(irp)->MinorFunction = Minor;
    SendAndWait(DeviceObject, irp);
}

WRONG(IwSystemIrpSent)
{
    SendPnp(DeviceObject, IRP_MN_QUERY_RESOURCES);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwSystemIrpSent)
{
    SendPnp(DeviceObject, IRP_MN_QUERY_CAPABILITIES);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwApcStateChanged)
{
    return CopyDown(DeviceObject, Irp, EnterOnly, NULL);
}

RIGHT(IwApcStateChanged)
{
    return CopyDown(DeviceObject, Irp, EnterAndLeave, NULL);
}

WRONG(IwCompletedUnsent)
{
    Complete(BuildControl(DeviceObject), STATUS_CANCELLED);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwCompletedUnsent)
{
    SendAndWait(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

__attribute__((section("PAGE"))) static NTSTATUS NTAPI Pageable(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_SUCCESS;
}

WRONG(IwPageableCompletionRoutine)
{
    return CopyDown(DeviceObject, Irp, Pageable, NULL);
}

RIGHT(IwPageableCompletionRoutine)
{
    return CopyDown(DeviceObject, Irp, Propagate, NULL);
}

/* Sends an IRP of its own, whose routine may be registered for success alone, or not at all, and waits. */
static NTSTATUS SendSignaling(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIRP Own, BOOLEAN OnSuccess, BOOLEAN OnError)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    if (OnSuccess) {
        IoSetCompletionRoutine(Own, Free, &extension->Event, TRUE, OnError, OnError);
    }
    if (IoCallDriver(extension->LowerDevice, Own) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return SkipDown(DeviceObject, Irp);
}

static NTSTATUS SendWithLimit(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIRP Own, BOOLEAN Limited)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    IoSetCompletionRoutine(Own, Free, &extension->Event, TRUE, TRUE, TRUE);
    if (IoCallDriver(extension->LowerDevice, Own) == STATUS_PENDING) {
        if (Limited) {
            WaitWithLimit(&extension->Event, Own);
        } else {
            Wait(&extension->Event);
        }
    }
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoAllocateIrpSignalEventInCompletion2)
{
    return SendSignaling(DeviceObject, Irp, NewFlush(DeviceObject), TRUE, FALSE);
}

RIGHT(IoAllocateIrpSignalEventInCompletion2)
{
    return SendSignaling(DeviceObject, Irp, NewFlush(DeviceObject), TRUE, TRUE);
}

WRONG(IoAllocateIrpSignalEventInCompletion3)
{
    return SendSignaling(DeviceObject, Irp, NewFlush(DeviceObject), FALSE, FALSE);
}

RIGHT(IoAllocateIrpSignalEventInCompletion3)
{
    return SendSignaling(DeviceObject, Irp, NewFlush(DeviceObject), TRUE, TRUE);
}

WRONG(IoAllocateIrpSignalEventInCompletionTimeout)
{
    return SendWithLimit(DeviceObject, Irp, NewFlush(DeviceObject), FALSE);
}

RIGHT(IoAllocateIrpSignalEventInCompletionTimeout)
{
    return SendWithLimit(DeviceObject, Irp, NewFlush(DeviceObject), TRUE);
}

WRONG(IoBuildFsdIrpSignalEventInCompletion2)
{
    return SendSignaling(DeviceObject, Irp, BuildFlush(DeviceObject), TRUE, FALSE);
}

RIGHT(IoBuildFsdIrpSignalEventInCompletion2)
{
    return SendSignaling(DeviceObject, Irp, BuildFlush(DeviceObject), TRUE, TRUE);
}

WRONG(IoBuildFsdIrpSignalEventInCompletion3)
{
    return SendSignaling(DeviceObject, Irp, BuildFlush(DeviceObject), FALSE, FALSE);
}

RIGHT(IoBuildFsdIrpSignalEventInCompletion3)
{
    return SendSignaling(DeviceObject, Irp, BuildFlush(DeviceObject), TRUE, TRUE);
}

WRONG(IoBuildFsdIrpSignalEventInCompletionTimeout)
{
    return SendWithLimit(DeviceObject, Irp, BuildFlush(DeviceObject), FALSE);
}

RIGHT(IoBuildFsdIrpSignalEventInCompletionTimeout)
{
    return SendWithLimit(DeviceObject, Irp, BuildFlush(DeviceObject), TRUE);
}

/* A driver that was not loaded for a device has no AddDevice. */
WRONG(IoSetCompletionRoutineNonPnpDriver)
{
    DeviceObject->DriverObject->DriverExtension->AddDevice = NULL;
    return CopyDown(DeviceObject, Irp, Propagate, NULL);
}

RIGHT(IoSetCompletionRoutineNonPnpDriver)
{
    DeviceObject->DriverObject->DriverExtension->AddDevice = NULL;
    return RightCompletionRoutineRegistered(DeviceObject, Irp);
}

WRONG(IwUninitializedStatus)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, (NTSTATUS)0xFFFF8A3C);
}

RIGHT(IwUninitializedStatus)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, (NTSTATUS)0xEFFF8A3C);
}

WRONG(WmiComplete)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    return STATUS_SUCCESS;
}

RIGHT(WmiComplete)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS);
}

/* Its status block is gone when the request ends, which is later. */
static NOINLINE VOID SendWithLocalBlock(PDEVICE_OBJECT DeviceObject, BOOLEAN Waits)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    IO_STATUS_BLOCK block;
    PIRP irp;
    KeInitializeEvent(&extension->Event, NotificationEvent, FALSE);
    irp = IoBuildDeviceIoControlRequest(IOCTL_LOWER, extension->LowerDevice, NULL, 0, NULL, 0, FALSE, &extension->Event, &block);
    if (IoCallDriver(extension->LowerDevice, irp) == STATUS_PENDING && Waits) {
        Wait(&extension->Event);
    }
}

WRONG(IwStackLeftInFlight)
{
    SendWithLocalBlock(DeviceObject, FALSE);
    Wait(&Extension(DeviceObject)->Event);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwStackLeftInFlight)
{
    SendWithLocalBlock(DeviceObject, TRUE);
    return SkipDown(DeviceObject, Irp);
}

CASES(
    CASE(CompleteRequestStatusCheck),
    CASE(DoubleCompletion),
    CASE(CompleteRequest),
    CASE(IrpProcessingComplete),
    CASE(LowerDriverReturn),
    CASE(IwOtherStatusReturned),
    CASE(IwInformationTooLarge),
    CASE(IwEventSetBeforeSending),
    CASE(IoBuildDeviceIoControlSetEvent),
    CASE(CompletionRoutineRegistered),
    CASE(IoSetCompletionExCompleteIrp),
    CASE(IoSetCompletionRoutineExCheckDeviceObject),
    CASE(SignalEventInCompletion),
    CASE(SignalEventInCompletion2),
    CASE(SignalEventInCompletion3),
    CASE(IoAllocateIrpSignalEventInCompletion),
    CASE(IoBuildFsdIrpSignalEventInCompletion),
    CASE(IwWaitedForOtherEvent),
    CASE(CompletionEventChecking),
    CASE_OF(IRP_MJ_SYSTEM_CONTROL, WmiForward),
    CASE_OF(IRP_MJ_SYSTEM_CONTROL, IwWmiCompletedForOther),
    CASE_OF(IRP_MJ_PNP, IwMustNotFail),
    CASE_OF(IRP_MJ_PNP, PnpIrpCompletion),
    CASE(IwSystemIrpSent),
    CASE(IwApcStateChanged),
    CASE(IwCompletedUnsent),
    CASE(IwPageableCompletionRoutine),
    CASE(IoAllocateIrpSignalEventInCompletion2),
    CASE(IoAllocateIrpSignalEventInCompletion3),
    CASE(IoAllocateIrpSignalEventInCompletionTimeout),
    CASE(IoBuildFsdIrpSignalEventInCompletion2),
    CASE(IoBuildFsdIrpSignalEventInCompletion3),
    CASE(IoBuildFsdIrpSignalEventInCompletionTimeout),
    CASE(IoSetCompletionRoutineNonPnpDriver),
    CASE(IwUninitializedStatus),
    CASE_OF(IRP_MJ_SYSTEM_CONTROL, WmiComplete),
    CASE(IwStackLeftInFlight)
)
