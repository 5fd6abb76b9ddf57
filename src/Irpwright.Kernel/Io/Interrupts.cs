using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Connects interrupt service routines to interrupt lines, and synchronises other routines with them.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-an-isr"/>
public sealed class Interrupts
{
    const uint Tag = 0x7274_6E49; // "Intr"
    const int LineCount = 24;
    // Device IRQLs: above DISPATCH_LEVEL, CMCI_LEVEL left out, below CLOCK_LEVEL.
    static readonly byte[] DeviceIrqls = [3, 4, 6, 7, 8, 9, 10, 11, 12];

    readonly Machine machine;
    readonly Lock gate = new();
    readonly InterruptLine[] lines = new InterruptLine[LineCount];
    readonly Dictionary<PDEVICE_OBJECT, InterruptLine> assigned = [];

    internal Interrupts(Machine machine)
    {
        this.machine = machine;
        for (uint n = 0; n < LineCount; n++)
        {
            uint irql = DeviceIrqls[n % DeviceIrqls.Length];
            lines[n] = new InterruptLine(machine, n, (irql << 4) + n / (uint)DeviceIrqls.Length);
        }
    }

    /// <summary>An input of the interrupt controller.</summary>
    /// <param name="number">0 to 23.</param>
    public InterruptLine Line(int number) => lines[number];

    InterruptLine? LineOf(uint vector) => Array.Find(lines, line => line.Vector == vector);

    /// <summary>Makes a line the interrupt resource of a device, for drivers that connect by CONNECT_LINE_BASED.</summary>
    public void Assign(PDEVICE_OBJECT physicalDeviceObject, InterruptLine line)
    {
        lock (gate) assigned[physicalDeviceObject] = line;
    }

    // ---- Connecting

