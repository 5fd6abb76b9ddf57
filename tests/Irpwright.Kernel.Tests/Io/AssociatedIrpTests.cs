using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class AssociatedIrpTests : DriverTest
{
    [Fact]
    [Spec("ASSOC-01")]
    public void An_associated_packet_points_to_its_master_and_shares_its_thread() => Run(() =>
    {
        PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PIRP master = IoBuildAsynchronousFsdRequest(IRP_MJ_READ, target, Memory(8), 8, 0, StatusBlock());
        PIRP associated = IoMakeAssociatedIrp(master, 3);
        Assert.Equal(3, associated.StackCount);
        Assert.Equal(4, associated.CurrentLocation);
        Assert.Equal(IRP_ASSOCIATED_IRP, associated.Flags);
        Assert.Equal(master, associated.AssociatedIrp.MasterIrp);
        Assert.Equal(Machine.CurrentThread.Object, associated.Tail.Overlay.Thread);
        Assert.Equal(associated.Address + 0x20, associated.Value.ThreadListEntry.Flink.Address);
        Machine.Irps.FailAllocation = _ => true;
        Assert.True(IoMakeAssociatedIrp(master, 1).IsNull);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("ASSOC-02"), Spec("ASSOC-03"), Spec("COMPLETE-FINAL-02")]
    public void The_last_associated_packet_completes_the_master(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        const int parts = 3;
        PKEVENT over = Event();
        PDEVICE_OBJECT lower = Lowest(how, STATUS_SUCCESS);
        PVOID buffer = Memory(64);
        PMDL whole = IoAllocateMdl(buffer, 64, false, false, default);
        MmProbeAndLockPages(whole, KernelMode, IoReadAccess);
        List<PIRP> associated = [];
        PDEVICE_OBJECT top = Device((_, master) =>
        {
            IoMarkIrpPending(master);
            master.IoStatus.Status = STATUS_SUCCESS;
            master.AssociatedIrp.IrpCount = parts;
            for (int i = 0; i < parts; i++)
            {
                PIRP part = IoMakeAssociatedIrp(master, lower.StackSize);
                IoGetNextIrpStackLocation(part).MajorFunction = IRP_MJ_READ;
                IoBuildPartialMdl(whole, IoAllocateMdl(buffer, 8, false, false, part), buffer, 8);
                associated.Add(part);
            }
            foreach (PIRP part in associated) IoCallDriver(lower, part);
            return STATUS_PENDING;
        });
        PIRP irp = Packet(top);
        OnCompletion(irp, (_, i, _) =>
        {
            Step($"master, {i.AssociatedIrp.IrpCount} left");
            KeSetEvent(over, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        IoCallDriver(top, irp);
        Wait(over);
        Assert.Equal(["master, 0 left"], Steps);
        Assert.All(associated, part => Assert.NotEqual(IO_TYPE_IRP, part.Type));
        Assert.Equal(1, Machine.Mdls.LockedPages); // the master's
        MmUnlockPages(whole);
        Assert.Equal(1, Machine.Pool.LiveBlocks.Count(b => b.Tag == MdlTag));
    });

    const uint MdlTag = 0x206C644D; // "Mdl "

    [Fact]
    [Spec("ASSOC-03"), Spec("COMPLETE-FINAL-02")]
    public void Pages_that_are_locked_for_an_associated_packet_alone_are_left_locked() => Stops(DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS, () =>
    {
        PDEVICE_OBJECT lower = Lowest(Completing.Inline, STATUS_SUCCESS);
        PIRP master = IoAllocateIrp(1, false);
        master.AssociatedIrp.IrpCount = 2;
        PIRP part = IoMakeAssociatedIrp(master, lower.StackSize);
        MmProbeAndLockPages(IoAllocateMdl(Memory(8), 8, false, false, part), KernelMode, IoReadAccess);
        IoCallDriver(lower, part);
    });

    [Fact]
    [Spec("ASSOC-04")]
    public void A_routine_that_keeps_an_associated_packet_keeps_the_masters_count() => Run(() =>
    {
        PDEVICE_OBJECT lower = Lowest(Completing.Inline, STATUS_SUCCESS);
        PDEVICE_OBJECT top = Device((_, master) =>
        {
            master.AssociatedIrp.IrpCount = 1;
            PIRP part = IoMakeAssociatedIrp(master, lower.StackSize);
            OnCompletion(part, Keep("part"));
            IoCallDriver(lower, part);
            Assert.Equal(1, master.AssociatedIrp.IrpCount);
            IoFreeIrp(part);
            Step("driver completes the master");
            return Complete(master, STATUS_SUCCESS);
        });
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("master"));
        IoCallDriver(top, irp);
        Assert.Equal(["part", "driver completes the master", "master"], Steps);
    });

    [Theory]
    [InlineData(STATUS_SUCCESS, STATUS_UNSUCCESSFUL, STATUS_UNSUCCESSFUL)]
    [InlineData(STATUS_UNSUCCESSFUL, STATUS_SUCCESS, STATUS_UNSUCCESSFUL)]
    [InlineData(STATUS_UNSUCCESSFUL, STATUS_NO_SUCH_DEVICE, STATUS_NO_SUCH_DEVICE)]
    [InlineData(STATUS_NO_SUCH_DEVICE, STATUS_UNSUCCESSFUL, STATUS_NO_SUCH_DEVICE)]
    [InlineData(STATUS_NO_SUCH_DEVICE, STATUS_VERIFY_REQUIRED, STATUS_VERIFY_REQUIRED)]
    [InlineData(STATUS_SUCCESS, STATUS_FT_READ_FROM_COPY, STATUS_SUCCESS)]
    [Spec("ASSOC-05")]
    public void Statuses_merge_by_the_documented_precedence(NTSTATUS present, NTSTATUS added, NTSTATUS merged) => Run(() =>
    {
        PIRP master = IoAllocateIrp(1, false);
        master.IoStatus.Status = present;
        IoSetMasterIrpStatus(master, added);
        Assert.Equal(merged, master.IoStatus.Status);
    });

    [Fact]
    [Spec("ASSOC-06")]
    public void Master_count_and_system_buffer_share_a_slot_and_cancelling_the_master_cancels_no_part() => Run(() =>
    {
        PIRP master = IoAllocateIrp(1, false);
        PIRP part = IoMakeAssociatedIrp(master, 1);
        Assert.Equal(master.Address, part.AssociatedIrp.SystemBuffer.Address);
        master.AssociatedIrp.IrpCount = 5;
        Assert.Equal(5UL, master.AssociatedIrp.SystemBuffer.Address);
        IoCancelIrp(master);
        Assert.True(master.Cancel);
        Assert.False(part.Cancel);
    });
}
