using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ps;

public class SystemInformationTests : DriverTest
{
    T Query<T>(SYSTEM_INFORMATION_CLASS what) where T : unmanaged
    {
        PVOID buffer = Query(what, out uint length);
        Assert.Equal(SizeOf<T>(), length);
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwQuerySystemInformation(what, buffer, length - 1, default));
        return GuestMemory.Ref<T>(buffer.Address);
    }

    PVOID Query(SYSTEM_INFORMATION_CLASS what, out uint length)
    {
        var needed = new PULONG(Memory(4).Address);
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwQuerySystemInformation(what, default, 0, needed));
        PVOID buffer = Memory((int)needed.Value);
        Assert.Equal(STATUS_SUCCESS, ZwQuerySystemInformation(what, buffer, needed.Value, needed));
        length = needed.Value;
        return buffer;
    }

    [Fact]
    public void Processors_and_memory_are_described() => Run(() =>
    {
        SYSTEM_BASIC_INFORMATION basic = Query<SYSTEM_BASIC_INFORMATION>(SystemBasicInformation);
        Assert.Equal((PAGE_SIZE, 0x10000u, (sbyte)KeQueryActiveProcessorCount(default), MmHighestUserAddress.Address),
            (basic.PageSize, basic.AllocationGranularity, basic.NumberOfProcessors, basic.MaximumUserModeAddress));
        Assert.Equal((KeQueryTimeIncrement(), KeQueryActiveProcessors()), (basic.TimerResolution, basic.ActiveProcessorsAffinityMask));
        SYSTEM_PROCESSOR_INFORMATION processor = Query<SYSTEM_PROCESSOR_INFORMATION>(SystemProcessorInformation);
        Assert.Equal((9, KeQueryMaximumProcessorCount()), (processor.ProcessorArchitecture, processor.MaximumProcessors));
        Assert.Equal([0, 1], Bytes(Query(SystemKernelDebuggerInformation, out uint length), (int)length));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void The_time_of_day_is_that_of_the_system(Scheduling scheduling) => Run(scheduling, () =>
    {
        KeQuerySystemTime(out long before);
        SYSTEM_TIMEOFDAY_INFORMATION time = Query<SYSTEM_TIMEOFDAY_INFORMATION>(SystemTimeOfDayInformation);
        KeQuerySystemTime(out long after);
        Assert.InRange(time.CurrentTime, before, after);
        Assert.InRange(time.BootTime, 1, time.CurrentTime);
    });

    [Fact]
    public void Processes_are_listed_with_their_threads() => Run(() =>
    {
        PKEVENT end = Event();
        PsCreateSystemThread(out HANDLE thread, 0, default, default, default, _ => Wait(end), default);
        PVOID buffer = Query(SystemProcessInformation, out _);
        ref SYSTEM_PROCESS_INFORMATION system = ref GuestMemory.Ref<SYSTEM_PROCESS_INFORMATION>(buffer.Address);
        ref SYSTEM_PROCESS_INFORMATION user = ref GuestMemory.Ref<SYSTEM_PROCESS_INFORMATION>(buffer.Address + system.NextEntryOffset);
        Assert.Equal(("System", "user.exe"), (Strings.Read(PUNICODE_STRING.To(ref system.ImageName)), Strings.Read(PUNICODE_STRING.To(ref user.ImageName))));
        Assert.Equal((new HANDLE(4), PsGetCurrentProcessId()), (system.UniqueProcessId, user.UniqueProcessId));
        Assert.Equal((1u, 1u, 0u), (system.NumberOfThreads, user.NumberOfThreads, user.NextEntryOffset));
        Assert.Equal((uint)Machine.Handles.CountIn(Machine.Processes.System), system.HandleCount);
        SYSTEM_THREAD_INFORMATION own = GuestMemory.Ref<SYSTEM_THREAD_INFORMATION>(PSYSTEM_PROCESS_INFORMATION.To(ref user).Address + SYSTEM_PROCESS_INFORMATION.SizeOf);
        Assert.Equal((PsGetCurrentThreadId(), 8), (own.ClientId.UniqueThread, own.Priority));
        KeSetEvent(end, 0, false);
        ZwClose(thread);
    });

    [Fact]
    public void Other_classes_are_invalid() => Run(() =>
        Assert.Equal(STATUS_INVALID_INFO_CLASS, ZwQuerySystemInformation((SYSTEM_INFORMATION_CLASS)11, default, 0, default)));
}
