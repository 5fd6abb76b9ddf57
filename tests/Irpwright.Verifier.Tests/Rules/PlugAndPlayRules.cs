namespace Irpwright.Verification.Tests;

sealed class PlugAndPlayRules : IRuleCases
{
    static IO_STACK_LOCATION.ParametersUnion Relations(DEVICE_RELATION_TYPE type) => new() { QueryDeviceRelations = new() { Type = type } };

    static void Pnp(Bench bench, byte minor, Func<Probe, PIRP, NTSTATUS> handle, IO_STACK_LOCATION.ParametersUnion parameters = default) =>
        bench.Handle(IRP_MJ_PNP, minor, irp => handle(bench.Upper, irp), parameters);

    static NTSTATUS Succeed(Probe probe, PIRP irp, ulong information = 0)
    {
        irp.IoStatus.Status = STATUS_SUCCESS;
        if (information != 0) irp.IoStatus.Information = information;
        return probe.SkipDown(irp);
    }

    static NTSTATUS FailAndSend(Probe probe, PIRP irp)
    {
        irp.IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
        return probe.SkipDown(irp);
    }

    /// <summary>The upper of two filters handles the request; then the lower one has it.</summary>
    static void Second(Bench bench, byte major, byte minor, Func<PIRP, NTSTATUS> handle)
    {
        bench.Handle(major, minor, handle);
        bench.Top.Other = irp =>
        {
            if (Probe.Major(irp) == major) irp.IoStatus.Status = STATUS_SUCCESS;
            return bench.Top.SkipDown(irp);
        };
    }

    internal static RuleCase NotSupportedAgain(string rule, byte major, byte minor) => new(rule,
        Wrong: bench => Second(bench, major, minor, irp =>
        {
            irp.IoStatus.Status = STATUS_NOT_SUPPORTED;
            return bench.Upper.SkipDown(irp);
        }),
        Right: bench => Second(bench, major, minor, bench.Upper.SkipDown))
    { FilterCount = 2 };

    static RuleCase NotSupported(string rule, byte minor, params string[] also) => new(rule,
        Wrong: bench => Pnp(bench, minor, static (probe, irp) => probe.Complete(irp, STATUS_NOT_SUPPORTED)),
        Right: bench => Pnp(bench, minor, (probe, irp) => minor == IRP_MN_REMOVE_DEVICE ? probe.Remove(irp) : Succeed(probe, irp)))
    { Also = also };

