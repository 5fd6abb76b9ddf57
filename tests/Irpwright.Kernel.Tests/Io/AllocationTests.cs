using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class AllocationTests : DriverTest
{
    /// <summary>A packet as <c>IoAllocateIrp</c> and <c>IoReuseIrp</c> make it, AllocationFlags aside.</summary>
    static byte[] Fresh(PIRP irp, int stackSize)
    {
        byte[] bytes = new byte[0xD0 + stackSize * 0x48];
        BitConverter.TryWriteBytes(bytes.AsSpan(0x00), (short)6);
        BitConverter.TryWriteBytes(bytes.AsSpan(0x02), (ushort)bytes.Length);
        BitConverter.TryWriteBytes(bytes.AsSpan(0x20), irp.Address + 0x20); // ThreadListEntry
        BitConverter.TryWriteBytes(bytes.AsSpan(0x28), irp.Address + 0x20);
        bytes[0x42] = (byte)stackSize;
        bytes[0x43] = (byte)(stackSize + 1);
        bytes[0x47] = (byte)irp.AllocationFlags;
        BitConverter.TryWriteBytes(bytes.AsSpan(0xB8), irp.Address + (ulong)bytes.Length); // CurrentStackLocation
        return bytes;
    }

    static byte[] Whole(PIRP irp) => Bytes(irp, irp.Size);

    [Theory]
    [InlineData(1, PASSIVE_LEVEL)]
    [InlineData(2, DISPATCH_LEVEL)]
    [InlineData(15, DISPATCH_LEVEL)]
    [Spec("ALLOC-01"), Spec("ALLOC-03"), Spec("ALLOC-04")]
    public void A_new_packet_is_zero_but_for_a_few_fields(sbyte stackSize, byte irql) => Run(() =>
    {
        // Memory that was used before, so that zero comes from the allocation.
        PIRP used = IoAllocateIrp(stackSize, false);
        Fill(new PVOID(used.Address + 8), used.Size - 8);
        IoFreeIrp(used);
        KeRaiseIrql(irql, out KIRQL old);
        PIRP irp = IoAllocateIrp(stackSize, false);
        KeLowerIrql(old);
        Assert.Equal(Fresh(irp, stackSize), Whole(irp));
        Assert.True(irp.Tail.Overlay.Thread.IsNull);
        Assert.Equal(KernelMode, irp.RequestorMode);
        Assert.Equal(0UL, irp.Address % 16);
    });

    [Theory]
    [InlineData(1, 0x118)]
    [InlineData(2, 0x160)]
    [InlineData(127, 0x2488)]
    [Spec("ALLOC-02")]
    public void The_size_of_a_packet_is_its_header_and_its_locations(sbyte stackSize, ushort size) => Run(() => Assert.Equal(size, IoSizeOfIrp(stackSize)));

    [Fact]
    [Spec("ALLOC-03"), Spec("BUILD-01")]
    public void Without_memory_every_allocation_returns_null() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        Machine.Irps.FailAllocation = _ => true;
        Assert.True(IoAllocateIrp(1, false).IsNull);
        Assert.True(IoBuildDeviceIoControlRequest(0, device, default, 0, default, 0, false, Event(), StatusBlock()).IsNull);
        Assert.True(IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, device, default, 0, null, Event(), StatusBlock()).IsNull);
        Assert.True(IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, device, default, 0, null, StatusBlock()).IsNull);
        Machine.Irps.FailAllocation = null;
        Assert.False(IoAllocateIrp(1, false).IsNull);
    });

    [Fact]
    [Spec("ALLOC-04")]
    public void A_new_packet_is_not_cancelled_when_its_thread_ends() => Run(() =>
    {
        PIRP irp = default;
        PKEVENT allocated = Event();
        Start(() =>
        {
            irp = IoAllocateIrp(1, false);
            KeSetEvent(allocated, 0, false);
        });
        Wait(allocated);
        Assert.False(irp.Cancel);
        IoFreeIrp(irp);
    });

    [Theory]
    [InlineData(1, "top")]
    [InlineData(2, "top middle")]
    [InlineData(3, "top middle bottom")]
    [Spec("ALLOC-05")]
    public void The_driver_that_runs_out_of_locations_stops_the_machine(sbyte stackSize, string reached)
    {
        void Send()
        {
            PDEVICE_OBJECT bottom = Device((_, irp) =>
            {
                Step("bottom");
                return Complete(irp, STATUS_SUCCESS);
            });
            PDEVICE_OBJECT middle = Forward("middle", bottom);
            PDEVICE_OBJECT top = Forward("top", middle);
            Assert.Equal(3, top.StackSize);
            PIRP irp = IoAllocateIrp(stackSize, false);
            OnCompletion(irp, Keep("originator"));
            IoCallDriver(top, irp);
        }
        // What lies below the lowest location is the header: only a forward that writes nothing there gets as far as the check.
        PDEVICE_OBJECT Forward(string name, PDEVICE_OBJECT lower) => Device((_, irp) =>
        {
            Step(name);
            return IoCallDriver(lower, irp);
        }, above: lower);

        if (stackSize == 3) Run(Send);
        else Stops(NO_MORE_IRP_STACK_LOCATIONS, Send);
        Assert.Equal(reached, string.Join(' ', Steps.Except(["originator"])));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0x40)]
    [Spec("ALLOC-06")]
    public void Memory_of_the_caller_becomes_a_packet(int extra) => Run(() =>
    {
        int size = IoSizeOfIrp(2) + extra;
        PVOID memory = Memory(size + 16);
        Fill(memory, size + 16);
        PIRP irp = new(memory.Address);
        IoInitializeIrp(irp, (ushort)size, 2);
        byte[] expected = [.. Fresh(irp, 2), .. new byte[extra]];
        BitConverter.TryWriteBytes(expected.AsSpan(0x02), (ushort)size);
        BitConverter.TryWriteBytes(expected.AsSpan(0xB8), irp.Address + IoSizeOfIrp(2)); // past the locations, not past the memory
        Assert.Equal(expected, Bytes(memory, size));
        Assert.Equal(Enumerable.Range(size, 16).Select(i => (byte)(0x80 | i)), Bytes(new PVOID(memory.Address + (ulong)size), 16));
    });

    [Fact]
    [Spec("ALLOC-06")]
    public void Initialising_an_allocated_packet_destroys_its_allocation_flags() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(1, true);
        Assert.NotEqual((IRP_ALLOCATION_FLAGS)0, irp.AllocationFlags);
        IoInitializeIrp(irp, IoSizeOfIrp(1), 1);
        Assert.Equal((IRP_ALLOCATION_FLAGS)0, irp.AllocationFlags);
    });

    [Theory]
    [InlineData(IrpOrigin.Allocated)]
    [InlineData(IrpOrigin.Asynchronous)]
    [InlineData(IrpOrigin.Associated)]
    [Spec("ALLOC-07")]
    public void Freeing_releases_the_packet_and_nothing_attached(IrpOrigin origin) => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, i) => Complete(i, STATUS_SUCCESS));
        PIRP irp = origin switch
        {
            IrpOrigin.Asynchronous => IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, device, default, 0, null, StatusBlock()),
            IrpOrigin.Associated => IoMakeAssociatedIrp(Packet(device), 1),
            _ => Packet(device),
        };
        PVOID buffer = Memory(64);
        GuestMemory.Write(buffer.Address, 64).Fill(0x33);
        PVOID user = Memory(64);
        irp.UserBuffer = user;
        PMDL mdl = IoAllocateMdl(buffer, 64, false, false, irp);
        if (origin != IrpOrigin.Associated) irp.AssociatedIrp.SystemBuffer = buffer;
        OnCompletion(irp, Keep("kept"));
        IoCallDriver(device, irp);

        IoFreeIrp(irp);

        // Each can still be used, and freed by whoever owns it.
        Assert.Equal(64U, mdl.ByteCount);
        Assert.Equal(Enumerable.Repeat((byte)0x33, 64), Bytes(buffer, 64));
        IoFreeMdl(mdl);
        Free(buffer);
        Free(user);
    });

    public class What_is_no_packet : DriverTest
    {
        [Fact]
        [Spec("ALLOC-08")]
        public void Cannot_be_freed()
        {
            PIRP memory = default;
            BugCheckReport report = Stops(MULTIPLE_IRP_COMPLETE_REQUESTS, () =>
            {
                memory = new PIRP(Memory(IoSizeOfIrp(1)).Address);
                IoFreeIrp(memory);
            });
            Assert.Equal(memory.Address, report.Parameter1);
        }

        [Fact]
        [Spec("ALLOC-08")]
        public void Cannot_be_freed_twice() => Stops(MULTIPLE_IRP_COMPLETE_REQUESTS, () =>
        {
            PIRP irp = IoAllocateIrp(1, false);
            IoFreeIrp(irp);
            IoFreeIrp(irp);
        });

        [Fact]
        [Spec("ALLOC-08")]
        public void Cannot_be_completed_after_it_was_freed() => Stops(MULTIPLE_IRP_COMPLETE_REQUESTS, () =>
        {
            PDEVICE_OBJECT device = Device((_, irp) =>
            {
                IoFreeIrp(irp);
                return Complete(irp, STATUS_SUCCESS);
            });
            IoCallDriver(device, Packet(device));
        });
    }

    [Theory]
    [InlineData(Completing.Inline)]
    [InlineData(Completing.FromAnotherThread)]
    [Spec("ALLOC-10")]
    public void A_driver_allocated_packet_that_reaches_the_top_stops_the_machine(Completing how)
    {
        BugCheckException stop = Assert.Throws<BugCheckException>(() => Run(() =>
        {
            PDEVICE_OBJECT device = Lowest(how, STATUS_SUCCESS);
            PIRP irp = Packet(device);
            OnCompletion(irp, Continue("originator"));
            IoCallDriver(device, irp);
            Wait(Event());
        }));
        Assert.Contains("driver-allocated IRP", stop.Report.Explanation, StringComparison.Ordinal);
        Assert.Contains("STATUS_MORE_PROCESSING_REQUIRED", stop.Report.Explanation, StringComparison.Ordinal);
        Assert.Equal(["originator"], Steps);
    }

    public class Reuse : DriverTest
    {
        [Theory]
        [InlineData(true)]
        [InlineData(false)]
        [Spec("REUSE-01"), Spec("REUSE-02"), Spec("REUSE-03")]
        public void Makes_everything_fresh_but_allocation_flags_and_status(bool allocated) => Run(() =>
        {
            PIRP irp;
            if (allocated)
            {
                irp = IoAllocateIrp(2, true);
            }
            else
            {
                irp = new PIRP(Memory(IoSizeOfIrp(2)).Address);
                IoInitializeIrp(irp, IoSizeOfIrp(2), 2);
            }
            IRP_ALLOCATION_FLAGS flags = irp.AllocationFlags;
            PVOID buffer = Memory(16);
            GuestMemory.Write(buffer.Address, 16).Fill(0x44);
            // Everything but type, sizes and allocation flags.
            Fill(new PVOID(irp.Address + 0x08), 0x42 - 0x08);
            Fill(new PVOID(irp.Address + 0x43), 0x47 - 0x43);
            Fill(new PVOID(irp.Address + 0x48), IoSizeOfIrp(2) - 0x48);
            irp.AssociatedIrp.SystemBuffer = buffer;

            IoReuseIrp(irp, STATUS_DEVICE_NOT_READY);

            byte[] expected = Fresh(irp, 2);
            BitConverter.TryWriteBytes(expected.AsSpan(0x30), (int)STATUS_DEVICE_NOT_READY);
            Assert.Equal(expected, Whole(irp));
            Assert.Equal(flags, irp.AllocationFlags);
            Assert.Equal(allocated, (flags & IRP_QUOTA_CHARGED) != 0);
            Assert.Equal(Enumerable.Repeat((byte)0x44, 16), Bytes(buffer, 16)); // forgotten, not released
            Free(buffer);
        });

        [Fact]
        [Spec("REUSE-03")]
        public void By_initialising_again_is_possible_for_packets_without_quota() => Run(() =>
        {
            PDEVICE_OBJECT device = Device((_, i) => Complete(i, STATUS_SUCCESS));
            PIRP irp = Packet(device);
            for (int i = 0; i < 3; i++)
            {
                OnCompletion(irp, Keep("kept"));
                IoCallDriver(device, irp);
                IoInitializeIrp(irp, IoSizeOfIrp(1), 1);
            }
            IoFreeIrp(irp);
            Assert.Equal(["kept", "kept", "kept"], Steps);
        });

        [Theory, MemberData(nameof(EveryCompletion))]
        [Spec("REUSE-04")]
        public void Works_in_the_owners_routine_and_after_it_kept_the_packet(Completing how, Scheduling scheduling) => Run(scheduling, () =>
        {
            PDEVICE_OBJECT device = Lowest(how, STATUS_SUCCESS);
            PKEVENT kept = Event(SynchronizationEvent);
            PIRP irp = Packet(device);
            for (int i = 0; i < 4; i++)
            {
                bool inRoutine = i % 2 == 0;
                IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
                OnCompletion(irp, (_, packet, _) =>
                {
                    if (inRoutine) IoReuseIrp(packet, STATUS_SUCCESS);
                    Step("kept");
                    KeSetEvent(kept, 0, false);
                    return STATUS_MORE_PROCESSING_REQUIRED;
                });
                IoCallDriver(device, irp);
                Wait(kept);
                if (!inRoutine) IoReuseIrp(irp, STATUS_SUCCESS);
            }
            IoFreeIrp(irp);
            Assert.Equal(4, Steps.Count);
        });
    }
}
