using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class HandleTests : DriverTest
{
    const string Name = @"\Device\Handles";

    sealed class Completion : IRequestCompletion
    {
        public (NTSTATUS Status, ulong Information)? Result { get; private set; }

        public void Finished(NTSTATUS status, ulong information)
        {
            Assert.Null(Result);
            Result = (status, information);
        }
    }

    static PKEVENT EventOf(PFILE_OBJECT file) => new(file.Address + 0x98);

    PFILE_OBJECT Open(uint options = 0, uint access = GENERIC_READ | GENERIC_WRITE)
    {
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, access, options, UserMode, out PFILE_OBJECT file));
        return file;
    }

    PFILE_OBJECT OpenSynchronous() => Open(FILE_SYNCHRONOUS_IO_NONALERT);

    NTSTATUS Send(PFILE_OBJECT file, IoRequest request, Completion? completion, out PIRP irp) =>
        Machine.Requests.Send(file, in request, StatusBlock(), completion, out irp);

    [Fact]
    [Spec("FILE-01")]
    public void A_request_goes_to_the_top_with_its_depth_and_names_file_thread_and_mode() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: Name);
        PFILE_OBJECT file = default;
        PDEVICE_OBJECT top = default;
        top = Device((device, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            if (own.MajorFunction == IRP_MJ_DEVICE_CONTROL)
            {
                Assert.Equal(top, device);
                Assert.Equal(2, irp.StackCount);
                Assert.Equal(Location(irp, 2), own);
                Assert.Equal(file, own.FileObject);
                Assert.Equal(file, irp.Tail.Overlay.OriginalFileObject);
                Assert.Equal(Machine.CurrentThread.Object, irp.Tail.Overlay.Thread);
                Assert.Equal(UserMode, irp.RequestorMode);
                Step("request");
            }
            return Complete(irp, STATUS_SUCCESS);
        }, above: bottom);
        file = Open();
        Assert.Equal(top, IoGetRelatedDeviceObject(file));
        Assert.Equal(STATUS_SUCCESS, Send(file, new IoRequest(IRP_MJ_DEVICE_CONTROL, ControlCode: 0x222003), new Completion(), out _));
        Machine.Files.Close(file);
        Assert.Equal(["request"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("FILE-02")]
    public void Opening_sends_a_create_request_and_waits_for_it(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT device = default;
        device = Device((_, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            if (own.MajorFunction == IRP_MJ_CREATE)
            {
                Assert.Equal(1, device.ReferenceCount);
                Assert.Equal(0x01_000020U, own.Parameters.Create.Options); // FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT
                Assert.Equal(GENERIC_READ, own.Parameters.Create.SecurityContext.DesiredAccess);
                Assert.Equal(0, own.Parameters.Create.FileAttributes);
                Assert.Equal(0U, own.Parameters.Create.EaLength);
                Assert.Equal(device, own.FileObject.DeviceObject);
                Assert.Equal((FO_FLAGS)0, own.FileObject.Flags & FO_HANDLE_CREATED);
                Step("create");
                return CompleteSomehow(irp, how, STATUS_SUCCESS);
            }
            return Complete(irp, STATUS_SUCCESS);
        }, name: Name);
        PFILE_OBJECT file = Open(FILE_SYNCHRONOUS_IO_NONALERT, GENERIC_READ);
        Assert.NotEqual((FO_FLAGS)0, file.Flags & FO_HANDLE_CREATED);
        Assert.NotEqual((FO_FLAGS)0, file.Flags & FO_SYNCHRONOUS_IO);
        Assert.True(file.ReadAccess);
        Assert.False(file.WriteAccess);
        Assert.Equal(["create"], Steps);
        Machine.Files.Close(file);
        Assert.Equal(0, device.ReferenceCount);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("FILE-03")]
    public void A_failed_create_is_followed_by_neither_cleanup_nor_close(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            Step($"0x{IoGetCurrentIrpStackLocation(irp).MajorFunction:X}");
            return CompleteSomehow(irp, how, STATUS_ACCESS_DENIED);
        }, name: Name);
        int before = Machine.Pool.LiveBlocks.Count;
        Assert.Equal(STATUS_ACCESS_DENIED, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        Assert.True(file.IsNull);
        Assert.Equal(["0x0"], Steps);
        Assert.Equal(0, device.ReferenceCount);
        // What a timer and its DPC take is the test's own.
        Assert.Equal(before + (how == Completing.FromADpc ? 2 : 0), Machine.Pool.LiveBlocks.Count);
    });

    public class Opening_is_refused : DriverTest
    {
        [Fact]
        [Spec("FILE-04")]
        public void A_second_time_for_an_exclusive_device() => Run(() =>
        {
            PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), flags: DO_EXCLUSIVE, name: Name);
            using (DeviceHandle.Open(Machine, Name)) Assert.Equal(STATUS_ACCESS_DENIED, DeviceHandle.TryOpen(Machine, Name, out _));
            Assert.Equal(0, device.ReferenceCount);
            using DeviceHandle again = DeviceHandle.Open(Machine, Name);
        });

        [Theory]
        [InlineData(DO_DEVICE_INITIALIZING, (DOE_FLAGS)0)]
        [InlineData((DO_FLAGS)0, DOE_DELETE_PENDING)]
        [InlineData((DO_FLAGS)0, DOE_UNLOAD_PENDING)]
        [Spec("FILE-04")]
        public void For_a_device_that_is_not_ready_or_going_away(DO_FLAGS flags, DOE_FLAGS extensionFlags) => Run(() =>
        {
            PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: Name);
            device.Flags |= flags;
            device.DeviceObjectExtension.ExtensionFlags |= extensionFlags;
            Assert.Equal(STATUS_NO_SUCH_DEVICE, DeviceHandle.TryOpen(Machine, Name, out _));
            Assert.Equal(0, device.ReferenceCount);
        });
    }

    public class Closing : DriverTest
    {
        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("FILE-05")]
        public void Sends_cleanup_at_once_and_close_after_the_last_request(Scheduling scheduling) => Run(scheduling, () =>
        {
            PIRP held = default;
            Device((_, irp) =>
            {
                byte major = IoGetCurrentIrpStackLocation(irp).MajorFunction;
                Step($"0x{major:X} at {KeGetCurrentIrql()}");
                if (major != IRP_MJ_DEVICE_CONTROL) return Complete(irp, major == IRP_MJ_CREATE ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL); // which nobody looks at
                IoMarkIrpPending(irp);
                held = irp;
                return STATUS_PENDING;
            }, name: Name);
            DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            IoOperation operation = handle.StartControl(0x222003);
            handle.Dispose();
            Assert.Equal(["0x0 at 0", "0xE at 0", "0x12 at 0"], Steps);
            Start(() =>
            {
                KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
                Complete(held, STATUS_SUCCESS);
                KeLowerIrql(old);
            });
            operation.Wait();
            Assert.Equal(["0x0 at 0", "0xE at 0", "0x12 at 0", "0x2 at 0"], Steps);
        });

        [Fact]
        [Spec("FILE-05")]
        public void Waits_for_references_that_drivers_hold_even_when_the_last_one_goes_at_DISPATCH_LEVEL() => Run(() =>
        {
            PKEVENT closed = Event();
            Device((_, irp) =>
            {
                if (IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_CLOSE)
                {
                    Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
                    KeSetEvent(closed, 0, false);
                }
                return Complete(irp, STATUS_SUCCESS);
            }, name: Name);
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
            ObReferenceObject(file);
            Machine.Files.Close(file);
            Assert.False(IsSet(closed));
            KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
            ObDereferenceObject(file);
            if (Here == Scheduling.Controlled) Assert.False(IsSet(closed)); // real workers have processors of their own
            KeLowerIrql(old);
            Wait(closed);
        });
    }

    public class Synchronous_files : DriverTest
    {
        [Theory, MemberData(nameof(EveryCompletion))]
        [Spec("FILE-06")]
        public void Never_answer_pending_but_the_final_status(Completing how, Scheduling scheduling) => Run(scheduling, () =>
        {
            foreach (NTSTATUS status in (NTSTATUS[])[STATUS_SUCCESS, STATUS_BUFFER_OVERFLOW, STATUS_DEVICE_NOT_READY])
            {
                string name = $@"\Device\{status.Name}";
                Device((_, irp) => IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_FLUSH_BUFFERS ? CompleteSomehow(irp, how, status) : Complete(irp, STATUS_SUCCESS), name: name);
                Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(name, GENERIC_READ, FILE_SYNCHRONOUS_IO_NONALERT, UserMode, out PFILE_OBJECT file));
                Assert.Equal(status, Machine.Requests.Send(file, new IoRequest(IRP_MJ_FLUSH_BUFFERS), StatusBlock(), null, out _));
                Machine.Files.Close(file);
            }
        });

        [Theory]
        [InlineData(-1)] // the free-running scheduler
        [InlineData(0)]
        [InlineData(1)]
        [InlineData(2)]
        [Spec("FILE-06")]
        public void Have_one_request_at_a_time(int seed)
        {
            const int threads = 3, rounds = 10;
            Strategy = seed < 0 ? null : new SeededStrategy(seed);
            Run(seed < 0 ? Scheduling.FreeRunning : Scheduling.Controlled, () =>
            {
                int inFlight = 0, most = 0, ended = 0;
                Device((_, irp) =>
                {
                    if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_FLUSH_BUFFERS) return Complete(irp, STATUS_SUCCESS);
                    most = Math.Max(most, Interlocked.Increment(ref inFlight));
                    IoMarkIrpPending(irp);
                    AfterOneMillisecond((_, _, _, _) =>
                    {
                        Interlocked.Decrement(ref inFlight);
                        Complete(irp, STATUS_SUCCESS);
                    });
                    return STATUS_PENDING;
                }, name: Name);
                Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, FILE_SYNCHRONOUS_IO_NONALERT, UserMode, out PFILE_OBJECT file));
                PKEVENT over = Event();
                for (int t = 0; t < threads; t++)
                {
                    Start(() =>
                    {
                        for (int i = 0; i < rounds; i++)
                            Assert.Equal(STATUS_SUCCESS, Machine.Requests.Send(file, new IoRequest(IRP_MJ_FLUSH_BUFFERS), StatusBlock(), null, out _));
                        if (Interlocked.Increment(ref ended) == threads) KeSetEvent(over, 0, false);
                    });
                }
                Wait(over);
                Assert.Equal(1, most);
            });
        }

        /// <summary>The last handle is closed while another thread waits in a service: that goes first, and finds its file object.</summary>
        [Theory, MemberData(nameof(EverySchedule))]
        [Spec("FILE-05"), Spec("FILE-06")]
        public void Are_cleaned_up_when_the_request_of_another_thread_is_over(Scheduling scheduling) => Run(scheduling, () =>
        {
            PFILE_OBJECT file = default;
            PKEVENT over = Event();
            bool isSent = false;
            PDEVICE_OBJECT device = Device((_, irp) =>
            {
                byte major = IoGetCurrentIrpStackLocation(irp).MajorFunction;
                Step($"0x{major:X}");
                if (major != IRP_MJ_FLUSH_BUFFERS) return Complete(irp, STATUS_SUCCESS);
                isSent = true;
                return Pend(irp, () =>
                {
                    KeDelayExecutionThread(KernelMode, false, -10_000); // until the handle is being closed
                    Step("over");
                    Complete(irp, STATUS_DEVICE_NOT_READY);
                });
            }, name: Name);
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, FILE_SYNCHRONOUS_IO_NONALERT, UserMode, out file));
            Start(() =>
            {
                Step(Machine.Requests.Send(file, new IoRequest(IRP_MJ_FLUSH_BUFFERS), StatusBlock(), null, out _).Name);
                KeSetEvent(over, 0, false);
            });
            Eventually(() => isSent);
            Machine.Files.Close(file);
            Wait(over);
            Eventually(() => device.ReferenceCount == 0);
            Assert.Equal(["0x0", "0x9", "over", "0x12", "0x2"], Steps.Where(step => !step.StartsWith("STATUS", StringComparison.Ordinal)));
            Assert.Contains("STATUS_DEVICE_NOT_READY", Steps);
        });
    }

    public class Asynchronous_files : DriverTest
    {
        [Theory, MemberData(nameof(EveryCompletion))]
        [Spec("FILE-07")]
        public void Answer_what_the_dispatch_routine_answered_and_set_their_event_when_done(Completing how, Scheduling scheduling) => Run(scheduling, () =>
        {
            PFILE_OBJECT file = default;
            bool setBefore = true;
            Device((_, irp) =>
            {
                if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_FLUSH_BUFFERS) return Complete(irp, STATUS_SUCCESS);
                setBefore = IsSet(EventOf(file));
                return CompleteSomehow(irp, how, STATUS_SUCCESS, 7);
            }, name: Name);
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, GENERIC_READ, 0, UserMode, out file));
            KeSetEvent(EventOf(file), 0, false);
            var completion = new Completion();
            PIO_STATUS_BLOCK block = StatusBlock();
            NTSTATUS status = Machine.Requests.Send(file, new IoRequest(IRP_MJ_FLUSH_BUFFERS), block, completion, out _);
            Assert.Equal(how == Completing.Inline ? STATUS_SUCCESS : STATUS_PENDING, status);
            Assert.False(setBefore); // reset before the request was sent
            Wait(EventOf(file));
            Assert.Equal((STATUS_SUCCESS, 7UL), completion.Result);
            Assert.Equal(STATUS_SUCCESS, block.Status);
            Assert.Equal(STATUS_SUCCESS, file.FinalStatus);
            Machine.Files.Close(file);
        });
    }

    [Theory]
    [InlineData(0U, (IRP_FLAGS)0, METHOD_NEITHER, false)]
    [InlineData(0U, IRP_SYNCHRONOUS_API, METHOD_NEITHER, true)]
    [InlineData(FILE_SYNCHRONOUS_IO_NONALERT, (IRP_FLAGS)0, METHOD_NEITHER, true)]
    [InlineData(FILE_SYNCHRONOUS_IO_NONALERT, IRP_PAGING_IO, METHOD_BUFFERED, false)]
    [InlineData(0U, IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO, METHOD_NEITHER, true)]
    [InlineData(0U, IRP_SYNCHRONOUS_PAGING_IO, METHOD_NEITHER, false)] // the flag means input then
    [InlineData(0U, (IRP_FLAGS)0, METHOD_BUFFERED, true)]
    [Spec("FILE-08")]
    public void Synchronous_requests_can_be_told(uint options, IRP_FLAGS flags, uint method, bool synchronous) => Run(() =>
    {
        Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_DEVICE_CONTROL) return Complete(irp, STATUS_SUCCESS);
            IRP_FLAGS before = irp.Flags;
            irp.Flags = flags;
            Step($"{IoIsOperationSynchronous(irp)}");
            irp.Flags = before;
            return Complete(irp, STATUS_SUCCESS);
        }, name: Name);
        Send(Open(options), new IoRequest(IRP_MJ_DEVICE_CONTROL, ControlCode: method), null, out _);
        Assert.Equal([synchronous ? "TRUE" : "FALSE"], Steps);
    });

    /// <summary>How buffers of requests on handles arrive at the driver.</summary>
    public class Buffers : DriverTest
    {
        PFILE_OBJECT file;
        Action<PIRP> look = _ => { };

        void Create(DO_FLAGS flags, uint access = GENERIC_READ | GENERIC_WRITE, bool withFilter = false)
        {
            DRIVER_DISPATCH dispatch = (_, irp) =>
            {
                if (IoGetCurrentIrpStackLocation(irp).MajorFunction is IRP_MJ_READ or IRP_MJ_WRITE or IRP_MJ_DEVICE_CONTROL)
                {
                    Step("request");
                    look(irp);
                }
                return Complete(irp, STATUS_SUCCESS);
            };
            PDEVICE_OBJECT bottom = Device(dispatch, flags: withFilter ? DO_BUFFERED_IO : flags, name: Name);
            if (withFilter)
            {
                Device((_, irp) =>
                {
                    IoSkipCurrentIrpStackLocation(irp);
                    return IoCallDriver(bottom, irp);
                }, above: bottom, flags: flags);
            }
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, access, 0, UserMode, out file));
        }

        ulong UserMemory(int length, PageAccess access = PageAccess.ReadWrite)
        {
            ulong user = Machine.Memory.AllocateUser((ulong)length);
            Fill(new PVOID(user), length);
            Machine.Memory.Protect(user, (ulong)length, access);
            return user;
        }

        NTSTATUS Send(IoRequest request) => Machine.Requests.Send(file, in request, StatusBlock(), new Completion(), out _);

        [Theory]
        [InlineData(DO_BUFFERED_IO, false)]
        [InlineData(DO_DIRECT_IO, false)]
        [InlineData(DO_BUFFERED_IO | DO_DIRECT_IO, false)]
        [InlineData((DO_FLAGS)0, false)]
        [InlineData((DO_FLAGS)0, true)]
        [InlineData(DO_DIRECT_IO, true)]
        [Spec("BUF-01"), Spec("BUF-03")]
        public void Of_reads_and_writes_follow_the_flags_of_the_top_device(DO_FLAGS topFlags, bool aboveABufferedDevice) => Run(() =>
        {
            Create(topFlags, withFilter: aboveABufferedDevice);
            ulong user = UserMemory(64);
            bool buffered = (topFlags & DO_BUFFERED_IO) != 0, direct = !buffered && (topFlags & DO_DIRECT_IO) != 0;
            foreach (byte major in (byte[])[IRP_MJ_READ, IRP_MJ_WRITE])
            {
                bool reads = major == IRP_MJ_READ;
                look = irp =>
                {
                    Assert.Equal(buffered, !irp.AssociatedIrp.SystemBuffer.IsNull);
                    Assert.Equal(direct, !irp.MdlAddress.IsNull);
                    Assert.Equal(direct || (buffered && !reads) ? 0 : user, irp.UserBuffer.Address);
                    Assert.Equal(buffered ? IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | (reads ? IRP_INPUT_OPERATION : 0) : 0,
                        irp.Flags & (IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | IRP_INPUT_OPERATION));
                    if (buffered && !reads) Assert.Equal(Bytes(new PVOID(user), 64), Bytes(irp.AssociatedIrp.SystemBuffer, 64));
                };
                Assert.Equal(STATUS_SUCCESS, Send(new IoRequest(major, user, 64)));
            }
            Assert.Equal(["request", "request"], Steps);
        });

        [Theory]
        [InlineData(DO_BUFFERED_IO)]
        [InlineData(DO_DIRECT_IO)]
        [Spec("BUF-04")]
        public void Of_length_zero_are_none(DO_FLAGS flags) => Run(() =>
        {
            Create(flags);
            look = irp =>
            {
                Assert.True(irp.AssociatedIrp.SystemBuffer.IsNull);
                Assert.True(irp.MdlAddress.IsNull);
            };
            Assert.Equal(STATUS_SUCCESS, Send(new IoRequest(IRP_MJ_READ, UserMemory(8), 0)));
            Assert.Equal(STATUS_SUCCESS, Send(new IoRequest(IRP_MJ_WRITE, UserMemory(8), 0)));
            Assert.Equal(STATUS_SUCCESS, Send(new IoRequest(IRP_MJ_DEVICE_CONTROL, ControlCode: METHOD_BUFFERED)));
            Assert.Equal(3, Steps.Count);
        });

        [Theory]
        [InlineData(METHOD_BUFFERED)]
        [InlineData(METHOD_IN_DIRECT)]
        [InlineData(METHOD_OUT_DIRECT)]
        [InlineData(METHOD_NEITHER)]
        [Spec("BUF-02"), Spec("BUF-05")]
        public void Of_control_requests_follow_the_code(uint method) => Run(() =>
        {
            Create(DO_DIRECT_IO);
            ulong input = UserMemory(16), output = UserMemory(32);
            look = irp =>
            {
                PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
                Assert.Equal(16U, own.Parameters.DeviceIoControl.InputBufferLength);
                Assert.Equal(32U, own.Parameters.DeviceIoControl.OutputBufferLength);
                Assert.Equal(method != METHOD_NEITHER, !irp.AssociatedIrp.SystemBuffer.IsNull);
                Assert.Equal(method is METHOD_IN_DIRECT or METHOD_OUT_DIRECT, !irp.MdlAddress.IsNull);
                Assert.Equal(method is METHOD_BUFFERED or METHOD_NEITHER ? output : 0, irp.UserBuffer.Address);
                if (method == METHOD_NEITHER) Assert.Equal(input, own.Parameters.DeviceIoControl.Type3InputBuffer.Address);
                else Assert.Equal(Bytes(new PVOID(input), 16), Bytes(irp.AssociatedIrp.SystemBuffer, 16));
            };
            Assert.Equal(STATUS_SUCCESS, Send(new IoRequest(IRP_MJ_DEVICE_CONTROL, output, 32, 0, method, input, 16)));
            Assert.Equal(["request"], Steps);
        });

        [Theory]
        [InlineData(METHOD_BUFFERED, false)]
        [InlineData(METHOD_IN_DIRECT, true)]
        [InlineData(METHOD_OUT_DIRECT, false)]
        [InlineData(METHOD_NEITHER, true)]
        [Spec("BUF-05")]
        public void That_a_program_may_only_read_serve_for_output_only_where_the_driver_reads_them(uint method, bool accepted) => Run(() =>
        {
            Create(0);
            ulong output = UserMemory(32, PageAccess.Read);
            int before = Machine.Pool.LiveBlocks.Count + 1; // the status block
            Assert.Equal(accepted ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION, Send(new IoRequest(IRP_MJ_DEVICE_CONTROL, output, 32, 0, method, UserMemory(8), 8)));
            Assert.Equal(accepted ? ["request"] : [], Steps);
            Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
        });

        [Theory]
        [InlineData(IRP_MJ_READ, DO_BUFFERED_IO)]
        [InlineData(IRP_MJ_READ, DO_DIRECT_IO)]
        [InlineData(IRP_MJ_WRITE, DO_BUFFERED_IO)]
        [InlineData(IRP_MJ_WRITE, DO_DIRECT_IO)]
        [InlineData(IRP_MJ_DEVICE_CONTROL, (DO_FLAGS)0)]
        [Spec("BUF-05")]
        public void Of_kernel_addresses_or_no_memory_fail_a_programs_request(byte major, DO_FLAGS flags) => Run(() =>
        {
            Create(flags);
            int before = Machine.Pool.LiveBlocks.Count;
            PVOID kernel = Memory(64);
            foreach (ulong address in (ulong[])[kernel.Address, 0x10, Machine.Memory.UserSliceBase + 0xF000_0000])
                Assert.Equal(STATUS_ACCESS_VIOLATION, Send(new IoRequest(major, address, 32, 0, METHOD_BUFFERED, address, 32)));
            Assert.Empty(Steps);
            Assert.Equal(before + 1 + 3, Machine.Pool.LiveBlocks.Count);
        });

        [Theory]
        [InlineData(FILE_ANY_ACCESS, true, true, true)]
        [InlineData(FILE_READ_ACCESS, true, false, true)]
        [InlineData(FILE_WRITE_ACCESS, false, true, true)]
        [InlineData(FILE_READ_ACCESS | FILE_WRITE_ACCESS, false, false, true)]
        [Spec("BUF-07")]
        public void The_access_bits_of_a_control_code_are_checked_against_the_handle(uint access, bool readHandle, bool writeHandle, bool bothHandle) => Run(() =>
        {
            uint code = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, access);
            Assert.Equal(0x0022_2003 | (access << 14), code);
            Create(0);
            foreach ((uint handleAccess, bool sent) in ((uint, bool)[])[(GENERIC_READ, readHandle), (GENERIC_WRITE, writeHandle), (GENERIC_READ | GENERIC_WRITE, bothHandle)])
            {
                Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Name, handleAccess, 0, UserMode, out file));
                int before = Steps.Count;
                Assert.Equal(sent ? STATUS_SUCCESS : STATUS_ACCESS_DENIED, Send(new IoRequest(IRP_MJ_DEVICE_CONTROL, ControlCode: code)));
                Assert.Equal(sent ? 1 : 0, Steps.Count - before);
            }
        });

        [Fact]
        [Spec("BUF-06")]
        public void Return_the_input_where_a_buffered_control_request_wrote_nothing() => Run(() =>
        {
            Create(0);
            look = irp => GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, 2).Fill(0xEE);
            using DeviceHandle handle = DeviceHandle.Open(Machine, Name);
            DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = CompletingWith(4);
            byte[] output = new byte[4];
            Assert.Equal(4UL, handle.Control(METHOD_BUFFERED, new byte[] { 1, 2, 3, 4 }, output).Information);
            Assert.Equal([0xEE, 0xEE, 3, 4], output);
        });

        PDRIVER_DISPATCH CompletingWith(ulong information)
        {
            DRIVER_DISPATCH dispatch = (_, irp) =>
            {
                look(irp);
                return Complete(irp, STATUS_SUCCESS, information);
            };
            return Routine(dispatch);
        }
    }
}
