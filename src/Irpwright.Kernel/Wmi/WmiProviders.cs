using System.Buffers.Binary;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Drivers as providers of WMI data: their registration, and the requests that they get. Nobody consumes the events.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/registering-as-a-wmi-data-provider"/>
public sealed class WmiProviders
{
    const uint Tag = 0x20696D57; // "Wmi "
    const int FirstBufferSize = 0x1000;
    const int LargestBufferSize = 1 << 20;

    // WMIREGINFO: count of GUIDs at 0x10, WMIREGGUIDs of 0x20 bytes from 0x18 on, with flags at 0x10 and instance information at 0x18.
    const int GuidCountOffset = 0x10;
    const int FirstGuidOffset = 0x18;
    const int RegGuidSize = 0x20;
    const uint WMIREG_FLAG_INSTANCE_PDO = 0x20;

    const uint WMIREG_ACTION_REGISTER = 1;
    const uint WMIREG_ACTION_DEREGISTER = 2;
    const uint WMIREG_ACTION_REREGISTER = 3;
    const uint WMIREG_ACTION_UPDATE_GUIDS = 4;
    const uint WMIREGISTER = 0;
    const uint WMIUPDATE = 1;

    const uint WNODE_FLAG_TRACED_GUID = 0x00020000;
    const ulong WnodeFlagsOffset = 0x2C;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, Guid[]> registered = [];
    readonly Dictionary<ulong, uint> providerIds = [];
    readonly Dictionary<Guid, uint> nextInstanceIds = [];

    internal WmiProviders(Machine machine) => this.machine = machine;

    /// <summary>The data and event blocks that a device's driver has registered; null if it is no provider.</summary>
    public IReadOnlyList<Guid>? BlocksOf(PDEVICE_OBJECT device)
    {
        lock (gate) return registered.GetValueOrDefault(device.Address);
    }

    /// <summary>Events that drivers wrote and nobody received.</summary>
    public int WrittenEvents { get; private set; }

