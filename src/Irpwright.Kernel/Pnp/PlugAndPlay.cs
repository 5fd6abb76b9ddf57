using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The PnP manager: the device tree, and who may change it when.</summary>
/// <remarks>
/// Everything that changes the tree happens in one system thread at PASSIVE_LEVEL, one operation after the other; drivers see the
/// requests of the PnP manager in that thread. Operations that are called from another thread wait for it.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/adding-a-pnp-device-to-a-running-system"/>
public sealed class PlugAndPlay
{
    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, DeviceNode> nodes = [];
    readonly Dictionary<string, DeviceInstallation> installations = new(StringComparer.OrdinalIgnoreCase);
    readonly Queue<Action> operations = new();
    KernelThread? worker;
    bool isWorking;
    readonly DeviceRequests deviceRequests;
    RootBus? rootBus;

    internal PlugAndPlay(Machine machine)
    {
        this.machine = machine;
        Requests = new PnpIrps(machine);
        Configuration = new DeviceConfiguration(machine);
        Removal = new DeviceRemoval(machine);
        deviceRequests = new DeviceRequests(machine);
        Root = new DeviceNode(null, default) { State = DeviceNodeState.Started };
    }

    /// <summary>The root of the device tree; its children have no bus of their own.</summary>
    public DeviceNode Root { get; }

    /// <summary>All devices, parents before children.</summary>
    public IEnumerable<DeviceNode> Nodes => Root.Subtree().Skip(1);

    internal PnpIrps Requests { get; }

    internal DeviceConfiguration Configuration { get; }

    internal DeviceRemoval Removal { get; }

    /// <summary>The device whose PDO this is, if the PnP manager knows it.</summary>
    public DeviceNode? Find(PDEVICE_OBJECT physicalDevice)
    {
        lock (gate) return nodes.GetValueOrDefault(physicalDevice.Address);
    }

    /// <summary>The device whose stack a device object is in.</summary>
    public DeviceNode? FindByStack(PDEVICE_OBJECT device)
    {
        lock (gate)
        {
            if (nodes.Count == 0) return null;
        }
        PDEVICE_OBJECT bottom = device;
        while (bottom.DeviceObjectExtension.AttachedTo is { IsNull: false } lower) bottom = lower;
        return Find(bottom);
    }

    /// <summary>The device of an argument that has to be a PDO.</summary>
    /// <exception cref="BugCheckException">PNP_DETECTED_FATAL_ERROR when it is none, or was never reported.</exception>
    internal DeviceNode Require(PDEVICE_OBJECT physicalDevice, string routine)
    {
        if (Find(physicalDevice) is { } node) return node;
        ulong driver = GuestMemory.IsAccessible(physicalDevice.Address, DEVICE_OBJECT.SizeOf, PageAccess.Read) ? physicalDevice.DriverObject.Address : 0;
        throw machine.BugChecks.Stop(BugCheckCode.PNP_DETECTED_FATAL_ERROR, 2, physicalDevice.Address, driver, 0,
            $"{routine} was called for {machine.Objects.NameOf(physicalDevice)}, which is not a PDO that a bus driver has reported.");
    }

    internal void Register(DeviceNode node)
    {
        lock (gate) nodes.Add(node.PhysicalDevice.Address, node);
        node.Parent!.Add(node);
        machine.Events.Emit(new DeviceNodeChanged(node, node.State, node.State));
    }

    internal void Forget(DeviceNode node)
    {
        node.Parent!.Remove(node);
        lock (gate) nodes.Remove(node.PhysicalDevice.Address);
    }

    internal void Change(DeviceNode node, DeviceNodeState state)
    {
        DeviceNodeState before = node.State;
        node.State = state;
        if (before != state) machine.Events.Emit(new DeviceNodeChanged(node, before, state));
    }

    // ---- What is installed

    /// <summary>Says which drivers a device gets that has this hardware or compatible id, as an INF file does.</summary>
    public void Install(string id, DeviceInstallation installation)
    {
        lock (gate) installations[id] = installation;
    }

    internal DeviceInstallation? FindInstallation(DeviceNode node)
    {
        lock (gate)
        {
            foreach (string id in node.HardwareIds.Concat(node.CompatibleIds))
            {
                if (installations.TryGetValue(id, out DeviceInstallation? found)) return found;
            }
            return null;
        }
    }

