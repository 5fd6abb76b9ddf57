using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests;

/// <summary>Which scheduler a test runs on.</summary>
public enum Scheduling
{
    Controlled,
    FreeRunning,
}

/// <summary>How a lowest driver completes.</summary>
public enum Completing
{
    Inline,
    InlineAfterMarking,
    FromAnotherThread,
    FromADpc,
}

/// <summary>
/// A test that is a driver: loaded in a machine of its own, it calls every DDI by its name, and each of its devices has its
/// own lambda as dispatch routine.
/// </summary>
public abstract class DriverTest : WdmDriver, IDisposable
{
    const uint Tag = 0x74736554; // "Test"

    readonly Dictionary<PDEVICE_OBJECT, DRIVER_DISPATCH> dispatch = [];
    readonly List<string> steps = [];
    Machine? machine;

    /// <summary>Decides every interleaving on the controlled scheduler.</summary>
    protected IScheduleStrategy? Strategy { get; set; } = new FifoStrategy();

    /// <summary>
    /// The scheduler of this test project: these sources are compiled twice, and every test that does not choose for itself runs
    /// on both schedulers.
    /// </summary>
    protected static Scheduling Here =>
#if FREE_RUNNING
        Scheduling.FreeRunning;
#else
        Scheduling.Controlled;
#endif

    /// <summary>For theories that must hold whoever runs when.</summary>
    public static TheoryData<Scheduling> EverySchedule => [Here];

    /// <summary>Sees the events of the machine from its start.</summary>
    protected KernelObserver? Observer { get; set; }

    public static MatrixTheoryData<Completing, Scheduling> EveryCompletion =>
        new(Enum.GetValues<Completing>(), [Here]);

    /// <summary>What happened, in order, as told by <see cref="Step"/>.</summary>
    protected IReadOnlyList<string> Steps
    {
        get { lock (steps) return [.. steps]; }
    }

