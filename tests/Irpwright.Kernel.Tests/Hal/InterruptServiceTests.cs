using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Hal;

/// <summary>Interrupt lines, the service routines connected to them, and what is synchronised with these.</summary>
public class InterruptServiceTests : DriverTest
{
    const int Irq = 11;

    InterruptLine Line => Machine.Interrupts.Line(Irq);

    PKINTERRUPT Connect(
        KSERVICE_ROUTINE routine, PVOID context = default, KINTERRUPT_MODE mode = LevelSensitive, bool shared = true, PKSPIN_LOCK spinLock = default, byte irql = 0)
    {
        Assert.Equal(STATUS_SUCCESS, IoConnectInterrupt(out PKINTERRUPT created, routine, context, spinLock, Line.Vector, Line.Irql,
            Math.Max(irql, Line.Irql), mode, shared, 1, false));
        return created;
    }

    /// <summary>A service routine of a device that has nothing but its pin.</summary>
    KSERVICE_ROUTINE Serving(InterruptPin pin, string name) => (_, _) =>
    {
        bool mine = pin.IsRaised;
        Step($"{name} {(mine ? "claims" : "declines")}");
        pin.Lower();
        return mine;
    };

    /// <summary>Lets everything happen that is due.</summary>
    void Sleep(int milliseconds = 1) => KeDelayExecutionThread(KernelMode, false, -10_000 * milliseconds);

    [Fact]
    public void A_device_that_is_done_interrupts_at_its_IRQL_and_the_routine_queues_a_DPC() => Run(() =>
    {
        var device = new Doorbell(Machine, Line.AddPin(), TimeSpan.FromMilliseconds(1));
        Machine.Hardware.ConnectMemory(0xFE00_0000, 8, device);
        PVOID registers = MmMapIoSpace(0xFE00_0000, 8, MmNonCached);
        PKEVENT answered = Event(SynchronizationEvent);
        PDEVICE_OBJECT deviceObject = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        IoInitializeDpcRequest(deviceObject, (_, d, irp, context) =>
        {
            Assert.Equal(deviceObject, d);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Step($"dpc {context.Address}");
            KeSetEvent(answered, 0, false);
        });
        PKINTERRUPT interrupt = default;
        interrupt = Connect((i, context) =>
        {
            Assert.Equal(interrupt, i);
            Assert.Equal(0x77UL, context.Address);
            Assert.Equal(Line.Irql, KeGetCurrentIrql());
            uint done = READ_REGISTER_ULONG((PULONG)(registers.Address + Doorbell.Status));
            Step($"isr {done}");
            IoRequestDpc(deviceObject, default, new PVOID(done));
            return true;
        }, new PVOID(0x77));
        for (int i = 0; i < 3; i++)
        {
            WRITE_REGISTER_ULONG((PULONG)(registers.Address + Doorbell.Ring), 1);
            Wait(answered);
        }
        Assert.Equal(["isr 1", "dpc 1", "isr 1", "dpc 1", "isr 1", "dpc 1"], Steps);
        Assert.Equal((3U, 3U), (interrupt.DispatchCount, interrupt.ServiceCount));
        IoDisconnectInterrupt(interrupt);
    });

    [Fact]
    public void Routines_on_a_level_sensitive_line_are_asked_until_one_claims() => Run(() =>
    {
        InterruptPin first = Line.AddPin(), second = Line.AddPin(), third = Line.AddPin();
        Connect(Serving(first, "first"));
        Connect(Serving(second, "second"));
        Connect(Serving(third, "third"));
        second.Raise();
        Eventually(() => Steps.Count == 2);
        Sleep();
        Assert.Equal(["first declines", "second claims"], Steps);
        Assert.False(second.IsRaised);
    });

