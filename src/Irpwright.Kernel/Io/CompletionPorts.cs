using System.Collections.Concurrent;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What a completion port tells about one request.</summary>
/// <param name="Key">That the file was associated with.</param>
/// <param name="ApcContext">That the request was sent with: the OVERLAPPED of a program.</param>
public readonly record struct CompletionPacket(ulong Key, ulong ApcContext, NTSTATUS Status, ulong Information);

/// <summary>I/O completion ports: queues in which the requests on files wait when they are over (COMPLETE-FINAL-16, -17).</summary>
/// <remarks>A port is a KQUEUE; the packets in it are the IRPs themselves, and small blocks for those that programs post.</remarks>
/// <seealso href="https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports"/>
public sealed class CompletionPorts
{
    const uint PortTag = 0x70436F49; // "IoCp"
    const uint PacketTag = 0x50436F49; // "IoCP"

    // IRP.Tail.Overlay.ListEntry; PacketType lies behind it in both kinds of packet.
    const ulong ListEntryOffset = 0xA8;
    const uint IrpPacket = 0;
    const uint PostedPacket = 1;

    readonly Machine machine;
    readonly ConcurrentQueue<PIRP> orphans = new();
    readonly PWORK_QUEUE_ITEM orphansItem;

    internal CompletionPorts(Machine machine)
    {
        this.machine = machine;
        machine.Objects.Types.IoCompletion.Deleting = port => RunDown((PKQUEUE)port);
        orphansItem = new PWORK_QUEUE_ITEM(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, WORK_QUEUE_ITEM.SizeOf, PortTag, 0, zero: true));
        orphansItem.WorkerRoutine = machine.Code.Routine(new WORKER_THREAD_ROUTINE(FinishOrphans));
    }

    /// <summary>What a program posts: the part of an IRP that a port looks at, with the values behind it.</summary>
    struct Posted
    {
        internal LIST_ENTRY ListEntry;
        internal uint PacketType;
        internal CompletionPacket Packet;
    }

    /// <summary>Creates a port (NtCreateIoCompletion).</summary>
    /// <returns>A counted object; give the reference back when the port is not needed any more. Null when memory is short.</returns>
    public PKQUEUE Create()
    {
        PKQUEUE port = new(machine.Objects.Create(machine.Objects.Types.IoCompletion, KQUEUE.SizeOf));
        if (!port.IsNull) machine.Queues.KeInitializeQueue(port, 0);
        return port;
    }

    /// <summary>Has the requests on an asynchronous file reported to a port (FileCompletionInformation).</summary>
    /// <returns>STATUS_INVALID_PARAMETER for a synchronous file, or one that has a port already.</returns>
    public NTSTATUS Associate(PFILE_OBJECT file, PKQUEUE port, ulong key)
    {
        if ((file.Flags & FO_SYNCHRONOUS_IO) != 0 || !file.CompletionContext.IsNull) return NTSTATUS.STATUS_INVALID_PARAMETER;
        PIO_COMPLETION_CONTEXT context = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, IO_COMPLETION_CONTEXT.SizeOf, PortTag, 0));
        if (context.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        machine.Objects.ObfReferenceObject(port);
        context.Value = new IO_COMPLETION_CONTEXT { Port = port, Key = new PVOID(key) };
        file.CompletionContext = context;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Sets which notifications a file leaves out (FileIoCompletionNotificationInformation); they cannot be had back.</summary>
    /// <param name="flags">FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE.</param>
    /// <returns>STATUS_INVALID_PARAMETER for a synchronous file, or unknown flags.</returns>
    public NTSTATUS SetNotificationModes(PFILE_OBJECT file, uint flags)
    {
        const uint known = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE | FILE_SKIP_SET_USER_EVENT_ON_FAST_IO;
        if ((file.Flags & FO_SYNCHRONOUS_IO) != 0 || (flags & ~known) != 0) return NTSTATUS.STATUS_INVALID_PARAMETER;
        if ((flags & FILE_SKIP_COMPLETION_PORT_ON_SUCCESS) != 0) file.Flags |= FO_SKIP_COMPLETION_PORT;
        if ((flags & FILE_SKIP_SET_EVENT_ON_HANDLE) != 0) file.Flags |= FO_SKIP_SET_EVENT;
        if ((flags & FILE_SKIP_SET_USER_EVENT_ON_FAST_IO) != 0) file.Flags |= FO_SKIP_SET_FAST_IO;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Posts a packet that belongs to no request (NtSetIoCompletion).</summary>
    public NTSTATUS Post(PKQUEUE port, CompletionPacket packet)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, (ulong)System.Runtime.CompilerServices.Unsafe.SizeOf<Posted>(), PacketTag, 0);
        if (block == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        GuestMemory.Ref<Posted>(block) = new Posted { ListEntry = default, PacketType = PostedPacket, Packet = packet };
        machine.Queues.KeInsertQueue(port, new PLIST_ENTRY(block));
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Takes the oldest packet, waiting for one if there is none (NtRemoveIoCompletion).</summary>
    /// <param name="timeout">100 ns units: negative = relative, positive = system time, 0 = do not wait, null = for ever.</param>
    /// <returns>STATUS_TIMEOUT when none came.</returns>
    public NTSTATUS Remove(PKQUEUE port, long? timeout, out CompletionPacket packet)
    {
        packet = default;
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            PLIST_ENTRY entry = machine.Queues.KeRemoveQueue(port, MODE.UserMode, timeout);
            if (entry.Address < GuestMemory.KernelBase) return (NTSTATUS)(int)entry.Address;
            packet = Open(entry);
            return NTSTATUS.STATUS_SUCCESS;
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }

    CompletionPacket Open(PLIST_ENTRY entry)
    {
        if (GuestMemory.Ref<uint>(entry.Address + LIST_ENTRY.SizeOf) == PostedPacket)
        {
            CompletionPacket posted = GuestMemory.Ref<Posted>(entry.Address).Packet;
            machine.Pool.Free(entry.Address, PacketTag);
            return posted;
        }
        PIRP irp = new(entry.Address - ListEntryOffset);
        var packet = new CompletionPacket(
            irp.Tail.CompletionKey.Address, irp.Overlay.AsynchronousParameters.UserApcContext.Address, irp.IoStatus.Status, irp.IoStatus.Information);
        machine.Irps.IoFreeIrp(irp);
        return packet;
    }

    /// <summary>Puts a request that is over into its file's port; false when it is none of the port's.</summary>
    internal bool Take(PIRP irp, PFILE_OBJECT file)
    {
        if (file.IsNull || file.CompletionContext is not { IsNull: false } context) return false;
        if (irp.Overlay.AsynchronousParameters.UserApcContext.IsNull || (irp.Flags & IRP_SYNCHRONOUS_API) != 0) return false;
        if ((file.Flags & FO_SKIP_COMPLETION_PORT) != 0 && !irp.PendingReturned) return false;
        irp.Tail.CompletionKey = context.Key;
        irp.Tail.Overlay.PacketType = IrpPacket;
        machine.Queues.KeInsertQueue(new PKQUEUE(context.Port.Address), new PLIST_ENTRY(irp.Address + ListEntryOffset));
        return true;
    }

    /// <summary>Reports a request that needed no IRP; false when there is no memory for that.</summary>
    internal bool Report(PFILE_OBJECT file, PVOID context, IO_STATUS_BLOCK outcome)
    {
        if (file.CompletionContext is not { IsNull: false } port || context.IsNull || (file.Flags & FO_SKIP_COMPLETION_PORT) != 0) return true;
        return Post(new PKQUEUE(port.Port.Address), new CompletionPacket(port.Key.Address, context.Address, outcome.Status, outcome.Information)) >= 0;
    }

    /// <summary>Delivers a request whose thread has ended: it belongs to the file (CANCEL-17). IRQL &lt;= DISPATCH_LEVEL.</summary>
    internal void FinishInWorker(PIRP irp)
    {
        orphans.Enqueue(irp);
        if (Interlocked.Increment(ref orphanCount) == 1) machine.WorkItems.ExQueueWorkItem(orphansItem, WORK_QUEUE_TYPE.DelayedWorkQueue);
    }

    int orphanCount;

    void FinishOrphans(PVOID parameter)
    {
        do
        {
            orphans.TryDequeue(out PIRP irp);
            machine.Completion.FinishInThread(machine.CurrentThread, irp);
        }
        while (Interlocked.Decrement(ref orphanCount) > 0);
    }

    /// <summary>A file goes away, and with it what it keeps of its port.</summary>
    internal void Detach(PFILE_OBJECT file)
    {
        if (file.CompletionContext is not { IsNull: false } context) return;
        PVOID port = context.Port;
        file.CompletionContext = default;
        machine.Pool.Free(context.Address, PortTag);
        machine.Objects.ObfDereferenceObject(port);
    }

    void RunDown(PKQUEUE port)
    {
        while (machine.Queues.KeRemoveQueue(port, MODE.KernelMode, 0) is { Address: >= GuestMemory.KernelBase } entry) Open(entry);
    }
}
