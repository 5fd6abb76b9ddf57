namespace Irpwright.Wdk;

// What DMA_OPERATIONS points to, and the callbacks of drivers that do DMA, named and with parameters as in the WDK.

[Routine] public delegate void PUT_DMA_ADAPTER(PDMA_ADAPTER DmaAdapter);

/// <summary><paramref name="LogicalAddress"/> points to a <c>PHYSICAL_ADDRESS</c> that the routine fills.</summary>
[Routine] public delegate PVOID ALLOCATE_COMMON_BUFFER(PDMA_ADAPTER DmaAdapter, uint Length, PLARGE_INTEGER LogicalAddress, BOOLEAN CacheEnabled);

[Routine] public delegate void FREE_COMMON_BUFFER(PDMA_ADAPTER DmaAdapter, uint Length, long LogicalAddress, PVOID VirtualAddress, BOOLEAN CacheEnabled);

[Routine] public delegate NTSTATUS ALLOCATE_ADAPTER_CHANNEL(PDMA_ADAPTER DmaAdapter, PDEVICE_OBJECT DeviceObject, uint NumberOfMapRegisters,
    PDRIVER_CONTROL ExecutionRoutine, PVOID Context);

[Routine] public delegate BOOLEAN FLUSH_ADAPTER_BUFFERS(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa, uint Length,
    BOOLEAN WriteToDevice);

[Routine] public delegate void FREE_ADAPTER_CHANNEL(PDMA_ADAPTER DmaAdapter);

[Routine] public delegate void FREE_MAP_REGISTERS(PDMA_ADAPTER DmaAdapter, PVOID MapRegisterBase, uint NumberOfMapRegisters);

/// <summary><paramref name="Length"/> is in and out; the result is the logical address.</summary>
[Routine] public delegate long MAP_TRANSFER(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa, PULONG Length, BOOLEAN WriteToDevice);

[Routine] public delegate uint GET_DMA_ALIGNMENT(PDMA_ADAPTER DmaAdapter);

[Routine] public delegate uint READ_DMA_COUNTER(PDMA_ADAPTER DmaAdapter);

[Routine] public delegate NTSTATUS GET_SCATTER_GATHER_LIST(PDMA_ADAPTER DmaAdapter, PDEVICE_OBJECT DeviceObject, PMDL Mdl, PVOID CurrentVa, uint Length,
    PDRIVER_LIST_CONTROL ExecutionRoutine, PVOID Context, BOOLEAN WriteToDevice);

[Routine] public delegate void PUT_SCATTER_GATHER_LIST(PDMA_ADAPTER DmaAdapter, PSCATTER_GATHER_LIST ScatterGather, BOOLEAN WriteToDevice);

[Routine] public delegate NTSTATUS CALCULATE_SCATTER_GATHER_LIST_SIZE(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID CurrentVa, uint Length,
    PULONG ScatterGatherListSize, PULONG pNumberOfMapRegisters);

[Routine] public delegate NTSTATUS BUILD_SCATTER_GATHER_LIST(PDMA_ADAPTER DmaAdapter, PDEVICE_OBJECT DeviceObject, PMDL Mdl, PVOID CurrentVa, uint Length,
    PDRIVER_LIST_CONTROL ExecutionRoutine, PVOID Context, BOOLEAN WriteToDevice, PVOID ScatterGatherBuffer, uint ScatterGatherLength);

/// <summary><paramref name="TargetMdl"/> points to a <c>PMDL</c> that the routine fills.</summary>
[Routine] public delegate NTSTATUS BUILD_MDL_FROM_SCATTER_GATHER_LIST(PDMA_ADAPTER DmaAdapter, PSCATTER_GATHER_LIST ScatterGather, PMDL OriginalMdl,
    PPVOID TargetMdl);

[Routine] public delegate IO_ALLOCATION_ACTION DRIVER_CONTROL(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID MapRegisterBase, PVOID Context);

[Routine] public delegate void DRIVER_LIST_CONTROL(PDEVICE_OBJECT DeviceObject, PIRP Irp, PSCATTER_GATHER_LIST ScatterGather, PVOID Context);