    static void Waits(Bench bench)
    {
        PKEVENT done = default;
        bench.CompleteLater(IRP_MJ_PNP);
        bench.Upper.Done = irp =>
        {
            if (irp.PendingReturned) bench.Upper.KeSetEvent(done, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        Pnp(bench, IRP_MN_START_DEVICE, (probe, irp) =>
        {
            done = probe.NewEvent();
            if (probe.CopyDown(irp) == STATUS_PENDING) probe.Wait(done);
            return probe.Complete(irp, irp.IoStatus.Status);
        });
    }

    static void Pends(Bench bench)
    {
        bench.CompleteLater(IRP_MJ_PNP);
        bench.Upper.Done = irp =>
        {
            bench.Upper.Later(() => bench.Upper.Complete(irp, STATUS_SUCCESS));
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        Pnp(bench, IRP_MN_START_DEVICE, (probe, irp) =>
        {
            probe.IoMarkIrpPending(irp);
            probe.CopyDown(irp);
            return STATUS_PENDING;
        });
    }

    /// <summary>The function driver answers what the target of the stack is.</summary>
    static void Target(Bench bench, Func<Probe, ulong> answer)
    {
        bench.Send(IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS, Relations(DEVICE_RELATION_TYPE.TargetDeviceRelation));
        bench.Lower.Other = irp => bench.Lower.Complete(irp, STATUS_SUCCESS, answer(bench.Lower));
    }

    static ulong Referenced(Probe probe, PDEVICE_OBJECT device)
    {
        probe.AddReference(device);
        return probe.Relations(device);
    }

    /// <summary>The filter sends a request of its own.</summary>
    internal static void Sends(Bench bench, byte minor, Action<PIRP> prepare) => bench.Act = () =>
    {
        Probe upper = bench.Upper;
        PIRP own = upper.Prepare(upper.IoAllocateIrp(1, false), IRP_MJ_PNP);
        own.IoStatus.Status = STATUS_NOT_SUPPORTED;
        upper.IoGetNextIrpStackLocation(own).MinorFunction = minor;
        prepare(own);
        upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        upper.SetCompletionRoutine(own, upper.CompletionRoutine);
        upper.IoCallDriver(upper.Lower, own);
        upper.IoFreeIrp(own);
    };

    static RuleCase Capabilities(string name, Action<PDEVICE_CAPABILITIES> spoil) => new("IwCapabilitiesNotInitialized",
        Wrong: bench => AsksForCapabilities(bench, spoil),
        Right: bench => AsksForCapabilities(bench, static _ => { }))
    { Name = name };

    static void AsksForCapabilities(Bench bench, Action<PDEVICE_CAPABILITIES> spoil) => Sends(bench, IRP_MN_QUERY_CAPABILITIES, own =>
    {
        PDEVICE_CAPABILITIES capabilities = new(bench.Upper.Allocate(DEVICE_CAPABILITIES.SizeOf).Address);
        capabilities.Value = new DEVICE_CAPABILITIES { Size = DEVICE_CAPABILITIES.SizeOf, Version = 1, Address = uint.MaxValue, UINumber = uint.MaxValue };
        spoil(capabilities);
        bench.Upper.IoGetNextIrpStackLocation(own).Parameters.DeviceCapabilities.Capabilities = capabilities;
    });

    static void Bottom(Bench bench, byte minor, Func<PIRP, NTSTATUS> handle)
    {
        bench.Report();
        bench.Send(IRP_MJ_PNP, minor);
        bench.Lower.Other = handle;
    }

    /// <summary>The PnP manager asks whether a device may be stopped that has a function driver.</summary>
    static void WithFunction(Bench bench, Action<PIRP> handle)
    {
        var function = new Probe(null);
        function.Other = irp =>
        {
            if (Probe.Major(irp) == IRP_MJ_PNP && Probe.Minor(irp) == IRP_MN_QUERY_STOP_DEVICE) handle(irp);
            return function.SkipDown(irp);
        };
        QueryStop(bench, DriverService.Of(bench.Machine, "function", () => function));
    }

    internal static void QueryStop(Bench bench, DriverService function) => bench.Act = () =>
    {
        PlugAndPlay manager = bench.Machine.PlugAndPlay;
        manager.Install(@"ROOT\SAMPLE", new DeviceInstallation { Function = function });
        DeviceNode node = manager.Report(new DeviceDescription(@"ROOT\SAMPLE") { Flags = default });
        Assert.Equal(STATUS_SUCCESS, manager.Start(node));
        manager.QueryStop(node);
    };

    public static IEnumerable<RuleCase> Cases =>
    [
        NotSupported("NsRemoveLockMnRemove", IRP_MN_REMOVE_DEVICE, "PnpIrpCompletion"),
        NotSupported("NsRemoveLockMnSurpriseRemove", IRP_MN_SURPRISE_REMOVAL, "PnpIrpCompletion"),
        NotSupported("NsRemoveLockQueryMnRemove", IRP_MN_QUERY_REMOVE_DEVICE),
        new("IwFailedPnpSentDown",
            Wrong: bench => Pnp(bench, IRP_MN_START_DEVICE, FailAndSend),
            Right: bench => Pnp(bench, IRP_MN_START_DEVICE, static (probe, irp) => probe.Complete(irp, STATUS_INSUFFICIENT_RESOURCES))),
        NotSupportedAgain("IwPnpNotSupportedAgain", IRP_MJ_PNP, IRP_MN_QUERY_CAPABILITIES),
        new("PnpIrpCompletion",
            Wrong: bench => Pnp(bench, IRP_MN_START_DEVICE, static (probe, irp) => probe.Complete(irp, STATUS_SUCCESS)),
            Right: bench => Pnp(bench, IRP_MN_START_DEVICE, static (probe, irp) => Succeed(probe, irp))),
        new("PnpIrpCompletion",
            Wrong: bench => Pnp(bench, 0x30, static (probe, irp) => probe.Complete(irp, STATUS_NOT_SUPPORTED)),
            Right: bench => Pnp(bench, 0x30, static (probe, irp) => probe.SkipDown(irp)))
        { Name = "an unknown one" },
        new("PnpRemove",
            Wrong: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.Complete(irp, STATUS_DELETE_PENDING)),
            Right: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.Remove(irp))),
        new("PnpRemove",
            Wrong: bench => Pnp(bench, IRP_MN_CANCEL_STOP_DEVICE, static (probe, irp) => probe.Complete(irp, STATUS_UNSUCCESSFUL)),
            Right: bench => Pnp(bench, IRP_MN_QUERY_STOP_DEVICE, static (probe, irp) => probe.Complete(irp, STATUS_UNSUCCESSFUL)))
        { Name = "stays started" },
        new("PnpSurpriseRemove",
            Wrong: bench => Pnp(bench, IRP_MN_SURPRISE_REMOVAL, static (probe, irp) => probe.Remove(irp)),
            Right: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.Remove(irp))),
        new("StartDeviceWait", Wrong: Waits, Right: Pends),
        new("TargetRelationNeedsRef",
            Wrong: bench => Target(bench, static probe => probe.Relations(probe.Device)),
            Right: bench => Target(bench, static probe => Referenced(probe, probe.Device)))
        { Driver = "lower" },
        new("IwTargetRelationUnanswered",
            Wrong: bench => Target(bench, static _ => 0),
            Right: bench => Target(bench, static probe => Referenced(probe, probe.Device)))
        { Driver = "lower" },
        new("IwTargetRelationUnanswered",
            Wrong: bench => Target(bench, static probe => Referenced(probe, probe.NewDevice())),
            Right: bench => Target(bench, static probe => Referenced(probe, probe.Device)))
        { Driver = "lower", Name = "another device" },
        new("IwRelationIsNoPdo",
            Wrong: bench => Pnp(bench, IRP_MN_QUERY_DEVICE_RELATIONS, static (probe, irp) => Succeed(probe, irp, Referenced(probe, probe.Device)),
                Relations(DEVICE_RELATION_TYPE.RemovalRelations)),
            Right: bench => Pnp(bench, IRP_MN_QUERY_DEVICE_RELATIONS, static (probe, irp) => Succeed(probe, irp, Referenced(probe, probe.Lower)),
                Relations(DEVICE_RELATION_TYPE.RemovalRelations))),
        new("IwInitialStatusMissing",
            Wrong: bench => Sends(bench, IRP_MN_QUERY_INTERFACE, static own => own.IoStatus.Status = STATUS_SUCCESS),
            Right: bench => Sends(bench, IRP_MN_QUERY_INTERFACE, static _ => { })),
        Capabilities("version", static c => c.Version = 0),
        Capabilities("size", static c => c.Size = 0),
        Capabilities("address", static c => c.Value.Address = 0),
        Capabilities("number", static c => c.UINumber = 0),
        new("IwPdoLeftUnanswered",
            Wrong: bench => Bottom(bench, IRP_MN_QUERY_STOP_DEVICE, irp => bench.Lower.Complete(irp, STATUS_NOT_SUPPORTED)),
            Right: bench => Bottom(bench, IRP_MN_QUERY_INTERFACE, irp => bench.Lower.Complete(irp, STATUS_NOT_SUPPORTED)))
        { Driver = "lower" },
        new("IwPnpLeftUnhandled",
            Wrong: bench => WithFunction(bench, static _ => { }),
            Right: bench => WithFunction(bench, static irp => irp.IoStatus.Status = STATUS_SUCCESS)) { Driver = "function", FilterCount = 0 },
        new("IwAnsweredForBus",
            Wrong: bench => Pnp(bench, IRP_MN_QUERY_BUS_INFORMATION, static (probe, irp) => Succeed(probe, irp)),
            Right: bench => Pnp(bench, IRP_MN_QUERY_CAPABILITIES, static (probe, irp) => Succeed(probe, irp))),
        new("IwPresentPdoDeleted",
            Wrong: bench => Bottom(bench, IRP_MN_REMOVE_DEVICE, irp =>
            {
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                bench.Lower.IoDeleteDevice(bench.Lower.Device);
                return STATUS_SUCCESS;
            }),
            Right: bench => Bottom(bench, IRP_MN_REMOVE_DEVICE, irp => bench.Lower.Complete(irp, STATUS_SUCCESS)))
        { Driver = "lower" },
        new("IwBusFilterRemoved",
            Wrong: bench =>
            {
                bench.Report();
                Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.Remove(irp));
            },
            Right: bench =>
            {
                bench.Report();
                Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.SkipDown(irp));
            }),
        new("IwRemovedAttached",
            Wrong: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.SkipDown(irp)),
            Right: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.Remove(irp))),
        new("IwRemovedUndeleted",
            Wrong: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) =>
            {
                NTSTATUS status = probe.SkipDown(irp);
                probe.IoDetachDevice(probe.Lower);
                return status;
            }),
            Right: bench => Pnp(bench, IRP_MN_REMOVE_DEVICE, static (probe, irp) => probe.Remove(irp))),
    ];
}
