/*
 * rules.c: for each rule a dispatch routine that breaks it, and the same routine as it should be.
 *
 * A filter, tried by the tests of the verifier. IOCTL_SELECT_CASE names a rule and says which of the two routines handles the next
 * requests of the case's major function; everything else is passed down.
 */
#include "../../samples/native/wdk.h"

#define IOCTL_SELECT_CASE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_LOWER CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)

typedef struct _SELECT_CASE {
    UCHAR Right;
    CHAR Rule[63];
} SELECT_CASE, *PSELECT_CASE;

typedef struct _RULES_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    KDPC Dpc;
    KSPIN_LOCK Lock;
    LIST_ENTRY Queue;
    KEVENT Event;
    KEVENT Other;
    IO_STATUS_BLOCK Block;
} RULES_EXTENSION, *PRULES_EXTENSION;

typedef struct _RULE_CASE {
    UCHAR Major;
    const CHAR *Rule;
    PDRIVER_DISPATCH Wrong;
    PDRIVER_DISPATCH Right;
} RULE_CASE;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD RulesUnload;
DRIVER_ADD_DEVICE RulesAddDevice;
DRIVER_DISPATCH RulesPassDown;
DRIVER_DISPATCH RulesControl;

/* ---- What the cases share */

static PRULES_EXTENSION Extension(PDEVICE_OBJECT DeviceObject)
{
    return DeviceObject->DeviceExtension;
}

static PDEVICE_OBJECT Lower(PDEVICE_OBJECT DeviceObject)
{
    return Extension(DeviceObject)->LowerDevice;
}

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS SkipDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

static NTSTATUS CopyDown(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE Routine, PVOID Context)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Routine, Context, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

static VOID CompleteLater(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    KeInsertQueueDpc(&Extension(DeviceObject)->Dpc, Irp, NULL);
}

static VOID Wait(PKEVENT Event)
{
    KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, NULL);
}

static PIRP NewFlush(PDEVICE_OBJECT DeviceObject)
{
    PIRP irp = IoAllocateIrp(Lower(DeviceObject)->StackSize, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
    return irp;
}

static PIRP BuildFlush(PDEVICE_OBJECT DeviceObject)
{
    return IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, Lower(DeviceObject), NULL, 0, NULL, NULL);
}

static PIRP BuildSynchronousFlush(PDEVICE_OBJECT DeviceObject)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeInitializeEvent(&extension->Event, NotificationEvent, FALSE);
    return IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, extension->LowerDevice, NULL, 0, NULL, &extension->Event, &extension->Block);
}

static PIRP BuildControl(PDEVICE_OBJECT DeviceObject)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeInitializeEvent(&extension->Event, NotificationEvent, FALSE);
    return IoBuildDeviceIoControlRequest(IOCTL_LOWER, extension->LowerDevice, NULL, 0, NULL, 0, FALSE, &extension->Event, &extension->Block);
}

static VOID SendAndWait(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    if (IoCallDriver(Lower(DeviceObject), Irp) == STATUS_PENDING) {
        Wait(&Extension(DeviceObject)->Event);
    }
}