    // ---- The thread of the PnP manager

    /// <summary>Has an operation done after those that were asked for before, without waiting for it. IRQL &lt;= DISPATCH_LEVEL.</summary>
    internal void Enqueue(Action operation)
    {
        bool start;
        lock (gate)
        {
            operations.Enqueue(operation);
            start = !isWorking;
            isWorking = true;
        }
        if (start) machine.Scheduler.Start("pnp", ThreadKind.System, Work);
        if (machine.TryGetCurrentThread() is { } thread) machine.Scheduler.Yield(thread, SchedulingPoint.Wake);
    }

    void Work()
    {
        worker = machine.CurrentThread;
        while (true)
        {
            Action? operation;
            lock (gate)
            {
                if (!operations.TryDequeue(out operation))
                {
                    worker = null;
                    isWorking = false;
                    return;
                }
            }
            operation();
        }
    }

    /// <summary>Whether the calling code runs in the thread of the PnP manager.</summary>
    internal bool IsHere => worker is { } thread && thread == machine.TryGetCurrentThread();

    /// <summary>Does an operation in the thread of the PnP manager and waits for it.</summary>
    internal T Do<T>(Func<T> operation)
    {
        if (machine.TryGetCurrentThread() is not { } caller) return machine.Run(() => Do(operation));
        if (IsHere) return operation();
        using SystemCall call = caller.Enter();
        T result = default!;
        bool isDone = false;
        Enqueue(() =>
        {
            result = operation();
            Volatile.Write(ref isDone, true);
            machine.Scheduler.Unblock(caller);
        });
        machine.Dispatcher.WaitUntil(caller, () => Volatile.Read(ref isDone), "waits for the PnP manager");
        return result;
    }

    internal void Do(Action operation) => Do(() =>
    {
        operation();
        return true;
    });

    /// <summary>Waits until the PnP manager has done everything that it was asked for before.</summary>
    public void Settle() => Do(() => { });

    // ---- Devices without a bus of their own

    /// <summary>Reports a device to the root bus: it is enumerated, and neither gets drivers nor is started yet.</summary>
    public DeviceNode Report(DeviceDescription description) => Do(() =>
    {
        PDEVICE_OBJECT device = RootBus.Create(description, NextInstance(description));
        var node = new DeviceNode(Root, device);
        Configuration.Enumerated(node);
        return node;
    });

    /// <summary>Takes the device of a driver that knows no Plug and Play as a PDO, for drivers to be attached to.</summary>
    /// <remarks>It can be opened from the beginning. Its driver is asked nothing.</remarks>
    public DeviceNode Report(PDEVICE_OBJECT physicalDevice, string deviceId) => Do(() =>
    {
        var node = new DeviceNode(Root, physicalDevice) { DeviceId = deviceId, HardwareIds = [deviceId], Capabilities = DeviceDescription.DefaultCapabilities() };
        node.InstanceId = NextInstance(new DeviceDescription(deviceId));
        machine.Objects.ObfReferenceObject(physicalDevice);
        Register(node);
        return node;
    });

    /// <summary>Forgets a device that was reported by its PDO and has no drivers above that any more; its driver is told nothing.</summary>
    public void Withdraw(DeviceNode node) => Do(() => Removal.Delete(node));

    internal RootBus RootBus
    {
        get
        {
            if (rootBus is not null) return rootBus;
            rootBus = new RootBus();
            machine.Drivers.LoadKernelDriver(rootBus, "PnpManager");
            return rootBus;
        }
    }

    string NextInstance(DeviceDescription description)
    {
        if (description.InstanceId is { } given) return given;
        int count = Root.Children.Count(n => string.Equals(n.DeviceId, description.DeviceId, StringComparison.OrdinalIgnoreCase));
        for (int i = count; ; i++)
        {
            string id = $"{i:D4}";
            if (!Root.Children.Any(n => n.InstanceId == id && string.Equals(n.DeviceId, description.DeviceId, StringComparison.OrdinalIgnoreCase))) return id;
        }
    }

    // ---- Operations

