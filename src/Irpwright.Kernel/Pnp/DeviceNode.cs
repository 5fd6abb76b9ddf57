using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Where a device is on its way through Plug and Play.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/state-transitions-for-pnp-devices"/>
public enum DeviceNodeState
{
    /// <summary>Its bus reported it; no drivers but those of the bus are in its stack.</summary>
    Enumerated,
    /// <summary>Its stack is built, and not started.</summary>
    DriversAdded,
    Started,
    /// <summary>IRP_MN_QUERY_STOP_DEVICE succeeded.</summary>
    StopPending,
    Stopped,
    /// <summary>IRP_MN_QUERY_REMOVE_DEVICE succeeded.</summary>
    RemovePending,
    /// <summary>Gone without warning; its drivers stay until the last handle is closed.</summary>
    SurpriseRemoved,
    /// <summary>No longer in the device tree.</summary>
    Deleted,
}

/// <summary>One device in the device tree, as the PnP manager knows it.</summary>
public sealed class DeviceNode
{
    readonly List<DeviceNode> children = [];

    internal DeviceNode(DeviceNode? parent, PDEVICE_OBJECT physicalDevice)
    {
        Parent = parent;
        PhysicalDevice = physicalDevice;
    }

    /// <summary>Null for the root of the tree, which stands for no device.</summary>
    public DeviceNode? Parent { get; }

    /// <summary>The devices that its drivers reported, in the order of their last report.</summary>
    public IReadOnlyList<DeviceNode> Children
    {
        get { lock (children) return [.. children]; }
    }

    /// <summary>The PDO, which the bus driver made.</summary>
    public PDEVICE_OBJECT PhysicalDevice { get; }

    public DeviceNodeState State { get; internal set; }

    /// <summary>Why the device does not work; 0 if nothing is known against it.</summary>
    public CM_PROB Problem { get; internal set; }

    /// <summary>What the operation in question failed with.</summary>
    public NTSTATUS ProblemStatus { get; internal set; }

    /// <summary>Such as <c>ROOT\SAMPLE</c>.</summary>
    public string DeviceId { get; internal set; } = "";

    /// <summary>Unique below the device id.</summary>
    public string InstanceId { get; internal set; } = "";

    /// <summary>Names the device for good: <c>ROOT\SAMPLE\0000</c>.</summary>
    public string InstancePath => InstanceId.Length == 0 ? DeviceId : $@"{DeviceId}\{InstanceId}";

    /// <summary>Most specific first.</summary>
    public IReadOnlyList<string> HardwareIds { get; internal set; } = [];

    public IReadOnlyList<string> CompatibleIds { get; internal set; } = [];

    public string? ContainerId { get; internal set; }

    public string? Description { get; internal set; }

    public string? Location { get; internal set; }

    /// <summary>As the drivers answered last.</summary>
    public DEVICE_CAPABILITIES Capabilities { get; internal set; }

    public PNP_BUS_INFORMATION? BusInformation { get; internal set; }

    /// <summary>CM_RESOURCE_LIST that the firmware assigned; empty for none.</summary>
    public ReadOnlyMemory<byte> BootResources { get; internal set; }

    /// <summary>IO_RESOURCE_REQUIREMENTS_LIST of the bus driver; empty for none.</summary>
    public ReadOnlyMemory<byte> ResourceRequirements { get; internal set; }

    /// <summary>CM_RESOURCE_LIST that the device was started with; empty for none.</summary>
    public ReadOnlyMemory<byte> AllocatedResources { get; internal set; }

    /// <summary>Answer to the last IRP_MN_QUERY_PNP_DEVICE_STATE.</summary>
    public PNP_DEVICE_STATE PnpState { get; internal set; }

    /// <summary>Whether its bus keeps the device from being ejected (IRP_MN_SET_LOCK).</summary>
    public bool IsLocked { get; internal set; }

    /// <summary>The paging, hibernation and dump files that the system has on the device, one entry each.</summary>
    public IReadOnlyList<DEVICE_USAGE_NOTIFICATION_TYPE> SpecialFiles { get; internal set; } = [];

    /// <summary>What was installed for the device; null for a device without drivers of its own.</summary>
    public DeviceInstallation? Installation { get; internal set; }

    /// <summary>The drivers above the bus drivers, lowest first.</summary>
    public IReadOnlyList<Driver> Drivers => AddedDrivers.ConvertAll(service => service.Loaded!);

    internal List<DriverService> AddedDrivers { get; } = [];

    /// <summary>Whether the bus still reports the device.</summary>
    public bool IsPresent { get; internal set; } = true;

    /// <summary>Waits, surprise-removed, for its last handle.</summary>
    internal bool AwaitsLastHandle { get; set; }

    /// <summary>Where the device returns to when its removal is cancelled.</summary>
    internal DeviceNodeState StateBeforeQuery { get; set; }

    internal bool IsStarted => State is DeviceNodeState.Started or DeviceNodeState.StopPending or DeviceNodeState.RemovePending;

    internal Dictionary<(Guid Category, uint Id, uint Locale), (uint Type, byte[] Data)> Properties { get; } = [];

    internal int Level => Parent is null ? 0 : Parent.Level + 1;

    internal void Add(DeviceNode child)
    {
        lock (children) children.Add(child);
    }

    internal void Remove(DeviceNode child)
    {
        lock (children) children.Remove(child);
    }

    /// <summary>This node and everything below it, parents before children.</summary>
    internal IEnumerable<DeviceNode> Subtree()
    {
        yield return this;
        foreach (DeviceNode child in Children)
        {
            foreach (DeviceNode below in child.Subtree()) yield return below;
        }
    }

    public override string ToString() => InstancePath.Length == 0 ? "the root of the device tree" : InstancePath;
}
