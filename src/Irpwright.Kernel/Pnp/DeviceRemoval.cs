using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How devices are stopped for other resources, removed, lost and ejected.</summary>
/// <remarks>
/// Called in the thread of the PnP manager only. Devices below another are asked, stopped and removed before it.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/understanding-when-remove-irps-are-issued"/>
sealed class DeviceRemoval(Machine machine)
{
    PlugAndPlay Tree => machine.PlugAndPlay;

    NTSTATUS Send(DeviceNode node, byte minor) => Tree.Requests.Send(node.PhysicalDevice, IRP_MJ_PNP, minor).Status;

    static List<DeviceNode> ChildrenFirst(DeviceNode node) => [.. node.Subtree().Reverse()];

    // ---- Stopping

    internal NTSTATUS QueryStop(DeviceNode node)
    {
        if (node.State != DeviceNodeState.Started) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        foreach (DeviceNode below in ChildrenFirst(node).FindAll(n => n.State == DeviceNodeState.Started))
        {
            NTSTATUS status = Send(below, IRP_MN_QUERY_STOP_DEVICE);
            if (status >= 0)
            {
                Tree.Change(below, DeviceNodeState.StopPending);
                if (status == NTSTATUS.STATUS_RESOURCE_REQUIREMENTS_CHANGED) Tree.Configuration.QueryRequirements(below);
                continue;
            }
            Send(below, IRP_MN_CANCEL_STOP_DEVICE);
            CancelStop(node);
            return status;
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    internal void CancelStop(DeviceNode node)
    {
        foreach (DeviceNode below in node.Subtree().Where(n => n.State == DeviceNodeState.StopPending).ToList())
        {
            Send(below, IRP_MN_CANCEL_STOP_DEVICE);
            Tree.Change(below, DeviceNodeState.Started);
        }
    }

    internal NTSTATUS Stop(DeviceNode node)
    {
        if (node.State == DeviceNodeState.Started && QueryStop(node) is < 0 and var refused) return refused;
        if (node.State != DeviceNodeState.StopPending) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        foreach (DeviceNode below in ChildrenFirst(node).FindAll(n => n.State == DeviceNodeState.StopPending))
        {
            Send(below, IRP_MN_STOP_DEVICE);
            Tree.Change(below, DeviceNodeState.Stopped);
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    // ---- Relations

    /// <summary>Asks the device's drivers for devices that are related to it; null if they know of none.</summary>
    /// <remarks>Each comes with the reference that the driver added.</remarks>
    internal PDEVICE_OBJECT[]? QueryRelations(DeviceNode node, DEVICE_RELATION_TYPE type) => QueryRelations(node.PhysicalDevice, type);

    /// <param name="file">For TargetDeviceRelation: the file that is on the device.</param>
    internal PDEVICE_OBJECT[]? QueryRelations(PDEVICE_OBJECT device, DEVICE_RELATION_TYPE type, PFILE_OBJECT file = default)
    {
        RequestAnswer answer = Tree.Requests.Send(device, IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS, location =>
        {
            location.Parameters.QueryDeviceRelations.Type = type;
            location.FileObject = file;
        });
        if (answer.Status < 0 || answer.Information == 0) return null;
        PDEVICE_RELATIONS relations = new(answer.Information);
        var devices = new PDEVICE_OBJECT[relations.Count];
        for (int i = 0; i < devices.Length; i++) devices[i] = GuestMemory.Ref<PDEVICE_OBJECT>(answer.Information + 8 + 8 * (ulong)i);
        machine.Pool.Free(answer.Information, 0);
        return devices;
    }

    /// <summary>The device, what is below it, and what its drivers say must go with it, with everything below that.</summary>
    List<DeviceNode> Affected(DeviceNode node, bool isEjection)
    {
        List<DeviceNode> affected = ChildrenFirst(node);
        for (int i = affected.Count - 1; i >= 0; i--)
        {
            if (!affected[i].IsStarted) continue;
            AddRelated(affected[i], DEVICE_RELATION_TYPE.RemovalRelations);
            if (isEjection) AddRelated(affected[i], DEVICE_RELATION_TYPE.EjectionRelations);
        }
        affected.Sort((a, b) => b.Level.CompareTo(a.Level));
        return affected;

        void AddRelated(DeviceNode from, DEVICE_RELATION_TYPE type)
        {
            foreach (PDEVICE_OBJECT device in QueryRelations(from, type) ?? [])
            {
                DeviceNode related = Tree.Require(device, "IRP_MN_QUERY_DEVICE_RELATIONS");
                machine.Objects.ObfDereferenceObject(device);
                affected.AddRange(ChildrenFirst(related).FindAll(n => !affected.Contains(n)));
            }
        }
    }

    // ---- Orderly removal

    internal NTSTATUS QueryRemove(DeviceNode node) => QueryRemove(Affected(node, isEjection: false));

    NTSTATUS QueryRemove(List<DeviceNode> affected)
    {
        if (affected.Exists(n => (n.PnpState & PNP_DEVICE_STATE.PNP_DEVICE_NOT_DISABLEABLE) != 0 && n.IsStarted)) return NTSTATUS.STATUS_UNSUCCESSFUL;
        var asked = new List<DeviceNode>();
        foreach (DeviceNode node in affected)
        {
            if (node.State is not (DeviceNodeState.Started or DeviceNodeState.DriversAdded or DeviceNodeState.Stopped)) continue;
            asked.Add(node);
            NTSTATUS status = machine.PnpNotifications.QueryRemove(node) ? Send(node, IRP_MN_QUERY_REMOVE_DEVICE) : NTSTATUS.STATUS_UNSUCCESSFUL;
            if (status >= 0)
            {
                node.StateBeforeQuery = node.State;
                Tree.Change(node, DeviceNodeState.RemovePending);
                if (!PlugAndPlay.HasOpenHandles(node)) continue;
                status = NTSTATUS.STATUS_UNSUCCESSFUL;
            }
            CancelRemove(asked);
            return status;
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    internal void CancelRemove(DeviceNode node) => CancelRemove([.. node.Subtree().Where(n => n.State == DeviceNodeState.RemovePending).Reverse()]);

    void CancelRemove(List<DeviceNode> asked)
    {
        foreach (DeviceNode node in Enumerable.Reverse(asked))
        {
            Send(node, IRP_MN_CANCEL_REMOVE_DEVICE);
            if (node.State == DeviceNodeState.RemovePending) Tree.Change(node, node.StateBeforeQuery);
            machine.PnpNotifications.RemoveCancelled(node);
        }
    }

    internal NTSTATUS Remove(DeviceNode node) => Remove(node, isEjection: false);

    NTSTATUS Remove(DeviceNode node, bool isEjection)
    {
        if (node == Tree.Root || node.State is DeviceNodeState.Deleted or DeviceNodeState.SurpriseRemoved) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        List<DeviceNode> affected = Affected(node, isEjection);
        // A device that was never started is removed without being asked.
        bool mustAsk = affected.Exists(n => n.State is DeviceNodeState.Started or DeviceNodeState.Stopped);
        if (mustAsk && QueryRemove(affected) is < 0 and var refused) return refused;
        foreach (DeviceNode gone in affected)
        {
            if (gone.State == DeviceNodeState.RemovePending) machine.PnpNotifications.RemoveComplete(gone);
            RemoveDrivers(gone);
            // Its bus takes the devices below with it, and reports them anew when it is started again.
            if (gone != node && node.Subtree().Contains(gone)) Delete(gone);
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Sends IRP_MN_REMOVE_DEVICE (PNP-04); drivers that have no device left are unloaded.</summary>
    internal void RemoveDrivers(DeviceNode node)
    {
        if (node.AddedDrivers.Count == 0 && node.State == DeviceNodeState.Enumerated) return;
        PDEVICE_OBJECT device = node.PhysicalDevice;
        Send(node, IRP_MN_REMOVE_DEVICE);
        machine.DeviceInterfaces.Forget(node);
        node.AllocatedResources = default;
        node.SpecialFiles = [];
        node.AwaitsLastHandle = false;
        device.DeviceObjectExtension.ExtensionFlags |= DOE_START_PENDING;
        Tree.Change(node, DeviceNodeState.Enumerated);
        DriverService[] services = [.. node.AddedDrivers];
        node.AddedDrivers.Clear();
        foreach (DriverService service in services.Reverse()) service.UnloadIfUnused();
    }

    // ---- Surprise removal

    /// <summary>A bus does not report a child any more.</summary>
    internal void Departed(DeviceNode node)
    {
        foreach (DeviceNode below in node.Subtree()) below.IsPresent = false;
        if (node.State == DeviceNodeState.Enumerated && node.Children.Count == 0)
        {
            // Nobody but the bus driver knows it: it is told that it may delete the PDO.
            Send(node, IRP_MN_REMOVE_DEVICE);
            Delete(node);
        }
        else
        {
            SurpriseRemove(node);
        }
    }

    internal void SurpriseRemove(DeviceNode node)
    {
        if (node == Tree.Root) return;
        List<DeviceNode> lost = ChildrenFirst(node).FindAll(n => n.State is not (DeviceNodeState.SurpriseRemoved or DeviceNodeState.Deleted));
        foreach (DeviceNode below in lost)
        {
            below.IsPresent &= below == node;
            Send(below, IRP_MN_SURPRISE_REMOVAL);
            Tree.Change(below, DeviceNodeState.SurpriseRemoved);
        }
        foreach (DeviceNode below in lost) machine.PnpNotifications.RemoveComplete(below);
        foreach (DeviceNode below in lost) FinishSurpriseRemoval(below);
    }

    /// <summary>PNP-05: the drivers go when nobody has the device, or one below it, open.</summary>
    internal void FinishSurpriseRemoval(DeviceNode node)
    {
        if (node.State != DeviceNodeState.SurpriseRemoved) return;
        node.AwaitsLastHandle = true;
        if (PlugAndPlay.HasOpenHandles(node) || node.Children.Any(child => child.State == DeviceNodeState.SurpriseRemoved)) return;
        RemoveDrivers(node);
        if (!node.IsPresent) Delete(node);
        if (node.Parent is { AwaitsLastHandle: true } parent) FinishSurpriseRemoval(parent);
    }

    /// <summary>Takes a node out of the tree, with the reference to its PDO.</summary>
    internal void Delete(DeviceNode node)
    {
        foreach (DeviceNode child in node.Children) Delete(child);
        Tree.Change(node, DeviceNodeState.Deleted);
        Tree.Forget(node);
        machine.Objects.ObfDereferenceObject(node.PhysicalDevice);
    }

    // ---- Ejection

    internal NTSTATUS Eject(DeviceNode node)
    {
        NTSTATUS status = Remove(node, isEjection: true);
        if (status < 0) return status;
        if ((node.Capabilities.Flags & DEVICE_CAPABILITY_FLAGS.EjectSupported) == 0)
        {
            // The hand of a user has to take it out first.
            node.Problem = CM_PROB.CM_PROB_HELD_FOR_EJECT;
            return status;
        }
        // Nobody but the PnP manager can unlock it, and a locked device cannot be ejected.
        if (node.IsLocked) status = Tree.SetLock(node, isLocked: false);
        if (status >= 0) status = Send(node, IRP_MN_EJECT);
        if (status < 0) return status;
        if (node.Parent == Tree.Root) Unplug(node);
        else Tree.Configuration.EnumerateChildren(node.Parent!);
        return status;
    }

    /// <summary>Takes a device away from the root bus: without warning if it has drivers.</summary>
    internal void Unplug(DeviceNode node)
    {
        if (node.PhysicalDevice.DriverObject == Tree.RootBus.DriverObject) Tree.RootBus.Unplug(node.PhysicalDevice);
        Departed(node);
    }
}
