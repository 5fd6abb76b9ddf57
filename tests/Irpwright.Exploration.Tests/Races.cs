namespace Irpwright.Exploration.Tests;

/// <summary>Scenarios with one bug each, which shows only in some interleavings, and their right twins.</summary>
static class Races
{
    /// <summary>Thread a says "go" before thread b is ready to hear it: a flag is looked at, and only then the event is cleared.</summary>
    public static void LostWake(Machine machine) => Handshake(machine, clearsFirst: false);

    public static void KeptWake(Machine machine) => Handshake(machine, clearsFirst: true);

    static void Handshake(Machine machine, bool clearsFirst)
    {
        PKEVENT wake = NewEvent(machine);
        PKSPIN_LOCK spinLock = NewLock(machine);
        bool isReady = false;
        machine.RunTogether(
            () =>
            {
                Locked(machine, spinLock, () => isReady = true);
                machine.Dispatcher.KeSetEvent(wake, IO_NO_INCREMENT, false);
            },
            () =>
            {
                if (clearsFirst) machine.Dispatcher.KeClearEvent(wake);
                bool seen = false;
                Locked(machine, spinLock, () => seen = isReady);
                if (seen) return;
                if (!clearsFirst) machine.Dispatcher.KeClearEvent(wake);
                Wait(machine, wake);
            });
    }

    /// <summary>Two threads take two locks in different orders.</summary>
    public static void LockOrder(Machine machine) => TwoLocks(machine, sameOrder: false);

    public static void SameLockOrder(Machine machine) => TwoLocks(machine, sameOrder: true);

    static void TwoLocks(Machine machine, bool sameOrder)
    {
        PKSPIN_LOCK a = NewLock(machine), b = NewLock(machine);
        machine.RunTogether(
            () => Locked(machine, a, () => Locked(machine, b, static () => { })),
            () => Locked(machine, sameOrder ? a : b, () => Locked(machine, sameOrder ? b : a, static () => { })));
    }

    /// <summary>The request is in the queue before it is marked pending.</summary>
    public static void PendingRace(Machine machine) => Queue(machine, new QueueDriver { MarksLate = true }, cancels: false);

    /// <summary>The driver completes a request although somebody else has taken its cancel routine.</summary>
    public static void CancelRace(Machine machine) => Queue(machine, new QueueDriver { CompletesAnyway = true }, cancels: true);

    public static void RightQueue(Machine machine) => Queue(machine, new QueueDriver(), cancels: true);

    static void Queue(Machine machine, QueueDriver driver, bool cancels)
    {
        using DeviceHandle device = DeviceStack.Build(machine, driver).Open();
        machine.RunTogether(
            () =>
            {
                IoOperation read = device.StartRead(new byte[4]);
                if (cancels) read.Cancel();
                read.Wait();
            },
            driver.CompleteOne);
    }

    /// <summary>Two threads count in turns; it goes wrong if they alternate so many times.</summary>
    public static Action<Machine> Alternate(int times) => machine =>
    {
        int count = 0;
        void Count(int parity)
        {
            for (int i = 0; i < times; i++)
            {
                machine.Scheduler.Yield(machine.CurrentThread, SchedulingPoint.Call);
                if (count < times && count % 2 == parity) count++;
                else if (count < times) count = 0;
            }
        }
        machine.RunTogether(() => Count(0), () => Count(1));
        if (count == times) throw new AlternatedException();
    };

    /// <summary>Threads that pass scheduling points, and have nothing to do with each other.</summary>
    public static Action<Machine> Independent(int threads, int points) => machine =>
    {
        Action[] bodies = new Action[threads];
        for (int i = 0; i < threads; i++)
        {
            PKEVENT own = NewEvent(machine);
            bodies[i] = () =>
            {
                for (int n = 0; n < points; n++) machine.Dispatcher.KeSetEvent(own, IO_NO_INCREMENT, false);
            };
        }
        machine.RunTogether(bodies);
    };

    /// <summary>Two threads, each with a driver of its own that passes a few scheduling points.</summary>
    public static void TwoDrivers(Machine machine)
    {
        using DeviceHandle a = DeviceStack.Build(machine, new SignallingDriver("A")).Open(), b = DeviceStack.Build(machine, new SignallingDriver("B")).Open();
        machine.RunTogether(() => a.Flush(), () => b.Flush());
    }