    /// <summary>Sends a request to a provider's stack at PASSIVE_LEVEL in a system thread and waits.</summary>
    /// <param name="device">The provider; the request goes to the top of its stack.</param>
    /// <param name="minorFunction">IRP_MN_QUERY_ALL_DATA, IRP_MN_ENABLE_EVENTS, ...</param>
    /// <param name="block">The data block's GUID.</param>
    /// <param name="buffer">The WNODE; holds the answer afterwards.</param>
    public RequestAnswer Send(PDEVICE_OBJECT device, byte minorFunction, Guid block, Span<byte> buffer)
    {
        byte[] content = buffer.ToArray();
        RequestAnswer answer = machine.PlugAndPlay.Do(() =>
        {
            const int guidSize = 16;
            ulong memory = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, (ulong)(guidSize + content.Length), Tag, 0, zero: true);
            if (memory == 0) return new RequestAnswer(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, 0);
            GuestMemory.Ref<Guid>(memory) = block;
            content.CopyTo(GuestMemory.Write(memory + guidSize, content.Length));
            RequestAnswer sent = Send(device, minorFunction, new PVOID(memory), memory + guidSize, (uint)content.Length);
            GuestMemory.Read(memory + guidSize, content.Length).CopyTo(content);
            machine.Pool.Free(memory, Tag);
            return sent;
        });
        content.CopyTo(buffer);
        return answer;
    }

    RequestAnswer Send(PDEVICE_OBJECT device, byte minor, PVOID dataPath, ulong buffer, uint size) =>
        machine.PlugAndPlay.Requests.Send(device, IRP_MJ_SYSTEM_CONTROL, minor, location =>
            location.Parameters.WMI = new() { ProviderId = device.Address, DataPath = dataPath, BufferSize = size, Buffer = new PVOID(buffer) });

    /// <summary>
    /// Registers a device's driver as a provider, takes the registration back, or has it asked anew for its blocks; the driver then gets
    /// IRP_MN_REGINFO_EX in a system thread. IRQL = PASSIVE_LEVEL.
    /// </summary>
    /// <param name="Action">WMIREG_ACTION_*.</param>
    /// <returns>STATUS_INVALID_PARAMETER for another action, or for a device that is not registered.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoWMIRegistrationControl(PDEVICE_OBJECT DeviceObject, uint Action)
    {
        lock (gate)
        {
            bool isKnown = registered.ContainsKey(DeviceObject.Address);
            switch (Action)
            {
                case WMIREG_ACTION_REGISTER:
                    registered[DeviceObject.Address] = [];
                    break;
                case WMIREG_ACTION_DEREGISTER:
                    return registered.Remove(DeviceObject.Address) ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_INVALID_PARAMETER;
                case WMIREG_ACTION_REREGISTER or WMIREG_ACTION_UPDATE_GUIDS when isKnown:
                    break;
                default:
                    return NTSTATUS.STATUS_INVALID_PARAMETER;
            }
        }
        uint path = Action == WMIREG_ACTION_UPDATE_GUIDS ? WMIUPDATE : WMIREGISTER;
        machine.PlugAndPlay.Enqueue(() => QueryBlocks(DeviceObject, path));
        return NTSTATUS.STATUS_SUCCESS;
    }

    void QueryBlocks(PDEVICE_OBJECT device, uint path)
    {
        int size = FirstBufferSize;
        while (BlocksOf(device) is not null)
        {
            ulong buffer = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, (ulong)size, Tag, 0, zero: true);
            if (buffer == 0) return;
            NTSTATUS status = Send(device, IRP_MN_REGINFO_EX, new PVOID(path), buffer, (uint)size).Status;
            byte[] answer = GuestMemory.Read(buffer, size).ToArray();
            machine.Pool.Free(buffer, Tag);
            if (status == NTSTATUS.STATUS_BUFFER_TOO_SMALL && BinaryPrimitives.ReadInt32LittleEndian(answer) is var needed && needed > size && needed <= LargestBufferSize)
            {
                size = needed;
                continue;
            }
            if (status >= 0) Register(device, answer);
            return;
        }
    }

    void Register(PDEVICE_OBJECT device, byte[] information)
    {
        int count = Math.Clamp(BinaryPrimitives.ReadInt32LittleEndian(information.AsSpan(GuidCountOffset)), 0, (information.Length - FirstGuidOffset) / RegGuidSize);
        var blocks = new Guid[count];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> block = information.AsSpan(FirstGuidOffset + i * RegGuidSize, RegGuidSize);
            blocks[i] = new Guid(block[..16]);
            // The driver referenced the PDO that names the instances.
            if ((BinaryPrimitives.ReadUInt32LittleEndian(block[16..]) & WMIREG_FLAG_INSTANCE_PDO) == 0) continue;
            var named = new PDEVICE_OBJECT(BinaryPrimitives.ReadUInt64LittleEndian(block[24..]));
            if (machine.PlugAndPlay.Find(named) is not null) machine.Objects.ObfDereferenceObject(named);
        }
        lock (gate)
        {
            if (registered.ContainsKey(device.Address)) registered[device.Address] = blocks;
        }
    }

    /// <summary>The number by which WMI knows a device. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint IoWMIDeviceObjectToProviderId(PDEVICE_OBJECT DeviceObject)
    {
        lock (gate)
        {
            if (!providerIds.TryGetValue(DeviceObject.Address, out uint id)) providerIds.Add(DeviceObject.Address, id = (uint)providerIds.Count + 1);
            return id;
        }
    }

    /// <summary>
    /// Hands an event to the consumers, of which there are none, and frees it. IRQL &lt;= APC_LEVEL.
    /// </summary>
    /// <param name="WnodeEventItem">WNODE_EVENT_ITEM in nonpaged pool.</param>
    /// <returns>STATUS_SUCCESS. For a traced event, which stays the caller's, STATUS_INVALID_HANDLE: no trace session is running.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS IoWMIWriteEvent(PVOID WnodeEventItem)
    {
        if ((GuestMemory.Ref<uint>(WnodeEventItem.Address + WnodeFlagsOffset) & WNODE_FLAG_TRACED_GUID) != 0) return NTSTATUS.STATUS_INVALID_HANDLE;
        lock (gate) WrittenEvents++;
        machine.Pool.ExFreePool(WnodeEventItem);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Instance numbers that are unique for a block. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="FirstInstanceId">The first of <paramref name="InstanceCount"/> numbers.</param>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoWMIAllocateInstanceIds(in Guid Guid, uint InstanceCount, out uint FirstInstanceId)
    {
        lock (gate)
        {
            FirstInstanceId = nextInstanceIds.GetValueOrDefault(Guid, 0u);
            nextInstanceIds[Guid] = FirstInstanceId + InstanceCount;
        }
        return NTSTATUS.STATUS_SUCCESS;
    }
}
