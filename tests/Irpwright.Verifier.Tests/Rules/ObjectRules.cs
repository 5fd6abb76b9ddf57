namespace Irpwright.Verification.Tests;

sealed class ObjectRules : IRuleCases
{
    static void FreesQueuedDpc(Bench bench, bool remove) => bench.Act = () =>
    {
        PKDPC dpc = new(bench.Upper.Allocate(KDPC.SizeOf).Address);
        bench.Upper.InitializeDpc(dpc);
        byte irql = bench.Upper.KeRaiseIrqlToDpcLevel();
        bench.Upper.Later(dpc, () => { });
        if (remove) bench.Upper.KeRemoveQueueDpc(dpc);
        bench.Upper.ExFreePool(dpc);
        bench.Upper.KeLowerIrql(irql);
    };

    static void InDpc(Bench bench, Action action) => bench.Act = () =>
    {
        PKDPC dpc = new(bench.Upper.Allocate(KDPC.SizeOf).Address);
        bench.Upper.InitializeDpc(dpc, threaded: true);
        bench.Upper.Later(dpc, action);
        bench.Upper.KeFlushQueuedDpcs();
    };

    static void ChoosesProcessor(Bench bench, sbyte number) => bench.Act = () =>
    {
        PKDPC dpc = new(bench.Upper.Allocate(KDPC.SizeOf).Address);
        bench.Upper.InitializeDpc(dpc);
        bench.Upper.KeSetTargetProcessorDpc(dpc, number);
    };

    static void QueuesWork(Bench bench, POOL_TYPE type) => bench.Act = () =>
    {
        PKEVENT done = bench.Upper.NewEvent();
        PVOID item = bench.Upper.ExAllocatePoolWithTag(type, WORK_QUEUE_ITEM.SizeOf, Probe.Tag);
        bench.Upper.QueueWork(new PWORK_QUEUE_ITEM(item.Address), () => bench.Upper.KeSetEvent(done, 0, false));
        bench.Upper.Wait(done);
    };

    /// <summary>Sends an IRP_MJ_CREATE of the driver's own for the file object of the user's create or close request.</summary>
    static void CreatesAgain(Bench bench, byte at)
    {
        Probe upper = bench.Upper;
        upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        upper.Other = irp =>
        {
            PIO_STACK_LOCATION stack = upper.IoGetCurrentIrpStackLocation(irp);
            if (stack.MajorFunction == at)
            {
                PIRP own = upper.Prepare(upper.IoAllocateIrp(1, false), IRP_MJ_CREATE);
                upper.IoGetNextIrpStackLocation(own).FileObject = stack.FileObject;
                upper.SetCompletionRoutine(own, upper.CompletionRoutine);
                upper.IoCallDriver(upper.Lower, own);
                upper.IoFreeIrp(own);
            }
            return upper.SkipDown(irp);
        };
    }

    /// <summary>Unloads the driver, whose unload routine does something.</summary>
    internal static void Unloads(Bench bench, Action before, Action unloading) => bench.Act = () =>
    {
        before();
        bench.Upper.Unload(unloading);
    };

    static void SetsTimer(Bench bench, bool cancel)
    {
        PKTIMER timer = default;
        PKDPC dpc = default;
        Unloads(bench, () =>
        {
            timer = new(bench.Upper.Allocate(KTIMER.SizeOf).Address);
            dpc = new(bench.Upper.Allocate(KDPC.SizeOf).Address);
            bench.Upper.KeInitializeTimer(timer);
            bench.Upper.InitializeDpc(dpc);
            bench.Upper.KeSetTimer(timer, -600 * 10_000_000L, dpc);
        }, () =>
        {
            if (!cancel) return;
            bench.Upper.KeCancelTimer(timer);
            bench.Upper.ExFreePool(timer);
            bench.Upper.ExFreePool(dpc);
        });
    }

    static void RegistersWithWmi(Bench bench, bool deregister)
    {
        PKEVENT asked = default;
        bench.Upper.Other = irp =>
        {
            bool isWmi = bench.Upper.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_SYSTEM_CONTROL;
            NTSTATUS status = bench.Upper.SkipDown(irp);
            if (isWmi) bench.Upper.KeSetEvent(asked, 0, false);
            return status;
        };
        Unloads(bench, () =>
        {
            asked = bench.Upper.NewEvent();
            bench.Upper.Wmi(1);
            // A system thread asks for the blocks.
            bench.Upper.Wait(asked);
        }, () =>
        {
            bench.Upper.ExFreePool(asked);
            if (deregister) bench.Upper.Wmi(2);
        });
    }

