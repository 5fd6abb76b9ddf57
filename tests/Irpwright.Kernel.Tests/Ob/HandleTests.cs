using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ob;

public class HandleTests : ObjectTest
{
    POBJECT_TYPE DirectoryType => Machine.Objects.Types.Directory.Object;

    NTSTATUS Reference(HANDLE handle, MODE mode = KernelMode, uint access = 0, POBJECT_TYPE type = default)
    {
        NTSTATUS status = ObReferenceObjectByHandle(handle, access, type, mode, out PVOID found, default);
        Assert.Equal(status < 0, found.IsNull);
        if (status >= 0) ObDereferenceObject(found);
        return status;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Kernel_handles_have_the_sign_bit_set_and_are_valid_in_every_process(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE kernel = Directory();
        Directory(flags: 0);
        HANDLE user = Directory(flags: 0); // the second there, while the system process has one only
        Assert.True((long)kernel.Value < 0);
        Assert.InRange(user.Value, 4ul, 0x10000ul);
        Assert.Equal(STATUS_SUCCESS, Reference(user));
        InSystemThread(() =>
        {
            Assert.Equal(STATUS_SUCCESS, Reference(kernel));
            Assert.Equal(STATUS_INVALID_HANDLE, Reference(user));
        });
        Assert.Equal(STATUS_SUCCESS, ZwClose(kernel));
        Assert.Equal(STATUS_SUCCESS, ZwClose(user));
    });

