using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Device interfaces: names under which devices offer what a class of devices can do.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/install/overview-of-device-interface-classes"/>
public sealed class DeviceInterfaces
{
    const uint Tag = 0x66746E49; // "Intf"

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Interface> interfaces = [];

    internal DeviceInterfaces(Machine machine) => this.machine = machine;

    sealed class Interface(string link, Guid classGuid, DeviceNode node, string reference)
    {
        /// <summary><c>\??\ROOT#SAMPLE#0000#{class}</c>, with <c>\reference</c> behind it if there is one.</summary>
        internal string Link { get; } = link;

        internal Guid ClassGuid { get; } = classGuid;

        /// <summary>Registrations outlive the device, which then finds them under its instance path.</summary>
        internal DeviceNode Node { get; set; } = node;

        internal string Reference { get; } = reference;

        /// <summary>What a driver set.</summary>
        internal bool IsEnabled { get; set; }

        /// <summary>Whether it can be opened: enabled, and its device started.</summary>
        internal bool IsExposed { get; set; }

        /// <summary>The symbolic link itself: what follows the name is the file's.</summary>
        internal string LinkWithoutReference => Reference.Length == 0 ? Link : Link[..^(Reference.Length + 1)];
    }

    /// <summary>Names of the enabled interfaces of a class, as <c>\??\...</c>.</summary>
    public IReadOnlyList<string> Enabled(Guid interfaceClass)
    {
        lock (gate) return [.. interfaces.Where(i => i.IsExposed && i.ClassGuid == interfaceClass).Select(i => i.Link)];
    }

