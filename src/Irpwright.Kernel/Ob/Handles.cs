using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Handles: what stands for an open object in the table of a process.</summary>
/// <remarks>
/// Handles opened with OBJ_KERNEL_HANDLE have the sign bit set and are valid in every process; they and the handles of system threads
/// share one table. Whether a caller may have the access it asks for is not decided by security descriptors here: it always may, and
/// the handle is good for exactly that access afterwards.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/object-handles"/>
public sealed class Handles
{
    const ulong KernelHandleBits = 0xFFFFFFFF_80000000;
    const OBJ_FLAGS Kept = OBJ_INHERIT | OBJ_EXCLUSIVE;

    readonly Machine machine;

    internal Handles(Machine machine) => this.machine = machine;

    /// <summary>Handles that are open in a process.</summary>
    public int CountIn(Process process) => process.Handles.Count;

    static bool IsKernelHandle(HANDLE handle) => (handle.Value & KernelHandleBits) == KernelHandleBits;

    HandleTable TableOf(HANDLE handle, Process process) => IsKernelHandle(handle) ? machine.Processes.System.Handles : process.Handles;

    /// <summary>Looks a handle of the current process up; pseudo-handles stand for the current process and thread.</summary>
    /// <param name="mode">UserMode cannot use kernel handles.</param>
    /// <returns>STATUS_INVALID_HANDLE.</returns>
    internal NTSTATUS Find(HANDLE handle, MODE mode, out HandleEntry? entry) => Find(handle, mode, machine.CurrentThread.Process, out entry);

    internal NTSTATUS Find(HANDLE handle, MODE mode, Process process, out HandleEntry? entry)
    {
        if (handle == NtCurrentProcess()) entry = PseudoHandle(process.Object);
        else if (handle == NtCurrentThread()) entry = PseudoHandle(machine.CurrentThread.Object);
        else if (IsKernelHandle(handle) && mode == MODE.UserMode) entry = null;
        else entry = TableOf(handle, process).Find(handle.Value & ~KernelHandleBits);
        return entry is null ? STATUS_INVALID_HANDLE : STATUS_SUCCESS;
    }

    HandleEntry? PseudoHandle(PVOID address) => machine.Objects.Find(address.Address) is { } target ? new HandleEntry(target, target.Type.Mapping.All, 0) : null;

    /// <summary>Opens a handle to an object in the current process, or a kernel handle.</summary>
    /// <param name="access">Generic rights are replaced by what they mean for the object's type.</param>
    /// <param name="flags">OBJ_KERNEL_HANDLE, OBJ_INHERIT, OBJ_EXCLUSIVE count here.</param>
    /// <returns>STATUS_ACCESS_DENIED: the object is open exclusively.</returns>
    internal NTSTATUS Open(KernelObject target, uint access, OBJ_FLAGS flags, out HANDLE handle) =>
        Open(target, access, flags, machine.CurrentThread.Process, out handle);

    NTSTATUS Open(KernelObject target, uint access, OBJ_FLAGS flags, Process process, out HANDLE handle)
    {
        handle = default;
        NTSTATUS status = machine.Objects.HandleOpened(target, (flags & OBJ_EXCLUSIVE) != 0);
        if (status < 0) return status;
        bool isKernelHandle = (flags & OBJ_KERNEL_HANDLE) != 0;
        HandleTable table = (isKernelHandle ? machine.Processes.System : process).Handles;
        ulong value = table.Add(new HandleEntry(target, target.Type.Mapping.Map(access), flags & Kept));
        handle = new HANDLE(isKernelHandle ? value | KernelHandleBits : value);
        machine.Events.Emit(new HandleOpened(handle, new PVOID(target.Address)));
        return STATUS_SUCCESS;
    }

    /// <summary>Finds the object behind a handle without counting a reference.</summary>
    /// <param name="type">Null for any.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, or, in user mode, STATUS_ACCESS_DENIED.</returns>
    internal NTSTATUS Find(HANDLE handle, uint access, ObjectType? type, MODE mode, out HandleEntry? entry)
    {
        NTSTATUS status = Find(handle, mode, out entry);
        if (status < 0) return status;
        if (type is not null && entry!.Object.Type != type) return STATUS_OBJECT_TYPE_MISMATCH;
        return mode == MODE.UserMode && (access & ~entry!.Access) != 0 ? STATUS_ACCESS_DENIED : STATUS_SUCCESS;
    }

