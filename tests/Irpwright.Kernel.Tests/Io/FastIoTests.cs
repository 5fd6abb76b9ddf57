using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>Fast I/O: the documented members of FAST_IO_DISPATCH that are called, and what becomes of the request.</summary>
public class FastIoTests : DriverTest
{
    const string Name = @"\Device\Fast";

    static readonly uint Buffered = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS);

    sealed record Call(PFILE_OBJECT File, ulong Input, uint InputLength, ulong Output, uint OutputLength, uint Code, PDEVICE_OBJECT Device);

    Call? last;
    bool takes = true;
    NTSTATUS answer = STATUS_SUCCESS;

    PFAST_IO_DISPATCH Table()
    {
        if (DriverObject.FastIoDispatch.IsNull)
        {
            DriverObject.FastIoDispatch = new(Memory(FAST_IO_DISPATCH.SizeOf).Address);
            DriverObject.FastIoDispatch.SizeOfFastIoDispatch = FAST_IO_DISPATCH.SizeOf;
        }
        return DriverObject.FastIoDispatch;
    }

    /// <summary>A device whose driver takes control requests of 3 bytes, and notes every IRP.</summary>
    PDEVICE_OBJECT FastDevice(PDEVICE_OBJECT above = default)
    {
        Table().FastIoDeviceControl = Routine(Control);
        return Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction is IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL or IRP_MJ_READ or IRP_MJ_WRITE) Step("irp");
            return Complete(irp, STATUS_SUCCESS);
        }, above, name: above.IsNull ? Name : null);
    }

    BOOLEAN Control(PFILE_OBJECT FileObject, BOOLEAN Wait, PVOID InputBuffer, uint InputBufferLength, PVOID OutputBuffer, uint OutputBufferLength,
        uint IoControlCode, PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject)
    {
        Assert.True(Wait);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        last = new(FileObject, InputBuffer.Address, InputBufferLength, OutputBuffer.Address, OutputBufferLength, IoControlCode, DeviceObject);
        Step("fast");
        if (!takes) return false;
        if (!OutputBuffer.IsNull) GuestMemory.Write(OutputBuffer.Address, 3).Fill(7);
        IoStatus.Status = answer;
        IoStatus.Information = 3;
        return true;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void FastIoDeviceControl_gets_the_buffers_of_the_requestor_and_no_IRP_is_made(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT top = FastDevice(above: FastDevice());
        foreach (uint method in (uint[])[METHOD_BUFFERED, METHOD_IN_DIRECT, METHOD_OUT_DIRECT, METHOD_NEITHER])
        {
            uint code = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, method, FILE_ANY_ACCESS);
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            byte[] output = new byte[8];
            Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Control(code, new byte[5], output));
            Assert.Equal([7, 7, 7, 0, 0, 0, 0, 0], output);
            Assert.Equal((handle.FileObject, 5u, 8u, code, top), (last!.File, last.InputLength, last.OutputLength, last.Code, last.Device));
            Assert.True(last.Input < GuestMemory.KernelHalf && last.Output < GuestMemory.KernelHalf);
        }
        Assert.Equal(["fast", "fast", "fast", "fast"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void FALSE_means_that_an_IRP_is_needed(Scheduling scheduling) => Run(scheduling, () =>
    {
        FastDevice();
        takes = false;
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Control(Buffered, new byte[5], new byte[8]));
        Assert.Equal(["fast", "irp"], Steps);
    });

    [Fact]
    public void Without_a_table_or_a_routine_in_it_every_request_is_an_IRP() => Run(() =>
    {
        FastDevice();
        Table().FastIoDeviceControl = default;
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        handle.Control(Buffered);
        DriverObject.FastIoDispatch = default;
        handle.Control(Buffered);
        Assert.Equal(["irp", "irp"], Steps);
    });

    [Fact]
    public void Only_device_control_of_a_file_that_is_not_cached_is_fast() => Run(() =>
    {
        FastDevice();
        Table().FastIoRead = FastIoReadRoutine((_, _, _, _, _, _, _, _) => throw new InvalidOperationException("FastIoRead was called."));
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        handle.Read(new byte[8]);
        Machine.Requests.Send(handle.FileObject, new IoRequest(IRP_MJ_INTERNAL_DEVICE_CONTROL, ControlCode: Buffered) { RequestorMode = KernelMode }, StatusBlock(), null, out _);
        Assert.Equal(["irp", "irp"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_error_is_final_and_written_to_the_status_block(Scheduling scheduling) => Run(scheduling, () =>
    {
        FastDevice();
        answer = STATUS_DEVICE_BUSY;
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        PIO_STATUS_BLOCK block = StatusBlock();
        NTSTATUS status = Machine.Requests.Send(handle.FileObject, new IoRequest(IRP_MJ_DEVICE_CONTROL, ControlCode: Buffered), block, null, out PIRP irp);
        Assert.Equal((STATUS_DEVICE_BUSY, STATUS_DEVICE_BUSY, 3ul), (status, block.Status, block.Information));
        Assert.True(irp.IsNull);
        Assert.Equal(["fast"], Steps);
    });

    [Fact]
    public void A_buffer_that_the_system_service_finds_bad_is_not_shown_to_the_driver() => Run(() =>
    {
        FastDevice();
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        ulong good = Machine.Memory.AllocateUser(PAGE_SIZE), bad = good + PAGE_SIZE, kernel = Memory(16).Address;
        Assert.Equal((STATUS_ACCESS_VIOLATION, Untouched), Send(METHOD_BUFFERED, good, bad));
        Assert.Equal((STATUS_ACCESS_VIOLATION, Untouched), Send(METHOD_OUT_DIRECT, good, bad));
        Assert.Equal((STATUS_ACCESS_VIOLATION, Untouched), Send(METHOD_BUFFERED, kernel, good));
        Assert.Empty(Steps);
        Assert.Equal((STATUS_SUCCESS, STATUS_SUCCESS), Send(METHOD_NEITHER, kernel, good));
        Assert.Equal((STATUS_SUCCESS, STATUS_SUCCESS), Send(METHOD_BUFFERED, bad, good)); // only the range is looked at
        Assert.Equal(["fast", "fast"], Steps);

        (NTSTATUS, NTSTATUS) Send(uint method, ulong input, ulong output)
        {
            uint code = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, method, FILE_ANY_ACCESS);
            PIO_STATUS_BLOCK block = StatusBlock();
            return (Machine.Requests.Send(handle.FileObject, new IoRequest(IRP_MJ_DEVICE_CONTROL, output, 16, 0, code, input, 16), block, null, out _), block.Status);
        }
    });

    [Fact]
    public void Access_to_the_file_is_checked_first() => Run(() =>
    {
        FastDevice();
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        uint writes = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_WRITE_ACCESS);
        Assert.Equal(STATUS_ACCESS_DENIED, Machine.Requests.Send(file, new IoRequest(IRP_MJ_DEVICE_CONTROL, ControlCode: writes), StatusBlock(), null, out _));
        Assert.Empty(Steps);
        Machine.Files.Close(file);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_completion_port_is_told(Scheduling scheduling) => Run(scheduling, () =>
    {
        FastDevice();
        using var port = new CompletionPort(Machine);
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        port.Bind(handle, 77);
        IoOperation control = handle.StartControl(Buffered);
        Assert.Equal((STATUS_SUCCESS, true), (control.InitialStatus, control.IsOver));
        PortEntry entry = port.Take()!.Value;
        Assert.Equal((77ul, control.Context, new IoResult(STATUS_SUCCESS, 3)), (entry.Key, entry.Context, entry.Result));
        handle.Skip(portOnSuccess: true);
        handle.StartControl(Buffered).Wait();
        Assert.Null(port.Take(TimeSpan.FromMilliseconds(1)));
    });

    [Fact]
    public void A_request_with_an_APC_routine_is_an_IRP() => Run(() =>
    {
        FastDevice();
        using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        handle.Apc = _ => Step("apc");
        handle.StartControl(Buffered);
        Scenario.SleepAlertable(Machine, TimeSpan.FromMilliseconds(1));
        Assert.Equal(["irp", "apc"], Steps);
    });

    [Fact]
    public void A_driver_that_opens_the_file_gets_there_too() => Run(() =>
    {
        FastDevice();
        HANDLE handle = OpenHandle();
        PVOID buffer = Memory(16);
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, ZwCreateEvent(out HANDLE signal, EVENT_ALL_ACCESS, default, NotificationEvent, false));
        Assert.Equal(STATUS_SUCCESS, ZwDeviceIoControlFile(handle, signal, default(PIO_APC_ROUTINE), default, block, Buffered, buffer, 5, buffer, 8));
        Assert.Equal((buffer.Address, buffer.Address, 3ul), (last!.Input, last.Output, block.Information));
        Assert.Equal(STATUS_SUCCESS, ZwWaitForSingleObject(signal, false, 0));
        ZwClose(signal);
        ZwClose(handle);
    });

    HANDLE OpenHandle(uint options = 0)
    {
        PUNICODE_STRING name = RTL_CONSTANT_STRING(Name);
        var attributes = new POBJECT_ATTRIBUTES(Memory(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, name, OBJ_KERNEL_HANDLE, default, default);
        Assert.Equal(STATUS_SUCCESS, ZwOpenFile(out HANDLE handle, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, attributes, StatusBlock(), 0, options));
        return handle;
    }

    /// <summary>A cached file of the test's device, of 64 bytes.</summary>
    PFILE_OBJECT Cached(uint options)
    {
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ | GENERIC_WRITE, options, UserMode, out PFILE_OBJECT file));
        file.SectionObjectPointer = new(Memory(SECTION_OBJECT_POINTERS.SizeOf).Address);
        var sizes = new PCC_FILE_SIZES(Memory(CC_FILE_SIZES.SizeOf).Address);
        sizes.AllocationSize = sizes.FileSize = sizes.ValidDataLength = 64;
        CcInitializeCacheMap(file, sizes, false, new(Memory(CACHE_MANAGER_CALLBACKS.SizeOf).Address), default);
        return file;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Reads_and_writes_of_a_cached_synchronous_file_are_fast(Scheduling scheduling) => Run(scheduling, () =>
    {
        FastDevice();
        ulong user = Machine.Memory.AllocateUser(PAGE_SIZE);
        Table().FastIoRead = FastIoReadRoutine((_, offset, length, wait, key, buffer, status, _) => Transfer("read", offset, length, wait, key, buffer, status));
        Table().FastIoWrite = FastIoWriteRoutine((_, offset, length, wait, key, buffer, status, _) => Transfer("write", offset, length, wait, key, buffer, status));
        PFILE_OBJECT file = Cached(FILE_SYNCHRONOUS_IO_NONALERT);
        PIO_STATUS_BLOCK block = StatusBlock();
        Assert.Equal(STATUS_SUCCESS, Send(IRP_MJ_READ));
        Assert.Equal((STATUS_SUCCESS, 16ul), (block.Status, block.Information));
        answer = STATUS_END_OF_FILE;
        Assert.Equal(STATUS_END_OF_FILE, Send(IRP_MJ_READ));
        Assert.Equal(STATUS_SUCCESS, Send(IRP_MJ_WRITE));
        answer = STATUS_DEVICE_BUSY;
        Assert.Equal(STATUS_SUCCESS, Send(IRP_MJ_READ));
        takes = false;
        Assert.Equal(STATUS_SUCCESS, Send(IRP_MJ_READ));
        Assert.Equal(["read 32 16 5", "read 32 16 5", "write 32 16 5", "irp", "read 32 16 5", "irp", "read 32 16 5", "irp"], Steps);

        NTSTATUS Send(byte major) => Machine.Requests.Send(file, new IoRequest(major, user, 16, 32) { Key = 5 }, block, null, out _);

        BOOLEAN Transfer(string what, PLARGE_INTEGER offset, uint length, BOOLEAN wait, uint key, PVOID buffer, PIO_STATUS_BLOCK status)
        {
            Assert.True(wait);
            Assert.Equal(user, buffer.Address);
            Step($"{what} {offset.Value} {length} {key}");
            status.Status = answer;
            status.Information = length;
            return takes;
        }
    });

    [Fact]
    public void Reads_of_a_cached_asynchronous_file_are_IRPs() => Run(() =>
    {
        FastDevice();
        Table().FastIoRead = FastIoReadRoutine((_, _, _, _, _, _, _, _) => throw new InvalidOperationException("FastIoRead was called."));
        PFILE_OBJECT file = Cached(0);
        Machine.Requests.Send(file, new IoRequest(IRP_MJ_READ, Machine.Memory.AllocateUser(PAGE_SIZE), 16), StatusBlock(), null, out _);
        Assert.Equal(["irp"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void FastIoDetachDevice_takes_the_device_off_the_one_that_is_deleted(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: Name), upper = Device((_, irp) => Complete(irp, STATUS_SUCCESS), above: lower);
        Table().FastIoDetachDevice = Routine((PDEVICE_OBJECT source, PDEVICE_OBJECT target) =>
        {
            Assert.Equal((upper, lower), (source, target));
            Step("detach");
            IoDetachDevice(target);
            IoDeleteDevice(source);
        });
        IoDeleteDevice(lower);
        Assert.Equal(["detach"], Steps);
        Assert.True(DriverObject.DeviceObject.IsNull);
    });

    [Fact]
    public void FastIoDetachDevice_waits_until_nobody_has_the_device_open() => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: Name), upper = Device((_, irp) => Complete(irp, STATUS_SUCCESS), above: lower);
        Table().FastIoDetachDevice = Routine((PDEVICE_OBJECT source, PDEVICE_OBJECT target) =>
        {
            Step("detach");
            IoDetachDevice(target);
            IoDeleteDevice(source);
        });
        DeviceHandle handle = DeviceHandle.Open(Machine, Name);
        IoDeleteDevice(lower);
        Assert.Empty(Steps);
        handle.Dispose();
        Assert.Equal(["detach"], Steps);
        Assert.True(DriverObject.DeviceObject.IsNull);
        Assert.NotEqual(lower, upper);
    });
}
