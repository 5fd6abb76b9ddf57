using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Tells drivers that have registered for it what happens to devices and device interfaces.</summary>
/// <remarks>Callbacks run in the thread of the PnP manager at PASSIVE_LEVEL.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-pnp-notification"/>
public sealed class PnpNotifications
{
    const uint Tag = 0x746F4E50; // "PNot"
    const int EntrySize = 0x10;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Registration> registrations = [];

    internal PnpNotifications(Machine machine) => this.machine = machine;

    sealed record Registration(
        ulong Entry, IO_NOTIFICATION_EVENT_CATEGORY Category, Guid InterfaceClass, PFILE_OBJECT File, DeviceNode? Node, PDRIVER_OBJECT Driver, PDRIVER_NOTIFICATION_CALLBACK_ROUTINE Routine, PVOID Context)
    {
        internal bool IsRunning { get; set; }
    }

    /// <summary>
    /// Registers a callback for device interfaces of a class, for a device (of a file object), or for hardware profiles, which never
    /// change here. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="EventCategoryFlags">PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES: called for every enabled interface first.</param>
    /// <param name="EventCategoryData">Class GUID, file object, or null.</param>
    /// <param name="DriverObject">Of the caller; stays loaded until the registration is removed.</param>
    /// <returns>STATUS_INVALID_PARAMETER for an unknown category; STATUS_INVALID_DEVICE_REQUEST for a file on no PnP device.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoRegisterPlugPlayNotification(IO_NOTIFICATION_EVENT_CATEGORY EventCategory, uint EventCategoryFlags, PVOID EventCategoryData, PDRIVER_OBJECT DriverObject,
        PDRIVER_NOTIFICATION_CALLBACK_ROUTINE CallbackRoutine, PVOID Context, out PVOID NotificationEntry, [Caller] ulong caller = 0)
    {
        NotificationEntry = default;
        Guid interfaceClass = default;
        PFILE_OBJECT file = default;
        DeviceNode? node = null;
        switch (EventCategory)
        {
            case IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryDeviceInterfaceChange:
                interfaceClass = GuestMemory.Ref<Guid>(EventCategoryData.Address);
                break;
            case IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryTargetDeviceChange:
                file = new PFILE_OBJECT(EventCategoryData.Address);
                node = FindTarget(file);
                if (node is null) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
                break;
            case IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryHardwareProfileChange:
                break;
            default:
                return NTSTATUS.STATUS_INVALID_PARAMETER;
        }
        ulong entry = machine.Pool.Allocate(POOL_TYPE.PagedPool, EntrySize, Tag, caller, zero: true);
        if (entry == 0)
        {
            if (node is not null) machine.Objects.ObfDereferenceObject(node.PhysicalDevice);
            return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        }
        machine.Objects.ObfReferenceObject(DriverObject);
        var registration = new Registration(entry, EventCategory, interfaceClass, file, node, DriverObject, CallbackRoutine, Context);
        lock (gate) registrations.Add(registration);
        NotificationEntry = new PVOID(entry);
        bool includesExisting = (EventCategoryFlags & PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES) != 0;
        if (includesExisting && EventCategory == IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryDeviceInterfaceChange)
        {
            foreach (string link in machine.DeviceInterfaces.Enabled(interfaceClass))
                Notify([registration], GUID_DEVICE_INTERFACE_ARRIVAL, interfaceClass, link);
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>
    /// Removes a registration; a callback that is running is waited for, unless it is the caller. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <returns>STATUS_SUCCESS; STATUS_INVALID_PARAMETER for no registration.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoUnregisterPlugPlayNotificationEx(PVOID NotificationEntry)
    {
        if (Remove(NotificationEntry) is not { } removed) return NTSTATUS.STATUS_INVALID_PARAMETER;
        if (removed.IsRunning && !machine.PlugAndPlay.IsHere) machine.PlugAndPlay.Do(() => { });
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>The same without waiting: the callback may still run. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="IoUnregisterPlugPlayNotificationEx"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoUnregisterPlugPlayNotification(PVOID NotificationEntry) =>
        Remove(NotificationEntry) is null ? NTSTATUS.STATUS_INVALID_PARAMETER : NTSTATUS.STATUS_SUCCESS;

    Registration? Remove(PVOID entry)
    {
        Registration? removed;
        lock (gate)
        {
            removed = registrations.Find(r => r.Entry == entry.Address);
            if (removed is null) return null;
            registrations.Remove(removed);
        }
        machine.Pool.Free(removed.Entry, Tag);
        machine.Objects.ObfDereferenceObject(removed.Driver);
        if (removed.Node is { } node) machine.Objects.ObfDereferenceObject(node.PhysicalDevice);
        return removed;
    }

    /// <summary>The device that a file is on, as the drivers of the file's stack say; its PDO is referenced.</summary>
    DeviceNode? FindTarget(PFILE_OBJECT file)
    {
        PlugAndPlay tree = machine.PlugAndPlay;
        if (tree.Removal.QueryRelations(file.DeviceObject, DEVICE_RELATION_TYPE.TargetDeviceRelation, file) is [var target])
            return tree.Require(target, "IRP_MN_QUERY_DEVICE_RELATIONS");
        // The driver of a device that was taken for a PDO need not know Plug and Play.
        DeviceNode? node = tree.FindByStack(file.DeviceObject);
        if (node is null || (node.PhysicalDevice.Flags & DO_BUS_ENUMERATED_DEVICE) != 0) return null;
        machine.Objects.ObfReferenceObject(node.PhysicalDevice);
        return node;
    }

    // ---- Device interfaces

    internal void InterfaceChanged(Guid happened, Guid interfaceClass, string link)
    {
        Registration[] told = Registered(r => r.Category == IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryDeviceInterfaceChange && r.InterfaceClass == interfaceClass);
        if (told.Length > 0) machine.PlugAndPlay.Enqueue(() => Notify(told, happened, interfaceClass, link));
    }

    Registration[] Registered(Predicate<Registration> which)
    {
        lock (gate) return [.. registrations.FindAll(which)];
    }

    void Notify(Registration[] told, Guid happened, Guid interfaceClass, string link)
    {
        // The name follows the structure.
        const int header = DEVICE_INTERFACE_CHANGE_NOTIFICATION.SizeOf;
        int bytes = 2 * link.Length;
        ulong block = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)(header + UNICODE_STRING.SizeOf + bytes + 2), Tag, 0, zero: true);
        if (block == 0) return;
        ref UNICODE_STRING name = ref GuestMemory.Ref<UNICODE_STRING>(block + header);
        name = new UNICODE_STRING { Length = (ushort)bytes, MaximumLength = (ushort)(bytes + 2), Buffer = new PWSTR(block + header + UNICODE_STRING.SizeOf) };
        MemoryMarshal.AsBytes(link.AsSpan()).CopyTo(GuestMemory.Write(name.Buffer.Address, bytes));
        GuestMemory.Ref<DEVICE_INTERFACE_CHANGE_NOTIFICATION>(block) = new DEVICE_INTERFACE_CHANGE_NOTIFICATION
        {
            Version = 1,
            Size = header,
            Event = happened,
            InterfaceClassGuid = interfaceClass,
            SymbolicLinkName = new PUNICODE_STRING(block + header),
        };
        foreach (Registration registration in told) Call(registration, block);
        machine.Pool.Free(block, Tag);
    }

    NTSTATUS Call(Registration registration, ulong notification)
    {
        lock (gate)
        {
            if (!registrations.Contains(registration)) return NTSTATUS.STATUS_SUCCESS;
            registration.IsRunning = true;
        }
        KernelThread thread = machine.CurrentThread;
        NTSTATUS answer = machine.Code.Call(registration.Routine, new PVOID(notification), registration.Context);
        registration.IsRunning = false;
        if (thread.Irql == PASSIVE_LEVEL) return answer;
        throw machine.BugChecks.Stop(BugCheckCode.PNP_DETECTED_FATAL_ERROR, 0xA, registration.Driver.Address, thread.Irql, 0,
            $"The PnP notification callback at {Format.Address(registration.Routine.Address)} returned at IRQL {thread.Irql}.");
    }

    // ---- Devices

    Registration[] For(DeviceNode node) => Registered(r =>
        r.Category == IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryTargetDeviceChange && r.Node == node);

    /// <summary>Asks who uses a device whether it may go; false if one refuses, and those asked before are told.</summary>
    internal bool QueryRemove(DeviceNode node)
    {
        Registration[] asked = For(node);
        for (int i = 0; i < asked.Length; i++)
        {
            if (Call(asked[i], GUID_TARGET_DEVICE_QUERY_REMOVE) >= 0) continue;
            return false;
        }
        return true;
    }

    internal void RemoveCancelled(DeviceNode node)
    {
        foreach (Registration registration in For(node)) Call(registration, GUID_TARGET_DEVICE_REMOVE_CANCELLED);
    }

    internal void RemoveComplete(DeviceNode node)
    {
        foreach (Registration registration in For(node)) Call(registration, GUID_TARGET_DEVICE_REMOVE_COMPLETE);
    }

    NTSTATUS Call(Registration registration, Guid happened)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.PagedPool, TARGET_DEVICE_REMOVAL_NOTIFICATION.SizeOf, Tag, 0, zero: true);
        if (block == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        GuestMemory.Ref<TARGET_DEVICE_REMOVAL_NOTIFICATION>(block) = new TARGET_DEVICE_REMOVAL_NOTIFICATION
        {
            Version = 1,
            Size = TARGET_DEVICE_REMOVAL_NOTIFICATION.SizeOf,
            Event = happened,
            FileObject = registration.File,
        };
        NTSTATUS answer = Call(registration, block);
        machine.Pool.Free(block, Tag);
        return answer;
    }

    /// <summary>
    /// Tells those who registered for a device of an event that its driver defines, and waits until they know. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="NotificationStructure">Its FileObject is filled in for each receiver.</param>
    /// <returns>STATUS_INVALID_DEVICE_REQUEST for an event of the system's.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoReportTargetDeviceChange(PDEVICE_OBJECT PhysicalDeviceObject, PTARGET_DEVICE_CUSTOM_NOTIFICATION NotificationStructure)
    {
        DeviceNode node = machine.PlugAndPlay.Require(PhysicalDeviceObject, nameof(IoReportTargetDeviceChange));
        if (IsOfSystem(NotificationStructure.Event)) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        machine.PlugAndPlay.Do(() => TellCustomEvent(node, NotificationStructure));
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>The same without waiting: a copy of the structure is made. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Callback">Called at PASSIVE_LEVEL when everybody has been told; may be null.</param>
    /// <returns>STATUS_PENDING; STATUS_INVALID_DEVICE_REQUEST for an event of the system's.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS IoReportTargetDeviceChangeAsynchronous(
        PDEVICE_OBJECT PhysicalDeviceObject, PTARGET_DEVICE_CUSTOM_NOTIFICATION NotificationStructure, PDEVICE_CHANGE_COMPLETE_CALLBACK Callback, PVOID Context)
    {
        DeviceNode node = machine.PlugAndPlay.Require(PhysicalDeviceObject, nameof(IoReportTargetDeviceChangeAsynchronous));
        if (IsOfSystem(NotificationStructure.Event)) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        ushort size = NotificationStructure.Size;
        ulong copy = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, size, Tag, 0);
        if (copy == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        GuestMemory.Read(NotificationStructure.Address, size).CopyTo(GuestMemory.Write(copy, size));
        machine.PlugAndPlay.Enqueue(() =>
        {
            TellCustomEvent(node, new PTARGET_DEVICE_CUSTOM_NOTIFICATION(copy));
            machine.Pool.Free(copy, Tag);
            if (!Callback.IsNull) machine.Code.Call(Callback, Context);
        });
        return NTSTATUS.STATUS_PENDING;
    }

    static bool IsOfSystem(Guid happened) =>
        happened == GUID_TARGET_DEVICE_QUERY_REMOVE || happened == GUID_TARGET_DEVICE_REMOVE_CANCELLED || happened == GUID_TARGET_DEVICE_REMOVE_COMPLETE;

    void TellCustomEvent(DeviceNode node, PTARGET_DEVICE_CUSTOM_NOTIFICATION notification)
    {
        foreach (Registration registration in For(node))
        {
            notification.FileObject = registration.File;
            Call(registration, notification.Address);
        }
    }
}