    /// <summary>Has a routine called when a device interrupts. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="InterruptObject">Receives the interrupt object.</param>
    /// <param name="SpinLock">Held while the routine runs; NULL for one of the interrupt object's own.</param>
    /// <param name="Vector">u.Interrupt.Vector of the translated resource.</param>
    /// <param name="Irql">u.Interrupt.Level of the translated resource.</param>
    /// <param name="SynchronizeIrql">At which the routine runs, at least <paramref name="Irql"/>.</param>
    /// <param name="ProcessorEnableMask">u.Interrupt.Affinity; any processor may take the interrupt.</param>
    /// <param name="FloatingSave">Without effect.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER when no processor was given, the vector does not exist or has another IRQL, or others use it and it
    /// cannot be shared. STATUS_INSUFFICIENT_RESOURCES.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoConnectInterrupt(
        out PKINTERRUPT InterruptObject, PKSERVICE_ROUTINE ServiceRoutine, PVOID ServiceContext, PKSPIN_LOCK SpinLock, uint Vector, byte Irql,
        byte SynchronizeIrql, KINTERRUPT_MODE InterruptMode, BOOLEAN ShareVector, KAFFINITY ProcessorEnableMask, BOOLEAN FloatingSave)
    {
        InterruptObject = default;
        if (ProcessorEnableMask == 0 || LineOf(Vector) is not { } line || Irql != line.Irql || SynchronizeIrql < Irql || SynchronizeIrql > HIGH_LEVEL)
            return NTSTATUS.STATUS_INVALID_PARAMETER;
        return Connect(line, new KINTERRUPT
        {
            ServiceRoutine = ServiceRoutine,
            ServiceContext = ServiceContext,
            ActualLock = SpinLock,
            SynchronizeIrql = SynchronizeIrql,
            FloatingSave = FloatingSave,
            ShareVector = ShareVector,
            Mode = InterruptMode,
        }, out InterruptObject);
    }

    NTSTATUS Connect(InterruptLine line, in KINTERRUPT wanted, out PKINTERRUPT interruptObject)
    {
        interruptObject = default;
        PKINTERRUPT created = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, KINTERRUPT.SizeOf, Tag, 0, zero: true));
        if (created.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        created.Value = wanted;
        created.Type = (short)KOBJECTS.InterruptObject;
        created.Size = KINTERRUPT.SizeOf;
        created.Vector = line.Vector;
        created.Irql = line.Irql;
        if (created.ActualLock.IsNull) created.ActualLock = new PKSPIN_LOCK(created.Address + 0x38);
        if (!line.TryConnect(created))
        {
            machine.Pool.Free(created.Address, Tag);
            return NTSTATUS.STATUS_INVALID_PARAMETER;
        }
        interruptObject = created;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Ends a connection; the service routine does not run any more when this returns. IRQL = PASSIVE_LEVEL.</summary>
    /// <exception cref="BugCheckException">BAD_POOL_CALLER: it is no connected interrupt object.</exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoDisconnectInterrupt(PKINTERRUPT InterruptObject)
    {
        KernelThread thread = machine.CurrentThread;
        if (!Array.Exists(lines, line => line.TryDisconnect(InterruptObject, thread)))
        {
            throw machine.BugChecks.Stop(BugCheckCode.BAD_POOL_CALLER, 7, 0, 0, InterruptObject.Address,
                $"IoDisconnectInterrupt was called for {InterruptObject}, which is no connected interrupt object: it was disconnected before, or never connected.");
        }
        machine.Pool.Free(InterruptObject.Address, Tag);
    }

    /// <summary>Connects by a description (CONNECT_*). IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>
    /// STATUS_INVALID_PARAMETER_1 for a version that does not exist, STATUS_INVALID_PARAMETER_10 without a processor,
    /// STATUS_INVALID_PARAMETER without a device or for a vector in use, STATUS_NOT_FOUND for a device or vector without interrupt.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoConnectInterruptEx(PIO_CONNECT_INTERRUPT_PARAMETERS Parameters)
    {
        switch (Parameters.Version)
        {
            case CONNECT_FULLY_SPECIFIED or CONNECT_FULLY_SPECIFIED_GROUP:
                return ConnectFullySpecified(Parameters.FullySpecified, Parameters.Version);
            case CONNECT_LINE_BASED:
                IO_CONNECT_INTERRUPT_PARAMETERS.LineBasedFields line = Parameters.LineBased;
                return ConnectAssigned(line.PhysicalDeviceObject, line.ServiceRoutine, line.ServiceContext, line.SpinLock, line.SynchronizeIrql, line.InterruptObject);
            case CONNECT_MESSAGE_BASED:
                // No device here sends messages: what is left is the routine for the line.
                IO_CONNECT_INTERRUPT_PARAMETERS.MessageBasedFields message = Parameters.MessageBased;
                if (message.FallBackServiceRoutine.IsNull) return message.PhysicalDeviceObject.IsNull ? NTSTATUS.STATUS_INVALID_PARAMETER : NTSTATUS.STATUS_NOT_FOUND;
                NTSTATUS status = ConnectAssigned(message.PhysicalDeviceObject, message.FallBackServiceRoutine, message.ServiceContext, message.SpinLock,
                    message.SynchronizeIrql, message.ConnectionContext);
                if (status >= 0) Parameters.Version = CONNECT_LINE_BASED;
                return status;
            default:
                return NTSTATUS.STATUS_INVALID_PARAMETER_1;
        }
    }

    NTSTATUS ConnectFullySpecified(in IO_CONNECT_INTERRUPT_PARAMETERS.FullySpecifiedFields wanted, uint version)
    {
        if (wanted.PhysicalDeviceObject.IsNull || version == CONNECT_FULLY_SPECIFIED_GROUP && wanted.Group != 0) return NTSTATUS.STATUS_INVALID_PARAMETER;
        if (wanted.ProcessorEnableMask == 0) return NTSTATUS.STATUS_INVALID_PARAMETER_10;
        if (LineOf(wanted.Vector) is null) return NTSTATUS.STATUS_NOT_FOUND;
        if (wanted.Irql == PASSIVE_LEVEL) throw machine.BugChecks.StopUnsupported("A driver connects an interrupt service routine at PASSIVE_LEVEL; only device IRQLs are modelled.");
        NTSTATUS status = IoConnectInterrupt(out PKINTERRUPT created, wanted.ServiceRoutine, wanted.ServiceContext, wanted.SpinLock, wanted.Vector, wanted.Irql,
            wanted.SynchronizeIrql, wanted.InterruptMode, wanted.ShareVector, wanted.ProcessorEnableMask, wanted.FloatingSave);
        if (status >= 0) GuestMemory.Ref<ulong>(wanted.InterruptObject.Address) = created.Address;
        return status;
    }

    NTSTATUS ConnectAssigned(PDEVICE_OBJECT device, PKSERVICE_ROUTINE routine, PVOID context, PKSPIN_LOCK spinLock, byte irql, PVOID interruptObject)
    {
        if (device.IsNull) return NTSTATUS.STATUS_INVALID_PARAMETER;
        InterruptLine? line;
        lock (gate) line = assigned.GetValueOrDefault(device);
        if (line is null) return NTSTATUS.STATUS_NOT_FOUND;
        NTSTATUS status = Connect(line, new KINTERRUPT
        {
            ServiceRoutine = routine,
            ServiceContext = context,
            ActualLock = spinLock,
            SynchronizeIrql = Math.Max(irql, line.Irql),
            ShareVector = true,
            Mode = KINTERRUPT_MODE.LevelSensitive,
        }, out PKINTERRUPT created);
        if (status >= 0) GuestMemory.Ref<ulong>(interruptObject.Address) = created.Address;
        return status;
    }

    /// <summary>Ends a connection that <see cref="IoConnectInterruptEx"/> made. IRQL = PASSIVE_LEVEL.</summary>
    /// <exception cref="BugCheckException">BAD_POOL_CALLER: it is no connected interrupt object.</exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoDisconnectInterruptEx(PIO_DISCONNECT_INTERRUPT_PARAMETERS Parameters) => IoDisconnectInterrupt(Parameters.ConnectionContext.InterruptObject);

    // ---- Synchronising

    /// <summary>
    /// Calls a routine as the interrupt's service routine is called: at its IRQL, holding its spin lock. IRQL &lt;= the interrupt's
    /// SynchronizeIrql.
    /// </summary>
    /// <returns>What the routine returned.</returns>
    [KernelExport(MaxIrql = CLOCK_LEVEL)]
    public BOOLEAN KeSynchronizeExecution(PKINTERRUPT Interrupt, PKSYNCHRONIZE_ROUTINE SynchronizeRoutine, PVOID SynchronizeContext)
    {
        byte irql = KeAcquireInterruptSpinLock(Interrupt);
        bool result = machine.Code.Call(SynchronizeRoutine, SynchronizeContext);
        KeReleaseInterruptSpinLock(Interrupt, irql);
        return result;
    }

    /// <summary>Keeps an interrupt's service routine from running. IRQL &lt;= the interrupt's SynchronizeIrql.</summary>
    /// <returns>The IRQL to pass to <see cref="KeReleaseInterruptSpinLock"/>.</returns>
    [KernelExport(MaxIrql = CLOCK_LEVEL)]
    public byte KeAcquireInterruptSpinLock(PKINTERRUPT Interrupt)
    {
        byte irql = machine.Irqls.Raise(machine.CurrentThread, Interrupt.SynchronizeIrql);
        machine.SpinLocks.Acquire(Interrupt.ActualLock);
        return irql;
    }

    /// <summary>Ends what <see cref="KeAcquireInterruptSpinLock"/> began. IRQL = the interrupt's SynchronizeIrql.</summary>
    [KernelExport]
    public void KeReleaseInterruptSpinLock(PKINTERRUPT Interrupt, byte OldIrql)
    {
        machine.SpinLocks.Release(Interrupt.ActualLock);
        machine.Irqls.Lower(machine.CurrentThread, OldIrql);
    }

    // ---- What older drivers ask the HAL

    /// <summary>The vector and IRQL of a bus's interrupt request; obsolete. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="BusInterruptLevel">Number of the line.</param>
    /// <param name="BusInterruptVector">Without effect.</param>
    /// <param name="Irql">Receives the device IRQL.</param>
    /// <param name="Affinity">Receives the processors that may take the interrupt.</param>
    /// <returns>The vector for IoConnectInterrupt; 0 when there is no such line.</returns>
    [KernelExport(Module = "hal.dll", MaxIrql = PASSIVE_LEVEL)]
    public uint HalGetInterruptVector(INTERFACE_TYPE InterfaceType, uint BusNumber, uint BusInterruptLevel, uint BusInterruptVector, out byte Irql, out ulong Affinity)
    {
        Irql = 0;
        Affinity = 0;
        if (BusInterruptLevel >= LineCount) return 0;
        Irql = lines[BusInterruptLevel].Irql;
        Affinity = 1;
        return lines[BusInterruptLevel].Vector;
    }
}
