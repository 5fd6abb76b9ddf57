/*
 * rules.h: what the drivers rules-*.c share. Each has, for every rule of its family, a dispatch routine that breaks the rule, and the same
 * routine as it should be.
 *
 * Each is a filter, tried by the tests of the verifier. IOCTL_SELECT_CASE names a rule and says which of the two routines handles the next
 * requests of the case's major function; everything else is passed down.
 */
#pragma once

#include "../../samples/native/wdk.h"

#define IOCTL_SELECT_CASE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_LOWER CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define NOINLINE __attribute__((noinline))

typedef struct _SELECT_CASE {
    UCHAR Right;
    CHAR Rule[63];
} SELECT_CASE, *PSELECT_CASE;

/* The tests know where Event is. */
typedef struct _RULES_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    KEVENT Event;
    KEVENT Other;
    PDEVICE_OBJECT PhysicalDevice;
    KDPC Dpc;
    KSPIN_LOCK Lock;
    LIST_ENTRY Queue;
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

#define WRONG(Rule) static NTSTATUS NTAPI Wrong##Rule(PDEVICE_OBJECT DeviceObject, PIRP Irp)
#define RIGHT(Rule) static NTSTATUS NTAPI Right##Rule(PDEVICE_OBJECT DeviceObject, PIRP Irp)

#define CASE_OF(Major, Rule) { Major, #Rule, Wrong##Rule, Right##Rule }
#define CASE(Rule) CASE_OF(IRP_MJ_READ, Rule)

/* A driver's last lines. */
#define CASES(...) \
    const RULE_CASE Cases[] = { __VA_ARGS__ }; \
    const ULONG CaseCount = ARRAYSIZE(Cases);

extern const RULE_CASE Cases[];
extern const ULONG CaseCount;

/* ---- What the cases share */

static inline PRULES_EXTENSION Extension(PDEVICE_OBJECT DeviceObject)
{
    return DeviceObject->DeviceExtension;
}

static inline PDEVICE_OBJECT Lower(PDEVICE_OBJECT DeviceObject)
{
    return Extension(DeviceObject)->LowerDevice;
}

static inline NTSTATUS Complete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static inline NTSTATUS SkipDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

static inline NTSTATUS CopyDown(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE Routine, PVOID Context)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Routine, Context, TRUE, TRUE, TRUE);
    return IoCallDriver(Lower(DeviceObject), Irp);
}

static inline VOID CompleteLater(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    KeInsertQueueDpc(&Extension(DeviceObject)->Dpc, Irp, NULL);
}

static inline VOID Wait(PKEVENT Event)
{
    KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, NULL);
}

static inline PIRP NewFlush(PDEVICE_OBJECT DeviceObject)
{
    PIRP irp = IoAllocateIrp(Lower(DeviceObject)->StackSize, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
    return irp;
}

static inline PIRP BuildFlush(PDEVICE_OBJECT DeviceObject)
{
    return IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, Lower(DeviceObject), NULL, 0, NULL, NULL);
}

static inline PIRP BuildSynchronousFlush(PDEVICE_OBJECT DeviceObject)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeInitializeEvent(&extension->Event, NotificationEvent, FALSE);
    return IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, extension->LowerDevice, NULL, 0, NULL, &extension->Event, &extension->Block);
}

static inline PIRP BuildControl(PDEVICE_OBJECT DeviceObject)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeInitializeEvent(&extension->Event, NotificationEvent, FALSE);
    return IoBuildDeviceIoControlRequest(IOCTL_LOWER, extension->LowerDevice, NULL, 0, NULL, 0, FALSE, &extension->Event, &extension->Block);
}

static inline VOID SendAndWait(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    if (IoCallDriver(Lower(DeviceObject), Irp) == STATUS_PENDING) {
        Wait(&Extension(DeviceObject)->Event);
    }
}

static inline VOID SendOwn(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE Routine)
{
    IoSetCompletionRoutine(Irp, Routine, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(Lower(DeviceObject), Irp);
}

/* In vain at first: the driver below completes the request when it is cancelled. */
static inline VOID WaitWithLimit(PKEVENT Event, PIRP Own)
{
    LARGE_INTEGER second = { .QuadPart = -10000000 };

    if (KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, &second) == STATUS_TIMEOUT) {
        IoCancelIrp(Own);
        KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, &second);
    }
}

/* Completion routines. */

static inline NTSTATUS NTAPI Forget(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_SUCCESS;
}

static inline NTSTATUS NTAPI Propagate(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);
    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }
    return STATUS_SUCCESS;
}

static inline NTSTATUS NTAPI Keep(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static inline NTSTATUS NTAPI Signal(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static inline NTSTATUS NTAPI MarkAndSignal(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoMarkIrpPending(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static inline NTSTATUS NTAPI SignalOnly(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

static inline NTSTATUS NTAPI Free(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoFreeIrp(Irp);
    if (Context != NULL) {
        KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    }
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static inline NTSTATUS NTAPI EnterOnly(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    return STATUS_SUCCESS;
}

static inline NTSTATUS NTAPI EnterAndLeave(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    KeEnterCriticalRegion();
    KeLeaveCriticalRegion();
    return STATUS_SUCCESS;
}

static inline VOID NTAPI Cancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    Irp->IoStatus.Status = STATUS_CANCELLED;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

static inline VOID NTAPI CompleteDpc(PKDPC Dpc, PVOID Context, PVOID Irp, PVOID Unused)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Unused);
    IoSetCancelRoutine((PIRP)Irp, NULL);
    Complete(Irp, STATUS_SUCCESS);
}

static inline NTSTATUS ForwardAndWait(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KeClearEvent(&extension->Event);
    if (CopyDown(DeviceObject, Irp, Signal, &extension->Event) == STATUS_PENDING) {
        Wait(&extension->Event);
    }
    return Complete(Irp, Irp->IoStatus.Status);
}

/* ---- The driver */

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

    for (i = 0; i < CaseCount; i++) {
        if (IsSame(Cases[i].Rule, selected->Rule)) {
            DeviceObject->DriverObject->MajorFunction[Cases[i].Major] = selected->Right ? Cases[i].Right : Cases[i].Wrong;
            return Complete(Irp, STATUS_SUCCESS);
        }
    }
    return Complete(Irp, STATUS_NOT_FOUND);
}

VOID RulesUnload(PDRIVER_OBJECT DriverObject)
{
    IoDetachDevice(Lower(DriverObject->DeviceObject));
    IoDeleteDevice(DriverObject->DeviceObject);
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
    extension->PhysicalDevice = PhysicalDeviceObject;
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
