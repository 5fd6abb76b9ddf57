using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Events that are objects with a handle and perhaps a name, and waits for handles.</summary>
public sealed class EventObjects
{
    readonly Machine machine;

    internal EventObjects(Machine machine) => this.machine = machine;

    ObjectType Type => machine.Objects.Types.Event;

    /// <summary>Creates an event, or opens it with OBJ_OPENIF. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="NamedObjects.Create"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwCreateEvent(out HANDLE EventHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, EVENT_TYPE EventType, BOOLEAN InitialState)
    {
        EventHandle = default;
        if (EventType is not (EVENT_TYPE.NotificationEvent or EVENT_TYPE.SynchronizationEvent)) return STATUS_INVALID_PARAMETER;
        return machine.NamedObjects.Create(Type, KEVENT.SizeOf, DesiredAccess, ObjectAttributes,
            created => machine.Dispatcher.KeInitializeEvent(new PKEVENT(created.Address), EventType, InitialState), out EventHandle);
    }

    /// <summary>Opens an event by its name. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="NamedObjects.Open"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwOpenEvent(out HANDLE EventHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes) =>
        machine.NamedObjects.Open(Type, DesiredAccess, ObjectAttributes, out EventHandle);

    /// <summary>Signals an event. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="PreviousState">May be null.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwSetEvent(HANDLE EventHandle, PLONG PreviousState) =>
        With(EventHandle, PreviousState, target => machine.Dispatcher.KeSetEvent(target, 0, false));

    /// <summary>Resets an event. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="PreviousState">May be null.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwResetEvent(HANDLE EventHandle, PLONG PreviousState) => With(EventHandle, PreviousState, machine.Dispatcher.KeResetEvent);

    /// <summary>Resets an event. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwClearEvent(HANDLE EventHandle) => ZwResetEvent(EventHandle, default);

    NTSTATUS With(HANDLE handle, PLONG previousState, Func<PKEVENT, int> action)
    {
        NTSTATUS status = machine.Handles.Find(handle, EVENT_MODIFY_STATE, Type, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        var address = new PVOID(entry!.Object.Address);
        machine.Objects.ObfReferenceObject(address);
        int previous = action((PKEVENT)address);
        machine.Objects.ObfDereferenceObject(address);
        if (!previousState.IsNull) previousState.Value = previous;
        return STATUS_SUCCESS;
    }

    // ---- Waiting for handles

    /// <summary>Waits for the object behind a handle. IRQL = PASSIVE_LEVEL, with a zero timeout &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Timeout">100 ns units: negative = relative, positive = system time, 0 = do not wait, null = for ever.</param>
    /// <returns>As KeWaitForSingleObject; STATUS_INVALID_HANDLE; STATUS_OBJECT_TYPE_MISMATCH: one cannot wait for such an object.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable, long? Timeout)
    {
        NTSTATUS status = Waitable(Handle, out PVOID target, out PVOID header);
        if (status < 0) return status;
        status = machine.Dispatcher.KeWaitForSingleObject(header, KWAIT_REASON.UserRequest, MODE.KernelMode, Alertable, Timeout);
        machine.Objects.ObfDereferenceObject(target);
        return status;
    }

    /// <summary>Waits for one or all of the objects behind handles. Not documented. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Handles">At most MAXIMUM_WAIT_OBJECTS.</param>
    /// <returns>As KeWaitForMultipleObjects; STATUS_INVALID_PARAMETER_1, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwWaitForMultipleObjects(uint Count, PHANDLE Handles, WAIT_TYPE WaitType, BOOLEAN Alertable, long? Timeout)
    {
        if (Count is 0 or > MAXIMUM_WAIT_OBJECTS) return STATUS_INVALID_PARAMETER_1;
        Span<PVOID> targets = stackalloc PVOID[(int)Count];
        Span<PVOID> headers = stackalloc PVOID[(int)Count];
        NTSTATUS status = STATUS_SUCCESS;
        int found = 0;
        for (; found < Count && status >= 0; found++)
        {
            status = Waitable(Handles[found], out targets[found], out headers[found]);
            if (status < 0) break;
        }
        if (status >= 0)
        {
            ulong blocks = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, Count * KWAIT_BLOCK.SizeOf, Type.Tag, 0);
            status = blocks == 0 ? STATUS_INSUFFICIENT_RESOURCES
                : machine.Dispatcher.KeWaitForMultipleObjects(Count, headers, WaitType, KWAIT_REASON.UserRequest, MODE.KernelMode, Alertable, Timeout, new PKWAIT_BLOCK(blocks));
            if (blocks != 0) machine.Pool.Free(blocks, Type.Tag);
        }
        foreach (PVOID target in targets[..found]) machine.Objects.ObfDereferenceObject(target);
        return status;
    }

    /// <summary>The object behind a handle, referenced, and the part of it that waits look at.</summary>
    NTSTATUS Waitable(HANDLE handle, out PVOID target, out PVOID header)
    {
        target = header = default;
        NTSTATUS status = machine.Handles.Find(handle, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        if (entry!.Object.Type.WaitOffset is not { } offset) return STATUS_OBJECT_TYPE_MISMATCH;
        target = new PVOID(entry.Object.Address);
        header = new PVOID(entry.Object.Address + (ulong)offset);
        machine.Objects.ObfReferenceObject(target);
        return STATUS_SUCCESS;
    }

    // ---- Named events of drivers

    /// <summary>Creates or opens a synchronization event; a new one is signalled. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="EventHandle">A kernel handle, which the driver closes.</param>
    /// <returns>The event, valid as long as the handle; NULL when it could not be created or opened.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public PKEVENT IoCreateSynchronizationEvent(PUNICODE_STRING EventName, out HANDLE EventHandle) =>
        CreateNamed(EventName, EVENT_TYPE.SynchronizationEvent, out EventHandle);

    /// <summary>Creates or opens a notification event; a new one is signalled. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="IoCreateSynchronizationEvent"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public PKEVENT IoCreateNotificationEvent(PUNICODE_STRING EventName, out HANDLE EventHandle) =>
        CreateNamed(EventName, EVENT_TYPE.NotificationEvent, out EventHandle);

    PKEVENT CreateNamed(PUNICODE_STRING name, EVENT_TYPE type, out HANDLE handle)
    {
        using var attributes = new LocalVariable<OBJECT_ATTRIBUTES>(machine);
        var pointer = new POBJECT_ATTRIBUTES(attributes.Address.Address);
        machine.NamedObjects.InitializeObjectAttributes(pointer, name, OBJ_OPENIF | OBJ_KERNEL_HANDLE, default, default);
        if (ZwCreateEvent(out handle, EVENT_ALL_ACCESS, pointer, type, true) < 0) return default;
        machine.Handles.Find(handle, MODE.KernelMode, out HandleEntry? entry);
        return new PKEVENT(entry!.Object.Address);
    }
}