    [Fact]
    public void A_level_sensitive_line_interrupts_until_every_device_released_it() => Run(() =>
    {
        InterruptPin first = Line.AddPin(), second = Line.AddPin();
        first.Raise();
        second.Raise();
        Sleep();
        Assert.Empty(Steps); // masked: nobody is connected
        Connect(Serving(second, "second"));
        Connect(Serving(first, "first"));
        Eventually(() => Steps.Contains("first claims"));
        Assert.Equal("second claims", Steps[0]);
        Assert.Equal(["second declines", "first claims"], Steps.TakeLast(2));
        Sleep(5);
        Assert.Equal("first claims", Steps[^1]);
    });

    [Fact]
    public void A_latched_line_interrupts_once_for_each_edge() => Run(() =>
    {
        InterruptPin pin = Line.AddPin();
        pin.Pulse(); // masked: nobody is connected, and nobody will hear of it
        int calls = 0;
        Connect((_, _) =>
        {
            Interlocked.Increment(ref calls);
            return true;
        }, mode: Latched);
        Sleep();
        Assert.Equal(0, calls);
        pin.Raise();
        pin.Raise();
        Eventually(() => calls == 1);
        Sleep(5);
        Assert.Equal(1, calls);
        pin.Lower();
        pin.Pulse();
        Eventually(() => calls == 2);
        Sleep(5);
        Assert.Equal(2, calls);
    });

    [Fact]
    public void Every_routine_on_a_shared_latched_line_is_asked_until_none_claims() => Run(() =>
    {
        InterruptPin pin = Line.AddPin();
        int work = 2;
        Connect((_, _) =>
        {
            Step("first declines");
            return false;
        }, mode: Latched);
        Connect((_, _) =>
        {
            bool mine = work-- > 0;
            Step(mine ? "second claims" : "second declines");
            return mine;
        }, mode: Latched);
        pin.Pulse();
        Eventually(() => Steps.Count >= 6);
        Assert.Equal(["first declines", "second claims", "first declines", "second claims", "first declines", "second declines"], Steps);
    });

    [Fact]
    public void While_the_only_processor_masks_the_line_nothing_is_served() => Run(Scheduling.Controlled, () =>
    {
        InterruptPin pin = Line.AddPin();
        Connect(Serving(pin, "isr"));
        PKDPC dpc = (PKDPC)Memory(KDPC.SizeOf);
        KeInitializeDpc(dpc, (_, _, _, _) => Step("dpc"), default);
        KeRaiseIrql(Line.Irql, out KIRQL old);
        pin.Raise();
        KeInsertQueueDpc(dpc, default, default);
        KeStallExecutionProcessor(10);
        Step("masked");
        KeLowerIrql(DISPATCH_LEVEL); // the interrupt comes first, the DPC when the IRQL is lower still
        Step("at DISPATCH_LEVEL");
        KeLowerIrql(old);
        Assert.Equal(["masked", "isr claims", "at DISPATCH_LEVEL", "dpc"], Steps);
    });

    [Fact]
    public void An_interrupt_preempts_what_runs_below_its_IRQL() => Run(Scheduling.Controlled, () =>
    {
        InterruptPin pin = Line.AddPin();
        Connect(Serving(pin, "isr"));
        var spinLock = (PKSPIN_LOCK)Memory(8);
        KeInitializeSpinLock(spinLock);
        KeAcquireSpinLock(spinLock, out KIRQL old);
        pin.Raise();
        KeStallExecutionProcessor(1);
        Step("still locked");
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeReleaseSpinLock(spinLock, old);
        Assert.Equal(["isr claims", "still locked"], Steps);
    });

    [Fact]
    public void A_request_that_the_device_takes_back_in_time_is_not_served() => Run(Scheduling.Controlled, () =>
    {
        InterruptPin pin = Line.AddPin();
        PKINTERRUPT interrupt = Connect(Serving(pin, "isr"));
        KeRaiseIrql(Line.Irql, out KIRQL old);
        pin.Raise();
        pin.Lower();
        KeLowerIrql(old);
        Sleep();
        Assert.Equal(0U, interrupt.DispatchCount);
    });

