namespace Irpwright.Verification.Tests;

sealed class PowerRules : IRuleCases
{
    static IO_STACK_LOCATION.ParametersUnion System(SYSTEM_POWER_STATE state) =>
        new() { Power = new() { Type = POWER_STATE_TYPE.SystemPowerState, State = new() { SystemState = state } } };

    static IO_STACK_LOCATION.ParametersUnion Device(DEVICE_POWER_STATE state) =>
        new() { Power = new() { Type = POWER_STATE_TYPE.DevicePowerState, State = new() { DeviceState = state } } };

    static IO_STACK_LOCATION.ParametersUnion Sleep => System(SYSTEM_POWER_STATE.PowerSystemSleeping3);

    static IO_STACK_LOCATION.ParametersUnion WakeUp => System(SYSTEM_POWER_STATE.PowerSystemWorking);

    static void Set(Bench bench, IO_STACK_LOCATION.ParametersUnion state, Func<Probe, PIRP, NTSTATUS> handle) =>
        bench.Handle(IRP_MJ_POWER, IRP_MN_SET_POWER, irp => handle(bench.Upper, irp), state);

    static RuleCase Fails(string rule, string name, IO_STACK_LOCATION.ParametersUnion state) => new(rule,
        Wrong: bench => Set(bench, state, static (probe, irp) => probe.Complete(irp, STATUS_DEVICE_BUSY)),
        Right: bench => bench.Handle(IRP_MJ_POWER, IRP_MN_QUERY_POWER, irp => bench.Upper.Complete(irp, STATUS_DEVICE_BUSY), state))
    { Name = name };

    static NTSTATUS Allocates(Probe probe, PIRP irp)
    {
        probe.ExFreePool(probe.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPoolNx, 16, Probe.Tag));
        return probe.SkipDown(irp);
    }

    /// <summary>A compiled filter on top is pageable as a whole.</summary>
    static void SetsWithPageable(Bench bench, byte minor)
    {
        IrqlRules.LoadPassThrough(bench, pageable: true);
        bench.Send(IRP_MJ_POWER, minor, Sleep);
    }

    public static IEnumerable<RuleCase> Cases =>
    [
        Fails("PowerDownFail", "system", Sleep),
        Fails("PowerDownFail", "device", Device(DEVICE_POWER_STATE.PowerDeviceD3)),
        Fails("PowerUpFail", "system", WakeUp),
        Fails("PowerUpFail", "device", Device(DEVICE_POWER_STATE.PowerDeviceD0)),
        new("PowerDownAllocate",
            Wrong: bench => Set(bench, Sleep, Allocates),
            Right: bench => Set(bench, WakeUp, Allocates)),
        new("PowerIrpDDIs",
            Wrong: bench => Set(bench, Sleep, static (probe, irp) =>
            {
                probe.ZwClose(probe.CreateKey());
                return probe.SkipDown(irp);
            }),
            Right: bench => bench.Handle(IRP_MJ_PNP, IRP_MN_QUERY_CAPABILITIES, irp =>
            {
                bench.Upper.ZwClose(bench.Upper.CreateKey());
                return bench.Upper.SkipDown(irp);
            })),
        new("IwFailedPowerSentDown",
            Wrong: bench => bench.Handle(IRP_MJ_POWER, IRP_MN_QUERY_POWER, irp =>
            {
                irp.IoStatus.Status = STATUS_DEVICE_BUSY;
                return bench.Upper.SkipDown(irp);
            }, Sleep),
            Right: bench => bench.Handle(IRP_MJ_POWER, IRP_MN_QUERY_POWER, irp => bench.Upper.Complete(irp, STATUS_DEVICE_BUSY), Sleep)),
        PlugAndPlayRules.NotSupportedAgain("IwPowerNotSupportedAgain", IRP_MJ_POWER, IRP_MN_QUERY_POWER),
        new("PagedCodeAtPowerTrans",
            Wrong: bench => SetsWithPageable(bench, IRP_MN_SET_POWER),
            Right: bench => SetsWithPageable(bench, IRP_MN_QUERY_POWER)) { Driver = "passthrough" },
        new("IwPowerIrpCompletion",
            Wrong: bench => Set(bench, WakeUp, static (probe, irp) => probe.Complete(irp, STATUS_SUCCESS)),
            Right: bench => Set(bench, WakeUp, static (probe, irp) => probe.SkipDown(irp))),
        new("IwPowerIrpCompletion",
            Wrong: bench => bench.Handle(IRP_MJ_POWER, 0x20, irp => bench.Upper.Complete(irp, STATUS_NOT_SUPPORTED)),
            Right: bench => bench.Handle(IRP_MJ_POWER, 0x20, irp => bench.Upper.SkipDown(irp)))
        { Name = "an unknown one" },
    ];
}
