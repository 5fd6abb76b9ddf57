using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ps;

public class ThreadTests : DriverTest
{
    const long Second = 10_000_000;

    /// <summary>Starts a system thread; the caller closes the handle.</summary>
    HANDLE System(Action body, PCLIENT_ID id = default, HANDLE process = default)
    {
        Assert.Equal(STATUS_SUCCESS,
            PsCreateSystemThread(out HANDLE handle, THREAD_ALL_ACCESS, default, process, id, _ => body(), default));
        return handle;
    }

    /// <summary>Waits until the thread behind a handle has ended, and closes the handle.</summary>
    void Join(HANDLE handle)
    {
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, SYNCHRONIZE, PsThreadType, KernelMode, out PVOID thread, default));
        ZwClose(handle);
        Assert.Equal(STATUS_SUCCESS, KeWaitForSingleObject(thread, Executive, KernelMode, false, null));
        ObDereferenceObject(thread);
    }

    /// <summary>Runs code in a system thread and waits for it.</summary>
    void InSystemThread(Action body) => Join(System(body));

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_system_thread_executes_the_routine_in_a_critical_region_and_can_be_waited_for(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID context = Memory(8), seen = default;
        KIRQL irql = 0xFF;
        bool apcs = false, isSystem = false;
        Assert.Equal(STATUS_SUCCESS, PsCreateSystemThread(out HANDLE handle, THREAD_ALL_ACCESS, default, default, default, StartContext =>
        {
            seen = StartContext;
            irql = KeGetCurrentIrql();
            apcs = KeAreApcsDisabled();
            isSystem = PsIsSystemThread(PsGetCurrentThread());
        }, context));
        Assert.True((long)handle.Value < 0); // a kernel handle, although the attributes did not ask for one
        Join(handle);
        Assert.Equal((context, PASSIVE_LEVEL, true, true), (seen, irql, apcs, isSystem));
        Assert.False(PsIsSystemThread(KeGetCurrentThread()));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Terminating_unwinds_to_the_beginning_and_wakes_who_waits(Scheduling scheduling) => Run(scheduling, () =>
    {
        Join(System(() =>
        {
            Step("runs");
            PsTerminateSystemThread(STATUS_CANCELLED);
            Step("is never here");
        }));
        Assert.Equal(["runs"], Steps);
    });

    [Fact]
    public void Terminating_from_a_dispatch_routine_ends_the_thread_too() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            IoFreeIrp(irp);
            return PsTerminateSystemThread(STATUS_SUCCESS);
        });
        InSystemThread(() =>
        {
            IoCallDriver(device, Packet(device));
            Step("is never here");
        });
        Assert.Empty(Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Only_threads_of_drivers_can_end_themselves(Scheduling scheduling) =>
        Run(scheduling, () => Assert.Equal(STATUS_INVALID_PARAMETER, PsTerminateSystemThread(STATUS_SUCCESS)));

    [Theory, MemberData(nameof(EverySchedule))]
    public void The_thread_object_outlives_the_thread_while_it_is_referenced(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE handle = System(() => { });
        ObReferenceObjectByHandle(handle, 0, PsThreadType, KernelMode, out PVOID found, default);
        var thread = (PKTHREAD)found;
        HANDLE id = PsGetThreadId(thread);
        Join(handle);
        Assert.Equal(STATUS_SUCCESS, KeWaitForSingleObject(thread, Executive, KernelMode, false, 0)); // it stays signalled
        Assert.Equal(id, PsGetThreadId(thread));
        // The last steps of a thread come after it woke its waiters.
        Eventually(() => PsLookupThreadByThreadId(id, out _) == STATUS_INVALID_PARAMETER);
        Eventually(() => ObReferenceObject(thread) is var references && ObDereferenceObject(thread) == 1 && references == 2);
        Assert.Equal(0, ObDereferenceObject(thread));
        Assert.False(MmIsAddressValid(thread));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void The_memory_of_a_thread_is_given_back_when_its_object_is_forgotten(Scheduling scheduling) => Run(scheduling, () =>
    {
        // Otherwise a thread that begins in it finds the object of the one before.
        ObjectType type = Machine.Objects.Types.Thread;
        Action<PVOID> giveBack = type.Deleted!;
        bool isForgotten = false;
        type.Deleted = thread =>
        {
            isForgotten = Machine.Objects.Find(thread.Address) is null && MmIsAddressValid(thread);
            giveBack(thread);
        };
        Join(System(() => { }));
        Eventually(() => isForgotten);
    });

    [Fact]
    public void A_reference_too_few_while_the_thread_runs_stops_the_machine() => Stops(REFERENCE_BY_POINTER, () => ObDereferenceObject(KeGetCurrentThread()));

    [Theory, MemberData(nameof(EverySchedule))]
    public void Threads_and_processes_have_ids(Scheduling scheduling) => Run(scheduling, () =>
    {
        var id = new PCLIENT_ID(Memory(CLIENT_ID.SizeOf).Address);
        HANDLE thread = default, process = default;
        Join(System(() => (thread, process) = (PsGetCurrentThreadId(), PsGetCurrentProcessId()), id));
        Assert.Equal((thread, process), (id.UniqueThread, id.UniqueProcess));
        Assert.Equal(new HANDLE(4), process);
        Assert.Equal(new HANDLE(4), PsGetProcessId(PsInitialSystemProcess));
        PKTHREAD current = KeGetCurrentThread();
        Assert.NotEqual(thread, PsGetCurrentThreadId());
        Assert.Equal(PsGetCurrentThreadId(), PsGetThreadId(current));
        Assert.Equal(PsGetCurrentProcessId(), PsGetThreadProcessId(current));
        Assert.Equal(IoGetCurrentProcess(), PsGetThreadProcess(current));
        Assert.Equal(IoGetCurrentProcess(), IoThreadToProcess(current));
        Assert.Equal(PsGetCurrentProcessId(), PsGetProcessId(PsGetCurrentProcess()));
        Assert.Equal(0u, PsGetCurrentThreadId().Value % 4);

        Assert.Equal(STATUS_SUCCESS, PsLookupThreadByThreadId(PsGetCurrentThreadId(), out PKTHREAD found));
        Assert.Equal(current, found);
        ObDereferenceObject(found);
        Assert.Equal(STATUS_INVALID_PARAMETER, PsLookupThreadByThreadId(new HANDLE(0x7FFC), out found));
        Assert.True(found.IsNull);
        Assert.Equal(current, (PKTHREAD)Referenced(NtCurrentThread()));
    });

    PVOID Referenced(HANDLE handle)
    {
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, 0, PsThreadType, KernelMode, out PVOID found, default));
        ObDereferenceObject(found);
        return found;
    }

    [Fact]
    public void A_thread_can_be_made_in_another_process() => Run(() =>
    {
        HANDLE process = default;
        Join(System(() => process = PsGetCurrentProcessId(), process: NtCurrentProcess()));
        Assert.Equal(PsGetCurrentProcessId(), process);
        Assert.Equal(STATUS_INVALID_HANDLE, Create(default, new HANDLE(0x4444)));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, Create(default, NtCurrentThread()));
    });

    NTSTATUS Create(POBJECT_ATTRIBUTES attributes, HANDLE process = default) =>
        PsCreateSystemThread(out _, THREAD_ALL_ACCESS, attributes, process, default, _ => Step("runs"), default);

    [Theory]
    [InlineData(OBJ_PERMANENT)]
    [InlineData(OBJ_EXCLUSIVE)]
    [InlineData(OBJ_OPENIF)]
    public void Attributes_that_threads_cannot_have_are_refused(OBJ_FLAGS flags) => Run(() =>
    {
        var attributes = new POBJECT_ATTRIBUTES(Memory(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, default, OBJ_KERNEL_HANDLE | flags, default, default);
        Assert.Equal(STATUS_INVALID_PARAMETER, Create(attributes));
        KeDelayExecutionThread(KernelMode, false, -Second);
        Assert.Empty(Steps);
    });

    [Fact]
    public void No_thread_is_made_when_memory_is_short() => Run(() =>
    {
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, Create(default));
        Machine.Pool.FailAllocation = null;
        List<HANDLE> handles = [];
        NTSTATUS status;
        PKEVENT end = Event();
        Machine.Memory.ThreadAreas.Allocate(Machine.Memory.ThreadAreas.End - Machine.Memory.ThreadAreas.Start - 8 * KernelThread.AreaSize, PageAccess.None);
        while ((status = PsCreateSystemThread(out HANDLE handle, 0, default, default, default, _ => Wait(end), default)) >= 0) handles.Add(handle);
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, status);
        Assert.InRange(handles.Count, 1, 8);
        KeSetEvent(end, 0, false);
        handles.ForEach(Join);
    });

    [Fact]
    public void A_thread_that_ends_at_raised_IRQL_stops_the_machine()
    {
        BugCheckReport report = Stops(KERNEL_APC_PENDING_DURING_EXIT, () => InSystemThread(() => KeRaiseIrql(APC_LEVEL, out _)));
        Assert.Equal(APC_LEVEL, report.Parameter3);
    }

    [Fact]
    public void A_thread_that_ends_in_a_critical_region_of_its_own_stops_the_machine() =>
        Stops(KERNEL_APC_PENDING_DURING_EXIT, () => InSystemThread(() => KeEnterCriticalRegion()));

    [Theory, MemberData(nameof(EverySchedule))]
    public void Priorities_are_kept_per_thread(Scheduling scheduling) => Run(scheduling, () => InSystemThread(() =>
    {
        Assert.Equal(8, KeSetPriorityThread(KeGetCurrentThread(), LOW_REALTIME_PRIORITY));
        Assert.Equal(LOW_REALTIME_PRIORITY, KeQueryPriorityThread(KeGetCurrentThread()));
        Assert.Equal(LOW_REALTIME_PRIORITY, KeSetPriorityThread(KeGetCurrentThread(), 8));
    }));

    [Theory, MemberData(nameof(EverySchedule))]
    public void The_previous_mode_is_that_of_the_request(Scheduling scheduling) => Run(scheduling, () =>
    {
        List<MODE> modes = [];
        Device((_, irp) =>
        {
            modes.Add(ExGetPreviousMode());
            return Complete(irp, STATUS_SUCCESS);
        }, name: @"\Device\Modes");
        Machine.Files.Open(@"\Device\Modes", FILE_READ_DATA, 0, UserMode, out PFILE_OBJECT user);
        Machine.Files.Open(@"\Device\Modes", FILE_READ_DATA, 0, KernelMode, out PFILE_OBJECT kernel);
        Assert.Equal([UserMode, KernelMode], modes);
        Assert.Equal(KernelMode, ExGetPreviousMode());
        InSystemThread(() => Assert.Equal(KernelMode, ExGetPreviousMode()));
        Machine.Files.Close(user);
        Machine.Files.Close(kernel);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Stacks_have_24_KiB_and_DPCs_have_one_of_their_own(Scheduling scheduling) => Run(scheduling, () =>
    {
        IoGetStackLimits(out ulong low, out ulong high);
        Assert.Equal(24u * 1024, high - low);
        Assert.Equal(high, IoGetInitialStack().Address);
        Assert.Equal(24u * 1024, IoGetRemainingStackSize());
        Assert.True(GuestMemory.IsAccessible(low, high - low, PageAccess.ReadWrite));
        (ulong Low, ulong High) dpc = default;
        PKEVENT done = Event();
        AfterOneMillisecond((_, _, _, _) =>
        {
            IoGetStackLimits(out dpc.Low, out dpc.High);
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        Assert.Equal(24u * 1024, dpc.High - dpc.Low);
        Assert.False(dpc.Low == low);
    });

    [Fact]
    public void Hard_errors_are_reported_unless_the_thread_switches_them_off() => Run(() =>
    {
        Assert.True(IoSetThreadHardErrorMode(false));
        Assert.False(IoSetThreadHardErrorMode(true));
        IoSetThreadHardErrorMode(false);
        InSystemThread(() => Assert.True(IoSetThreadHardErrorMode(true)));
    });

    [Fact]
    public void A_thread_can_be_looked_up_while_it_ends() => Run(Scheduling.FreeRunning, () =>
    {
        for (int i = 0; i < 200; i++)
        {
            KernelThread ending = Start(() => { });
            HANDLE id = new(8 + 4 * (ulong)ending.Id);
            while (PsLookupThreadByThreadId(id, out PKTHREAD found) >= 0)
            {
                Assert.Equal(id, PsGetThreadId(found));
                ObDereferenceObject(found);
                // Whoever ends needs the locks too.
                Thread.Yield();
                Thread.SpinWait(50);
            }
        }
    });
}