    /// <summary>The object behind a handle, with a reference that the caller gives back. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DesiredAccess">Compared with what the handle was opened for in user mode only.</param>
    /// <param name="ObjectType">May be null: any type.</param>
    /// <param name="HandleInformation">May be null.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_ACCESS_DENIED.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ObReferenceObjectByHandle(
        HANDLE Handle, uint DesiredAccess, POBJECT_TYPE ObjectType, MODE AccessMode, out PVOID Object, POBJECT_HANDLE_INFORMATION HandleInformation)
    {
        Object = default;
        NTSTATUS status = Find(Handle, AccessMode, out HandleEntry? entry);
        if (status < 0) return status;
        if (!ObjectType.IsNull && entry!.Object.Type.Object != ObjectType) return STATUS_OBJECT_TYPE_MISMATCH;
        if (AccessMode == MODE.UserMode && (DesiredAccess & ~entry!.Access) != 0) return STATUS_ACCESS_DENIED;
        // Another thread may have closed it meanwhile.
        if (!machine.Objects.TryReference(entry!.Object)) return STATUS_INVALID_HANDLE;
        if (!HandleInformation.IsNull)
            HandleInformation.Value = new OBJECT_HANDLE_INFORMATION { HandleAttributes = entry!.Attributes, GrantedAccess = entry.Access };
        Object = new PVOID(entry.Object.Address);
        return STATUS_SUCCESS;
    }

    /// <summary>As <see cref="ObReferenceObjectByHandle"/>, noting <paramref name="Tag"/> where references are traced. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ObReferenceObjectByHandleWithTag(HANDLE Handle, uint DesiredAccess, POBJECT_TYPE ObjectType, MODE AccessMode, uint Tag,
        out PVOID Object, POBJECT_HANDLE_INFORMATION HandleInformation) =>
        ObReferenceObjectByHandle(Handle, DesiredAccess, ObjectType, AccessMode, out Object, HandleInformation);

    /// <summary>Opens a handle to an object that the caller has a pointer to. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="PassedAccessState">Rights granted before; not looked at, every access is granted.</param>
    /// <param name="ObjectType">May be null with KernelMode.</param>
    /// <returns>STATUS_INVALID_PARAMETER for unknown attributes, STATUS_OBJECT_TYPE_MISMATCH, STATUS_ACCESS_DENIED.</returns>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ObOpenObjectByPointer(PVOID Object, OBJ_FLAGS HandleAttributes, PVOID PassedAccessState, uint DesiredAccess,
        POBJECT_TYPE ObjectType, MODE AccessMode, out HANDLE Handle)
    {
        Handle = default;
        KernelObject target = machine.Objects.Require(Object);
        if (!ObjectAttributes.AreValid(HandleAttributes)) return STATUS_INVALID_PARAMETER;
        bool isFileForOneOnly = (HandleAttributes & OBJ_EXCLUSIVE) != 0 && target.Type == machine.Objects.Types.File;
        if (isFileForOneOnly) return STATUS_INVALID_PARAMETER;
        bool mayBeAnyType = ObjectType.IsNull && AccessMode == MODE.KernelMode;
        if (!mayBeAnyType && target.Type.Object != ObjectType) return STATUS_OBJECT_TYPE_MISMATCH;
        return Open(target, DesiredAccess, HandleAttributes, out Handle);
    }

    /// <summary>Closes a handle. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="PreviousMode">UserMode cannot close kernel handles.</param>
    /// <returns>STATUS_INVALID_HANDLE.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ObCloseHandle(HANDLE Handle, MODE PreviousMode) => Close(Handle, PreviousMode, machine.CurrentThread.Process);

    /// <summary>Closes a handle. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_HANDLE.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwClose(HANDLE Handle) => ObCloseHandle(Handle, MODE.KernelMode);

    NTSTATUS Close(HANDLE handle, MODE mode, Process process)
    {
        if (handle == NtCurrentProcess() || handle == NtCurrentThread()) return STATUS_SUCCESS;
        NTSTATUS status = Find(handle, mode, process, out HandleEntry? entry);
        if (status < 0) return status;
        if (!TableOf(handle, process).Remove(handle.Value & ~KernelHandleBits, entry!)) return STATUS_INVALID_HANDLE;
        machine.Events.Emit(new HandleClosed(handle));
        machine.Objects.HandleClosed(entry!.Object);
        return STATUS_SUCCESS;
    }

    /// <summary>Makes another handle to the same object. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="TargetProcessHandle">May be null with DUPLICATE_CLOSE_SOURCE: the source handle is only closed.</param>
    /// <param name="TargetHandle">May be null.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH for a handle that is no process, STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwDuplicateObject(HANDLE SourceProcessHandle, HANDLE SourceHandle, HANDLE TargetProcessHandle, PHANDLE TargetHandle,
        uint DesiredAccess, OBJ_FLAGS HandleAttributes, DUPLICATE_OPTIONS Options)
    {
        if (!ObjectAttributes.AreValid(HandleAttributes)) return STATUS_INVALID_PARAMETER;
        NTSTATUS status = FindProcess(SourceProcessHandle, out Process? source);
        if (status < 0) return status;
        Process? target = null;
        if (!TargetProcessHandle.IsNull) status = FindProcess(TargetProcessHandle, out target);
        else if ((Options & DUPLICATE_CLOSE_SOURCE) == 0) status = STATUS_INVALID_HANDLE;
        if (status < 0) return status;
        status = Find(SourceHandle, MODE.KernelMode, source!, out HandleEntry? entry);
        if (status < 0) return status;
        if (target is not null)
        {
            uint access = (Options & DUPLICATE_SAME_ACCESS) != 0 ? entry!.Access : DesiredAccess;
            OBJ_FLAGS flags = (Options & DUPLICATE_SAME_ATTRIBUTES) == 0 ? HandleAttributes
                : entry!.Attributes | (IsKernelHandle(SourceHandle) ? OBJ_KERNEL_HANDLE : 0);
            status = Open(entry!.Object, access, flags, target, out HANDLE duplicate);
            if (status < 0) return status;
            if (!TargetHandle.IsNull) TargetHandle.Value = duplicate;
        }
        if ((Options & DUPLICATE_CLOSE_SOURCE) != 0) Close(SourceHandle, MODE.KernelMode, source!);
        return STATUS_SUCCESS;
    }

    internal NTSTATUS FindProcess(HANDLE handle, out Process? process)
    {
        process = null;
        NTSTATUS status = Find(handle, 0, machine.Objects.Types.Process, MODE.KernelMode, out HandleEntry? entry);
        if (status >= 0) process = machine.Processes.Find(new PEPROCESS(entry!.Object.Address));
        return status;
    }
}