static VOID SendOwn(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE Routine)
{
    IoSetCompletionRoutine(Irp, Routine, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(Lower(DeviceObject), Irp);
}

/* Completion routines. */

static NTSTATUS NTAPI Forget(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Propagate(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Keep(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI Signal(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI MarkAndSignal(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI SignalOnly(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Free(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoFreeIrp(Irp);
    if (Context != NULL) {
        KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    }
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI EnterOnly(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI EnterAndLeave(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    KeLeaveCriticalRegion();
    return STATUS_SUCCESS;
}

__attribute__((section("PAGE"))) static NTSTATUS NTAPI Pageable(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_SUCCESS;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    Irp->IoStatus.Status = STATUS_CANCELLED;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

static VOID NTAPI CompleteDpc(PKDPC Dpc, PVOID Context, PVOID Irp, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    IoSetCancelRoutine((PIRP)Irp, NULL);
    Complete(Irp, STATUS_SUCCESS);
}

#define WRONG(Rule) static NTSTATUS NTAPI Wrong##Rule(PDEVICE_OBJECT DeviceObject, PIRP Irp)
#define RIGHT(Rule) static NTSTATUS NTAPI Right##Rule(PDEVICE_OBJECT DeviceObject, PIRP Irp)

/* ---- Pending */

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
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    if (CopyDown(DeviceObject, Irp, Signal, &extension->Event) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return Complete(Irp, Irp->IoStatus.Status);
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
    IoMarkIrpPending(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoCallDriver(Lower(DeviceObject), Irp);
    IoCallDriver(Lower(DeviceObject), Irp);
    return STATUS_PENDING;
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

/* ---- Cancel */

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

/* ---- Completion */

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
    return RightPendedCompletedRequest2(DeviceObject, Irp);
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
    return RightPendedCompletedRequest2(DeviceObject, Irp);
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
    return RightPendedCompletedRequest2(DeviceObject, Irp);
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
    return RightPendedCompletedRequest2(DeviceObject, Irp);
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

WRONG(IwPageableCompletionRoutine)
{
    return CopyDown(DeviceObject, Irp, Pageable, NULL);
}

RIGHT(IwPageableCompletionRoutine)
{
    return CopyDown(DeviceObject, Irp, Propagate, NULL);
}

/* ---- Forwarding */

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

/* ---- Allocation and reuse */

WRONG(IoAllocateForward)
{
    IoCallDriver(Lower(DeviceObject), NewFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoAllocateForward)
{
    SendOwn(DeviceObject, NewFlush(DeviceObject), Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoAllocateComplete)
{
    Complete(NewFlush(DeviceObject), STATUS_SUCCESS);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoAllocateComplete)
{
    IoFreeIrp(NewFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoBuildFsdComplete)
{
    PIRP irp = BuildFlush(DeviceObject);
    SendOwn(DeviceObject, irp, Keep);
    Complete(irp, STATUS_SUCCESS);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildFsdComplete)
{
    PIRP irp = BuildFlush(DeviceObject);
    SendOwn(DeviceObject, irp, Keep);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoBuildFsdForward)
{
    IoCallDriver(Lower(DeviceObject), BuildFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildFsdForward)
{
    SendOwn(DeviceObject, BuildFlush(DeviceObject), Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoAllocateFree)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoFreeIrp(Irp);
    return STATUS_PENDING;
}

RIGHT(IoAllocateFree)
{
    IoFreeIrp(NewFlush(DeviceObject));
    return Complete(Irp, STATUS_SUCCESS);
}

WRONG(IoBuildDeviceControlNoFree)
{
    IoFreeIrp(BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildDeviceControlNoFree)
{
    SendAndWait(DeviceObject, BuildControl(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoBuildSynchronousFsdRequestNoFree)
{
    IoFreeIrp(BuildSynchronousFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoBuildSynchronousFsdRequestNoFree)
{
    SendAndWait(DeviceObject, BuildSynchronousFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwFreedInUse)
{
    PIRP irp = NewFlush(DeviceObject);
    SendOwn(DeviceObject, irp, Free);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwFreedInUse)
{
    SendOwn(DeviceObject, NewFlush(DeviceObject), Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwFreedNoIrp)
{
    PIRP irp = NewFlush(DeviceObject);
    IoFreeIrp(irp);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwFreedNoIrp)
{
    IoFreeIrp(NewFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwUserAddressFromKernel)
{
    PIRP irp = NewFlush(DeviceObject);
    irp->UserBuffer = (PVOID)(ULONG_PTR)0x20000;
    SendOwn(DeviceObject, irp, Free);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwUserAddressFromKernel)
{
    PIRP irp = NewFlush(DeviceObject);
    irp->UserBuffer = &Extension(DeviceObject)->Block;
    SendOwn(DeviceObject, irp, Free);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwIrpFreedAsPool)
{
    ExFreePool(NewFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwIrpFreedAsPool)
{
    IoFreeIrp(NewFlush(DeviceObject));
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoReuseIrp)
{
    PIRP irp = BuildFlush(DeviceObject);
    IoReuseIrp(irp, STATUS_SUCCESS);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IoReuseIrp)
{
    PIRP irp = NewFlush(DeviceObject);
    IoReuseIrp(irp, STATUS_SUCCESS);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IoReuseIrp2)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoReuseIrp(Irp, STATUS_SUCCESS);
    return STATUS_SUCCESS;
}

RIGHT(IoReuseIrp2)
{
    return RightIoReuseIrp(DeviceObject, Irp);
}

WRONG(IwReinitializedInUse)
{
    PIRP irp = NewFlush(DeviceObject);
    SendOwn(DeviceObject, irp, Keep);
    IoReuseIrp(irp, STATUS_SUCCESS);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwReinitializedInUse)
{
    return RightIoReuseIrp(DeviceObject, Irp);
}

WRONG(IwInitializedWithQuota)
{
    PIRP irp = IoAllocateIrp(1, TRUE);
    IoInitializeIrp(irp, IoSizeOfIrp(1), 1);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwInitializedWithQuota)
{
    PIRP irp = IoAllocateIrp(1, TRUE);
    IoReuseIrp(irp, STATUS_SUCCESS);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

WRONG(IwInitializedAllocated)
{
    PIRP irp = IoAllocateIrp(1, FALSE);
    IoInitializeIrp(irp, IoSizeOfIrp(1), 1);
    IoFreeIrp(irp);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwInitializedAllocated)
{
    return RightIoReuseIrp(DeviceObject, Irp);
}

/* ---- The driver */

#define CASE_OF(Major, Rule) { Major, #Rule, Wrong##Rule, Right##Rule }
#define CASE(Rule) CASE_OF(IRP_MJ_READ, Rule)

static const RULE_CASE Cases[] = {
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
    CASE(IwCompletedCancelable),
    CASE(IwForwardedCancelable),
    CASE(IrpCancelField),
    CASE(CancelSpinLock),
    CASE(IwCancelIgnored),
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
    CASE(IwSentNoIrp),
    CASE(IwLeftStackLocations),
    CASE(IwControlNotCleared),
    CASE(IwTooFewLocations),
    CASE_OF(IRP_MJ_PNP, IwStatusOfUnknownChanged),
    CASE(IwCopiedWithoutRoutine),
    CASE(IoAllocateForward),
    CASE(IoAllocateComplete),
    CASE(IoBuildFsdComplete),
    CASE(IoBuildFsdForward),
    CASE(IoAllocateFree),
    CASE(IoBuildDeviceControlNoFree),
    CASE(IoBuildSynchronousFsdRequestNoFree),
    CASE(IwFreedInUse),
    CASE(IwFreedNoIrp),
    CASE(IwUserAddressFromKernel),
    CASE(IwIrpFreedAsPool),
    CASE(IoReuseIrp),
    CASE(IoReuseIrp2),
    CASE(IwReinitializedInUse),
    CASE(IwInitializedWithQuota),
    CASE(IwInitializedAllocated),
};

NTSTATUS RulesPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    return SkipDown(DeviceObject, Irp);
}

static BOOLEAN IsSame(const CHAR *One, const CHAR *Other)
{
    while (*One != 0 && *One == *Other) {
        One++;
        Other++;
    }
    return *One == *Other;
}

NTSTATUS RulesControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    PSELECT_CASE selected = Irp->AssociatedIrp.SystemBuffer;
    ULONG i;

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_SELECT_CASE) {
        return SkipDown(DeviceObject, Irp);
    }
    if (location->Parameters.DeviceIoControl.InputBufferLength < sizeof(SELECT_CASE)) {
        return Complete(Irp, STATUS_INVALID_PARAMETER);
    }
    selected->Rule[sizeof(selected->Rule) - 1] = 0;

    for (i = 0; i < sizeof(Cases) / sizeof(Cases[0]); i++) {
        if (IsSame(Cases[i].Rule, selected->Rule)) {
            DeviceObject->DriverObject->MajorFunction[Cases[i].Major] = selected->Right ? Cases[i].Right : Cases[i].Wrong;
            return Complete(Irp, STATUS_SUCCESS);
        }
    }
    return Complete(Irp, STATUS_NOT_FOUND);
}

VOID RulesUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = RulesPassDown;
    }
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = RulesControl;
    DriverObject->DriverExtension->AddDevice = RulesAddDevice;
    DriverObject->DriverUnload = RulesUnload;
    return STATUS_SUCCESS;
}

NTSTATUS RulesAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PRULES_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status = IoCreateDevice(DriverObject, sizeof(RULES_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &deviceObject);

    if (!NT_SUCCESS(status)) {
        return status;
    }
    extension = deviceObject->DeviceExtension;
    KeInitializeDpc(&extension->Dpc, CompleteDpc, NULL);
    KeInitializeSpinLock(&extension->Lock);
    InitializeListHead(&extension->Queue);
    KeInitializeEvent(&extension->Event, NotificationEvent, FALSE);
    KeInitializeEvent(&extension->Other, NotificationEvent, FALSE);
    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }
    deviceObject->Flags |= DO_BUFFERED_IO;
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
