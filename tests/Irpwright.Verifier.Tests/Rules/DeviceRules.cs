namespace Irpwright.Verification.Tests;

sealed class DeviceRules : IRuleCases
{
    const DO_FLAGS Usual = DO_FLAGS.DO_BUFFERED_IO;

    /// <summary>One more driver adds a device on top.</summary>
    static void Adds(Bench bench, Action<Probe, PDEVICE_OBJECT> add) => bench.Act = () => bench.Add(new Probe(null) { Adding = add });

    static void AddsWith(Bench bench, DO_FLAGS flags, uint type = FILE_DEVICE_UNKNOWN) => Adds(bench, (probe, pdo) =>
    {
        PDEVICE_OBJECT device = probe.NewDevice(type);
        probe.Attach(device, pdo);
        device.Flags = (device.Flags & ~DO_FLAGS.DO_DEVICE_INITIALIZING) | flags;
    });

    static void AddsAboveOther(Bench bench, bool above) => bench.Act = () =>
    {
        var other = new Probe(@"\Device\Other");
        Assert.Equal(STATUS_SUCCESS, bench.Machine.Drivers.Load(other, "other", out _));
        bench.Add(new Probe(null)
        {
            Adding = (probe, pdo) =>
            {
                PDEVICE_OBJECT device = probe.NewDevice();
                probe.Attach(device, above ? other.Device : pdo);
                device.Flags = (device.Flags & ~DO_FLAGS.DO_DEVICE_INITIALIZING) | Usual;
            },
        });
    };

    static void AddsFromEntry(Bench bench, bool create) => bench.Act = () => bench.Add(new Probe(@"\Device\Added")
    {
        Adding = (probe, pdo) =>
        {
            PDEVICE_OBJECT device = create ? probe.NewDevice() : probe.Device;
            probe.Attach(device, pdo);
            device.Flags = (device.Flags & ~DO_FLAGS.DO_DEVICE_INITIALIZING) | Usual;
        },
    });

    static void AddsAbovePageable(Bench bench, DO_FLAGS flags)
    {
        bench.Upper.Device.Flags |= DO_FLAGS.DO_POWER_PAGABLE;
        AddsWith(bench, Usual | flags);
    }

    static void ReportsChild(Bench bench, DO_FLAGS flags) => bench.Handle(IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS, irp =>
    {
        PDEVICE_OBJECT child = bench.Upper.NewDevice();
        child.Flags |= flags;
        irp.IoStatus.Status = STATUS_SUCCESS;
        irp.IoStatus.Information = bench.Upper.Relations(child);
        return bench.Upper.SkipDown(irp);
    }, new() { QueryDeviceRelations = new() { Type = DEVICE_RELATION_TYPE.BusRelations } });

    static void Starts(Bench bench, bool deferred)
    {
        Probe lower = bench.Lower;
        if (deferred) lower.IoSetStartIoAttributes(lower.Device, true, true);
        lower.Read = lower.Start;
        lower.Started = irp =>
        {
            lower.Complete(irp, STATUS_SUCCESS);
            lower.StartNext();
        };
    }

    static void Copies(Bench bench, ulong distance) => bench.Act = () =>
    {
        PVOID memory = bench.Upper.Allocate(64);
        bench.Upper.Copy(new PVOID(memory.Address + distance), memory, 16);
    };