    [Fact]
    public void Only_those_who_share_in_the_same_mode_share_a_vector() => Run(() =>
    {
        KSERVICE_ROUTINE routine = (_, _) => false;
        PKINTERRUPT alone = Connect(routine, shared: false);
        Assert.Equal(STATUS_INVALID_PARAMETER, Try(shared: true, LevelSensitive));
        Assert.Equal(STATUS_INVALID_PARAMETER, Try(shared: false, LevelSensitive));
        IoDisconnectInterrupt(alone);
        PKINTERRUPT shared = Connect(routine);
        Assert.Equal(STATUS_INVALID_PARAMETER, Try(shared: false, LevelSensitive));
        Assert.Equal(STATUS_INVALID_PARAMETER, Try(shared: true, Latched));
        Assert.Equal(STATUS_SUCCESS, Try(shared: true, LevelSensitive));

        NTSTATUS Try(bool shared, KINTERRUPT_MODE mode) =>
            IoConnectInterrupt(out _, routine, default, default, Line.Vector, Line.Irql, Line.Irql, mode, shared, 1, false);
    });

    [Theory]
    [InlineData(0, 0, 0, 0UL)]
    [InlineData(0x100, 0, 0, 1UL)]
    [InlineData(0, 1, 1, 1UL)]
    [InlineData(0, 0, -1, 1UL)]
    [InlineData(0, 0, 16, 1UL)]
    public void A_connection_needs_a_processor_a_vector_and_IRQLs_that_fit(int vector, int irql, int synchronizeIrql, ulong processors) => Run(() =>
    {
        Assert.Equal(STATUS_INVALID_PARAMETER, IoConnectInterrupt(out PKINTERRUPT created, (_, _) => false, default, default, Line.Vector + (uint)vector,
            (byte)(Line.Irql + irql), (byte)(Line.Irql + synchronizeIrql), LevelSensitive, true, processors, false));
        Assert.True(created.IsNull);
    });

    [Fact]
    public void KeSynchronizeExecution_runs_a_routine_as_the_service_routine_runs() => Run(() =>
    {
        PKINTERRUPT interrupt = Connect((_, _) => false, irql: CLOCK_LEVEL);
        bool answer = true;
        KSYNCHRONIZE_ROUTINE routine = context =>
        {
            Assert.Equal(0x77UL, context.Address);
            Assert.Equal(CLOCK_LEVEL, KeGetCurrentIrql());
            Assert.False(KeTestSpinLock(interrupt.ActualLock));
            return answer;
        };
        Assert.True(KeSynchronizeExecution(interrupt, routine, new PVOID(0x77)));
        answer = false;
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.False(KeSynchronizeExecution(interrupt, routine, new PVOID(0x77)));
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(old);
        Assert.True(KeTestSpinLock(interrupt.ActualLock));
    });

    [Fact]
    public void The_interrupt_spin_lock_raises_to_the_interrupts_IRQL_and_back() => Run(() =>
    {
        PKINTERRUPT interrupt = Connect((_, _) => false);
        KeRaiseIrql(APC_LEVEL, out KIRQL passive);
        byte old = KeAcquireInterruptSpinLock(interrupt);
        Assert.Equal(APC_LEVEL, old);
        Assert.Equal(Line.Irql, KeGetCurrentIrql());
        Assert.False(KeTestSpinLock(interrupt.ActualLock));
        KeReleaseInterruptSpinLock(interrupt, old);
        Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(passive);
    });

