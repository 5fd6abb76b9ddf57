namespace Irpwright.Wdk;

// Callbacks of drivers whose devices the power management framework manages, named and with parameters as in the WDK.

[Routine] public delegate void PO_FX_COMPONENT_ACTIVE_CONDITION_CALLBACK(PVOID Context, uint Component);

/// <summary>Answered by PoFxCompleteIdleCondition.</summary>
[Routine] public delegate void PO_FX_COMPONENT_IDLE_CONDITION_CALLBACK(PVOID Context, uint Component);

/// <summary>Answered by PoFxCompleteIdleState.</summary>
[Routine] public delegate void PO_FX_COMPONENT_IDLE_STATE_CALLBACK(PVOID Context, uint Component, uint State);

/// <summary>Answered by PoFxReportDevicePoweredOn.</summary>
[Routine] public delegate void PO_FX_DEVICE_POWER_REQUIRED_CALLBACK(PVOID Context);

/// <summary>Answered by PoFxCompleteDevicePowerNotRequired.</summary>
[Routine] public delegate void PO_FX_DEVICE_POWER_NOT_REQUIRED_CALLBACK(PVOID Context);

[Routine] public delegate NTSTATUS PO_FX_POWER_CONTROL_CALLBACK(PVOID DeviceContext, PGUID PowerControlCode, PVOID InBuffer, ulong InBufferSize, PVOID OutBuffer,
    ulong OutBufferSize, PULONG64 BytesReturned);
