/* rules-irql.c: IRQL, interrupts and spin locks. See rules.h. */
#include "rules.h"

#define DEVICE_LEVEL 5

/* What the compilers of the WDK have as intrinsics. */
static inline VOID DisableInterrupts(VOID)
{
    __asm__ volatile("cli" ::: "memory");
}

static inline VOID EnableInterrupts(VOID)
{
    __asm__ volatile("sti" ::: "memory");
}

static NTSTATUS SkipDownAt(PDEVICE_OBJECT DeviceObject, PIRP Irp, KIRQL Level)
{
    KIRQL irql;
    NTSTATUS status;
    KeRaiseIrql(Level, &irql);
    status = SkipDown(DeviceObject, Irp);
    KeLowerIrql(irql);
    return status;
}

static NTSTATUS SendOwnAt(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIRP Own, KIRQL Level)
{
    KIRQL irql;
    KeRaiseIrql(Level, &irql);
    SendOwn(DeviceObject, Own, Free);
    KeLowerIrql(irql);
    return SkipDown(DeviceObject, Irp);
}

static NTSTATUS SendThreadedAt(PDEVICE_OBJECT DeviceObject, PIRP Irp, KIRQL Level)
{
    PIRP own = BuildSynchronousFlush(DeviceObject);
    KIRQL irql;
    KeRaiseIrql(Level, &irql);
    IoCallDriver(Lower(DeviceObject), own);
    KeLowerIrql(irql);
    Wait(&Extension(DeviceObject)->Event);
    return SkipDown(DeviceObject, Irp);
}

WRONG(ForwardedAtBadIrql)
{
    return SkipDownAt(DeviceObject, Irp, DISPATCH_LEVEL);
}

RIGHT(ForwardedAtBadIrql)
{
    return SkipDownAt(DeviceObject, Irp, APC_LEVEL);
}

WRONG(ForwardedAtBadIrqlAllocate)
{
    return SendOwnAt(DeviceObject, Irp, NewFlush(DeviceObject), DISPATCH_LEVEL);
}

RIGHT(ForwardedAtBadIrqlAllocate)
{
    return SendOwnAt(DeviceObject, Irp, NewFlush(DeviceObject), PASSIVE_LEVEL);
}

WRONG(ForwardedAtBadIrqlFsdAsync)
{
    return SendOwnAt(DeviceObject, Irp, BuildFlush(DeviceObject), DISPATCH_LEVEL);
}

RIGHT(ForwardedAtBadIrqlFsdAsync)
{
    return SendOwnAt(DeviceObject, Irp, BuildFlush(DeviceObject), APC_LEVEL);
}

WRONG(ForwardedAtBadIrqlFsdSync)
{
    return SendThreadedAt(DeviceObject, Irp, DISPATCH_LEVEL);
}

RIGHT(ForwardedAtBadIrqlFsdSync)
{
    return SendThreadedAt(DeviceObject, Irp, PASSIVE_LEVEL);
}

WRONG(IwThreadedAtApcLevel)
{
    return SendThreadedAt(DeviceObject, Irp, APC_LEVEL);
}

RIGHT(IwThreadedAtApcLevel)
{
    return SendThreadedAt(DeviceObject, Irp, PASSIVE_LEVEL);
}

WRONG(IwForwardedAboveDispatch)
{
    return SkipDownAt(DeviceObject, Irp, DEVICE_LEVEL);
}

RIGHT(IwForwardedAboveDispatch)
{
    return SkipDownAt(DeviceObject, Irp, DISPATCH_LEVEL);
}

static NTSTATUS CompleteAt(PIRP Irp, KIRQL Level)
{
    KIRQL irql;
    NTSTATUS status;
    KeRaiseIrql(Level, &irql);
    status = Complete(Irp, STATUS_SUCCESS);
    KeLowerIrql(irql);
    return status;
}

WRONG(IwCompletedAboveDispatch)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return CompleteAt(Irp, DEVICE_LEVEL);
}

RIGHT(IwCompletedAboveDispatch)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return CompleteAt(Irp, DISPATCH_LEVEL);
}

WRONG(IwForwardedWithoutInterrupts)
{
    NTSTATUS status;
    DisableInterrupts();
    status = SkipDown(DeviceObject, Irp);
    EnableInterrupts();
    return status;
}

RIGHT(IwForwardedWithoutInterrupts)
{
    DisableInterrupts();
    EnableInterrupts();
    return SkipDown(DeviceObject, Irp);
}

WRONG(IrqlReturn)
{
    KIRQL irql;
    UNREFERENCED_PARAMETER(DeviceObject);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    return Complete(Irp, STATUS_SUCCESS);
}

RIGHT(IrqlReturn)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return CompleteAt(Irp, DISPATCH_LEVEL);
}

WRONG(SpinLockSafe)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KIRQL irql;
    NTSTATUS status;
    KeAcquireSpinLock(&extension->Lock, &irql);
    status = Complete(Irp, STATUS_SUCCESS);
    KeReleaseSpinLock(&extension->Lock, irql);
    return status;
}

RIGHT(SpinLockSafe)
{
    PRULES_EXTENSION extension = Extension(DeviceObject);
    KIRQL irql;
    KeAcquireSpinLock(&extension->Lock, &irql);
    KeReleaseSpinLock(&extension->Lock, irql);
    return Complete(Irp, STATUS_SUCCESS);
}

CASES(
    CASE_OF(IRP_MJ_CLEANUP, ForwardedAtBadIrql),
    CASE(ForwardedAtBadIrqlAllocate),
    CASE(ForwardedAtBadIrqlFsdAsync),
    CASE(ForwardedAtBadIrqlFsdSync),
    CASE(IwThreadedAtApcLevel),
    CASE(IwForwardedAboveDispatch),
    CASE(IwCompletedAboveDispatch),
    CASE(IwForwardedWithoutInterrupts),
    CASE(IrqlReturn),
    CASE(SpinLockSafe)
)
