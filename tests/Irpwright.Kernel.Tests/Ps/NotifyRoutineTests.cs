using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ps;

public class NotifyRoutineTests : DriverTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void Thread_routines_are_told_of_threads_that_begin_and_end(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE creator = PsGetCurrentThreadId();
        PKEVENT ended = Event();
        CREATE_THREAD_NOTIFY_ROUTINE routine = (process, thread, create) =>
        {
            if (process != new HANDLE(4)) return;
            Assert.True(KeAreApcsDisabled());
            Step($"{(create ? "created" : "ended")} in {(PsGetCurrentThreadId() == creator ? "creator" : PsGetCurrentThreadId() == thread ? "itself" : "another")}");
            if (!create) KeSetEvent(ended, 0, false);
        };
        Assert.Equal(STATUS_SUCCESS, PsSetCreateThreadNotifyRoutine(routine));
        NewThread();
        Wait(ended);
        Assert.Equal(["created in creator", "ended in itself"], Steps);
        Assert.Equal(STATUS_SUCCESS, PsRemoveCreateThreadNotifyRoutine(routine));
        Assert.Equal(STATUS_PROCEDURE_NOT_FOUND, PsRemoveCreateThreadNotifyRoutine(routine));
        NewThread();
        Assert.Equal(2, Steps.Count);
    });

    void NewThread()
    {
        Assert.Equal(STATUS_SUCCESS, PsCreateSystemThread(out HANDLE handle, 0, default, default, default, _ => { }, default));
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, 0, PsThreadType, KernelMode, out PVOID thread, default));
        ZwClose(handle);
        KeWaitForSingleObject(thread, Executive, KernelMode, false, null);
        ObDereferenceObject(thread);
    }

    [Fact]
    public void Threads_that_the_host_starts_tell_it_themselves()
    {
        Run(() => PsSetCreateThreadNotifyRoutine((process, thread, create) =>
        {
            Assert.Equal(PsGetCurrentThreadId(), thread);
            Step($"{process} {(create ? "created" : "ended")}");
        }));
        Run(() => Step("runs"));
        Assert.Equal(["0x8 ended", "0x8 created", "runs", "0x8 ended"], Steps);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Removing_waits_until_the_routine_has_returned(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKEVENT entered = Event(), leave = Event(), removed = Event();
        CREATE_THREAD_NOTIFY_ROUTINE routine = (_, _, create) =>
        {
            if (!create || IsSet(entered)) return;
            KeSetEvent(entered, 0, false);
            Wait(leave);
            Step("returns");
        };
        PsSetCreateThreadNotifyRoutine(routine);
        Start(() => { }); // announces itself
        Wait(entered);
        Start(() =>
        {
            PsRemoveCreateThreadNotifyRoutine(routine);
            Step("removed");
            KeSetEvent(removed, 0, false);
        });
        KeDelayExecutionThread(KernelMode, false, -100_000);
        KeSetEvent(leave, 0, false);
        Wait(removed);
        Assert.Equal(["returns", "removed"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Image_routines_are_told_of_drivers_before_they_run(Scheduling scheduling) => Run(scheduling, () =>
    {
        ulong image = Machine.Memory.Images.Allocate(0x3000, PageAccess.ReadWrite);
        LOAD_IMAGE_NOTIFY_ROUTINE routine = (name, process, info) =>
            Step($"{Strings.Read(name)} {process} {info.ImageBase == new PVOID(image)} {info.ImageSize:x} {info.Properties:x} {info.ImageSectionNumber}");
        Assert.Equal(STATUS_SUCCESS, PsSetLoadImageNotifyRoutine(routine));
        PDRIVER_INITIALIZE entry = Routine((PDRIVER_OBJECT _, PUNICODE_STRING _) =>
        {
            Step("DriverEntry");
            return STATUS_UNSUCCESSFUL;
        });
        Machine.Drivers.Load("loaded", entry, image, 0x3000, out _);
        Assert.Equal([@"\SystemRoot\System32\drivers\loaded.sys 0x0 True 3000 103 0", "DriverEntry"], Steps);
        Assert.Equal(STATUS_SUCCESS, PsRemoveLoadImageNotifyRoutine(routine));
        Assert.Equal(STATUS_PROCEDURE_NOT_FOUND, PsRemoveLoadImageNotifyRoutine(routine));
        Machine.Drivers.Load("loaded", entry, image, 0x3000, out _);
        Assert.Equal(3, Steps.Count);
    });

    [Fact]
    public void There_is_room_for_64_routines_of_a_kind() => Run(() =>
    {
        PLOAD_IMAGE_NOTIFY_ROUTINE routine = Routine((PUNICODE_STRING _, HANDLE _, PIMAGE_INFO _) => { });
        for (int i = 0; i < 64; i++) Assert.Equal(STATUS_SUCCESS, PsSetLoadImageNotifyRoutine(routine));
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, PsSetLoadImageNotifyRoutine(routine));
        CREATE_THREAD_NOTIFY_ROUTINE thread = (_, _, _) => { };
        for (int i = 0; i < 64; i++) Assert.Equal(STATUS_SUCCESS, PsSetCreateThreadNotifyRoutine(thread));
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, PsSetCreateThreadNotifyRoutine(thread));
    });

    [Fact]
    public void A_process_routine_is_registered_once() => Run(() =>
    {
        CREATE_PROCESS_NOTIFY_ROUTINE routine = (_, _, _) => { };
        Assert.Equal(STATUS_SUCCESS, PsSetCreateProcessNotifyRoutine(routine, false));
        Assert.Equal(STATUS_INVALID_PARAMETER, PsSetCreateProcessNotifyRoutine(routine, false));
        Assert.Equal(STATUS_SUCCESS, PsSetCreateProcessNotifyRoutine(routine, true));
        Assert.Equal(STATUS_PROCEDURE_NOT_FOUND, PsSetCreateProcessNotifyRoutine(routine, true));
    });

    [Theory]
    [InlineData(0x0080, STATUS_SUCCESS)]
    [InlineData(0x0000, STATUS_ACCESS_DENIED)]
    public void The_extended_process_routine_needs_an_image_with_integrity_check(ushort characteristics, NTSTATUS expected) => Run(() =>
    {
        ulong image = Machine.Memory.Images.Allocate(0x1000, PageAccess.ReadWrite);
        GuestMemory.Ref<uint>(image + 0x3C) = 0x40;
        GuestMemory.Ref<ushort>(image + 0x40 + 0x5E) = characteristics;
        Machine.Drivers.Load("checked", Routine((PDRIVER_OBJECT _, PUNICODE_STRING _) => STATUS_SUCCESS), image, 0x1000, out _);
        Assert.Equal(expected, PsSetCreateProcessNotifyRoutineEx(new PCREATE_PROCESS_NOTIFY_ROUTINE_EX(image + 0x800), false));
        CREATE_PROCESS_NOTIFY_ROUTINE_EX managed = (_, _, _) => { };
        Assert.Equal(STATUS_SUCCESS, PsSetCreateProcessNotifyRoutineEx(managed, false));
        Assert.Equal(STATUS_INVALID_PARAMETER, PsSetCreateProcessNotifyRoutineEx(managed, false));
        Assert.Equal(STATUS_SUCCESS, PsSetCreateProcessNotifyRoutineEx(managed, true));
    });
}