    public static IEnumerable<RuleCase> Cases =>
    [
        new("AddDevice",
            Wrong: bench => AddsFromEntry(bench, create: false),
            Right: bench => AddsFromEntry(bench, create: true))
        { Driver = "added" },
        new("PnpSameDeviceObject",
            Wrong: bench => AddsAboveOther(bench, above: true),
            Right: bench => AddsAboveOther(bench, above: false))
        { Driver = "added" },
        new("IwLeftInitializing",
            Wrong: bench => AddsWith(bench, Usual | DO_FLAGS.DO_DEVICE_INITIALIZING),
            Right: bench => AddsWith(bench, Usual))
        { Driver = "added" },
        new("IwPowerPagableNotInherited",
            Wrong: bench => AddsAbovePageable(bench, 0),
            Right: bench => AddsAbovePageable(bench, DO_FLAGS.DO_POWER_PAGABLE))
        { Driver = "added" },
        new("IwBufferingNotCopied",
            Wrong: bench => AddsWith(bench, 0),
            Right: bench => AddsWith(bench, Usual))
        { Driver = "added" },
        new("IwDeviceTypeNotCopied",
            Wrong: bench => AddsWith(bench, Usual, 0x8000),
            Right: bench => AddsWith(bench, Usual))
        { Driver = "added" },
        new("IwBothBufferings",
            Wrong: bench => AddsWith(bench, DO_FLAGS.DO_BUFFERED_IO | DO_FLAGS.DO_DIRECT_IO),
            Right: bench => AddsWith(bench, DO_FLAGS.DO_DIRECT_IO))
        { Driver = "added" },
        new("IwNoDispatchRoutine",
            Wrong: bench => bench.Act = () => bench.Add(new Probe(null) { HighestMajor = IRP_MJ_SYSTEM_CONTROL }),
            Right: bench => bench.Act = () => bench.Add(new Probe(null) { HighestMajor = IRP_MJ_PNP }))
        { Driver = "added" },
        new("IwDetachedNothing",
            Wrong: bench => bench.Act = () => bench.Upper.IoDetachDevice(bench.Upper.Device),
            Right: bench => bench.Act = () => bench.Upper.IoDetachDevice(bench.Upper.Lower)),
        new("IwSentPastDevice",
            Wrong: bench => bench.Top.Read = irp =>
            {
                bench.Top.IoSkipCurrentIrpStackLocation(irp);
                return bench.Top.IoCallDriver(bench.Lower.Device, irp);
            },
            Right: bench => bench.Top.Read = bench.Top.SkipDown)
        { Driver = "upper2", FilterCount = 2 },
        new("DeleteDevice",
            Wrong: bench => bench.Handle(IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE, irp =>
            {
                bench.Upper.IoDetachDevice(bench.Upper.Lower);
                bench.Upper.IoDeleteDevice(bench.Upper.Device);
                return bench.Upper.SkipDown(irp);
            }),
            Right: bench => bench.Handle(IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE, bench.Upper.Remove)),
        new("CheckDeviceObjectFlags",
            Wrong: bench => ReportsChild(bench, DO_FLAGS.DO_POWER_PAGABLE),
            Right: bench => ReportsChild(bench, 0)),
        new("IwTimerInitializedTwice",
            Wrong: bench => bench.Act = () =>
            {
                bench.Upper.InitializeTimer();
                bench.Upper.InitializeTimer();
            },
            Right: bench => bench.Act = () => bench.Upper.InitializeTimer()),
        new("IwTimerInitializedLate",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.InitializeTimer();
                return bench.Upper.SkipDown(irp);
            },
            Right: bench => Adds(bench, static (probe, pdo) =>
            {
                PDEVICE_OBJECT device = probe.NewDevice();
                probe.Attach(device, pdo);
                probe.InitializeTimer();
                device.Flags = (device.Flags & ~DO_FLAGS.DO_DEVICE_INITIALIZING) | Usual;
            })),
        new("StartIoRecursion",
            Wrong: bench => Starts(bench, deferred: false),
            Right: bench => Starts(bench, deferred: true))
        { Driver = "lower" },
        new("IwOverlappingCopy",
            Wrong: bench => Copies(bench, distance: 8),
            Right: bench => Copies(bench, distance: 16)),
        new("DebugBreakUsage",
            Wrong: bench => bench.Act = () => bench.Upper.Break(),
            Right: bench => bench.Act = () => bench.Upper.NewEvent()),
        new("SafeStrings",
            Wrong: bench => bench.Act = () => CopiesText(bench, static (probe, to, from) => probe.CopyText(new PUCHAR(to.Address), new PUCHAR(from.Address))),
            Right: bench => bench.Act = () => CopiesText(bench, static (probe, to, from) => probe.Move(to, from, 1))),
    ];

    static void CopiesText(Bench bench, Action<Probe, PVOID, PVOID> copy)
    {
        PVOID from = bench.Upper.Allocate(16);
        GuestMemory.Ref<byte>(from.Address) = 0;
        copy(bench.Upper, bench.Upper.Allocate(16), from);
    }
}
