namespace Irpwright.Samples;

/// <summary>The driver of a block device with registers, a data port and an interrupt. Twin of <c>startio.c</c>.</summary>
/// <remarks>
/// \Device\StartIo0 (\DosDevices\StartIo0), buffered I/O in whole blocks of 512 bytes. The device works on one block at a time:
/// <code>
/// physical 0xFE000000   COMMAND  write: 1 = read a block, 2 = write a block, 0 = stop interrupting, 3 = begin interrupting
///          +4           STATUS   read: 1 = done, 2 = failed; writing 1 acknowledges, which ends the interrupt request
///          +8           BLOCK    number of the block
///          +C           ID       0x314F4953
/// port     0x300        DATA     16 bits: the 512 bytes of the block, one word after the other
/// IRQ      11           level-sensitive
/// </code>
/// READ and WRITE go through IoStartPacket, so that StartIo gets one at a time and the others wait in the device object's queue, where
/// each can be cancelled. StartIo programs the device; its interrupt is acknowledged by the ISR, which queues DpcForIsr; that moves the
/// data, programs the next block, or completes the IRP and starts the next one.
/// <para>
/// Patterns: "StartIo Routines in Lowest-Level Drivers", "Cancel Routines in Drivers with StartIo Routines", "Writing an ISR".
/// </para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/startio-routines-in-lowest-level-drivers"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-routines-in-drivers-with-startio-routines"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-an-isr"/>
public sealed class StartIo : WdmDriver
{
    const string STARTIO_DEVICE_NAME = @"\Device\StartIo0";
    const string STARTIO_LINK_NAME = @"\DosDevices\StartIo0";
    const PHYSICAL_ADDRESS STARTIO_REGISTERS = 0xFE000000;
    const ulong STARTIO_DATA_PORT = 0x300;
    const uint STARTIO_IRQ = 11;
    const uint STARTIO_ID = 0x314F4953;
    const uint STARTIO_BLOCK_SIZE = 512;

    const uint STARTIO_COMMAND_DISABLE = 0;
    const uint STARTIO_COMMAND_READ = 1;
    const uint STARTIO_COMMAND_WRITE = 2;
    const uint STARTIO_COMMAND_ENABLE = 3;

    const uint STARTIO_STATUS_DONE = 1;
    const uint STARTIO_STATUS_FAILED = 2;

