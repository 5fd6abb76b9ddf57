using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// The current thread asked to end. Not an error: it unwinds to where the thread began. Frames of compiled code are not told, as on Windows,
/// where the call just does not return.
/// </summary>
public sealed class ThreadTerminatedException : Exception
{
    internal ThreadTerminatedException(NTSTATUS status) : base("The thread ended itself with PsTerminateSystemThread.") => Status = status;

    internal NTSTATUS Status { get; }
}

/// <summary>System threads of drivers, and what a thread may ask about itself and others.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/windows-kernel-mode-process-and-thread-manager"/>
public sealed class Threads
{
    const OBJ_FLAGS InvalidForThreads = OBJ_PERMANENT | OBJ_EXCLUSIVE | OBJ_OPENIF;

    readonly Machine machine;
    readonly ObjectType type;

    internal Threads(Machine machine)
    {
        this.machine = machine;
        type = machine.Objects.Types.Thread;
        type.Deleting = thread => RequireEnded((PKTHREAD)thread);
        // The memory of a thread, its stacks included, stays until nobody refers to its object any more.
        type.Deleted = thread => machine.Memory.ThreadAreas.Free(KernelThread.AreaOf((PKTHREAD)thread), KernelThread.AreaSize);
    }

    void RequireEnded(PKTHREAD thread)
    {
        if (machine.Scheduler.FindThread(thread) is { } running)
        {
            throw machine.BugChecks.Stop(BugCheckCode.REFERENCE_BY_POINTER, 0, thread.Address, 0, 0,
                $"A reference to {running} was given back that nobody had taken: the thread is still running.");
        }
    }

