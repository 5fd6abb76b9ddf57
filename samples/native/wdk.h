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