    protected void Step(string what)
    {
        lock (steps) steps.Add(what);
    }

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
        return STATUS_SUCCESS;
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp) => dispatch[DeviceObject](DeviceObject, Irp);

    /// <summary>Runs a scenario as a user thread of the machine; a machine that stops or hangs fails the test.</summary>
    protected void Run(Action scenario) => Run(Here, scenario);

    /// <inheritdoc cref="Run(Action)"/>
    protected void Run(Scheduling scheduling, Action scenario)
    {
        if (machine is null)
        {
            machine = new Machine(new MachineOptions { Strategy = scheduling == Scheduling.Controlled ? Strategy : null });
            if (Observer is { } observer) machine.Events.Add(observer);
            machine.Run(() => Assert.Equal(STATUS_SUCCESS, machine.Drivers.Load(this, "test", out _)));
        }
        machine.Run(scenario);
    }

    /// <summary>Runs a scenario that must stop the machine with this bug check.</summary>
    protected BugCheckReport Stops(BugCheckCode code, Action scenario)
    {
        BugCheckReport report = Assert.Throws<BugCheckException>(() => Run(scenario)).Report;
        Assert.Equal(code, report.Code);
        return report;
    }

    /// <summary>A device of this driver, ready for requests, that handles everything with one lambda.</summary>
    /// <param name="above">Attach on top of this device's stack.</param>
    protected PDEVICE_OBJECT Device(DRIVER_DISPATCH handler, PDEVICE_OBJECT above = default, DO_FLAGS flags = 0, string? name = null)
    {
        PUNICODE_STRING deviceName = name is null ? default : RTL_CONSTANT_STRING(name);
        Assert.Equal(STATUS_SUCCESS, IoCreateDevice(DriverObject, 0, deviceName, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device));
        lock (steps) dispatch[device] = handler; // a deleted device may have had the same address
        device.Flags |= flags;
        if (!above.IsNull) Assert.False(IoAttachDeviceToDeviceStack(device, above).IsNull);
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        return device;
    }

    /// <summary>A lowest device that completes every request with the same outcome.</summary>
    protected PDEVICE_OBJECT Lowest(Completing how, NTSTATUS status, ulong information = 0) =>
        Device((_, irp) => CompleteSomehow(irp, how, status, information));

    /// <summary>Completes a packet in the given way; returns what the dispatch routine is to return.</summary>
    protected NTSTATUS CompleteSomehow(PIRP irp, Completing how, NTSTATUS status, ulong information = 0)
    {
        switch (how)
        {
            case Completing.Inline:
                return Complete(irp, status, information);
            case Completing.InlineAfterMarking:
                IoMarkIrpPending(irp);
                Complete(irp, status, information);
                return STATUS_PENDING;
            case Completing.FromAnotherThread:
                return Pend(irp, () => Complete(irp, status, information));
            default:
                IoMarkIrpPending(irp);
                AfterOneMillisecond((_, _, _, _) => Complete(irp, status, information));
                return STATUS_PENDING;
        }
    }

    /// <summary>Runs a DPC when a timer expires.</summary>
    protected void AfterOneMillisecond(KDEFERRED_ROUTINE routine)
    {
        var dpc = new PKDPC(Memory(KDPC.SizeOf).Address);
        var timer = new PKTIMER(Memory(KTIMER.SizeOf).Address);
        KeInitializeDpc(dpc, routine, default);
        KeInitializeTimer(timer);
        KeSetTimer(timer, -10_000, dpc);
    }

    /// <summary>A filter that copies, registers a routine for every outcome, and returns what the driver below returned.</summary>
    protected PDEVICE_OBJECT Filter(PDEVICE_OBJECT lower, IO_COMPLETION_ROUTINE routine, PVOID context = default) => Device((_, irp) =>
    {
        IoCopyCurrentIrpStackLocationToNext(irp);
        OnCompletion(irp, routine, context);
        return IoCallDriver(lower, irp);
    }, above: lower);

    /// <summary>An allocated packet for a device, its first location filled in, nobody's routine set.</summary>
    protected PIRP Packet(PDEVICE_OBJECT target, byte major = IRP_MJ_READ, int spareLocations = 0)
    {
        PIRP irp = IoAllocateIrp((sbyte)(target.StackSize + spareLocations), false);
        IoGetNextIrpStackLocation(irp).MajorFunction = major;
        return irp;
    }

    /// <summary>Completes a packet; returns the status, for a dispatch routine to return.</summary>
    protected NTSTATUS Complete(PIRP irp, NTSTATUS status, ulong information = 0)
    {
        irp.IoStatus.Status = status;
        irp.IoStatus.Information = information;
        IoCompleteRequest(irp, IO_NO_INCREMENT);
        return status;
    }

    /// <summary>Marks a packet pending and has another thread do the rest.</summary>
    protected NTSTATUS Pend(PIRP irp, Action later)
    {
        IoMarkIrpPending(irp);
        Start(later);
        return STATUS_PENDING;
    }

    /// <summary>Starts a thread of the machine.</summary>
    protected KernelThread Start(Action body) => Machine.Scheduler.Start("helper", ThreadKind.System, body);

    /// <summary>Registers a routine for every outcome.</summary>
    protected void OnCompletion(PIRP irp, IO_COMPLETION_ROUTINE routine, PVOID context = default) =>
        IoSetCompletionRoutine(irp, routine, context, true, true, true);

    /// <summary>A completion routine that notes its name and keeps the packet.</summary>
    protected IO_COMPLETION_ROUTINE Keep(string name) => (_, _, _) =>
    {
        Step(name);
        return STATUS_MORE_PROCESSING_REQUIRED;
    };

    /// <summary>A completion routine that notes its name, propagates pending and lets the walk go on.</summary>
    protected IO_COMPLETION_ROUTINE Continue(string name) => (_, irp, _) =>
    {
        Step(name);
        if (irp.PendingReturned) IoMarkIrpPending(irp);
        return STATUS_CONTINUE_COMPLETION;
    };

    /// <summary>Zeroed nonpaged memory.</summary>
    protected PVOID Memory(int size)
    {
        PVOID memory = ExAllocatePoolWithTag(NonPagedPool, (ulong)size, Tag);
        GuestMemory.Write(memory.Address, size).Clear();
        return memory;
    }

    /// <summary>Frees pool memory, whoever allocated it.</summary>
    protected void Free(PVOID memory) => ExFreePoolWithTag(memory, 0);

    protected PKEVENT Event(EVENT_TYPE type = NotificationEvent, bool signalled = false)
    {
        var created = new PKEVENT(Memory(KEVENT.SizeOf).Address);
        KeInitializeEvent(created, type, signalled);
        return created;
    }

    protected PIO_STATUS_BLOCK StatusBlock()
    {
        var block = new PIO_STATUS_BLOCK(Memory(IO_STATUS_BLOCK.SizeOf).Address);
        block.Status = Untouched;
        return block;
    }

    /// <summary>What a status block of <see cref="StatusBlock"/> contains until somebody writes it.</summary>
    protected const NTSTATUS Untouched = (NTSTATUS)0x5A5A5A5A;

    /// <summary>Waits without a limit.</summary>
    protected void Wait(PKEVENT target) => Assert.Equal(STATUS_SUCCESS, KeWaitForSingleObject(target, Executive, KernelMode, false, null));

    /// <summary>Virtual time stands exactly where it was waited for; a real clock has passed it.</summary>
    protected void ItIs(long interruptTime)
    {
        if (Here == Scheduling.Controlled) Assert.Equal(interruptTime, Machine.Scheduler.InterruptTime);
        else Assert.True(Machine.Scheduler.InterruptTime >= interruptTime);
    }

    /// <summary>Sleeps until a condition holds that other threads, DPCs or timers bring about; fails after a minute.</summary>
    protected void Eventually(Func<bool> condition)
    {
        long start = Machine.Scheduler.InterruptTime;
        while (!condition())
        {
            Assert.True(Machine.Scheduler.InterruptTime < start + 600_000_000, "It did not happen within a minute.");
            KeDelayExecutionThread(KernelMode, false, -10_000);
        }
    }

    protected bool IsSet(PKEVENT target) => KeReadStateEvent(target) != 0;

    /// <summary>n-th location of a packet, 1 being the lowest driver's.</summary>
    protected static PIO_STACK_LOCATION Location(PIRP irp, int n) => new(irp.Address + IRP.SizeOf + (ulong)(n - 1) * IO_STACK_LOCATION.SizeOf);

    protected static byte[] Bytes(PVOID address, int length) => GuestMemory.Read(address.Address, length).ToArray();

    /// <summary>Fills memory with a pattern in which no two neighbours are equal and nothing is zero.</summary>
    protected static void Fill(PVOID address, int length)
    {
        Span<byte> bytes = GuestMemory.Write(address.Address, length);
        for (int i = 0; i < length; i++) bytes[i] = (byte)(0x80 | i);
    }

    public void Dispose()
    {
        machine?.Dispose();
        GC.SuppressFinalize(this);
    }
}
