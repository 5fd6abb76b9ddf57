using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Stress;

/// <summary>How the device is to deal with a request: the requestor chooses, by offset or control code.</summary>
enum Answer
{
    Succeed,
    Fail,
    Warn,
    PendForThread,
    PendForDpc,
    HoldUntilCancelled,
}

/// <summary>A device that completes at once, from a thread, from a DPC, or not before it is asked to cancel.</summary>
/// <remarks>
/// Whatever waits is in a cancel-safe queue. Two threads and a DPC take from it, cancellation and the cleanup of a handle take from it,
/// all at the same time.
/// </remarks>
sealed class StressDevice : WdmDriver
{
    public const string Name = @"\Device\Stress0";
    public const int Threads = 2;

    const uint Tag = 0x73657274; // "tres"
    const ulong ListEntryOffset = 0xA8;

    PDEVICE_OBJECT device;
    PIO_CSQ csq;
    PLIST_ENTRY list;
    PKSPIN_LOCK spinLock;
    PKEVENT work;
    PKDPC dpc;
    PKEVENT threadEnded;
    volatile bool stopping;
    long received;
    long completed;

    /// <summary>Requests that reached the dispatch routines.</summary>
    public long Received => Interlocked.Read(ref received);

    /// <summary>Calls of IoCompleteRequest.</summary>
    public long Completed => Interlocked.Read(ref completed);

