using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How a device comes to work: it is enumerated and asked about itself, gets its drivers and resources, and is started.</summary>
/// <remarks>Called in the thread of the PnP manager only.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/adding-a-pnp-device-to-a-running-system"/>
sealed class DeviceConfiguration(Machine machine)
{
    const uint Tag = 0x20706E50; // "Pnp "
    const int MaximumRequirements = 1 << 20;

    PlugAndPlay Tree => machine.PlugAndPlay;

    // ---- Enumeration

    /// <summary>Asks a bus for its children: those that it does not report any more are removed, new ones are configured and started.</summary>
    internal void EnumerateChildren(DeviceNode bus)
    {
        if (!bus.IsStarted || bus == Tree.Root) return;
        PDEVICE_OBJECT[]? reported = Tree.Removal.QueryRelations(bus, DEVICE_RELATION_TYPE.BusRelations);
        if (reported is null) return;
        var arrived = new List<DeviceNode>();
        for (int i = 0; i < reported.Length; i++)
        {
            PDEVICE_OBJECT device = reported[i];
            if (device.IsNull)
            {
                throw machine.BugChecks.Stop(BugCheckCode.PNP_DETECTED_FATAL_ERROR, 8, bus.PhysicalDevice.Address, (ulong)reported.Length, (ulong)i,
                    $"The drivers of {bus} reported {reported.Length} children, of which number {i} is a null pointer.");
            }
            if ((device.DeviceObjectExtension.ExtensionFlags & DOE_DELETE_PENDING) != 0)
            {
                throw machine.BugChecks.Stop(BugCheckCode.PNP_DETECTED_FATAL_ERROR, 4, device.Address, 0, 0,
                    $"The drivers of {bus} reported a child whose PDO they have deleted before.");
            }
            // The tree keeps the reference of a device that is new; it has one of every other already.
            if (Tree.Find(device) is not null) machine.Objects.ObfDereferenceObject(device);
            else arrived.Add(new DeviceNode(bus, device));
        }
        foreach (DeviceNode child in bus.Children)
        {
            if (Array.IndexOf(reported, child.PhysicalDevice) >= 0) continue;
            child.IsPresent = false;
            Tree.Removal.Departed(child);
        }
        foreach (DeviceNode child in arrived) Enumerated(child);
        foreach (DeviceNode child in arrived) Start(child);
    }

    /// <summary>Takes a new device into the tree, and asks its bus driver about it.</summary>
    internal void Enumerated(DeviceNode node)
    {
        PDEVICE_OBJECT device = node.PhysicalDevice;
        device.Flags |= DO_BUS_ENUMERATED_DEVICE;
        device.DeviceObjectExtension.ExtensionFlags |= DOE_START_PENDING;
        Tree.Register(node);
        node.DeviceId = QueryId(node, BUS_QUERY_ID_TYPE.BusQueryDeviceID, 1) is [var id, ..] ? id : "";
        string instance = QueryId(node, BUS_QUERY_ID_TYPE.BusQueryInstanceID, 2) is [var first, ..] ? first : "";
        node.HardwareIds = QueryId(node, BUS_QUERY_ID_TYPE.BusQueryHardwareIDs, 3);
        node.CompatibleIds = QueryId(node, BUS_QUERY_ID_TYPE.BusQueryCompatibleIDs, 4);
        node.ContainerId = QueryId(node, BUS_QUERY_ID_TYPE.BusQueryContainerID, 5) is [var container, ..] ? container : null;
        QueryCapabilities(node);
        node.InstanceId = (node.Capabilities.Flags & DEVICE_CAPABILITY_FLAGS.UniqueID) != 0 ? instance : MakeUnique(node, instance);
        RequireUnique(node);
        node.Description = QueryText(node, DEVICE_TEXT_TYPE.DeviceTextDescription);
        node.Location = QueryText(node, DEVICE_TEXT_TYPE.DeviceTextLocationInformation);
        if (TakeAnswer(Send(node, IRP_MN_QUERY_BUS_INFORMATION), _ => PNP_BUS_INFORMATION.SizeOf) is { Length: > 0 } bus)
            node.BusInformation = MemoryMarshal.Read<PNP_BUS_INFORMATION>(bus);
        node.BootResources = TakeAnswer(Send(node, IRP_MN_QUERY_RESOURCES), address => SizeOf(new PCM_RESOURCE_LIST(address)));
        QueryRequirements(node);
        if (node.DeviceId.Length == 0) SetProblem(node, CM_PROB.CM_PROB_NOT_CONFIGURED, NTSTATUS.STATUS_PNP_INVALID_ID);
        else Send(node, IRP_MN_DEVICE_ENUMERATED);
    }