    void InSystemThread(Action body)
    {
        PKEVENT done = Event();
        Start(() =>
        {
            body();
            KeSetEvent(done, 0, false);
        });
        Wait(done);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_closed_handle_is_invalid_and_its_value_is_not_given_again_soon(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE handle = Directory();
        Assert.Equal(STATUS_SUCCESS, ZwClose(handle));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwClose(handle));
        Assert.NotEqual(handle, Directory());
        Assert.Equal(STATUS_INVALID_HANDLE, Reference(handle));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwClose(default));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwClose(new HANDLE(0x1234_5678)));
    });

    [Fact]
    public void Values_of_closed_handles_come_back_so_that_a_table_does_not_grow_for_ever() => Run(() =>
    {
        HashSet<HANDLE> seen = [];
        for (int i = 0; i < 1000; i++)
        {
            HANDLE handle = Directory();
            seen.Add(handle);
            ZwClose(handle);
        }
        Assert.InRange(seen.Count, 2, 200);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_reference_by_handle_checks_type_and_in_user_mode_the_granted_access(Scheduling scheduling) => Run(scheduling, () =>
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateDirectoryObject(out HANDLE handle, DIRECTORY_QUERY, Attributes(null, 0)));
        Assert.Equal(STATUS_SUCCESS, Reference(handle, KernelMode, DIRECTORY_CREATE_OBJECT, DirectoryType));
        Assert.Equal(STATUS_SUCCESS, Reference(handle, UserMode, DIRECTORY_QUERY, DirectoryType));
        Assert.Equal(STATUS_ACCESS_DENIED, Reference(handle, UserMode, DIRECTORY_CREATE_OBJECT, DirectoryType));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, Reference(handle, KernelMode, 0, ExEventObjectType));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, Reference(handle, UserMode, DIRECTORY_QUERY, ExEventObjectType));
    });

    [Fact]
    public void User_mode_cannot_use_or_close_a_kernel_handle() => Run(() =>
    {
        HANDLE handle = Directory();
        Assert.Equal(STATUS_INVALID_HANDLE, Reference(handle, UserMode));
        Assert.Equal(STATUS_INVALID_HANDLE, ObCloseHandle(handle, UserMode));
        Assert.Equal(STATUS_SUCCESS, ObCloseHandle(handle, KernelMode));
        Assert.Equal(STATUS_SUCCESS, ObCloseHandle(Directory(flags: 0), UserMode));
    });

    [Fact]
    public void Handle_information_tells_what_the_handle_was_opened_with() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateDirectoryObject(out HANDLE handle, GENERIC_READ, Attributes(null, OBJ_INHERIT)));
        var information = new POBJECT_HANDLE_INFORMATION(Memory(OBJECT_HANDLE_INFORMATION.SizeOf).Address);
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandleWithTag(handle, 0, default, KernelMode, 0x20202020, out PVOID found, information));
        Assert.Equal(OBJ_INHERIT, information.HandleAttributes);
        Assert.Equal(STANDARD_RIGHTS_READ | DIRECTORY_QUERY | DIRECTORY_TRAVERSE, information.GrantedAccess);
        ObDereferenceObject(found);
    });

    [Fact]
    public void References_keep_an_object_after_its_last_handle() => Run(() =>
    {
        HANDLE handle = Directory();
        Assert.Equal((1u, 1u), Counts(handle));
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, 0, default, KernelMode, out PVOID found, default));
        Assert.Equal((1u, 2u), Counts(handle));
        ZwClose(handle);
        Assert.Equal(2, ObReferenceObject(found));
        Assert.Equal(1, ObDereferenceObject(found));
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByPointer(found, 0, default, KernelMode));
        Assert.Equal(1, ObfDereferenceObject(found));
        Assert.Equal(0, ObfDereferenceObject(found));
    });

    [Fact]
    public void One_reference_too_few_stops_the_machine() => Stops(REFERENCE_BY_POINTER, () =>
    {
        HANDLE handle = Directory();
        PVOID found = Object(handle);
        ZwClose(handle);
        ObDereferenceObject(found);
    });

    [Fact]
    public void A_reference_by_pointer_checks_the_type_in_user_mode_and_refuses_symbolic_links() => Run(() =>
    {
        PVOID directory = Object(Directory());
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByPointer(directory, 0, DirectoryType, UserMode));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ObReferenceObjectByPointer(directory, 0, ExEventObjectType, UserMode));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ObReferenceObjectByPointer(directory, 0, default, UserMode));
        Assert.Equal(STATUS_SUCCESS,
            ZwCreateSymbolicLinkObject(out HANDLE link, SYMBOLIC_LINK_ALL_ACCESS, Attributes(null), RTL_CONSTANT_STRING(@"\Device")));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ObReferenceObjectByPointer(Object(link), 0, default, KernelMode));
    });

    [Fact]
    public void A_handle_can_be_opened_by_pointer() => Run(() =>
    {
        HANDLE first = Directory();
        PVOID directory = Object(first);
        Assert.Equal(STATUS_SUCCESS, ObOpenObjectByPointer(directory, OBJ_KERNEL_HANDLE, default, DIRECTORY_QUERY, default, KernelMode, out HANDLE second));
        Assert.NotEqual(first, second);
        Assert.Equal(directory, Object(second));
        Assert.Equal((2u, 2u), Counts(first));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ObOpenObjectByPointer(directory, 0, default, 0, ExEventObjectType, KernelMode, out _));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ObOpenObjectByPointer(directory, 0, default, 0, default, UserMode, out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, ObOpenObjectByPointer(directory, (OBJ_FLAGS)0x40000000, default, 0, default, KernelMode, out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, ObOpenObjectByPointer(directory, OBJ_EXCLUSIVE | OBJ_INHERIT, default, 0, default, KernelMode, out _));
    });

    [Fact]
    public void An_exclusive_handle_stays_alone() => Run(() =>
    {
        HANDLE first = Directory(flags: OBJ_KERNEL_HANDLE | OBJ_EXCLUSIVE);
        PVOID directory = Object(first);
        ObReferenceObject(directory);
        Assert.Equal(STATUS_ACCESS_DENIED, ObOpenObjectByPointer(directory, OBJ_KERNEL_HANDLE, default, 0, default, KernelMode, out _));
        ZwClose(first);
        Assert.Equal(STATUS_SUCCESS, ObOpenObjectByPointer(directory, OBJ_KERNEL_HANDLE, default, 0, default, KernelMode, out _));
        Assert.Equal(STATUS_ACCESS_DENIED, ObOpenObjectByPointer(directory, OBJ_KERNEL_HANDLE | OBJ_EXCLUSIVE, default, 0, default, KernelMode, out _));
    });

    [Fact]
    public void Pseudo_handles_stand_for_the_current_process() => Run(() =>
    {
        Assert.Equal(Machine.Processes.User.Object, (PEPROCESS)Object(NtCurrentProcess()));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, Reference(ZwCurrentProcess(), type: DirectoryType));
        Assert.Equal(STATUS_SUCCESS, ZwClose(NtCurrentProcess()));
        InSystemThread(() => Assert.Equal(Machine.Processes.System.Object, (PEPROCESS)Object(NtCurrentProcess())));
    });

    [Fact]
    public void A_duplicate_has_the_access_asked_for_or_that_of_its_source() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateDirectoryObject(out HANDLE source, DIRECTORY_QUERY, Attributes(null, OBJ_KERNEL_HANDLE)));
        Assert.Equal((DIRECTORY_QUERY, true), Duplicate(source, DIRECTORY_TRAVERSE, DUPLICATE_SAME_ACCESS | DUPLICATE_SAME_ATTRIBUTES));
        Assert.Equal((DIRECTORY_TRAVERSE, false), Duplicate(source, DIRECTORY_TRAVERSE, 0));
        Assert.Equal((3u, 3u), Counts(source));
    });

    (uint Access, bool IsKernelHandle) Duplicate(HANDLE source, uint access, DUPLICATE_OPTIONS options)
    {
        var target = new PHANDLE(Memory(8).Address);
        Assert.Equal(STATUS_SUCCESS, ZwDuplicateObject(NtCurrentProcess(), source, NtCurrentProcess(), target, access, 0, options));
        var information = new POBJECT_HANDLE_INFORMATION(Memory(OBJECT_HANDLE_INFORMATION.SizeOf).Address);
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(target.Value, 0, default, KernelMode, out PVOID found, information));
        ObDereferenceObject(found);
        return (information.GrantedAccess, (long)target.Value.Value < 0);
    }

    [Fact]
    public void Duplicating_can_move_or_only_close_the_source() => Run(() =>
    {
        HANDLE source = Directory();
        var target = new PHANDLE(Memory(8).Address);
        Assert.Equal(STATUS_SUCCESS, ZwDuplicateObject(NtCurrentProcess(), source, NtCurrentProcess(), target, 0, 0, DUPLICATE_CLOSE_SOURCE));
        Assert.Equal(STATUS_INVALID_HANDLE, Reference(source));
        Assert.Equal(STATUS_SUCCESS, Reference(target.Value));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwDuplicateObject(NtCurrentProcess(), target.Value, default, default, 0, 0, 0));
        Assert.Equal(STATUS_SUCCESS, ZwDuplicateObject(NtCurrentProcess(), target.Value, default, default, 0, 0, DUPLICATE_CLOSE_SOURCE));
        Assert.Equal(STATUS_INVALID_HANDLE, Reference(target.Value));
        HANDLE directory = Directory();
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwDuplicateObject(directory, directory, NtCurrentProcess(), target, 0, 0, 0));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwDuplicateObject(NtCurrentProcess(), new HANDLE(0x4444), NtCurrentProcess(), target, 0, 0, 0));
    });

    [Fact]
    public void A_file_is_cleaned_up_with_its_last_handle_and_closed_with_its_last_reference() => Run(() =>
    {
        Device((_, irp) =>
        {
            byte major = IoGetCurrentIrpStackLocation(irp).MajorFunction;
            if (major != IRP_MJ_CREATE) Step(major == IRP_MJ_CLEANUP ? "cleanup" : "close");
            return Complete(irp, STATUS_SUCCESS);
        }, name: @"\Device\Files");
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Files\a", FILE_READ_DATA, 0, KernelMode, out PFILE_OBJECT file));
        Assert.Equal(STATUS_SUCCESS,
            ObOpenObjectByPointer(file, OBJ_KERNEL_HANDLE, default, FILE_READ_DATA, IoFileObjectType, UserMode, out HANDLE handle));
        Machine.Files.Close(file);
        Assert.Empty(Steps);
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, FILE_READ_DATA, IoFileObjectType, KernelMode, out _, default));
        ZwClose(handle);
        Assert.Equal(["cleanup"], Steps);
        ObDereferenceObject(file);
        Assert.Equal(["cleanup", "close"], Steps);
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Files", FILE_READ_DATA, 0, KernelMode, out file));
        Assert.Equal(STATUS_INVALID_PARAMETER, ObOpenObjectByPointer(file, OBJ_EXCLUSIVE, default, 0, default, KernelMode, out _));
        Machine.Files.Close(file);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Handles_that_DriverEntry_opens_are_valid_in_system_threads(Scheduling scheduling) => Run(scheduling, () =>
    {
        var driver = new OpensInEntry();
        Machine.Drivers.Load(driver, "opens", out _);
        InSystemThread(() => Assert.Equal(STATUS_SUCCESS, ZwClose(driver.Handle)));
    });

    sealed class OpensInEntry : WdmDriver
    {
        public HANDLE Handle { get; private set; }

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            NTSTATUS status = ZwCreateDirectoryObject(out HANDLE handle, DIRECTORY_ALL_ACCESS, default);
            Handle = handle;
            return status;
        }
    }

    [Fact]
    public void A_handle_is_not_opened_when_memory_is_short() => Run(() =>
    {
        POBJECT_ATTRIBUTES attributes = Attributes(null);
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, ZwCreateDirectoryObject(out HANDLE handle, DIRECTORY_ALL_ACCESS, attributes));
        Assert.True(handle.IsNull);
    });

    [Fact]
    public void A_handle_is_good_or_invalid_while_it_is_closed() => Run(Scheduling.FreeRunning, () =>
    {
        ulong current = 0;
        bool isOver = false;
        PKEVENT ended = Event();
        Start(() =>
        {
            while (!Volatile.Read(ref isOver)) Reference(new HANDLE(Volatile.Read(ref current)));
            KeSetEvent(ended, 0, false);
        });
        for (int i = 0; i < 20_000; i++)
        {
            HANDLE handle = Directory();
            Volatile.Write(ref current, handle.Value);
            Thread.SpinWait(i % 100);
            Assert.Equal(STATUS_SUCCESS, ZwClose(handle));
        }
        Volatile.Write(ref isOver, true);
        Wait(ended);
    });
}
