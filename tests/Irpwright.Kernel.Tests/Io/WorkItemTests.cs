using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public sealed class WorkItemTests : IDisposable
{
    readonly Machine machine = new();
    readonly Worker driver = new();

    public WorkItemTests() => machine.Run(() => machine.Drivers.Load(driver, "worker", out _));

    public void Dispose() => machine.Dispose();

    WorkItems Items => machine.WorkItems;

    PKEVENT Event()
    {
        PKEVENT created = new(machine.Pool.Allocate(NonPagedPoolNx, KEVENT.SizeOf, 1, 0));
        machine.Dispatcher.KeInitializeEvent(created, NotificationEvent, false);
        return created;
    }

    void Wait(PKEVENT done) =>
        Assert.Equal(STATUS_SUCCESS, machine.Dispatcher.KeWaitForSingleObject(done, Executive, KernelMode, false, null));

    PIO_WORKITEM_ROUTINE Routine(IO_WORKITEM_ROUTINE routine) => machine.Code.Routine(routine);

    PIO_WORKITEM_ROUTINE_EX Routine(IO_WORKITEM_ROUTINE_EX routine) => machine.Code.Routine(routine);

    [Fact, Spec("DPC-09")]
    public void A_work_item_runs_once_in_a_system_thread_at_PASSIVE_LEVEL()
    {
        List<(ulong, ulong, byte, ThreadKind, bool)> calls = [];
        machine.Run(() =>
        {
            PKEVENT done = Event();
            KernelThread queuer = machine.CurrentThread;
            PIO_WORKITEM item = Items.IoAllocateWorkItem(driver.Device);
            byte previous = machine.Irqls.KeRaiseIrqlToDpcLevel();
            Items.IoQueueWorkItem(item, Routine((device, context) =>
            {
                KernelThread thread = machine.CurrentThread;
                calls.Add((device.Address, context.Address, thread.Irql, thread.Kind, thread == queuer));
                machine.Dispatcher.KeSetEvent(done, 0, false);
            }), DelayedWorkQueue, new PVOID(0x1234));
            machine.Irqls.KeLowerIrql(previous);
            Wait(done);
            Items.IoFreeWorkItem(item);
        });
        Assert.Equal([(driver.Device.Address, 0x1234ul, (byte)PASSIVE_LEVEL, ThreadKind.System, false)], calls);
    }

    [Fact, Spec("DPC-09")]
    public void The_Ex_routine_gets_object_context_and_item_and_may_free_the_item()
    {
        (ulong, ulong, ulong) call = default;
        ulong address = 0;
        machine.Run(() =>
        {
            PKEVENT done = Event();
            PIO_WORKITEM item = Items.IoAllocateWorkItem(driver.Device);
            address = item.Address;
            Items.IoQueueWorkItemEx(item, Routine((ioObject, context, workItem) =>
            {
                call = (ioObject.Address, context.Address, workItem.Address);
                Items.IoFreeWorkItem(workItem);
                machine.Dispatcher.KeSetEvent(done, 0, false);
            }), DelayedWorkQueue, new PVOID(5));
            Wait(done);
        });
        Assert.Equal((driver.Device.Address, 5ul, address), call);
        Assert.False(machine.Pool.TryFind(address, out _));
    }

    [Fact, Spec("DPC-09")]
    public void A_routine_may_queue_its_item_again()
    {
        int calls = 0;
        machine.Run(() =>
        {
            PKEVENT done = Event();
            PIO_WORKITEM item = Items.IoAllocateWorkItem(driver.Device);
            PIO_WORKITEM_ROUTINE routine = default;
            routine = Routine((device, context) =>
            {
                if (++calls < 3) Items.IoQueueWorkItem(item, routine, DelayedWorkQueue, default);
                else machine.Dispatcher.KeSetEvent(done, 0, false);
            });
            Items.IoQueueWorkItem(item, routine, DelayedWorkQueue, default);
            Wait(done);
        });
        Assert.Equal(3, calls);
    }

    [Fact, Spec("DPC-09")]
    public void The_object_stays_referenced_until_the_routine_returned()
    {
        long Count() => GuestMemory.Ref<long>(driver.Device.Address - ObjectNamespace.HeaderSize);
        List<long> counts = [];
        machine.Run(() =>
        {
            long before = Count();
            PKEVENT done = Event();
            PIO_WORKITEM item = Items.IoAllocateWorkItem(driver.Device);
            machine.Irqls.KfRaiseIrql(DISPATCH_LEVEL);
            Items.IoQueueWorkItem(item, Routine((device, context) =>
            {
                counts.Add(Count() - before);
                machine.Dispatcher.KeSetEvent(done, 0, false);
            }), DelayedWorkQueue, default);
            counts.Add(Count() - before);
            machine.Irqls.KeLowerIrql(PASSIVE_LEVEL);
            Wait(done);
            machine.Dispatcher.KeWaitForSingleObject(Event(), Executive, KernelMode, false, -10);
            counts.Add(Count() - before);
        });
        Assert.Equal([1, 1, 0], counts);
    }

    [Fact]
    public void Items_run_although_another_one_waits()
    {
        List<string> order = [];
        machine.Run(() =>
        {
            PKEVENT release = Event(), done = Event();
            Queue((_, _) =>
            {
                order.Add("first waits");
                Wait(release);
                order.Add("first goes on");
                machine.Dispatcher.KeSetEvent(done, 0, false);
            });
            Queue((_, _) =>
            {
                order.Add("second");
                machine.Dispatcher.KeSetEvent(release, 0, false);
            });
            Wait(done);
        });
        Assert.Equal(["first waits", "second", "first goes on"], order);

        void Queue(IO_WORKITEM_ROUTINE routine) =>
            Items.IoQueueWorkItem(Items.IoAllocateWorkItem(driver.Device), Routine(routine), DelayedWorkQueue, default);
    }

    [Fact]
    public void ExQueueWorkItem_calls_the_items_routine_with_its_parameter()
    {
        ulong parameter = 0;
        machine.Run(() =>
        {
            PKEVENT done = Event();
            PWORK_QUEUE_ITEM item = new(machine.Pool.Allocate(NonPagedPoolNx, WORK_QUEUE_ITEM.SizeOf, 1, 0));
            WORKER_THREAD_ROUTINE routine = context =>
            {
                parameter = context.Address;
                machine.Pool.Free(item.Address, 1);
                machine.Dispatcher.KeSetEvent(done, 0, false);
            };
            Items.ExInitializeWorkItem(item, machine.Code.Routine(routine), new PVOID(99));
            Items.ExQueueWorkItem(item, CriticalWorkQueue);
            Wait(done);
        });
        Assert.Equal(99ul, parameter);
    }

    [Fact]
    public void An_item_in_the_drivers_own_memory_works_the_same()
    {
        bool ran = false;
        machine.Run(() =>
        {
            PKEVENT done = Event();
            PIO_WORKITEM item = new(machine.Pool.Allocate(NonPagedPoolNx, Items.IoSizeofWorkItem(), 1, 0));
            Items.IoInitializeWorkItem(driver.Device, item);
            Items.IoQueueWorkItem(item, Routine((_, _) =>
            {
                ran = true;
                machine.Dispatcher.KeSetEvent(done, 0, false);
            }), DelayedWorkQueue, default);
            Wait(done);
            Items.IoUninitializeWorkItem(item);
        });
        Assert.True(ran);
    }

    [Fact]
    public void Observers_see_the_routine_begin_and_end()
    {
        var observer = new Observer();
        machine.Events.Add(observer);
        A_routine_may_queue_its_item_again();
        Assert.Equal(3, observer.Started);
        Assert.InRange(observer.Returned, 2, 3);
    }

    sealed class Observer : KernelObserver
    {
        public int Started { get; private set; }

        public int Returned { get; private set; }

        public override void On(in WorkItemStarted e) => Started++;

        public override void On(in WorkItemReturned e) => Returned++;
    }

    [Fact]
    public void A_free_running_machine_runs_many_items_in_several_threads()
    {
        using var free = new Machine(new MachineOptions { Strategy = null });
        var worker = new Worker();
        int calls = 0;
        free.Run(() =>
        {
            free.Drivers.Load(worker, "worker", out _);
            IO_WORKITEM_ROUTINE_EX routine = (_, _, item) =>
            {
                free.WorkItems.IoFreeWorkItem(item);
                Interlocked.Increment(ref calls);
            };
            for (int i = 0; i < 200; i++)
                free.WorkItems.IoQueueWorkItemEx(free.WorkItems.IoAllocateWorkItem(worker.Device), free.Code.Routine(routine),
                    DelayedWorkQueue, default);
            for (int i = 0; i < 1000 && Volatile.Read(ref calls) < 200; i++) free.Time.KeStallExecutionProcessor(5_000);
        });
        Assert.Equal(200, calls);
    }

    public class When_a_driver_is_wrong
    {
        [Theory]
        [InlineData(1u), InlineData(2u), InlineData(3u), InlineData(6u), InlineData(7u)]
        public void Misuse_of_an_item_is_WORKER_INVALID(uint violation)
        {
            using var machine = new Machine();
            BugCheckReport report = Crash.Of(machine, () =>
            {
                var driver = new Worker();
                machine.Drivers.Load(driver, "worker", out _);
                PIO_WORKITEM item = machine.WorkItems.IoAllocateWorkItem(driver.Device);
                machine.Irqls.KeRaiseIrqlToDpcLevel();
                IO_WORKITEM_ROUTINE nothing = (_, _) => { };
                PIO_WORKITEM_ROUTINE routine = machine.Code.Routine(nothing);
                if (violation < 6) machine.WorkItems.IoQueueWorkItem(item, routine, DelayedWorkQueue, default);
                switch (violation)
                {
                    case 1: machine.WorkItems.IoQueueWorkItem(item, routine, DelayedWorkQueue, default); break;
                    case 2: machine.WorkItems.IoFreeWorkItem(item); break;
                    case 3: machine.WorkItems.IoInitializeWorkItem(new PVOID(machine.CurrentThread.Object.Address), item); break;
                    case 6: machine.WorkItems.IoQueueWorkItem(item, routine, MaximumWorkQueue, default); break;
                    case 7: machine.WorkItems.IoQueueWorkItem(item, default, DelayedWorkQueue, default); break;
                }
            });
            Assert.Equal((WORKER_INVALID, (ulong)violation), (report.Code, report.Parameter1));
        }

        [Fact]
        public void Returning_at_a_raised_IRQL_stops_the_machine()
        {
            using var machine = new Machine();
            BugCheckReport report = Crash.Of(machine, () =>
            {
                var driver = new Worker();
                machine.Drivers.Load(driver, "worker", out _);
                IO_WORKITEM_ROUTINE raises = (_, _) => machine.Irqls.KfRaiseIrql(DISPATCH_LEVEL);
                machine.WorkItems.IoQueueWorkItem(machine.WorkItems.IoAllocateWorkItem(driver.Device), machine.Code.Routine(raises),
                    DelayedWorkQueue, default);
                PKEVENT never = new(machine.Pool.Allocate(NonPagedPoolNx, KEVENT.SizeOf, 1, 0));
                machine.Dispatcher.KeInitializeEvent(never, NotificationEvent, false);
                machine.Dispatcher.KeWaitForSingleObject(never, Executive, KernelMode, false, null);
            });
            Assert.Equal((WORKER_THREAD_RETURNED_AT_BAD_IRQL, 2ul), (report.Code, report.Parameter2));
        }
    }

    sealed class Worker : WdmDriver
    {
        public PDEVICE_OBJECT Device { get; private set; }

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            NTSTATUS status = IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
            Device = device;
            return status;
        }
    }

    [Fact, Spec("DPC-09")]
    public void A_worker_that_woke_of_itself_and_took_an_item_is_not_counted_on_for_the_next() => machine.Run(() =>
    {
        PWORK_QUEUE_ITEM Item(WORKER_THREAD_ROUTINE routine)
        {
            var item = new PWORK_QUEUE_ITEM(machine.Pool.Allocate(NonPagedPoolNx, WORK_QUEUE_ITEM.SizeOf, 1, 0, zero: true));
            item.WorkerRoutine = machine.Code.Routine(routine);
            return item;
        }
        void Queue(WORKER_THREAD_ROUTINE routine) => Items.ExQueueWorkItem(Item(routine), DelayedWorkQueue);

        // Two workers, idle in this order.
        List<KernelThread> workers = [];
        PKEVENT both = Event(), leave = Event();
        for (int i = 0; i < 2; i++)
        {
            Queue(_ =>
            {
                workers.Add(machine.CurrentThread);
                if (workers.Count == 2) machine.Dispatcher.KeSetEvent(both, 0, false);
                Wait(leave);
            });
        }
        Wait(both);
        machine.Dispatcher.KeSetEvent(leave, 0, false);
        Until(() => workers.TrueForAll(worker => worker.WaitReason == "waits for work items"));

        PKEVENT second = Event(), done = Event();
        KernelThread? taker = null;
        byte irql = machine.Irqls.KeRaiseIrqlToDpcLevel();
        machine.Scheduler.Unblock(workers[1]);
        Queue(_ =>
        {
            taker = machine.CurrentThread;
            Wait(second);
            machine.Dispatcher.KeSetEvent(done, 0, false);
        });
        machine.Irqls.KeLowerIrql(irql);
        Until(() => taker is not null);
        Assert.Same(workers[1], taker);
        Queue(_ => machine.Dispatcher.KeSetEvent(second, 0, false));
        Wait(done);

        void Until(Func<bool> condition)
        {
            while (!condition()) machine.Dispatcher.KeDelayExecutionThread(KernelMode, false, -10_000);
        }
    });
}