    /// <summary>Builds the device's stack: loads what is installed for it and calls AddDevice, lowest driver first.</summary>
    /// <returns>What the driver that failed returned; STATUS_NO_SUCH_DEVICE when nothing is installed.</returns>
    public NTSTATUS AddDrivers(DeviceNode node) => Do(() => Configuration.AddDrivers(node));

    /// <summary>Loads a driver and has it attach to the top of a stack that is not started, as an installed one.</summary>
    /// <returns>What DriverEntry or AddDevice returned; after a failure the whole stack has been removed.</returns>
    public NTSTATUS AddDriver(DeviceNode node, DriverService service) => Do(() =>
    {
        NTSTATUS status = Configuration.AddDriver(node, service);
        if (status >= 0) Change(node, DeviceNodeState.DriversAdded);
        return status;
    });

    /// <summary>Starts, or after a stop restarts, a device, its stack being built if it is not; then enumerates its children and starts them.</summary>
    /// <returns>The outcome of IRP_MN_START_DEVICE; after a failure the stack has been removed (PNP-03).</returns>
    public NTSTATUS Start(DeviceNode node) => Do(() => Configuration.Start(node));

    /// <summary>Asks a bus for its children, adds and starts the new ones, and removes those that have gone.</summary>
    public void Enumerate(DeviceNode node) => Do(() => Configuration.EnumerateChildren(node));

    /// <summary>Asks whether a device and everything below it can be stopped (IRP_MN_QUERY_STOP_DEVICE).</summary>
    /// <returns>What the driver that refused returned; all have been told then that nothing happens.</returns>
    public NTSTATUS QueryStop(DeviceNode node) => Do(() => Removal.QueryStop(node));

    public void CancelStop(DeviceNode node) => Do(() => Removal.CancelStop(node));

    /// <summary>Stops a device so that its resources can be changed; asks first if it was not asked. <see cref="Start"/> goes on.</summary>
    public NTSTATUS Stop(DeviceNode node) => Do(() => Removal.Stop(node));

    /// <summary>Asks whether a device and everything below it can be removed (IRP_MN_QUERY_REMOVE_DEVICE).</summary>
    /// <returns>What the driver that refused returned, STATUS_UNSUCCESSFUL for open handles; all have been told then that nothing happens.</returns>
    public NTSTATUS QueryRemove(DeviceNode node) => Do(() => Removal.QueryRemove(node));

    public void CancelRemove(DeviceNode node) => Do(() => Removal.CancelRemove(node));

    /// <summary>Removes the drivers of a device and of everything below it; a started device is asked first if it was not asked.</summary>
    public NTSTATUS Remove(DeviceNode node) => Do(() => Removal.Remove(node));

    /// <summary>Takes the device away without asking: IRP_MN_SURPRISE_REMOVAL, and IRP_MN_REMOVE_DEVICE once no handle is open (PNP-05).</summary>
    public void SurpriseRemove(DeviceNode node) => Do(() => Removal.SurpriseRemove(node));

    /// <summary>Takes a device of the root bus out of the machine: one that has drivers is lost by surprise.</summary>
    public void Unplug(DeviceNode node) => Do(() => Removal.Unplug(node));

    /// <summary>Ejects a device in an orderly way.</summary>
    /// <returns>What the driver that refused returned.</returns>
    public NTSTATUS Eject(DeviceNode node) => Do(() => Removal.Eject(node));

    /// <summary>Asks a device's drivers for an interface (IRP_MN_QUERY_INTERFACE), before the device is started too.</summary>
    /// <param name="buffer">Zeroed memory of <paramref name="size"/> bytes, which the driver that has the interface fills in and references.</param>
    /// <param name="specificData">What the interface's documentation says; null as a rule.</param>
    /// <returns>STATUS_NOT_SUPPORTED when no driver has it.</returns>
    public NTSTATUS QueryInterface(DeviceNode node, Guid type, PINTERFACE buffer, ushort size, ushort version, PVOID specificData = default) =>
        Do(() => deviceRequests.QueryInterface(node, type, buffer, size, version, specificData));