    /// <summary>Starts a thread that executes a driver's routine at PASSIVE_LEVEL, in a critical region. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="ThreadHandle">A kernel handle, which the driver closes.</param>
    /// <param name="ObjectAttributes">May be null; OBJ_PERMANENT, OBJ_EXCLUSIVE and OBJ_OPENIF are invalid.</param>
    /// <param name="ProcessHandle">The process that it belongs to; 0 for the system process.</param>
    /// <param name="ClientId">May be null.</param>
    /// <returns>STATUS_INVALID_PARAMETER, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_INSUFFICIENT_RESOURCES.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS PsCreateSystemThread(out HANDLE ThreadHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, HANDLE ProcessHandle,
        PCLIENT_ID ClientId, PKSTART_ROUTINE StartRoutine, PVOID StartContext)
    {
        ThreadHandle = default;
        NTSTATUS status = Kernel.ObjectAttributes.Read(machine, ObjectAttributes, out ObjectAttributes attributes);
        if (status >= 0 && (attributes.Flags & InvalidForThreads) != 0) status = STATUS_INVALID_PARAMETER;
        Process? process = machine.Processes.System;
        if (status >= 0 && !ProcessHandle.IsNull) status = machine.Handles.FindProcess(ProcessHandle, out process);
        if (status < 0) return status;
        if (machine.Pool.FailAllocation is { } fail && fail(KTHREAD.SizeOf, type.Tag)) return STATUS_INSUFFICIENT_RESOURCES;

        KernelThread? thread = machine.Scheduler.TryCreate("system", ThreadKind.System, process!);
        if (thread is null) return STATUS_INSUFFICIENT_RESOURCES;
        status = machine.Handles.Open(machine.Objects.Require(thread.Object), DesiredAccess, attributes.Flags | OBJ_KERNEL_HANDLE, out ThreadHandle);
        if (!ClientId.IsNull) ClientId.Value = thread.Object.Cid;
        machine.NotifyRoutines.ThreadCreated(thread);
        machine.Scheduler.Start(thread, () => Run(thread, StartRoutine, StartContext));
        machine.Scheduler.Yield(machine.CurrentThread, SchedulingPoint.Wake);
        return status;
    }

    void Run(KernelThread thread, PKSTART_ROUTINE routine, PVOID context)
    {
        thread.IsDriverThread = true;
        machine.Apcs.KeEnterCriticalRegion();
        try
        {
            machine.Code.Call(routine, context);
        }
        catch (ThreadTerminatedException terminated)
        {
            thread.ExitStatus = terminated.Status;
        }
        if (thread.Irql != PASSIVE_LEVEL)
        {
            throw machine.BugChecks.Stop(BugCheckCode.KERNEL_APC_PENDING_DURING_EXIT, 0, thread.Object.CombinedApcDisable, thread.Irql, 0,
                $"{thread} ended at IRQL {thread.Irql}.");
        }
        machine.Apcs.KeLeaveCriticalRegion();
    }

    /// <summary>Ends the calling thread, if PsCreateSystemThread made it. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>Only on failure: STATUS_INVALID_PARAMETER, the thread is not the driver's.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PsTerminateSystemThread(NTSTATUS ExitStatus)
    {
        KernelThread thread = machine.CurrentThread;
        return thread.IsDriverThread && thread.InterruptDepth == 0 ? throw new ThreadTerminatedException(ExitStatus) : STATUS_INVALID_PARAMETER;
    }

    // ---- Identity

    /// <summary>The thread that is running; compiled drivers read it from gs:[188h]. Any IRQL.</summary>
    [KernelExport]
    public PKTHREAD KeGetCurrentThread() => machine.CurrentThread.Object;

    /// <summary>The header's name for <see cref="KeGetCurrentThread"/>, and an export. Any IRQL.</summary>
    [KernelExport]
    public PKTHREAD PsGetCurrentThread() => KeGetCurrentThread();

    /// <summary>Id of the current thread. Any IRQL.</summary>
    [KernelExport]
    public HANDLE PsGetCurrentThreadId() => KeGetCurrentThread().Cid.UniqueThread;

    /// <summary>Id of a thread. Any IRQL.</summary>
    [KernelExport]
    public HANDLE PsGetThreadId(PKTHREAD Thread) => Thread.Cid.UniqueThread;

    /// <summary>Id of the process that the current thread belongs to. Any IRQL.</summary>
    [KernelExport]
    public HANDLE PsGetCurrentProcessId() => KeGetCurrentThread().Cid.UniqueProcess;

    /// <summary>Id of the process that a thread belongs to. Any IRQL.</summary>
    [KernelExport]
    public HANDLE PsGetThreadProcessId(PKTHREAD Thread) => Thread.Cid.UniqueProcess;

    /// <summary>The process that a thread belongs to. Any IRQL.</summary>
    [KernelExport]
    public PEPROCESS PsGetThreadProcess(PKTHREAD Thread) => Thread.Process;

    /// <summary>The process that a thread belongs to. Any IRQL.</summary>
    [KernelExport]
    public PEPROCESS IoThreadToProcess(PKTHREAD Thread) => Thread.Process;

    /// <summary>Whether a thread belongs to the kernel: workers, and threads that PsCreateSystemThread made. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN PsIsSystemThread(PKTHREAD Thread) =>
        Thread.Process == machine.Processes.System.Object || machine.Scheduler.FindThread(Thread) is { Kind: ThreadKind.System };

    /// <summary>The thread with an id, referenced for the caller. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER: there is none, or it has ended.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS PsLookupThreadByThreadId(HANDLE ThreadId, out PKTHREAD Thread)
    {
        using ReferencedThreads threads = machine.Scheduler.ReferenceThreads();
        Thread = threads.All.FirstOrDefault(t => t.Object.Cid.UniqueThread == ThreadId)?.Object ?? default;
        if (Thread.IsNull) return STATUS_INVALID_PARAMETER;
        machine.Objects.ObfReferenceObject(Thread);
        return STATUS_SUCCESS;
    }

    // ---- Mode, priority, stack

    /// <summary>Whether the current request comes from user or from kernel mode. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public MODE ExGetPreviousMode() => KeGetCurrentThread().PreviousMode;

    /// <summary>Sets the priority of a thread; who runs next is not decided by it here. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Priority">1 to 31.</param>
    /// <returns>The priority before.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public int KeSetPriorityThread(PKTHREAD Thread, int Priority)
    {
        int previous = Thread.Priority;
        Thread.Priority = (sbyte)Priority;
        return previous;
    }

    /// <summary>Priority of a thread, 0 to 31. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public int KeQueryPriorityThread(PKTHREAD Thread) => Thread.Priority;

    /// <summary>The bounds of the stack that the caller runs on. Any IRQL.</summary>
    [KernelExport]
    public void IoGetStackLimits(out ulong LowLimit, out ulong HighLimit)
    {
        KernelThread thread = machine.CurrentThread;
        bool onDpcStack = thread.InterruptDepth > 0;
        LowLimit = onDpcStack ? thread.DpcStackLimit : thread.StackLimit;
        HighLimit = onDpcStack ? thread.DpcStackBase : thread.StackBase;
    }

    /// <summary>The end of the current thread's stack, where it began. Any IRQL.</summary>
    [KernelExport]
    public PVOID IoGetInitialStack() => new(machine.CurrentThread.StackBase);

    /// <summary>Bytes of stack that are left; C# drivers have used none of it. Any IRQL.</summary>
    [WdkInline]
    public ulong IoGetRemainingStackSize()
    {
        IoGetStackLimits(out ulong low, out ulong high);
        return high - low;
    }

    /// <summary>Whether hard errors in the current thread's requests are reported to the user. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>Whether they were.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN IoSetThreadHardErrorMode(BOOLEAN EnableHardErrors)
    {
        KernelThread thread = machine.CurrentThread;
        bool previous = thread.ReportsHardErrors;
        thread.ReportsHardErrors = EnableHardErrors;
        return previous;
    }
}