    public static uint ControlCode(Answer answer) => CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (uint)answer, METHOD_BUFFERED, FILE_ANY_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(Name), FILE_DEVICE_UNKNOWN, 0, false, out device);
        if (!status.IsSuccess) return status;
        csq = (PIO_CSQ)Nonpaged(IO_CSQ.SizeOf);
        list = (PLIST_ENTRY)Nonpaged(LIST_ENTRY.SizeOf);
        spinLock = (PKSPIN_LOCK)Nonpaged(KSPIN_LOCK.SizeOf);
        work = (PKEVENT)Nonpaged(KEVENT.SizeOf);
        threadEnded = (PKEVENT)Nonpaged(KEVENT.SizeOf);
        dpc = (PKDPC)Nonpaged(KDPC.SizeOf);
        InitializeListHead(list);
        KeInitializeSpinLock(spinLock);
        KeInitializeEvent(work, SynchronizationEvent, false);
        KeInitializeEvent(threadEnded, SynchronizationEvent, false);
        KeInitializeDpc(dpc, (_, _, _, _) => CompleteAll(Answer.PendForDpc), default);
        status = IoCsqInitialize(csq, Insert, Remove, PeekNext, AcquireLock, ReleaseLock, CompleteCancelled);
        if (!status.IsSuccess) return status;
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) DriverObject.MajorFunction[major] = Routine(Dispatch);
        DriverObject.DriverUnload = Routine(Unload);
        device.Flags |= DO_DIRECT_IO;
        device.Flags &= ~DO_DEVICE_INITIALIZING;
        for (int i = 0; i < Threads; i++) Machine.Scheduler.Start("hardware", ThreadKind.System, Work);
        return STATUS_SUCCESS;
    }

    PVOID Nonpaged(int size) => ExAllocatePoolZero(NonPagedPoolNx, (ulong)size, Tag);

    void Unload(PDRIVER_OBJECT DriverObject)
    {
        stopping = true;
        for (int i = 0; i < Threads; i++)
        {
            KeSetEvent(work, 0, false);
            KeWaitForSingleObject(threadEnded, Executive, KernelMode, false, null);
        }
        KeFlushQueuedDpcs();
        foreach (PVOID block in (ReadOnlySpan<PVOID>)[csq, list, spinLock, work, threadEnded, dpc]) ExFreePoolWithTag(block, Tag);
        IoDeleteDevice(device);
    }

    void Work()
    {
        while (!stopping)
        {
            KeWaitForSingleObject(work, Executive, KernelMode, false, null);
            CompleteAll(Answer.PendForThread);
        }
        KeSetEvent(threadEnded, 0, false);
    }

    void CompleteAll(Answer wanted)
    {
        while (IoCsqRemoveNextIrp(csq, new PVOID((ulong)wanted)) is { IsNull: false } irp) Complete(irp, STATUS_SUCCESS, LengthOf(irp));
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        Interlocked.Increment(ref received);
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        switch (location.MajorFunction)
        {
            case IRP_MJ_READ or IRP_MJ_WRITE or IRP_MJ_DEVICE_CONTROL:
                return Transfer(Irp);
            case IRP_MJ_CLEANUP:
                while (IoCsqRemoveNextIrp(csq, location.FileObject) is { IsNull: false } held) Complete(held, STATUS_CANCELLED, 0);
                return Complete(Irp, STATUS_SUCCESS, 0);
            default:
                return Complete(Irp, STATUS_SUCCESS, 0);
        }
    }

    NTSTATUS Transfer(PIRP irp)
    {
        switch (AnswerTo(irp))
        {
            case Answer.Succeed:
                return Complete(irp, STATUS_SUCCESS, LengthOf(irp));
            case Answer.Fail:
                return Complete(irp, STATUS_IO_DEVICE_ERROR, 0);
            case Answer.Warn:
                return Complete(irp, STATUS_BUFFER_OVERFLOW, LengthOf(irp) / 2);
            case Answer.PendForThread:
                IoCsqInsertIrp(csq, irp, default);
                KeSetEvent(work, 0, false);
                return STATUS_PENDING;
            case Answer.PendForDpc:
                IoCsqInsertIrp(csq, irp, default);
                KeInsertQueueDpc(dpc, default, default);
                return STATUS_PENDING;
            default:
                IoCsqInsertIrp(csq, irp, default);
                return STATUS_PENDING;
        }
    }

    static Answer AnswerTo(PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        return location.MajorFunction == IRP_MJ_DEVICE_CONTROL
            ? (Answer)(((location.Parameters.DeviceIoControl.IoControlCode >> 2) & 0xFFF) - 0x800)
            : (Answer)location.Parameters.Read.ByteOffset;
    }

    static uint LengthOf(PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        return location.MajorFunction == IRP_MJ_DEVICE_CONTROL ? location.Parameters.DeviceIoControl.OutputBufferLength : location.Parameters.Read.Length;
    }

    NTSTATUS Complete(PIRP irp, NTSTATUS status, uint information)
    {
        Interlocked.Increment(ref completed);
        irp.IoStatus.Status = status;
        irp.IoStatus.Information = information;
        IoCompleteRequest(irp, IO_NO_INCREMENT);
        return status;
    }

    void Insert(PIO_CSQ queue, PIRP irp) => InsertTailList(list, new PLIST_ENTRY(irp.Address + ListEntryOffset));

    void Remove(PIO_CSQ queue, PIRP irp) => RemoveEntryList(new PLIST_ENTRY(irp.Address + ListEntryOffset));

    // What is looked for is an answer, or whatever belongs to a file object.
    PIRP PeekNext(PIO_CSQ queue, PIRP irp, PVOID wanted)
    {
        for (PLIST_ENTRY entry = irp.IsNull ? list.Flink : new PLIST_ENTRY(irp.Address + ListEntryOffset).Flink; entry != list; entry = entry.Flink)
        {
            PIRP next = new(entry.Address - ListEntryOffset);
            bool fits = wanted.Address <= (ulong)Answer.HoldUntilCancelled
                ? AnswerTo(next) == (Answer)wanted.Address : IoGetCurrentIrpStackLocation(next).FileObject.Address == wanted.Address;
            if (fits) return next;
        }
        return default;
    }

    void AcquireLock(PIO_CSQ queue, PUCHAR irql) => KeAcquireSpinLock(spinLock, out irql.Value);

    void ReleaseLock(PIO_CSQ queue, KIRQL irql) => KeReleaseSpinLock(spinLock, irql);

    void CompleteCancelled(PIO_CSQ queue, PIRP irp) => Complete(irp, STATUS_CANCELLED, 0);
}