    /// <summary>Reads the configuration space that a device has on its bus (IRP_MN_READ_CONFIG).</summary>
    /// <param name="whichSpace">PCI_WHICHSPACE_CONFIG, or what else the bus defines.</param>
    /// <returns>With the number of bytes that were read.</returns>
    public RequestAnswer ReadConfig(DeviceNode node, uint whichSpace, uint offset, Memory<byte> buffer) =>
        Do(() => deviceRequests.AccessConfig(node, IRP_MN_READ_CONFIG, whichSpace, offset, default, buffer));

    /// <summary>Writes the configuration space that a device has on its bus (IRP_MN_WRITE_CONFIG).</summary>
    /// <returns>With the number of bytes that were written.</returns>
    public RequestAnswer WriteConfig(DeviceNode node, uint whichSpace, uint offset, ReadOnlyMemory<byte> data) =>
        Do(() => deviceRequests.AccessConfig(node, IRP_MN_WRITE_CONFIG, whichSpace, offset, data, default));

    /// <summary>Has the bus driver lock a device, so that nobody ejects it, or unlock it (IRP_MN_SET_LOCK). <see cref="Eject"/> unlocks.</summary>
    /// <returns>STATUS_NOT_SUPPORTED, and nothing is sent, for a device without LockSupported.</returns>
    public NTSTATUS SetLock(DeviceNode node, bool isLocked) => Do(() => deviceRequests.SetLock(node, isLocked));

    /// <summary>The system wants a paging, hibernation or dump file on a started device (IRP_MN_DEVICE_USAGE_NOTIFICATION, InPath).</summary>
    /// <returns>An error, and no such file is there, if a driver refuses or none knows the request.</returns>
    public NTSTATUS AddSpecialFile(DeviceNode node, DEVICE_USAGE_NOTIFICATION_TYPE type) => Do(() => deviceRequests.NotifyUsage(node, type, inPath: true));

    /// <summary>A special file is no longer on a device; its drivers are told.</summary>
    /// <returns>STATUS_INVALID_DEVICE_STATE when there was none.</returns>
    public NTSTATUS RemoveSpecialFile(DeviceNode node, DEVICE_USAGE_NOTIFICATION_TYPE type) => Do(() => deviceRequests.NotifyUsage(node, type, inPath: false));

    /// <summary>Sends any other PnP request to the device's stack, as the system does for a setup program or another component.</summary>
    public RequestAnswer Send(DeviceNode node, byte minorFunction, IO_STACK_LOCATION.ParametersUnion parameters = default, ulong information = 0) => Do(() =>
        Requests.Send(node.PhysicalDevice, IRP_MJ_PNP, minorFunction, location => location.Parameters = parameters, information));

    /// <summary>Told by the I/O manager when a handle to a device was closed.</summary>
    internal void HandleClosed(PDEVICE_OBJECT device)
    {
        if (FindByStack(device) is { AwaitsLastHandle: true } node) Enqueue(() => Removal.FinishSurpriseRemoval(node));
    }

    /// <summary>Whether handles to any device of the stack are open.</summary>
    internal static bool HasOpenHandles(DeviceNode node)
    {
        for (PDEVICE_OBJECT device = node.PhysicalDevice; !device.IsNull; device = device.AttachedDevice)
        {
            if (device.ReferenceCount > 0) return true;
        }
        return false;
    }

    // ---- DDIs

    /// <summary>The device's relations have changed; for BusRelations and PowerRelations its drivers are asked anew, later. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="DeviceObject">The PDO of the device.</param>
    /// <exception cref="BugCheckException">PNP_DETECTED_FATAL_ERROR when that is no PDO.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoInvalidateDeviceRelations(PDEVICE_OBJECT DeviceObject, DEVICE_RELATION_TYPE Type)
    {
        DeviceNode node = Require(DeviceObject, nameof(IoInvalidateDeviceRelations));
        switch (Type)
        {
            case DEVICE_RELATION_TYPE.BusRelations:
                Enqueue(() => Configuration.EnumerateChildren(node));
                break;
            case DEVICE_RELATION_TYPE.PowerRelations:
                Enqueue(() => Removal.QueryRelations(node, DEVICE_RELATION_TYPE.PowerRelations));
                break;
        }
    }

