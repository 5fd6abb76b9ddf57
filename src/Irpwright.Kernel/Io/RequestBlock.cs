using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Status block, event and security context of one request of the kernel's own, in nonpaged pool.</summary>
readonly struct RequestBlock : IDisposable
{
    const uint Tag = 0x6E536F49; // "IoSn"

    readonly Machine machine;
    readonly ulong address;

    internal RequestBlock(Machine machine)
    {
        this.machine = machine;
        address = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, 0x40, Tag, 0);
        GuestMemory.Write(address, 0x40).Clear();
        machine.Dispatcher.KeInitializeEvent(Event, EVENT_TYPE.NotificationEvent, false);
    }

    internal PIO_STATUS_BLOCK Iosb => new(address);

    internal PKEVENT Event => new(address + 0x10);

    internal PIO_SECURITY_CONTEXT SecurityContext => new(address + 0x28);

    /// <summary>Sends an IRP with this status block and event, and waits for its end.</summary>
    internal NTSTATUS Send(PIRP irp, PDEVICE_OBJECT target)
    {
        irp.UserIosb = Iosb;
        irp.UserEvent = Event;
        NTSTATUS status = machine.Dispatch.IoCallDriver(target, irp);
        if (status != NTSTATUS.STATUS_PENDING) return status;
        machine.Dispatcher.KeWaitForSingleObject(Event, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
        return Iosb.Status;
    }

    public void Dispose() => machine.Pool.Free(address, Tag);
}
