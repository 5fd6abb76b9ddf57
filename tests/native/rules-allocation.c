/* rules-allocation.c: allocation and reuse. See rules.h. */
#include "rules.h"

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
    IoMarkIrpPending(Irp);
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

static PIRP BuildRead(PDEVICE_OBJECT DeviceObject, PVOID Buffer)
{
    LARGE_INTEGER offset = { .QuadPart = 0 };
    return IoBuildAsynchronousFsdRequest(IRP_MJ_READ, Lower(DeviceObject), Buffer, 8, &offset, NULL);
}

WRONG(IwBuiltWithBadBuffer)
{
    /* Kernel memory, and nothing there. */
    BuildRead(DeviceObject, (PVOID)0xFFFFF90000000000ULL);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwBuiltWithBadBuffer)
{
    IoFreeIrp(BuildRead(DeviceObject, &Extension(DeviceObject)->Block));
    return SkipDown(DeviceObject, Irp);
}

static NTSTATUS RequestPower(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIRP *Requested)
{
    POWER_STATE state = { .DeviceState = PowerDeviceD0 };
    PoRequestPowerIrp(DeviceObject, IRP_MN_SET_POWER, state, NULL, NULL, Requested);
    return SkipDown(DeviceObject, Irp);
}

WRONG(RequestedPowerIrp)
{
    PIRP requested;
    return RequestPower(DeviceObject, Irp, &requested);
}

RIGHT(RequestedPowerIrp)
{
    return RequestPower(DeviceObject, Irp, NULL);
}

WRONG(IwIrpLeakedAtUnload)
{
    SendOwn(DeviceObject, NewFlush(DeviceObject), Keep);
    return SkipDown(DeviceObject, Irp);
}

RIGHT(IwIrpLeakedAtUnload)
{
    SendOwn(DeviceObject, NewFlush(DeviceObject), Free);
    return SkipDown(DeviceObject, Irp);
}

CASES(
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
    CASE(IwBuiltWithBadBuffer),
    CASE(RequestedPowerIrp),
    CASE(IwIrpLeakedAtUnload)
)