    /// <summary>The device's PnP state has changed; its drivers are asked for it, later. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">PNP_DETECTED_FATAL_ERROR when the argument is no PDO.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoInvalidateDeviceState(PDEVICE_OBJECT PhysicalDeviceObject)
    {
        DeviceNode node = Require(PhysicalDeviceObject, nameof(IoInvalidateDeviceState));
        Enqueue(() => Configuration.UpdatePnpState(node));
    }

    /// <summary>The eject button of a device was pressed; the device is shut down and ejected, later. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">PNP_DETECTED_FATAL_ERROR when the argument is no PDO.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoRequestDeviceEject(PDEVICE_OBJECT PhysicalDeviceObject)
    {
        DeviceNode node = Require(PhysicalDeviceObject, nameof(IoRequestDeviceEject));
        Enqueue(() => Removal.Eject(node));
    }

    /// <summary>
    /// Reports a device that the driver found by itself. The caller attaches to the PDO and is the function driver; the device counts
    /// as started, without AddDevice and IRP_MN_START_DEVICE. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="ResourceAssigned">TRUE if the resources are reported already; they are not claimed here then.</param>
    /// <param name="DeviceObject">A PDO of the caller's, or null to receive a new one.</param>
    /// <returns>STATUS_CONFLICTING_ADDRESSES when another device has one of the resources.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoReportDetectedDevice(PDRIVER_OBJECT DriverObject, INTERFACE_TYPE LegacyBusType, uint BusNumber, uint SlotNumber, PCM_RESOURCE_LIST ResourceList,
        PIO_RESOURCE_REQUIREMENTS_LIST ResourceRequirements, BOOLEAN ResourceAssigned, ref PDEVICE_OBJECT DeviceObject)
    {
        byte[] resources = DeviceConfiguration.CopyResourceList(ResourceList);
        PDEVICE_OBJECT given = DeviceObject;
        string service = machine.Drivers.Find(DriverObject)!.Name;
        INTERFACE_TYPE bus = resources.Length > 0 ? ResourceList.List.InterfaceType : INTERFACE_TYPE.Internal;
        string busName = bus is INTERFACE_TYPE.PCIBus ? "PCI" : bus is INTERFACE_TYPE.PNPBus ? "PNP" : bus.ToString();
        (NTSTATUS status, PDEVICE_OBJECT reported) = Do(() =>
        {
            if (!ResourceAssigned && Configuration.IsTaken(DeviceResource.FromResourceList(resources), null)) return (NTSTATUS.STATUS_CONFLICTING_ADDRESSES, default);
            var description = new DeviceDescription($@"ROOT\{service}") { CompatibleIds = [$@"DETECTED{busName}\{service}", $@"DETECTED\{service}"] };
            DeviceNode node = given.IsNull ? Report(description) : Report(given, description.DeviceId);
            node.CompatibleIds = description.CompatibleIds;
            node.AllocatedResources = resources;
            node.ResourceRequirements = DeviceConfiguration.CopyRequirements(ResourceRequirements);
            node.BusInformation ??= new PNP_BUS_INFORMATION { LegacyBusType = LegacyBusType, BusNumber = BusNumber };
            DeviceConfiguration.AllowOpens(node);
            Change(node, DeviceNodeState.Started);
            return (NTSTATUS.STATUS_SUCCESS, node.PhysicalDevice);
        });
        if (status >= 0) DeviceObject = reported;
        return status;
    }

    /// <summary>
    /// Reports the driver's one device that no bus can find: it is enumerated below the root, and the driver's AddDevice is called,
    /// later. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <returns>STATUS_SUCCESS, also when the device was reported before.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoReportRootDevice(PDRIVER_OBJECT DriverObject)
    {
        Driver driver = machine.Drivers.Find(DriverObject)!;
        string id = $@"ROOT\{driver.Name}";
        Enqueue(() =>
        {
            if (Root.Children.Any(node => string.Equals(node.DeviceId, id, StringComparison.OrdinalIgnoreCase))) return;
            DeviceNode node = Report(new DeviceDescription(id));
            node.Installation = FindInstallation(node) ?? new DeviceInstallation { Function = DriverService.Of(machine, driver) };
            Configuration.Start(node);
        });
        return NTSTATUS.STATUS_SUCCESS;
    }
}