    internal void QueryRequirements(DeviceNode node) => node.ResourceRequirements =
        TakeAnswer(Send(node, IRP_MN_QUERY_RESOURCE_REQUIREMENTS), address => SizeOf(new PIO_RESOURCE_REQUIREMENTS_LIST(address)));

    RequestAnswer Send(DeviceNode node, byte minor, PnpIrps.Parameters? parameters = null, ulong information = 0) =>
        Tree.Requests.Send(node.PhysicalDevice, IRP_MJ_PNP, minor, parameters, information);

    /// <summary>Copies what a driver answered with, and frees it.</summary>
    byte[] TakeAnswer(RequestAnswer answer, Func<ulong, int> size)
    {
        if (answer.Status < 0 || answer.Information == 0) return [];
        byte[] content = GuestMemory.Read(answer.Information, size(answer.Information)).ToArray();
        machine.Pool.Free(answer.Information, 0);
        return content;
    }

    string[] QueryId(DeviceNode node, BUS_QUERY_ID_TYPE type, ulong kind)
    {
        RequestAnswer answer = Send(node, IRP_MN_QUERY_ID, location => location.Parameters.QueryId.IdType = type);
        if (answer.Status < 0 || answer.Information == 0) return [];
        bool isList = type is BUS_QUERY_ID_TYPE.BusQueryHardwareIDs or BUS_QUERY_ID_TYPE.BusQueryCompatibleIDs;
        ReadOnlySpan<char> text = MemoryMarshal.Cast<byte, char>(GuestMemory.Read(answer.Information, RoomFor(answer.Information)));
        var ids = new List<string>();
        while (true)
        {
            int end = text.IndexOf('\0');
            if (end < 0 || text[..end].ContainsAnyExceptInRange('!', '\x7F') || text[..end].Contains(','))
            {
                throw machine.BugChecks.Stop(BugCheckCode.PNP_DETECTED_FATAL_ERROR, 3, node.PhysicalDevice.Address, answer.Information, kind,
                    $"The answer to IRP_MN_QUERY_ID {type} {(end < 0 ? "is not terminated" : $"holds a character that no id may have: \"{text[..end]}\"")}.");
            }
            if (end > 0) ids.Add(new string(text[..end]));
            if (!isList || end == 0) break;
            text = text[(end + 1)..];
        }
        machine.Pool.Free(answer.Information, 0);
        return [.. ids];
    }

    /// <summary>Bytes from an address to the end of its pool block.</summary>
    int RoomFor(ulong address) => machine.Pool.TryFind(address, out PoolBlock block) ? (int)(block.Size & ~1UL) : 0;

    string? QueryText(DeviceNode node, DEVICE_TEXT_TYPE type)
    {
        const uint englishUnitedStates = 0x409;
        RequestAnswer answer = Send(node, IRP_MN_QUERY_DEVICE_TEXT, location =>
        {
            location.Parameters.QueryDeviceText.DeviceTextType = type;
            location.Parameters.QueryDeviceText.LocaleId = englishUnitedStates;
        });
        byte[] text = TakeAnswer(answer, address => 2 * Strings.Read(new PWSTR(address)).Length);
        return text.Length == 0 ? null : Encoding.Unicode.GetString(text);
    }

    // The parent's path, shortened to a number, tells apart what two buses number alike.
    static string MakeUnique(DeviceNode node, string instance)
    {
        uint hash = 2166136261;
        foreach (char c in node.Parent!.InstancePath.ToUpperInvariant()) hash = (hash ^ c) * 16777619;
        return string.Create(CultureInfo.InvariantCulture, $"{node.Level}&{hash:x}&0&{instance}");
    }

    void RequireUnique(DeviceNode node)
    {
        foreach (DeviceNode sibling in node.Parent!.Children)
        {
            if (sibling == node || !sibling.IsPresent || node.DeviceId.Length == 0) continue;
            if (!string.Equals(sibling.InstancePath, node.InstancePath, StringComparison.OrdinalIgnoreCase)) continue;
            throw machine.BugChecks.Stop(BugCheckCode.PNP_DETECTED_FATAL_ERROR, 1, node.PhysicalDevice.Address, sibling.PhysicalDevice.Address, 0,
                $"The drivers of {node.Parent} reported two PDOs with the same device and instance id, {node}.");
        }
    }

    /// <summary>PNP-06.</summary>
    void QueryCapabilities(DeviceNode node)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.PagedPool, DEVICE_CAPABILITIES.SizeOf, Tag, 0, zero: true);
        if (block == 0) return;
        PDEVICE_CAPABILITIES capabilities = new(block);
        capabilities.Value.Size = DEVICE_CAPABILITIES.SizeOf;
        capabilities.Value.Version = 1;
        capabilities.Value.Address = uint.MaxValue;
        capabilities.Value.UINumber = uint.MaxValue;
        RequestAnswer answer = Send(node, IRP_MN_QUERY_CAPABILITIES, location => location.Parameters.DeviceCapabilities.Capabilities = capabilities);
        if (answer.Status >= 0) node.Capabilities = capabilities.Value;
        machine.Pool.Free(block, Tag);
    }

    static int SizeOf(PCM_RESOURCE_LIST list)
    {
        int size = 4;
        for (uint full = list.Count; full > 0; full--)
            size += 16 + GuestMemory.Ref<int>(list.Address + (ulong)size + 12) * CM_PARTIAL_RESOURCE_DESCRIPTOR.SizeOf;
        return size;
    }

    static int SizeOf(PIO_RESOURCE_REQUIREMENTS_LIST list) => (int)Math.Min(list.ListSize, MaximumRequirements);

    internal static byte[] CopyResourceList(PCM_RESOURCE_LIST list) => list.IsNull ? [] : GuestMemory.Read(list.Address, SizeOf(list)).ToArray();

    internal static byte[] CopyRequirements(PIO_RESOURCE_REQUIREMENTS_LIST list) => list.IsNull ? [] : GuestMemory.Read(list.Address, SizeOf(list)).ToArray();

    // ---- Drivers

    internal NTSTATUS AddDrivers(DeviceNode node)
    {
        if (node.State != DeviceNodeState.Enumerated || node == Tree.Root) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        node.Problem = CM_PROB.None;
        node.Installation ??= Tree.FindInstallation(node);
        if (node.Installation is not { } installation)
        {
            bool isRaw = (node.Capabilities.Flags & DEVICE_CAPABILITY_FLAGS.RawDeviceOK) != 0;
            if (!isRaw) return SetProblem(node, CM_PROB.CM_PROB_FAILED_INSTALL, NTSTATUS.STATUS_NO_SUCH_DEVICE);
            Tree.Change(node, DeviceNodeState.DriversAdded);
            return NTSTATUS.STATUS_SUCCESS;
        }
        foreach (DriverService service in installation.Drivers)
        {
            NTSTATUS status = AddDriver(node, service);
            if (status < 0) return status;
        }
        Tree.Change(node, DeviceNodeState.DriversAdded);
        return NTSTATUS.STATUS_SUCCESS;
    }

    internal NTSTATUS AddDriver(DeviceNode node, DriverService service)
    {
        if (node.State is not (DeviceNodeState.Enumerated or DeviceNodeState.DriversAdded)) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        NTSTATUS status = service.Load();
        if (status < 0) return Abandon(node, CM_PROB.CM_PROB_DRIVER_FAILED_LOAD, status);
        node.AddedDrivers.Add(service);
        status = machine.Drivers.AddDevice(service.Loaded!, node.PhysicalDevice);
        return status < 0 ? Abandon(node, CM_PROB.CM_PROB_FAILED_ADD, status) : status;
    }

    // The drivers that have attached already learn by IRP_MN_REMOVE_DEVICE that nothing comes of it.
    NTSTATUS Abandon(DeviceNode node, CM_PROB problem, NTSTATUS status)
    {
        Tree.Removal.RemoveDrivers(node);
        return SetProblem(node, problem, status);
    }

    static NTSTATUS SetProblem(DeviceNode node, CM_PROB problem, NTSTATUS status)
    {
        node.Problem = problem;
        node.ProblemStatus = status;
        return status;
    }

    // ---- Starting

    internal NTSTATUS Start(DeviceNode node)
    {
        if (node.Problem == CM_PROB.CM_PROB_HELD_FOR_EJECT || node.DeviceId.Length == 0) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        if (node.State == DeviceNodeState.Enumerated)
        {
            NTSTATUS added = AddDrivers(node);
            if (added < 0) return added;
        }
        if (node.State is not (DeviceNodeState.DriversAdded or DeviceNodeState.Stopped)) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        bool isRestart = node.State == DeviceNodeState.Stopped;
        if (!AssignResources(node)) return Abandon(node, CM_PROB.CM_PROB_NORMAL_CONFLICT, NTSTATUS.STATUS_CONFLICTING_ADDRESSES);
        NTSTATUS status = SendStart(node);
        if (status < 0)
        {
            if (isRestart) Tree.Removal.SurpriseRemove(node);
            else Tree.Removal.RemoveDrivers(node);
            return SetProblem(node, CM_PROB.CM_PROB_FAILED_START, status);
        }
        AllowOpens(node);
        Tree.Change(node, DeviceNodeState.Started);
        machine.DeviceInterfaces.Expose(node);
        QueryCapabilities(node);
        // Whatever stopped it knows its state.
        if (!isRestart) UpdatePnpState(node);
        EnumerateChildren(node);
        if (isRestart)
        {
            foreach (DeviceNode child in node.Children)
            {
                if (child.State == DeviceNodeState.Stopped) Start(child);
            }
        }
        return status;
    }

    internal static void AllowOpens(DeviceNode node) => node.PhysicalDevice.DeviceObjectExtension.ExtensionFlags &= ~DOE_START_PENDING;

    /// <summary>Has the drivers filter the requirements and chooses resources; false if others have what is needed.</summary>
    bool AssignResources(DeviceNode node)
    {
        ReadOnlyMemory<byte> requirements = FilterRequirements(node);
        INTERFACE_TYPE bus = node.BusInformation?.LegacyBusType ?? INTERFACE_TYPE.Internal;
        if (requirements.IsEmpty)
        {
            node.AllocatedResources = node.BootResources;
            return !IsTaken(DeviceResource.FromResourceList(node.BootResources.Span), node);
        }
        if (DeviceResource.Choose(requirements.Span, TakenBesides(node)) is not { } chosen) return false;
        node.AllocatedResources = DeviceResource.ToResourceList(chosen, bus, node.BusInformation?.BusNumber ?? 0);
        return true;
    }

    ReadOnlyMemory<byte> FilterRequirements(DeviceNode node)
    {
        ulong list = Copy(node.ResourceRequirements.Span);
        RequestAnswer answer = Send(node, IRP_MN_FILTER_RESOURCE_REQUIREMENTS,
            location => location.Parameters.FilterResourceRequirements.IoResourceRequirementList = new PIO_RESOURCE_REQUIREMENTS_LIST(list), list);
        if (answer.Information == 0) return default;
        // A driver that returns another list has freed the one it got.
        byte[] filtered = GuestMemory.Read(answer.Information, SizeOf(new PIO_RESOURCE_REQUIREMENTS_LIST(answer.Information))).ToArray();
        machine.Pool.Free(answer.Information, 0);
        return answer.Status >= 0 ? filtered : node.ResourceRequirements;
    }

    ulong Copy(ReadOnlySpan<byte> content)
    {
        if (content.IsEmpty) return 0;
        ulong block = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)content.Length, Tag, 0);
        if (block != 0) content.CopyTo(GuestMemory.Write(block, content.Length));
        return block;
    }

    List<DeviceResource> TakenBesides(DeviceNode? node) =>
        [.. Tree.Nodes.Where(other => other != node && other.IsStarted).SelectMany(other => DeviceResource.FromResourceList(other.AllocatedResources.Span))];

    internal bool IsTaken(List<DeviceResource> resources, DeviceNode? by) =>
        TakenBesides(by).Exists(taken => resources.Exists(taken.Conflicts));

    // Raw and translated are the same here: ports are ports, memory is where the bus says, vectors are the processor's.
    NTSTATUS SendStart(DeviceNode node)
    {
        ulong raw = Copy(node.AllocatedResources.Span);
        ulong translated = Copy(node.AllocatedResources.Span);
        RequestAnswer answer = Send(node, IRP_MN_START_DEVICE, location =>
        {
            location.Parameters.StartDevice.AllocatedResources = new PCM_RESOURCE_LIST(raw);
            location.Parameters.StartDevice.AllocatedResourcesTranslated = new PCM_RESOURCE_LIST(translated);
        });
        // The lists belong to the request: a driver that wants to keep them copies them.
        if (raw != 0) machine.Pool.Free(raw, Tag);
        if (translated != 0) machine.Pool.Free(translated, Tag);
        return answer.Status;
    }

    /// <summary>Asks for the PnP state and does what it says: a failed device is removed, one with new requirements gets other resources.</summary>
    internal void UpdatePnpState(DeviceNode node)
    {
        if (!node.IsStarted) return;
        RequestAnswer answer = Send(node, IRP_MN_QUERY_PNP_DEVICE_STATE);
        if (answer.Status < 0) return;
        node.PnpState = (PNP_DEVICE_STATE)answer.Information;
        bool hasFailed = (node.PnpState & PNP_DEVICE_STATE.PNP_DEVICE_FAILED) != 0;
        bool isGone = (node.PnpState & PNP_DEVICE_STATE.PNP_DEVICE_REMOVED) != 0;
        bool needsOther = (node.PnpState & PNP_DEVICE_STATE.PNP_DEVICE_RESOURCE_REQUIREMENTS_CHANGED) != 0;
        if (isGone || (hasFailed && !needsOther))
            Lose(node, isGone ? CM_PROB.CM_PROB_DEVICE_NOT_THERE : CM_PROB.CM_PROB_FAILED_POST_START, NTSTATUS.STATUS_UNSUCCESSFUL);
        else if (needsOther)
            ChangeResources(node, mustStop: hasFailed);
    }

    /// <summary>A device that works gets IRP_MN_START_DEVICE with its new resources; one that says that it has failed is stopped before.</summary>
    void ChangeResources(DeviceNode node, bool mustStop)
    {
        QueryRequirements(node);
        if (mustStop)
        {
            if (Tree.Removal.Stop(node) >= 0) Start(node);
            return;
        }
        // It keeps what it has if others have what it wants.
        if (!AssignResources(node)) return;
        NTSTATUS status = SendStart(node);
        if (status < 0) Lose(node, CM_PROB.CM_PROB_FAILED_START, status);
        else EnumerateChildren(node);
    }

    void Lose(DeviceNode node, CM_PROB problem, NTSTATUS status)
    {
        Tree.Removal.SurpriseRemove(node);
        SetProblem(node, problem, status);
    }
}
