namespace Irpwright.Verification.Tracking;

/// <summary>An IoAcquireRemoveLock that was not released yet.</summary>
/// <param name="Irp">The IRP of the routine that acquired it; its address is 0 where there is none.</param>
public readonly record struct RemoveLockHold(ulong Tag, IrpName Irp);

/// <summary>A remove lock in a device extension, from its initialisation to the deletion of the device.</summary>
public sealed class RemoveLockRecord
{
    internal readonly List<RemoveLockHold> Outstanding = [];

    internal RemoveLockRecord(ulong address, PDEVICE_OBJECT device)
    {
        Address = address;
        Device = device;
    }

    public ulong Address { get; }

    /// <summary>The device in whose extension it lies; null if it lies elsewhere.</summary>
    public PDEVICE_OBJECT Device { get; }

    /// <summary>Who holds it, oldest first.</summary>
    public IReadOnlyList<RemoveLockHold> Holds => Outstanding;

    /// <summary>IoReleaseRemoveLockAndWait was called.</summary>
    public bool IsRemoved { get; internal set; }

    public bool IsHeldWith(ulong tag)
    {
        foreach (RemoveLockHold hold in Outstanding)
        {
            if (hold.Tag == tag) return true;
        }
        return false;
    }

    /// <param name="irp">Of the routine that releases it: the tag alone may also be that of the next IRP at the same address.</param>
    internal void Release(ulong tag, IrpName irp)
    {
        int released = Outstanding.FindIndex(hold => hold.Tag == tag && hold.Irp.Use == irp.Use);
        if (released < 0) released = Outstanding.FindIndex(hold => hold.Tag == tag);
        if (released >= 0) Outstanding.RemoveAt(released);
    }

    public override string ToString() => $"the remove lock at {Format.Address(Address)}";
}

/// <summary>The remove locks that drivers have initialised: a shadow of what they should contain.</summary>
public sealed class RemoveLockTable
{
    readonly Dictionary<ulong, RemoveLockRecord> locks = [];
    readonly Dictionary<ulong, RemoveLockRecord> byDevice = [];

    internal RemoveLockTable()
    {
    }

    /// <summary>Whether there is one.</summary>
    internal bool Any => locks.Count > 0;

    /// <summary>Null for one whose initialisation was not seen.</summary>
    public RemoveLockRecord? At(ulong address) => locks.GetValueOrDefault(address);

    /// <summary>The first one that was initialised in a device's extension.</summary>
    public RemoveLockRecord? Of(PDEVICE_OBJECT device) => byDevice.GetValueOrDefault(device.Address);

    /// <summary>Whether <see cref="Called"/> looks at a routine.</summary>
    internal static bool Takes(KernelExport export) => export == KernelExports.IoReleaseRemoveLockEx
        || export == KernelExports.IoInitializeRemoveLockEx || export == KernelExports.IoReleaseRemoveLockAndWaitEx;

    /// <summary>Whether <see cref="Returned"/> looks at a routine.</summary>
    internal static bool Follows(KernelExport export) => export == KernelExports.IoAcquireRemoveLockEx;

    /// <summary>Looks at a call that rules have seen.</summary>
    internal void Called(in DdiCalled e, PDRIVER_OBJECT driver, IrpName irp)
    {
        if (e.Export == KernelExports.IoReleaseRemoveLockEx)
        {
            At(e.Arguments[0])?.Release(e.Arguments[1], irp);
        }
        else if (e.Export == KernelExports.IoInitializeRemoveLockEx)
        {
            PDEVICE_OBJECT device = DeviceAround(driver, e.Arguments[0]);
            RemoveLockRecord created = locks[e.Arguments[0]] = new RemoveLockRecord(e.Arguments[0], device);
            if (!device.IsNull && (Of(device) is not { } first || first.Address == created.Address)) byDevice[device.Address] = created;
        }
        else if (e.Export == KernelExports.IoReleaseRemoveLockAndWaitEx && At(e.Arguments[0]) is { } removed)
        {
            removed.Release(e.Arguments[1], irp);
            removed.IsRemoved = true;
        }
    }

    internal void Returned(in DdiReturned e, IrpName irp)
    {
        if (e.Export == KernelExports.IoAcquireRemoveLockEx && (int)e.Result >= 0) At(e.Arguments[0])?.Outstanding.Add(new(e.Arguments[1], irp));
    }

    internal void Deleted(PDEVICE_OBJECT device)
    {
        foreach ((ulong address, RemoveLockRecord gone) in locks)
        {
            if (gone.Device == device) locks.Remove(address);
        }
        byDevice.Remove(device.Address);
    }

    /// <summary>New memory: what lay there before is gone.</summary>
    internal void Allocated(ulong start, ulong size)
    {
        foreach (ulong address in locks.Keys)
        {
            if (address - start < size) locks.Remove(address);
        }
    }

    static PDEVICE_OBJECT DeviceAround(PDRIVER_OBJECT driver, ulong address)
    {
        if (driver.IsNull) return default;
        for (PDEVICE_OBJECT device = driver.DeviceObject; !device.IsNull; device = device.NextDevice)
        {
            if (address - device.Address < device.Size) return device;
        }
        return default;
    }
}
