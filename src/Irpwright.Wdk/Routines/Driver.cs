namespace Irpwright.Wdk;

// Entry points of a driver, named and with parameters as in the WDK.

[Routine] public delegate NTSTATUS DRIVER_INITIALIZE(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath);

[Routine] public delegate NTSTATUS DRIVER_ADD_DEVICE(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject);

[Routine] public delegate void DRIVER_REINITIALIZE(PDRIVER_OBJECT DriverObject, PVOID Context, uint Count);

[Routine] public delegate void DRIVER_UNLOAD(PDRIVER_OBJECT DriverObject);

[Routine] public delegate NTSTATUS DRIVER_DISPATCH(PDEVICE_OBJECT DeviceObject, PIRP Irp);

[Routine] public delegate void DRIVER_STARTIO(PDEVICE_OBJECT DeviceObject, PIRP Irp);

/// <summary>Called with the cancel spin lock held and must release it (IRQL <c>Irp->CancelIrql</c>).</summary>
[Routine] public delegate void DRIVER_CANCEL(PDEVICE_OBJECT DeviceObject, PIRP Irp);

/// <summary><paramref name="Context"/> is the one given to <c>IoSetCompletionRoutine</c>.</summary>
[Routine] public delegate NTSTATUS IO_COMPLETION_ROUTINE(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context);

[Routine] public delegate void IO_TIMER_ROUTINE(PDEVICE_OBJECT DeviceObject, PVOID Context);

[Routine] public delegate void IO_DPC_ROUTINE(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context);

[Routine] public delegate void IO_WORKITEM_ROUTINE(PDEVICE_OBJECT DeviceObject, PVOID Context);

[Routine] public delegate void IO_WORKITEM_ROUTINE_EX(PVOID IoObject, PVOID Context, PIO_WORKITEM IoWorkItem);

[Routine] public delegate void IO_APC_ROUTINE(PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock, uint Reserved);

[Routine] public delegate void REQUEST_POWER_COMPLETE(PDEVICE_OBJECT DeviceObject, byte MinorFunction, POWER_STATE PowerState, PVOID Context,
    PIO_STATUS_BLOCK IoStatus);

[Routine] public delegate void DRIVER_FS_NOTIFICATION(PDEVICE_OBJECT DeviceObject, BOOLEAN FsActive);

[Routine] public delegate NTSTATUS DRIVER_NOTIFICATION_CALLBACK_ROUTINE(PVOID NotificationStructure, PVOID Context);

[Routine] public delegate void INTERFACE_REFERENCE(PVOID Context);

[Routine] public delegate void INTERFACE_DEREFERENCE(PVOID Context);

/// <summary>Entry of an export driver, called when the first driver that imports from it is loaded.</summary>
[Routine] public delegate NTSTATUS MM_DLL_INITIALIZE(PUNICODE_STRING RegistryPath);

/// <summary>Called before an export driver goes, when no driver imports from it any more.</summary>
[Routine] public delegate NTSTATUS MM_DLL_UNLOAD();

[Routine] public delegate void DEVICE_CHANGE_COMPLETE_CALLBACK(PVOID Context);

/// <summary><paramref name="Value"/> has <paramref name="ValueLength"/> bytes.</summary>
[Routine] public delegate NTSTATUS POWER_SETTING_CALLBACK(PGUID SettingGuid, PVOID Value, uint ValueLength, PVOID Context);
