using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A process of the machine.</summary>
public sealed class Process
{
    internal Process(string name, PEPROCESS address)
    {
        Name = name;
        Object = address;
    }

    /// <summary>Name of its image.</summary>
    public string Name { get; }

    /// <summary>The process id, a multiple of 4.</summary>
    public HANDLE Id => Object.UniqueProcessId;

    /// <summary>The EPROCESS that drivers see.</summary>
    public PEPROCESS Object { get; }

    internal HandleTable Handles { get; } = new();

    public override string ToString() => Name;
}

/// <summary>The two processes of a machine: the system, and the one whose threads issue requests.</summary>
/// <remarks>Neither begins or ends while the machine runs. Both see the same memory: user space is that of the user process.</remarks>
public sealed class Processes
{
    const ulong SystemId = 4;
    const ulong UserId = 8;
    const int NormalBasePriority = 8;
    const string UserImage = @"\Device\HarddiskVolume1\Windows\System32\user.exe";

    readonly Machine machine;

    internal Processes(Machine machine)
    {
        this.machine = machine;
        System = Create("System", SystemId, 0);
        machine.Variables.DefineValue("PsInitialSystemProcess", System.Object);
        User = Create("user.exe", UserId, SystemId);
    }

    /// <summary>The process of drivers' threads; its handles are the kernel handles.</summary>
    public Process System { get; }

    /// <summary>The process of the threads that issue requests.</summary>
    public Process User { get; }

