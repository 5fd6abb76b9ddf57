using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Requests about one device that components of the system send: for its interfaces, its configuration space, its lock, and special files on it.</summary>
/// <remarks>Called in the thread of the PnP manager only.</remarks>
sealed class DeviceRequests(Machine machine)
{
    const uint Tag = 0x71526E50; // "PnRq"

    RequestAnswer Send(DeviceNode node, byte minor, PnpIrps.Parameters parameters) =>
        machine.PlugAndPlay.Requests.Send(node.PhysicalDevice, IRP_MJ_PNP, minor, parameters);

    internal NTSTATUS QueryInterface(DeviceNode node, Guid type, PINTERFACE buffer, ushort size, ushort version, PVOID specificData)
    {
        const int guidSize = 16;
        ulong guid = machine.Pool.Allocate(POOL_TYPE.PagedPool, guidSize, Tag, 0);
        if (guid == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        GuestMemory.Ref<Guid>(guid) = type;
        RequestAnswer answer = Send(node, IRP_MN_QUERY_INTERFACE, location => location.Parameters.QueryInterface = new()
        {
            InterfaceType = new(guid),
            Size = size,
            Version = version,
            Interface = buffer,
            InterfaceSpecificData = specificData,
        });
        machine.Pool.Free(guid, Tag);
        return answer.Status;
    }

    /// <param name="minor">IRP_MN_READ_CONFIG or IRP_MN_WRITE_CONFIG.</param>
    internal RequestAnswer AccessConfig(DeviceNode node, byte minor, uint whichSpace, uint offset, ReadOnlyMemory<byte> written, Memory<byte> read)
    {
        int length = Math.Max(written.Length, read.Length);
        ulong buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)Math.Max(length, 1), Tag, 0, zero: true);
        if (buffer == 0) return new RequestAnswer(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, 0);
        if (!written.IsEmpty) written.Span.CopyTo(GuestMemory.Write(buffer, length));
        RequestAnswer answer = Send(node, minor, location => location.Parameters.ReadWriteConfig = new()
        {
            WhichSpace = whichSpace,
            Buffer = new PVOID(buffer),
            Offset = offset,
            Length = (uint)length,
        });
        int answered = answer.Status < 0 ? 0 : (int)Math.Min((ulong)read.Length, answer.Information);
        if (answered > 0) GuestMemory.Read(buffer, answered).CopyTo(read.Span);
        machine.Pool.Free(buffer, Tag);
        return answer;
    }

    internal NTSTATUS SetLock(DeviceNode node, bool isLocked)
    {
        if ((node.Capabilities.Flags & DEVICE_CAPABILITY_FLAGS.LockSupported) == 0) return NTSTATUS.STATUS_NOT_SUPPORTED;
        NTSTATUS status = Send(node, IRP_MN_SET_LOCK, location => location.Parameters.SetLock.Lock = isLocked).Status;
        if (status >= 0) node.IsLocked = isLocked;
        return status;
    }

    /// <summary>A special file is created only if all drivers of the device have agreed; of its end they are merely told.</summary>
    internal NTSTATUS NotifyUsage(DeviceNode node, DEVICE_USAGE_NOTIFICATION_TYPE type, bool inPath)
    {
        if (!node.IsStarted || (!inPath && !node.SpecialFiles.Contains(type))) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        NTSTATUS status = Send(node, IRP_MN_DEVICE_USAGE_NOTIFICATION,
            location => location.Parameters.UsageNotification = new() { InPath = inPath, Type = type }).Status;
        List<DEVICE_USAGE_NOTIFICATION_TYPE> files = [.. node.SpecialFiles];
        if (!inPath) files.Remove(type);
        else if (status >= 0) files.Add(type);
        node.SpecialFiles = files;
        return status;
    }
}