    /// <summary>
    /// Registers an interface of a device, disabled; one that is registered already is found again. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="ReferenceString">Null, or what an open of the interface gives the driver as file name, without path separators.</param>
    /// <param name="SymbolicLinkName">Receives the name; freed with RtlFreeUnicodeString.</param>
    /// <returns>STATUS_OBJECT_NAME_EXISTS for one that is there; STATUS_INVALID_DEVICE_REQUEST for no PDO, or an invalid reference string.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoRegisterDeviceInterface(
        PDEVICE_OBJECT PhysicalDeviceObject, in Guid InterfaceClassGuid, PUNICODE_STRING ReferenceString, PUNICODE_STRING SymbolicLinkName, [Caller] ulong caller = 0)
    {
        string reference = Strings.Read(ReferenceString);
        if (machine.PlugAndPlay.Find(PhysicalDeviceObject) is not { } node || reference.AsSpan().ContainsAny('\\', '/'))
            return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        string link = $@"\??\{node.InstancePath.Replace('\\', '#')}#{{{InterfaceClassGuid}}}{(reference.Length == 0 ? "" : '\\' + reference)}";
        NTSTATUS status = Allocate(link, SymbolicLinkName, caller);
        if (status < 0) return status;
        lock (gate)
        {
            if (Find(link) is { } registered)
            {
                registered.Node = node;
                return NTSTATUS.STATUS_OBJECT_NAME_EXISTS;
            }
            interfaces.Add(new Interface(link, InterfaceClassGuid, node, reference));
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    NTSTATUS Allocate(string text, PUNICODE_STRING target, ulong caller)
    {
        int bytes = 2 * text.Length;
        ulong buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)bytes + 2, Tag, caller, zero: true);
        if (buffer == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        MemoryMarshal.AsBytes(text.AsSpan()).CopyTo(GuestMemory.Write(buffer, bytes));
        target.Value = new UNICODE_STRING { Length = (ushort)bytes, MaximumLength = (ushort)(bytes + 2), Buffer = new PWSTR(buffer) };
        return NTSTATUS.STATUS_SUCCESS;
    }

    Interface? Find(string link) => interfaces.Find(i => string.Equals(i.Link, link, StringComparison.OrdinalIgnoreCase));

    /// <summary>
    /// Enables an interface, so that programs can open it, or disables it. What is enabled before IRP_MN_START_DEVICE has succeeded
    /// becomes visible then. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <returns>STATUS_OBJECT_NAME_EXISTS when it was enabled; STATUS_OBJECT_NAME_NOT_FOUND when it was not, or is not registered.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoSetDeviceInterfaceState(PUNICODE_STRING SymbolicLinkName, BOOLEAN Enable)
    {
        Interface? target;
        lock (gate)
        {
            target = Find(Strings.Read(SymbolicLinkName));
            if (target is null) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
            if (target.IsEnabled == Enable) return Enable ? NTSTATUS.STATUS_OBJECT_NAME_EXISTS : NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
            target.IsEnabled = Enable;
        }
        if (!Enable) Hide(target);
        else if (target.Node.IsStarted) Expose(target);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>A device has started: what its drivers enabled becomes visible.</summary>
    internal void Expose(DeviceNode node)
    {
        foreach (Interface enabled in Of(node, i => i.IsEnabled && !i.IsExposed)) Expose(enabled);
    }

    /// <summary>A device is gone: interfaces that its drivers left enabled go with it.</summary>
    internal void Forget(DeviceNode node)
    {
        foreach (Interface enabled in Of(node, i => i.IsEnabled))
        {
            enabled.IsEnabled = false;
            Hide(enabled);
        }
    }

    List<Interface> Of(DeviceNode node, Predicate<Interface> which)
    {
        lock (gate) return interfaces.FindAll(i => i.Node == node && which(i));
    }

    void Expose(Interface target)
    {
        target.IsExposed = true;
        machine.NamedObjects.IoCreateSymbolicLink(
            machine.Strings.Constant(target.LinkWithoutReference), machine.Strings.Constant(machine.Objects.NameOf(target.Node.PhysicalDevice)));
        machine.PnpNotifications.InterfaceChanged(GUID_DEVICE_INTERFACE_ARRIVAL, target.ClassGuid, target.Link);
    }

    void Hide(Interface target)
    {
        if (!target.IsExposed) return;
        target.IsExposed = false;
        bool isShared;
        lock (gate) isShared = interfaces.Exists(i => i.IsExposed && i.LinkWithoutReference == target.LinkWithoutReference);
        if (!isShared) machine.NamedObjects.IoDeleteSymbolicLink(machine.Strings.Constant(target.LinkWithoutReference));
        machine.PnpNotifications.InterfaceChanged(GUID_DEVICE_INTERFACE_REMOVAL, target.ClassGuid, target.Link);
    }

    /// <summary>Opens the key in which drivers keep what belongs to one interface; it is created if need be. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DeviceInterfaceRegKey">Closed with ZwClose.</param>
    /// <returns>STATUS_INVALID_PARAMETER for what is no name of an interface; STATUS_OBJECT_NAME_NOT_FOUND for one that is not registered.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoOpenDeviceInterfaceRegistryKey(PUNICODE_STRING SymbolicLinkName, uint DesiredAccess, out HANDLE DeviceInterfaceRegKey)
    {
        DeviceInterfaceRegKey = default;
        string link = Strings.Read(SymbolicLinkName);
        if (!link.StartsWith(@"\??\", StringComparison.Ordinal)) return NTSTATUS.STATUS_INVALID_PARAMETER;
        Interface? target;
        lock (gate) target = Find(link);
        if (target is null) return NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
        string device = target.LinkWithoutReference.Replace('\\', '#');
        RegistryKey key = machine.Registry.Create(
            $@"\Registry\Machine\System\CurrentControlSet\Control\DeviceClasses\{{{target.ClassGuid}}}\{device}\#{target.Reference}\Device Parameters");
        return machine.Registry.Open(key, DesiredAccess, OBJ_KERNEL_HANDLE, out DeviceInterfaceRegKey);
    }

    /// <summary>
    /// The names of a class's interfaces, null-terminated one after the other, with one more null at the end. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="PhysicalDeviceObject">Of one device only, or null.</param>
    /// <param name="Flags">DEVICE_INTERFACE_INCLUDE_NONACTIVE for the disabled ones as well.</param>
    /// <param name="SymbolicLinkList">Receives the list in paged pool, which the caller frees with ExFreePool.</param>
    /// <returns>STATUS_INVALID_DEVICE_REQUEST when the device object is no PDO.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoGetDeviceInterfaces(
        in Guid InterfaceClassGuid, PDEVICE_OBJECT PhysicalDeviceObject, uint Flags, out PWSTR SymbolicLinkList, [Caller] ulong caller = 0)
    {
        SymbolicLinkList = default;
        DeviceNode? node = machine.PlugAndPlay.Find(PhysicalDeviceObject);
        if (!PhysicalDeviceObject.IsNull && node is null) return NTSTATUS.STATUS_INVALID_DEVICE_REQUEST;
        Guid wanted = InterfaceClassGuid;
        bool all = (Flags & DEVICE_INTERFACE_INCLUDE_NONACTIVE) != 0;
        string list;
        lock (gate) list = string.Concat(interfaces.Where(i => i.ClassGuid == wanted && (node is null || i.Node == node) && (all || i.IsExposed)).Select(i => i.Link + '\0'));
        ulong buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, 2 * (ulong)list.Length + 2, Tag, caller, zero: true);
        if (buffer == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        if (list.Length > 0) MemoryMarshal.AsBytes(list.AsSpan()).CopyTo(GuestMemory.Write(buffer, 2 * list.Length));
        SymbolicLinkList = new PWSTR(buffer);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>
    /// The interface of another class that the same device has with the same reference string. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="AliasSymbolicLinkName">Receives its name; freed with RtlFreeUnicodeString.</param>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND without an alias; STATUS_OBJECT_PATH_NOT_FOUND when the class is unknown.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoGetDeviceInterfaceAlias(
        PUNICODE_STRING SymbolicLinkName, in Guid AliasInterfaceClassGuid, PUNICODE_STRING AliasSymbolicLinkName, [Caller] ulong caller = 0)
    {
        string link = Strings.Read(SymbolicLinkName);
        Guid wanted = AliasInterfaceClassGuid;
        Interface? alias;
        lock (gate)
        {
            if (!interfaces.Exists(i => i.ClassGuid == wanted)) return NTSTATUS.STATUS_OBJECT_PATH_NOT_FOUND;
            alias = Find(link) is { } known
                ? interfaces.Find(i => i.ClassGuid == wanted && i.Node.InstancePath == known.Node.InstancePath && i.Reference == known.Reference)
                : null;
        }
        return alias is null ? NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND : Allocate(alias.Link, AliasSymbolicLinkName, caller);
    }
}