    Process Create(string name, ulong id, ulong parent)
    {
        PEPROCESS address = new(machine.Objects.Create(machine.Objects.Types.Process, EPROCESS.SizeOf));
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(address.Address), (byte)KOBJECTS.ProcessObject, EPROCESS.SizeOf, 0);
        address.UniqueProcessId = new HANDLE(id);
        address.InheritedFromUniqueProcessId = new HANDLE(parent);
        Encoding.ASCII.GetBytes(name, address.ImageFileName);
        return new Process(name, address);
    }

    /// <summary>The process with this EPROCESS, if it is one of the machine's.</summary>
    public Process? Find(PEPROCESS process) => process == System.Object ? System : process == User.Object ? User : null;

    /// <summary>The process that the current thread runs in: its own, or one that it is attached to. Any IRQL.</summary>
    [KernelExport]
    public PEPROCESS IoGetCurrentProcess() => machine.CurrentThread.Process.Object;

    /// <summary>The header's name for <see cref="IoGetCurrentProcess"/>.</summary>
    [WdkInline]
    public PEPROCESS PsGetCurrentProcess() => IoGetCurrentProcess();

    /// <summary>Id of a process. Any IRQL.</summary>
    [KernelExport]
    public HANDLE PsGetProcessId(PEPROCESS Process) => Process.UniqueProcessId;

    /// <summary>Id of the process that created a process. Any IRQL.</summary>
    [KernelExport]
    public HANDLE PsGetProcessInheritedFromUniqueProcessId(PEPROCESS Process) => Process.InheritedFromUniqueProcessId;

    /// <summary>The process with an id, referenced for the caller. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_INVALID_CID: there is none.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS PsLookupProcessByProcessId(HANDLE ProcessId, out PEPROCESS Process)
    {
        Process = ProcessId == System.Id ? System.Object : ProcessId == User.Id ? User.Object : default;
        if (Process.IsNull) return STATUS_INVALID_CID;
        machine.Objects.ObfReferenceObject(Process);
        return STATUS_SUCCESS;
    }

    // ---- Requests

    /// <summary>The process that the requesting thread runs in; null for an IRP without a thread. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PEPROCESS IoGetRequestorProcess(PIRP Irp)
    {
        PKTHREAD thread = Irp.Tail.Overlay.Thread;
        return thread.IsNull ? default : thread.ApcState.Process;
    }

    /// <summary>Id of the process that the requesting thread runs in; 0 for an IRP without a thread. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint IoGetRequestorProcessId(PIRP Irp)
    {
        PEPROCESS process = IoGetRequestorProcess(Irp);
        return process.IsNull ? 0 : (uint)process.UniqueProcessId.Value;
    }

    /// <summary>Whether the requesting process is one of 32 bits: there are none. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Irp">May be null: the current process is meant then.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN IoIs32bitProcess(PIRP Irp) => false;

    // ---- Attaching

    /// <summary>Lets the current thread see a process's handles as its own. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="ApcState">Receives what <see cref="KeUnstackDetachProcess"/> restores.</param>
    /// <exception cref="BugCheckException">INVALID_PROCESS_ATTACH_ATTEMPT: not a process, or in a DPC.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeStackAttachProcess(PEPROCESS PROCESS, PKAPC_STATE ApcState)
    {
        KernelThread thread = machine.CurrentThread;
        ApcState.Value = thread.Object.ApcState;
        thread.Process = RequireAttachable(thread, PROCESS);
    }

    /// <exception cref="BugCheckException">INVALID_PROCESS_ATTACH_ATTEMPT.</exception>
    internal Process RequireAttachable(KernelThread thread, PEPROCESS process)
    {
        if (Find(process) is { } found && thread.InterruptDepth == 0) return found;
        throw machine.BugChecks.Stop(BugCheckCode.INVALID_PROCESS_ATTACH_ATTEMPT, process.Address, thread.Process.Object.Address, 0,
            (ulong)thread.InterruptDepth, thread.InterruptDepth != 0 ? "A DPC attached its thread to a process." : $"A thread attached itself to {process}, which is no process.");
    }

    /// <summary>Undoes <see cref="KeStackAttachProcess"/>. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">INVALID_PROCESS_DETACH_ATTEMPT: <paramref name="ApcState"/> does not come from there.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeUnstackDetachProcess(PKAPC_STATE ApcState)
    {
        KernelThread thread = machine.CurrentThread;
        thread.Process = Find(ApcState.Process) ?? throw machine.BugChecks.Stop(BugCheckCode.INVALID_PROCESS_DETACH_ATTEMPT, ApcState.Process.Address,
            thread.Process.Object.Address, 0, 0, "A thread detached itself with a KAPC_STATE that no attach had filled in.");
    }

    /// <summary>Attaches the current thread, which must not be attached. Obsolete. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">INVALID_PROCESS_ATTACH_ATTEMPT: it is attached already.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeAttachProcess(PEPROCESS Process)
    {
        KernelThread thread = machine.CurrentThread;
        if (thread.Process.Object != thread.Object.Process && thread.Process.Object != Process)
        {
            throw machine.BugChecks.Stop(BugCheckCode.INVALID_PROCESS_ATTACH_ATTEMPT, Process.Address, thread.Process.Object.Address, 0, 0,
                $"{thread} attached itself to a second process with KeAttachProcess; KeStackAttachProcess can be nested.");
        }
        thread.Process = RequireAttachable(thread, Process);
    }

    /// <summary>Undoes <see cref="KeAttachProcess"/>; does nothing for a thread that is not attached. Obsolete. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeDetachProcess()
    {
        KernelThread thread = machine.CurrentThread;
        thread.Process = Find(thread.Object.Process)!;
    }

    // ---- Information

    /// <summary>Tells about a process. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="ReturnLength">May be null; bytes written, or needed.</param>
    /// <returns>STATUS_INVALID_INFO_CLASS, STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    /// <seealso href="https://learn.microsoft.com/windows/win32/procthread/zwqueryinformationprocess"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQueryInformationProcess(HANDLE ProcessHandle, PROCESSINFOCLASS ProcessInformationClass, PVOID ProcessInformation,
        uint ProcessInformationLength, PULONG ReturnLength)
    {
        NTSTATUS status = machine.Handles.FindProcess(ProcessHandle, out Process? process);
        switch (ProcessInformationClass)
        {
            case ProcessBasicInformation:
                return Answer(status, ProcessInformation, ProcessInformationLength, ReturnLength, Describe);
            case ProcessDebugPort or ProcessWow64Information: // neither debugged nor 32 bits wide
                return Answer(status, ProcessInformation, ProcessInformationLength, ReturnLength, () => 0UL);
            case ProcessBreakOnTermination:
                return Answer(status, ProcessInformation, ProcessInformationLength, ReturnLength, () => process == System ? 1u : 0u);
            case ProcessImageFileName:
                if (status < 0) return status;
                status = ObjectQueries.Write(process == User ? UserImage : "", ProcessInformation, UNICODE_STRING.SizeOf, ProcessInformationLength, out uint needed);
                if (!ReturnLength.IsNull) ReturnLength.Value = needed;
                return status;
            default:
                return STATUS_INVALID_INFO_CLASS;
        }

        PROCESS_BASIC_INFORMATION Describe() => new()
        {
            ExitStatus = STATUS_PENDING, // it runs
            AffinityMask = 1,
            BasePriority = NormalBasePriority,
            UniqueProcessId = process!.Id.Value,
            InheritedFromUniqueProcessId = process.Object.InheritedFromUniqueProcessId.Value,
        };
    }

    // The length must be that of the answer exactly, which is looked at before the handle.
    static unsafe NTSTATUS Answer<T>(NTSTATUS found, PVOID buffer, uint length, PULONG returnLength, Func<T> answer) where T : unmanaged
    {
        if (length != sizeof(T)) return STATUS_INFO_LENGTH_MISMATCH;
        if (found < 0) return found;
        GuestMemory.Ref<T>(buffer.Address) = answer();
        if (!returnLength.IsNull) returnLength.Value = (uint)sizeof(T);
        return STATUS_SUCCESS;
    }
}