    public static PKEVENT NewEvent(Machine machine)
    {
        var created = new PKEVENT(machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, KEVENT.SizeOf, Tag).Address);
        machine.Dispatcher.KeInitializeEvent(created, EVENT_TYPE.NotificationEvent, false);
        return created;
    }

    const uint Tag = 0x20747354; // "Tst "

    static PKSPIN_LOCK NewLock(Machine machine)
    {
        var created = new PKSPIN_LOCK(machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, KSPIN_LOCK.SizeOf, Tag).Address);
        machine.SpinLocks.KeInitializeSpinLock(created);
        return created;
    }

    static void Locked(Machine machine, PKSPIN_LOCK spinLock, Action body)
    {
        byte irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(spinLock);
        body();
        machine.SpinLocks.KeReleaseSpinLock(spinLock, irql);
    }

    static void Wait(Machine machine, PKEVENT wake) =>
        machine.Dispatcher.KeWaitForSingleObject(wake, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
}

sealed class AlternatedException : Exception;

/// <summary>Keeps reads until somebody completes them; cancellable.</summary>
sealed class QueueDriver : WdmDriver
{
    readonly Queue<PIRP> queue = new();
    PDEVICE_OBJECT device;

    /// <summary>A bug: IoMarkIrpPending comes when the request is in the queue already.</summary>
    public bool MarksLate { get; init; }

    /// <summary>A bug: what IoSetCancelRoutine returns is not looked at.</summary>
    public bool CompletesAnyway { get; init; }

    PKSPIN_LOCK Lock => new(device.DeviceExtension.Address);

    PKEVENT Arrived => new(device.DeviceExtension.Address + 16);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, 64, RTL_CONSTANT_STRING(@"\Device\Queue"), FILE_DEVICE_UNKNOWN, 0, false, out device);
        if (!status.IsSuccess) return status;
        KeInitializeSpinLock(Lock);
        KeInitializeEvent(Arrived, SynchronizationEvent, false);
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Succeed);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(Read);
        return STATUS_SUCCESS;
    }

    NTSTATUS Succeed(PDEVICE_OBJECT DeviceObject, PIRP Irp) => Complete(Irp, STATUS_SUCCESS);

    NTSTATUS Complete(PIRP Irp, NTSTATUS status)
    {
        Irp.IoStatus.Status = status;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }

    NTSTATUS Read(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        KeAcquireSpinLock(Lock, out KIRQL irql);
        if (!MarksLate) IoMarkIrpPending(Irp);
        IoSetCancelRoutine(Irp, Cancel);
        if (Irp.Cancel && !IoSetCancelRoutine(Irp, null).IsNull)
        {
            KeReleaseSpinLock(Lock, irql);
            Complete(Irp, STATUS_CANCELLED);
            KeSetEvent(Arrived, IO_NO_INCREMENT, false);
            return STATUS_PENDING;
        }
        queue.Enqueue(Irp);
        KeReleaseSpinLock(Lock, irql);
        KeSetEvent(Arrived, IO_NO_INCREMENT, false);
        if (MarksLate) IoMarkIrpPending(Irp);
        return STATUS_PENDING;
    }

    void Cancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoReleaseCancelSpinLock(Irp.CancelIrql);
        KeAcquireSpinLock(Lock, out KIRQL irql);
        if (queue.Count > 0) queue.Dequeue();
        KeReleaseSpinLock(Lock, irql);
        Complete(Irp, STATUS_CANCELLED);
    }

    /// <summary>What the device's DPC would do: completes the oldest request, if nobody was quicker.</summary>
    public void CompleteOne()
    {
        KeWaitForSingleObject(Arrived, Executive, KernelMode, false, null);
        KeAcquireSpinLock(Lock, out KIRQL irql);
        PIRP irp = queue.TryDequeue(out PIRP first) ? first : default;
        bool isMine = !irp.IsNull && (!IoSetCancelRoutine(irp, null).IsNull || CompletesAnyway);
        KeReleaseSpinLock(Lock, irql);
        if (isMine) Complete(irp, STATUS_SUCCESS);
    }
}

/// <summary>Sets an event of its own for each flush.</summary>
sealed class SignallingDriver(string name) : WdmDriver
{
    PDEVICE_OBJECT device;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
        return IoCreateDevice(DriverObject, KEVENT.SizeOf, RTL_CONSTANT_STRING($@"\Device\{name}"), FILE_DEVICE_UNKNOWN, 0, false, out device);
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var done = new PKEVENT(device.DeviceExtension.Address);
        if (IoGetCurrentIrpStackLocation(Irp).MajorFunction == IRP_MJ_FLUSH_BUFFERS)
        {
            KeInitializeEvent(done, NotificationEvent, false);
            KeSetEvent(done, IO_NO_INCREMENT, false);
        }
        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_SUCCESS;
    }
}
