using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ps;

public class ProcessTests : DriverTest
{
    PEPROCESS UserProcess => Machine.Processes.User.Object;

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_process_is_found_by_its_id(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.Equal(STATUS_SUCCESS, PsLookupProcessByProcessId(PsGetCurrentProcessId(), out PEPROCESS found));
        Assert.Equal(UserProcess, found);
        ObDereferenceObject(found);
        Assert.Equal(STATUS_SUCCESS, PsLookupProcessByProcessId(new HANDLE(4), out found));
        Assert.Equal(PsInitialSystemProcess, found);
        ObDereferenceObject(found);
        Assert.Equal(STATUS_INVALID_CID, PsLookupProcessByProcessId(new HANDLE(0x7FFC), out found));
        Assert.True(found.IsNull);
        Assert.Equal(PsGetProcessId(PsInitialSystemProcess), PsGetProcessInheritedFromUniqueProcessId(UserProcess));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_attached_thread_uses_the_handles_of_the_process_and_keeps_its_id(Scheduling scheduling) => Run(scheduling, () =>
    {
        var outer = new PKAPC_STATE(Memory(KAPC_STATE.SizeOf).Address);
        var inner = new PKAPC_STATE(Memory(KAPC_STATE.SizeOf).Address);
        HANDLE id = PsGetCurrentProcessId();
        int systemHandles = Machine.Handles.CountIn(Machine.Processes.System);
        KeStackAttachProcess(PsInitialSystemProcess, outer);
        Assert.Equal(PsInitialSystemProcess, IoGetCurrentProcess());
        Assert.Equal(id, PsGetCurrentProcessId());
        Assert.Equal(STATUS_SUCCESS, ZwCreateDirectoryObject(out HANDLE handle, DIRECTORY_ALL_ACCESS, default));
        Assert.Equal(systemHandles + 1, Machine.Handles.CountIn(Machine.Processes.System));
        KeStackAttachProcess(UserProcess, inner);
        Assert.Equal(UserProcess, IoGetCurrentProcess());
        KeUnstackDetachProcess(inner);
        Assert.Equal(STATUS_SUCCESS, ZwClose(handle));
        KeUnstackDetachProcess(outer);
        Assert.Equal(UserProcess, IoGetCurrentProcess());
    });

    [Fact]
    public void The_old_way_of_attaching_cannot_be_nested()
    {
        Run(() =>
        {
            KeDetachProcess(); // does nothing
            KeAttachProcess(PsInitialSystemProcess);
            KeAttachProcess(PsInitialSystemProcess);
            Assert.Equal(PsInitialSystemProcess, PsGetCurrentProcess());
            KeDetachProcess();
            Assert.Equal(UserProcess, PsGetCurrentProcess());
        });
        BugCheckReport report = Stops(INVALID_PROCESS_ATTACH_ATTEMPT, () =>
        {
            KeAttachProcess(PsInitialSystemProcess);
            KeAttachProcess(UserProcess);
        });
        Assert.Equal(PsInitialSystemProcess.Address, report.Parameter2);
    }

    [Fact]
    public void Attaching_to_what_is_no_process_stops_the_machine() =>
        Stops(INVALID_PROCESS_ATTACH_ATTEMPT, () => KeStackAttachProcess((PEPROCESS)Memory(EPROCESS.SizeOf), new PKAPC_STATE(Memory(KAPC_STATE.SizeOf).Address)));

    [Fact]
    public void Detaching_with_a_state_that_nobody_filled_in_stops_the_machine() =>
        Stops(INVALID_PROCESS_DETACH_ATTEMPT, () => KeUnstackDetachProcess(new PKAPC_STATE(Memory(KAPC_STATE.SizeOf).Address)));

    [Fact]
    public void A_DPC_that_attaches_stops_the_machine() => Stops(INVALID_PROCESS_ATTACH_ATTEMPT, () =>
    {
        var state = new PKAPC_STATE(Memory(KAPC_STATE.SizeOf).Address);
        AfterOneMillisecond((_, _, _, _) => KeStackAttachProcess(PsInitialSystemProcess, state));
        Wait(Event());
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_request_tells_who_asked(Scheduling scheduling) => Run(scheduling, () =>
    {
        (PEPROCESS Process, uint Id) requestor = default;
        Device((_, irp) =>
        {
            requestor = (IoGetRequestorProcess(irp), IoGetRequestorProcessId(irp));
            return Complete(irp, STATUS_SUCCESS);
        }, name: @"\Device\Asked");
        Machine.Files.Open(@"\Device\Asked", FILE_READ_DATA, 0, UserMode, out PFILE_OBJECT file);
        Machine.Files.Close(file);
        Assert.Equal((UserProcess, (uint)PsGetCurrentProcessId().Value), requestor);
        PIRP irp = IoAllocateIrp(1, false);
        Assert.True(IoGetRequestorProcess(irp).IsNull);
        Assert.Equal(0u, IoGetRequestorProcessId(irp));
        IoFreeIrp(irp);
    });

    [Fact]
    public void A_process_tells_about_itself() => Run(() =>
    {
        PVOID buffer = Memory(256);
        var length = new PULONG(Memory(4).Address);
        Assert.Equal(STATUS_SUCCESS, Query(ProcessBasicInformation, PROCESS_BASIC_INFORMATION.SizeOf));
        Assert.Equal((uint)PROCESS_BASIC_INFORMATION.SizeOf, length.Value);
        PROCESS_BASIC_INFORMATION basic = GuestMemory.Ref<PROCESS_BASIC_INFORMATION>(buffer.Address);
        Assert.Equal((PsGetCurrentProcessId().Value, 4ul, STATUS_PENDING), (basic.UniqueProcessId, basic.InheritedFromUniqueProcessId, basic.ExitStatus));
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, Query(ProcessBasicInformation, PROCESS_BASIC_INFORMATION.SizeOf + 8));

        Assert.Equal(STATUS_SUCCESS, Query(ProcessImageFileName, 256));
        Assert.EndsWith(@"\user.exe", Strings.Read(new PUNICODE_STRING(buffer.Address)));
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, Query(ProcessImageFileName, (int)length.Value - 1));
        Fill(buffer, 8);
        Assert.Equal(STATUS_SUCCESS, Query(ProcessDebugPort, 8));
        Assert.Equal(0ul, GuestMemory.Ref<ulong>(buffer.Address));
        Assert.Equal(STATUS_SUCCESS, Query(ProcessWow64Information, 8));
        Assert.Equal(GuestMemory.Ref<ulong>(buffer.Address) != 0, (bool)IoIs32bitProcess(default));
        Assert.Equal(STATUS_SUCCESS, Query(ProcessBreakOnTermination, 4));
        Assert.Equal(0u, GuestMemory.Ref<uint>(buffer.Address));
        Assert.Equal(STATUS_INVALID_INFO_CLASS, Query((PROCESSINFOCLASS)999, 4));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwQueryInformationProcess(new HANDLE(0x4444), ProcessBreakOnTermination, buffer, 4, default));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwQueryInformationProcess(NtCurrentThread(), ProcessBreakOnTermination, buffer, 4, default));

        NTSTATUS Query(PROCESSINFOCLASS what, int size) => ZwQueryInformationProcess(NtCurrentProcess(), what, buffer, (uint)size, length);
    });
}