    // Registers are no memory: they have addresses, but no C# variable lies there.
    const ulong STARTIO_COMMAND = 0x0;
    const ulong STARTIO_STATUS = 0x4;
    const ulong STARTIO_BLOCK = 0x8;
    const ulong STARTIO_ID_REGISTER = 0xC;
    const ulong STARTIO_REGISTERS_SIZE = 0x10;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        PUNICODE_STRING deviceName = RTL_CONSTANT_STRING(STARTIO_DEVICE_NAME);
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(STARTIO_LINK_NAME);

        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<STARTIO_EXTENSION>(), deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PSTARTIO_EXTENSION)deviceObject.DeviceExtension;
        extension.DeviceObject = deviceObject;
        IoInitializeDpcRequest(deviceObject, StartIoDpcForIsr);

        // StartIo calls IoStartNextPacket for cancelled IRPs: a long queue of them must not nest.
        IoSetStartIoAttributes(deviceObject, true, true);

        extension.Registers = MmMapIoSpace(STARTIO_REGISTERS, STARTIO_REGISTERS_SIZE, MmNonCached);
        if (extension.Registers.IsNull)
        {
            IoDeleteDevice(deviceObject);
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        status = StartIoConnect(extension);
        if (status.IsSuccess)
        {
            status = IoCreateSymbolicLink(linkName, deviceName);
            if (!status.IsSuccess)
            {
                IoDisconnectInterrupt(extension.Interrupt);
            }
        }

        if (!status.IsSuccess)
        {
            MmUnmapIoSpace(extension.Registers, STARTIO_REGISTERS_SIZE);
            IoDeleteDevice(deviceObject);
            return status;
        }

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(StartIoDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(StartIoDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(StartIoDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(StartIoDispatchReadWrite);
        DriverObject.DriverStartIo = StartIoRoutine(StartIoStart);
        DriverObject.DriverUnload = Routine(StartIoUnload);

        WRITE_REGISTER_ULONG(Register(extension, STARTIO_COMMAND), STARTIO_COMMAND_ENABLE);

        deviceObject.Flags |= DO_BUFFERED_IO;
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    NTSTATUS StartIoConnect(PSTARTIO_EXTENSION Extension)
    {
        if (READ_REGISTER_ULONG(Register(Extension, STARTIO_ID_REGISTER)) != STARTIO_ID)
        {
            return STATUS_NO_SUCH_DEVICE;
        }

        uint vector = HalGetInterruptVector(Internal, 0, STARTIO_IRQ, STARTIO_IRQ, out KIRQL irql, out KAFFINITY affinity);

        return IoConnectInterrupt(
            out Extension.Interrupt, StartIoInterrupt, Extension, default, vector, irql, irql, LevelSensitive, true, affinity, false);
    }

    void StartIoUnload(PDRIVER_OBJECT DriverObject)
    {
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(STARTIO_LINK_NAME);
        PDEVICE_OBJECT deviceObject = DriverObject.DeviceObject;
        var extension = (PSTARTIO_EXTENSION)deviceObject.DeviceExtension;

        WRITE_REGISTER_ULONG(Register(extension, STARTIO_COMMAND), STARTIO_COMMAND_DISABLE);
        IoDisconnectInterrupt(extension.Interrupt);

        // All files are closed, so every IRP is completed; but the DPC that completed the last may not have returned yet.
        KeFlushQueuedDpcs();

        MmUnmapIoSpace(extension.Registers, STARTIO_REGISTERS_SIZE);
        IoDeleteSymbolicLink(linkName);
        IoDeleteDevice(deviceObject);
    }

    NTSTATUS StartIoDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp) => StartIoComplete(Irp, STATUS_SUCCESS, 0);

    NTSTATUS StartIoDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        // READ and WRITE share the layout of their parameters.
        if (location.Parameters.Read.ByteOffset < 0 || location.Parameters.Read.ByteOffset % STARTIO_BLOCK_SIZE != 0 ||
            location.Parameters.Read.Length % STARTIO_BLOCK_SIZE != 0)
        {
            return StartIoComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }

        if (location.Parameters.Read.Length == 0)
        {
            return StartIoComplete(Irp, STATUS_SUCCESS, 0);
        }

        IoMarkIrpPending(Irp);
        IoStartPacket(DeviceObject, Irp, default, StartIoCancel);

        return STATUS_PENDING;
    }

    // An IRP that StartIo has is left alone: its device will be done with it soon.
    void StartIoCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        bool removed = false;

        if (Irp != DeviceObject.CurrentIrp)
        {
            removed = KeRemoveEntryDeviceQueue(
                PKDEVICE_QUEUE.To(ref DeviceObject.DeviceQueue), PKDEVICE_QUEUE_ENTRY.To(ref Irp.Tail.Overlay.DeviceQueueEntry));
        }

        IoReleaseCancelSpinLock(Irp.CancelIrql);

        if (removed)
        {
            StartIoComplete(Irp, STATUS_CANCELLED, 0);
        }
    }

    void StartIoStart(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSTARTIO_EXTENSION)DeviceObject.DeviceExtension;

        IoAcquireCancelSpinLock(out KIRQL irql);

        if (Irp != DeviceObject.CurrentIrp)
        {
            IoReleaseCancelSpinLock(irql);
            return;
        }

        IoSetCancelRoutine(Irp, null);
        bool cancelled = Irp.Cancel;
        IoReleaseCancelSpinLock(irql);

        if (cancelled)
        {
            IoStartNextPacket(DeviceObject, true);
            StartIoComplete(Irp, STATUS_CANCELLED, 0);
            return;
        }

        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        extension.Buffer = (PUCHAR)Irp.AssociatedIrp.SystemBuffer;
        extension.Block = (uint)(location.Parameters.Read.ByteOffset / STARTIO_BLOCK_SIZE);
        extension.BlocksLeft = location.Parameters.Read.Length / STARTIO_BLOCK_SIZE;
        KeSynchronizeExecution(extension.Interrupt, StartIoProgram, extension);
    }

    // At the interrupt's IRQL, holding its spin lock.
    BOOLEAN StartIoProgram(PVOID SynchronizeContext)
    {
        var extension = (PSTARTIO_EXTENSION)SynchronizeContext;
        bool write = IoGetCurrentIrpStackLocation(extension.DeviceObject.CurrentIrp).MajorFunction == IRP_MJ_WRITE;

        WRITE_REGISTER_ULONG(Register(extension, STARTIO_BLOCK), extension.Block);

        if (write)
        {
            WRITE_PORT_BUFFER_USHORT((PUSHORT)STARTIO_DATA_PORT, (PUSHORT)extension.Buffer.Address, STARTIO_BLOCK_SIZE / sizeof(ushort));
        }

        WRITE_REGISTER_ULONG(Register(extension, STARTIO_COMMAND), write ? STARTIO_COMMAND_WRITE : STARTIO_COMMAND_READ);

        return true;
    }

    BOOLEAN StartIoInterrupt(PKINTERRUPT Interrupt, PVOID ServiceContext)
    {
        var extension = (PSTARTIO_EXTENSION)ServiceContext;
        uint status = READ_REGISTER_ULONG(Register(extension, STARTIO_STATUS));

        if ((status & STARTIO_STATUS_DONE) == 0)
        {
            return false;
        }

        WRITE_REGISTER_ULONG(Register(extension, STARTIO_STATUS), STARTIO_STATUS_DONE);
        extension.Status = status;
        IoRequestDpc(extension.DeviceObject, extension.DeviceObject.CurrentIrp, default);

        return true;
    }

    void StartIoDpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PSTARTIO_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        // The device is quiet until it gets the next command: nothing changes Status meanwhile.
        if ((extension.Status & STARTIO_STATUS_FAILED) == 0)
        {
            if (location.MajorFunction == IRP_MJ_READ)
            {
                READ_PORT_BUFFER_USHORT((PUSHORT)STARTIO_DATA_PORT, (PUSHORT)extension.Buffer.Address, STARTIO_BLOCK_SIZE / sizeof(ushort));
            }

            extension.Buffer = new PUCHAR(extension.Buffer.Address + STARTIO_BLOCK_SIZE);
            extension.Block++;

            if (--extension.BlocksLeft > 0)
            {
                KeSynchronizeExecution(extension.Interrupt, StartIoProgram, extension);
                return;
            }
        }

        uint transferred = location.Parameters.Read.Length - extension.BlocksLeft * STARTIO_BLOCK_SIZE;
        Irp.IoStatus.Status = (extension.Status & STARTIO_STATUS_FAILED) == 0 ? STATUS_SUCCESS : STATUS_IO_DEVICE_ERROR;

        IoStartNextPacket(DeviceObject, true);
        StartIoComplete(Irp, Irp.IoStatus.Status, transferred);
    }

    NTSTATUS StartIoComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }

    static PULONG Register(PSTARTIO_EXTENSION Extension, ulong Offset) => new(Extension.Registers.Address + Offset);
}

struct STARTIO_EXTENSION
{
    public PDEVICE_OBJECT DeviceObject;
    public PVOID Registers;
    public PKINTERRUPT Interrupt;
    public PUCHAR Buffer; // of the current IRP, at the block that is under way
    public uint Block;
    public uint BlocksLeft;
    public uint Status; // as the ISR found it; guarded by the interrupt's spin lock
}

[PointerTo(typeof(STARTIO_EXTENSION))] readonly partial struct PSTARTIO_EXTENSION;
