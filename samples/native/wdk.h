/*
 * The WDK as mingw-w64 has it, plus the few documented definitions its headers lack.
 */
#pragma once

#include <ntddk.h>

/*
 * ExAllocatePoolZero: zeroed pool on every system. Systems before Windows 10 version 2004 ignore POOL_ZERO_ALLOCATION, so the block is
 * cleared here as well.
 * https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exallocatepoolzero
 */
#define POOL_ZERO_ALLOCATION 1024

static inline PVOID ExAllocatePoolZero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    PVOID block = ExAllocatePoolWithTag((POOL_TYPE)(PoolType | POOL_ZERO_ALLOCATION), NumberOfBytes, Tag);

    if (block != NULL) {
        RtlZeroMemory(block, NumberOfBytes);
    }

    return block;
}

/* A flag of MmGetSystemAddressForMdlSafe's priority: the mapping is data, not code. */
#define MdlMappingNoExecute 0x40000000

/* The types of the routines of a cancel-safe queue: the headers have pointers to them only. */
typedef VOID IO_CSQ_REMOVE_IRP(PIO_CSQ Csq, PIRP Irp);
typedef PIRP IO_CSQ_PEEK_NEXT_IRP(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext);
typedef VOID IO_CSQ_ACQUIRE_LOCK(PIO_CSQ Csq, PKIRQL Irql);
typedef VOID IO_CSQ_RELEASE_LOCK(PIO_CSQ Csq, KIRQL Irql);
typedef VOID IO_CSQ_COMPLETE_CANCELED_IRP(PIO_CSQ Csq, PIRP Irp);

/* Which vector and IRQL a bus's interrupt request has; the headers declare it for other kinds of driver only. */
NTHALAPI ULONG NTAPI HalGetInterruptVector(
    INTERFACE_TYPE InterfaceType, ULONG BusNumber, ULONG BusInterruptLevel, ULONG BusInterruptVector, PKIRQL Irql, PKAFFINITY Affinity);
