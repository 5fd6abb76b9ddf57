using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>IRPs as packets: allocated, initialised, reused, freed.</summary>
public sealed class IrpAllocation
{
    const uint Tag = 0x20707249; // "Irp "

    readonly Machine machine;
    // By series, of those that somebody watched.
    readonly int[] announced = new int[IrpLabel.SeriesCount];

    internal IrpAllocation(Machine machine) => this.machine = machine;

    /// <summary>Lets a test make allocation fail: asked with the stack size before each allocation.</summary>
    public Func<int, bool>? FailAllocation { get; set; }

    /// <summary>Allocates an IRP that belongs to no thread. IRQL &lt;= DISPATCH_LEVEL. (ALLOC-01, ALLOC-03)</summary>
    /// <returns>Null when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PIRP IoAllocateIrp(sbyte StackSize, BOOLEAN ChargeQuota) =>
        Allocate(StackSize, IrpOrigin.Allocated, ChargeQuota ? IRP_QUOTA_CHARGED : 0);

    /// <summary>Initialises caller-owned memory as an IRP. IRQL &lt;= DISPATCH_LEVEL. (ALLOC-06)</summary>
    /// <param name="PacketSize">Bytes, from IoSizeOfIrp.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoInitializeIrp(PIRP Irp, ushort PacketSize, sbyte StackSize)
    {
        Initialize(Irp, PacketSize, StackSize);
        Announce(Irp, StackSize, IrpOrigin.Initialized);
    }

    /// <summary>Makes an IRP as good as newly allocated, with the given status. IRQL &lt;= DISPATCH_LEVEL. (REUSE-01)</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoReuseIrp(PIRP Irp, NTSTATUS Status)
    {
        machine.Events.Emit(new IrpReused(Irp, Status));
        machine.Hints.Forget(Irp);
        IRP_ALLOCATION_FLAGS flags = Irp.AllocationFlags;
        sbyte stackCount = Irp.StackCount;
        Initialize(Irp, IrpStackLocations.IoSizeOfIrp(stackCount), stackCount);
        Irp.AllocationFlags = flags;
        Irp.IoStatus.Status = Status;
    }

    /// <summary>Releases the packet and nothing else. IRQL &lt;= DISPATCH_LEVEL. (ALLOC-07)</summary>
    /// <exception cref="BugCheckException">0x44 if it is no IRP, or was freed already (ALLOC-08).</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoFreeIrp(PIRP Irp, [Caller] ulong caller = 0)
    {
        if (Irp.Type != IO_TYPE_IRP)
        {
            throw machine.BugChecks.Stop(BugCheckCode.MULTIPLE_IRP_COMPLETE_REQUESTS, Irp.Address, 0, 0, 0,
                $"IoFreeIrp was called with {Format.Address(Irp.Address)}, which is not an IRP: it was freed already, or never was one.");
        }
        machine.Events.Emit(new IrpFreed(Irp));
        Irp.Type = 0;
        machine.Hints.Forget(Irp);
        machine.Pool.Free(Irp.Address, Tag, caller);
    }

    internal PIRP Allocate(sbyte stackSize, IrpOrigin origin, IRP_ALLOCATION_FLAGS allocationFlags = 0)
    {
        if (FailAllocation is { } fails && fails(stackSize)) return default;
        ushort size = IrpStackLocations.IoSizeOfIrp(stackSize);
        // One location more than the packet has: what a driver does to a location that it does not have shows there, and
        // hurts nobody else (IMP-03).
        int blockSize = size + IO_STACK_LOCATION.SizeOf;
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, (ulong)blockSize, Tag, 0);
        if (address == 0) return default;
        GuestMemory.Write(address + size, IO_STACK_LOCATION.SizeOf).Clear();
        PIRP irp = new(address);
        Initialize(irp, size, stackSize);
        irp.AllocationFlags = allocationFlags;
        Announce(irp, stackSize, origin);
        return irp;
    }

    void Announce(PIRP irp, sbyte stackSize, IrpOrigin origin)
    {
        if (machine.Events.Observer is null) return;
        int number = Interlocked.Increment(ref announced[new IrpLabel(origin, 0).Series]);
        machine.Events.Emit(new IrpAllocated(irp, stackSize, new IrpLabel(origin, number)));
    }

    static void Initialize(PIRP irp, ushort size, sbyte stackSize)
    {
        GuestMemory.Write(irp.Address, size).Clear();
        irp.Type = IO_TYPE_IRP;
        irp.Size = size;
        irp.StackCount = stackSize;
        irp.CurrentLocation = (sbyte)(stackSize + 1);
        irp.Tail.Overlay.CurrentStackLocation = new PIO_STACK_LOCATION(irp.Address + IRP.SizeOf + (ulong)stackSize * IO_STACK_LOCATION.SizeOf);
        Lists.Initialize(ThreadListEntryOf(irp));
    }

    internal static PLIST_ENTRY ThreadListEntryOf(PIRP irp) => new(irp.Address + 0x20);
}