    static void InRead(Bench bench, Action action) => bench.Upper.Read = irp =>
    {
        action();
        return bench.Upper.SkipDown(irp);
    };

    public static IEnumerable<RuleCase> Cases =>
    [
        new("IwFreedQueuedDpc",
            Wrong: bench => FreesQueuedDpc(bench, remove: false),
            Right: bench => FreesQueuedDpc(bench, remove: true)),
        new("IwFreedQueuedWorkItem",
            Wrong: bench => bench.Act = () => bench.Upper.WithBusyWorkers(() =>
            {
                PWORK_QUEUE_ITEM item = new(bench.Upper.Allocate(WORK_QUEUE_ITEM.SizeOf).Address);
                bench.Upper.QueueWork(item, () => { });
                bench.Upper.ExFreePool(item);
            }),
            Right: bench => bench.Act = () => bench.Upper.WithBusyWorkers(() =>
            {
                PWORK_QUEUE_ITEM item = new(bench.Upper.Allocate(WORK_QUEUE_ITEM.SizeOf).Address);
                bench.Upper.QueueWork(item, () => bench.Upper.ExFreePool(item));
            })),
        new("IwDpcChangedApcs",
            Wrong: bench => InDpc(bench, bench.Upper.KeEnterCriticalRegion),
            Right: bench => InDpc(bench, () =>
            {
                bench.Upper.KeEnterCriticalRegion();
                bench.Upper.KeLeaveCriticalRegion();
            })),
        new("IwDpcProcessorOutOfRange",
            Wrong: bench => ChoosesProcessor(bench, 64),
            Right: bench => ChoosesProcessor(bench, 63)),
        new("IwPageableWorkItem",
            Wrong: bench => QueuesWork(bench, POOL_TYPE.PagedPool),
            Right: bench => QueuesWork(bench, POOL_TYPE.NonPagedPoolNx)),
        new("IwCreateWithClosedFile",
            Wrong: bench => CreatesAgain(bench, IRP_MJ_CLOSE),
            Right: bench => CreatesAgain(bench, IRP_MJ_CREATE)),
        new("DanglingDeviceObjectReference",
            Wrong: bench => Unloads(bench, () => bench.Upper.IoGetAttachedDeviceReference(bench.Lower.Device), () => { }),
            Right: bench => Unloads(bench, () => bench.Upper.Dereference(bench.Upper.IoGetAttachedDeviceReference(bench.Lower.Device)), () => { })),
        new("IwInvalidHandle",
            Wrong: bench => bench.Act = () =>
            {
                HANDLE key = bench.Upper.CreateKey();
                bench.Upper.ZwClose(key);
                bench.Upper.ZwClose(key);
            },
            Right: bench => bench.Act = () => bench.Upper.ZwClose(bench.Upper.CreateKey())),
        new("IwInvalidHandle",
            Wrong: bench => bench.Act = () => bench.Upper.Reference(default, MODE.KernelMode),
            Right: bench => bench.Act = () => bench.Upper.Reference(default, MODE.UserMode)) { Name = "NULL" },
        new("IwUserHandleAsKernel",
            Wrong: bench => bench.Act = () => bench.Upper.Reference(bench.Upper.CreateEvent(0), MODE.KernelMode),
            Right: bench => bench.Act = () =>
            {
                bench.Upper.Reference(bench.Upper.CreateEvent(0), MODE.UserMode);
                bench.Upper.Reference(bench.Upper.CreateEvent(OBJ_KERNEL_HANDLE), MODE.KernelMode);
            }),
        new("IwKernelHandleAsUser",
            Wrong: bench => bench.Act = () => bench.Upper.DoInWorker(() => bench.Upper.Reference(bench.Upper.CreateEvent(0), MODE.UserMode)),
            Right: bench => bench.Act = () => bench.Upper.DoInWorker(() => bench.Upper.Reference(bench.Upper.CreateEvent(0), MODE.KernelMode))),
        new("IwActiveAtUnload",
            Wrong: bench => SetsTimer(bench, cancel: false),
            Right: bench => SetsTimer(bench, cancel: true)) { Name = "timer", Also = ["IwPoolLeakedAtUnload"] },
        new("IwActiveAtUnload",
            Wrong: bench => Unloads(bench, () => bench.Upper.InitializeLookaside(bench.Upper.Allocate(NPAGED_LOOKASIDE_LIST.SizeOf), 64), () => { }),
            Right: bench => bench.Act = () =>
            {
                PVOID list = bench.Upper.Allocate(NPAGED_LOOKASIDE_LIST.SizeOf);
                bench.Upper.InitializeLookaside(list, 64);
                bench.Upper.Unload(() =>
                {
                    bench.Upper.DeleteLookaside(list);
                    bench.Upper.ExFreePool(list);
                });
            }) { Name = "lookaside list", Also = ["IwPoolLeakedAtUnload"] },
        new("IwObsoleteDmaAdapter",
            Wrong: bench => bench.Act = () => bench.Upper.UseDmaAdapter(obsolete: true),
            Right: bench => bench.Act = () => bench.Upper.UseDmaAdapter(obsolete: false)),
        new("IwNotifyKeyContext",
            Wrong: bench => bench.Act = () => bench.Upper.NotifyOfChange(bench.Upper.CreateKey(), new PVOID(7)),
            Right: bench => bench.Act = () => bench.Upper.NotifyOfChange(bench.Upper.CreateKey(), new PVOID((ulong)WORK_QUEUE_TYPE.DelayedWorkQueue))),
        new("IwWmiLeftRegistered",
            Wrong: bench => RegistersWithWmi(bench, deregister: false),
            Right: bench => RegistersWithWmi(bench, deregister: true)),
        new("IwEtwLeftRegistered",
            Wrong: bench => Unloads(bench, () => bench.Upper.RegisterProvider(), () => { }),
            Right: bench => Unloads(bench, () => { }, () => bench.Upper.UnregisterProvider(bench.Upper.RegisterProvider()))),
        new("IwEtwUnregisteredTwice",
            Wrong: bench => bench.Act = () =>
            {
                ulong provider = bench.Upper.RegisterProvider();
                bench.Upper.UnregisterProvider(provider);
                bench.Upper.UnregisterProvider(provider);
            },
            Right: bench => bench.Act = () => bench.Upper.UnregisterProvider(bench.Upper.RegisterProvider())),
        new("IwUserAddressInZwCall",
            Wrong: bench => bench.Act = () =>
                bench.Upper.SetValue(bench.Upper.CreateKey(), bench.Upper.Text("Value", 10), new PVOID(bench.Machine.Memory.AllocateUser(4096))),
            Right: bench => bench.Act = () => bench.Upper.SetValue(bench.Upper.CreateKey(), bench.Upper.Text("Value", 10), bench.Upper.Allocate(4))),
        new("IwMalformedString",
            Wrong: bench => bench.Act = () => bench.Upper.SetValue(bench.Upper.CreateKey(), bench.Upper.Text("Value", 5), bench.Upper.Allocate(4)),
            Right: bench => bench.Act = () => bench.Upper.SetValue(bench.Upper.CreateKey(), bench.Upper.Text("Value", 6), bench.Upper.Allocate(4))),
        new("ZwRegistryOpen",
            Wrong: bench => InRead(bench, () =>
            {
                bench.Upper.ZwClose(bench.Upper.CreateKey());
                bench.Upper.OpenKey();
            }),
            Right: bench => InRead(bench, () =>
            {
                bench.Upper.ZwClose(bench.Upper.CreateKey());
                bench.Upper.ZwClose(bench.Upper.OpenKey());
            })),
        new("ZwRegistryCreate",
            Wrong: bench => InRead(bench, () => bench.Upper.CreateKey()),
            Right: bench => InRead(bench, () => bench.Upper.ZwClose(bench.Upper.CreateKey()))),
        new("ZwRegistryCreate",
            Wrong: bench => bench.Act = () =>
            {
                HANDLE key = bench.Upper.CreateKey();
                bench.Upper.ZwClose(key);
                bench.Upper.FlushKey(key);
            },
            Right: bench => bench.Act = () =>
            {
                HANDLE key = bench.Upper.CreateKey();
                bench.Upper.FlushKey(key);
                bench.Upper.ZwClose(key);
            }) { Name = "after closing", Also = ["IwInvalidHandle"] },
    ];
}