    [Fact]
    public void Two_routines_can_share_the_drivers_own_lock() => Run(() =>
    {
        var own = (PKSPIN_LOCK)Memory(8);
        KeInitializeSpinLock(own);
        InterruptPin pin = Line.AddPin();
        Connect((_, _) =>
        {
            Step(KeTestSpinLock(own) ? "free" : "held");
            pin.Lower();
            return true;
        }, spinLock: own);
        pin.Raise();
        Eventually(() => Steps.Count > 0);
        Assert.Equal(["held"], Steps);
    });

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 20)];

    [Theory, MemberData(nameof(Seeds))]
    public void Service_routine_and_synchronised_routines_never_overlap(int seed)
    {
        Strategy = new SeededStrategy(seed);
        int rounds = Here == Scheduling.Controlled ? 10 : 300;
        Run(() =>
        {
            var device = new Doorbell(Machine, Line.AddPin(), TimeSpan.FromMicroseconds(2));
            Machine.Hardware.ConnectPorts(0x300, 8, device);
            int inside = 0, served = 0, running = 3;
            PKEVENT over = Event();
            void Critical()
            {
                Assert.Equal(1, Interlocked.Increment(ref inside));
                KeStallExecutionProcessor(1);
                Interlocked.Decrement(ref inside);
            }
            PKINTERRUPT interrupt = Connect((_, _) =>
            {
                uint done = READ_PORT_ULONG((PULONG)(0x300 + Doorbell.Status));
                if (done == 0) return false;
                Critical();
                served += (int)done;
                return true;
            });
            for (int t = 0; t < 3; t++)
            {
                int how = t;
                Start(() =>
                {
                    for (int i = 0; i < rounds; i++)
                    {
                        WRITE_PORT_ULONG((PULONG)(0x300 + Doorbell.Ring), 1);
                        if (how == 0)
                        {
                            KeSynchronizeExecution(interrupt, (KSYNCHRONIZE_ROUTINE)(_ =>
                            {
                                Critical();
                                return true;
                            }), default);
                        }
                        else
                        {
                            byte old = KeAcquireInterruptSpinLock(interrupt);
                            Critical();
                            KeReleaseInterruptSpinLock(interrupt, old);
                        }
                    }
                    if (Interlocked.Decrement(ref running) == 0) KeSetEvent(over, 0, false);
                });
            }
            Wait(over);
            Eventually(() => Volatile.Read(ref served) == 3 * rounds);
            IoDisconnectInterrupt(interrupt);
        });
    }

    [Fact]
    public void After_disconnecting_the_routine_is_not_called_any_more() => Run(() =>
    {
        for (int round = 0; round < 20; round++)
        {
            InterruptPin pin = Line.AddPin();
            bool connected = true;
            var context = Memory(16);
            PKINTERRUPT interrupt = Connect((_, c) =>
            {
                Assert.True(Volatile.Read(ref connected));
                GuestMemory.Ref<ulong>(c.Address)++;
                KeStallExecutionProcessor(5);
                pin.Lower();
                return true;
            }, context);
            pin.Raise();
            if (round % 2 == 0) KeStallExecutionProcessor(3);
            IoDisconnectInterrupt(interrupt);
            Volatile.Write(ref connected, false);
            Free(context);
            pin.Lower();
            pin.Raise();
            Sleep();
            pin.Lower();
        }
    });

    [Fact]
    public void Disconnecting_twice_stops_the_machine() => Stops(BAD_POOL_CALLER, () =>
    {
        PKINTERRUPT interrupt = Connect((_, _) => false);
        IoDisconnectInterrupt(interrupt);
        IoDisconnectInterrupt(interrupt);
    });

    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 1)]
    [InlineData(false, 2)]
    public void A_line_that_no_routine_releases_stops_the_machine(bool claims, int routines)
    {
        PKINTERRUPT first = default;
        ulong routineAddress = 0;
        BugCheckReport report = Stops(HARDWARE_INTERRUPT_STORM, () =>
        {
            first = Connect((_, _) => claims, new PVOID(0x77));
            routineAddress = first.ServiceRoutine.Address;
            for (int i = 1; i < routines; i++) Connect((_, _) => claims);
            Line.AddPin().Raise();
            Sleep(60_000);
        });
        Assert.Equal((routineAddress, 0x77UL, first.Address, (ulong)routines), (report.Parameter1, report.Parameter2, report.Parameter3, report.Parameter4));
    }

    [Fact]
    public void A_routine_that_leaves_another_IRQL_behind_stops_the_machine()
    {
        BugCheckReport report = Stops(IRQL_UNEXPECTED_VALUE, () =>
        {
            InterruptPin pin = Line.AddPin();
            Connect((_, _) =>
            {
                pin.Lower();
                KeRaiseIrql(HIGH_LEVEL, out _);
                return true;
            });
            pin.Raise();
            Sleep(10_000);
        });
        Assert.Equal(((ulong)HIGH_LEVEL << 16) | ((ulong)Line.Irql << 8) | 3, report.Parameter1);
    }

    [Fact]
    public void A_bad_pointer_in_a_service_routine_stops_the_machine_at_its_IRQL()
    {
        BugCheckReport report = Stops(DRIVER_IRQL_NOT_LESS_OR_EQUAL, () =>
        {
            Connect((_, _) =>
            {
                GuestMemory.Ref<ulong>(8)++;
                return true;
            });
            Line.AddPin().Raise();
            Sleep(10_000);
        });
        Assert.Equal(Line.Irql, report.Parameter2);
    }

    // ---- IoConnectInterruptEx

    PIO_CONNECT_INTERRUPT_PARAMETERS Parameters(uint version)
    {
        var parameters = (PIO_CONNECT_INTERRUPT_PARAMETERS)Memory(IO_CONNECT_INTERRUPT_PARAMETERS.SizeOf);
        parameters.Version = version;
        return parameters;
    }

    void Disconnect(uint version, PKINTERRUPT interrupt)
    {
        var parameters = (PIO_DISCONNECT_INTERRUPT_PARAMETERS)Memory(IO_DISCONNECT_INTERRUPT_PARAMETERS.SizeOf);
        parameters.Version = version;
        parameters.ConnectionContext.InterruptObject = interrupt;
        IoDisconnectInterruptEx(parameters);
        Assert.False(Line.AddPin().IsRaised);
    }

    PDEVICE_OBJECT Pdo() => Device((_, irp) => Complete(irp, STATUS_SUCCESS));

    [Theory]
    [InlineData(CONNECT_FULLY_SPECIFIED)]
    [InlineData(CONNECT_FULLY_SPECIFIED_GROUP)]
    public void A_full_description_connects_like_IoConnectInterrupt(uint version) => Run(() =>
    {
        InterruptPin pin = Line.AddPin();
        PIO_CONNECT_INTERRUPT_PARAMETERS parameters = Parameters(version);
        ref IO_CONNECT_INTERRUPT_PARAMETERS.FullySpecifiedFields full = ref parameters.FullySpecified;
        PVOID created = Memory(8);
        full.PhysicalDeviceObject = Pdo();
        full.InterruptObject = created;
        full.ServiceRoutine = Routine(Serving(pin, "isr"));
        full.SynchronizeIrql = full.Irql = Line.Irql;
        full.Vector = Line.Vector;
        full.InterruptMode = LevelSensitive;
        full.ShareVector = true;
        Assert.Equal(STATUS_INVALID_PARAMETER_10, IoConnectInterruptEx(parameters));
        full.ProcessorEnableMask = 1;
        full.Vector = 0x20;
        Assert.Equal(STATUS_NOT_FOUND, IoConnectInterruptEx(parameters));
        full.Vector = Line.Vector;
        Assert.True(GuestMemory.Ref<ulong>(created.Address) == 0);
        Assert.Equal(STATUS_SUCCESS, IoConnectInterruptEx(parameters));
        pin.Raise();
        Eventually(() => Steps.Count > 0);
        Assert.Equal(["isr claims"], Steps);
        Disconnect(version, new PKINTERRUPT(GuestMemory.Ref<ulong>(created.Address)));
        full.PhysicalDeviceObject = default;
        Assert.Equal(STATUS_INVALID_PARAMETER, IoConnectInterruptEx(parameters));
    });

    [Fact]
    public void The_line_assigned_to_a_device_is_connected_by_line() => Run(() =>
    {
        InterruptPin pin = Line.AddPin();
        PIO_CONNECT_INTERRUPT_PARAMETERS parameters = Parameters(CONNECT_LINE_BASED);
        PVOID created = Memory(8);
        parameters.LineBased.InterruptObject = created;
        parameters.LineBased.ServiceRoutine = Routine(Serving(pin, "isr"));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoConnectInterruptEx(parameters));
        PDEVICE_OBJECT pdo = Pdo();
        parameters.LineBased.PhysicalDeviceObject = pdo;
        Assert.Equal(STATUS_NOT_FOUND, IoConnectInterruptEx(parameters));
        Machine.Interrupts.Assign(pdo, Line);
        Assert.Equal(STATUS_SUCCESS, IoConnectInterruptEx(parameters));
        PKINTERRUPT interrupt = new(GuestMemory.Ref<ulong>(created.Address));
        Assert.Equal(Line.Irql, interrupt.SynchronizeIrql);
        pin.Raise();
        Eventually(() => Steps.Count > 0);
        Disconnect(CONNECT_LINE_BASED, interrupt);
    });

    [Fact]
    public void Without_messages_the_fallback_routine_serves_the_line() => Run(() =>
    {
        InterruptPin pin = Line.AddPin();
        PDEVICE_OBJECT pdo = Pdo();
        Machine.Interrupts.Assign(pdo, Line);
        PIO_CONNECT_INTERRUPT_PARAMETERS parameters = Parameters(CONNECT_MESSAGE_BASED);
        Assert.Equal(STATUS_INVALID_PARAMETER, IoConnectInterruptEx(parameters));
        PVOID created = Memory(8);
        parameters.MessageBased.PhysicalDeviceObject = pdo;
        parameters.MessageBased.ConnectionContext = created;
        Assert.Equal(STATUS_NOT_FOUND, IoConnectInterruptEx(parameters));
        Assert.Equal(CONNECT_MESSAGE_BASED, parameters.Version);
        parameters.MessageBased.FallBackServiceRoutine = Routine(Serving(pin, "fallback"));
        Assert.Equal(STATUS_SUCCESS, IoConnectInterruptEx(parameters));
        Assert.Equal(CONNECT_LINE_BASED, parameters.Version);
        pin.Raise();
        Eventually(() => Steps.Count > 0);
        Assert.Equal(["fallback claims"], Steps);
        Disconnect(CONNECT_LINE_BASED, new PKINTERRUPT(GuestMemory.Ref<ulong>(created.Address)));
    });

    [Theory]
    [InlineData(0U)]
    [InlineData(77U)]
    public void An_unknown_version_is_refused(uint version) => Run(() => Assert.Equal(STATUS_INVALID_PARAMETER_1, IoConnectInterruptEx(Parameters(version))));

    [Fact]
    public void Passive_service_routines_are_named_as_not_modelled()
    {
        MachineUnsupportedException e = Assert.Throws<MachineUnsupportedException>(() => Run(() =>
        {
            PIO_CONNECT_INTERRUPT_PARAMETERS parameters = Parameters(CONNECT_FULLY_SPECIFIED);
            parameters.FullySpecified.PhysicalDeviceObject = Pdo();
            parameters.FullySpecified.ProcessorEnableMask = 1;
            parameters.FullySpecified.Vector = Line.Vector;
            IoConnectInterruptEx(parameters);
        }));
        Assert.Contains("PASSIVE_LEVEL", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_HAL_tells_vector_IRQL_and_processors_of_a_line() => Run(() =>
    {
        Assert.Equal(Line.Vector, HalGetInterruptVector(PCIBus, 0, Irq, Irq, out KIRQL irql, out KAFFINITY affinity));
        Assert.Equal((Line.Irql, 1UL), (irql, affinity));
        Assert.Equal(0U, HalGetInterruptVector(PCIBus, 0, 24, 24, out _, out _));
        HashSet<uint> vectors = [.. Enumerable.Range(0, 24).Select(n => HalGetInterruptVector(Isa, 0, (uint)n, (uint)n, out _, out _))];
        Assert.Equal(24, vectors.Count);
        Assert.All(Enumerable.Range(0, 24), n => Assert.InRange(Machine.Interrupts.Line(n).Irql, DISPATCH_LEVEL + 1, CLOCK_LEVEL - 1));
    });
}
