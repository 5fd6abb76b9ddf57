using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>PCI configuration space as older drivers reach it: by bus and slot, through the HAL.</summary>
public sealed class BusData
{
    const uint PciConfiguration = 4; // BUS_DATA_TYPE
    const ushort InvalidVendor = 0xFFFF;
    const uint FunctionSpaceSize = 0x1000;

    readonly Lock gate = new();
    readonly Dictionary<(uint Bus, uint Slot), IDeviceModel> functions = [];

    internal BusData()
    {
    }

    /// <summary>Puts a PCI function into a slot.</summary>
    /// <param name="configuration">Answers for its configuration space, 4096 bytes.</param>
    /// <exception cref="ArgumentException">There is one already, or there is no such slot.</exception>
    public void Connect(uint bus, int device, int function, IDeviceModel configuration)
    {
        if (device is < 0 or > 31 || function is < 0 or > 7) throw new ArgumentException($"There is no PCI device {device}, function {function}.");
        lock (gate)
        {
            if (!functions.TryAdd((bus, Slot(device, function)), configuration))
                throw new ArgumentException($"PCI bus {bus}, device {device}, function {function} is taken.");
        }
    }

    /// <summary>PCI_SLOT_NUMBER.u.AsULONG.</summary>
    public static uint Slot(int device, int function) => (uint)(device | function << 5);

    /// <summary>Reads configuration space from its beginning. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="HalGetBusDataByOffset"/>
    [KernelExport(Module = "hal.dll", MaxIrql = DISPATCH_LEVEL)]
    public uint HalGetBusData(uint BusDataType, uint BusNumber, uint SlotNumber, PVOID Buffer, uint Length) =>
        HalGetBusDataByOffset(BusDataType, BusNumber, SlotNumber, Buffer, 0, Length);

    /// <summary>Reads configuration space. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="BusDataType">PCIConfiguration; no other is supported.</param>
    /// <param name="SlotNumber">PCI_SLOT_NUMBER.</param>
    /// <returns>
    /// Bytes read. 2 when nobody is in the slot: the vendor id then is PCI_INVALID_VENDORID. 0 when there is no such bus.
    /// </returns>
    [KernelExport(Module = "hal.dll", MaxIrql = DISPATCH_LEVEL)]
    public uint HalGetBusDataByOffset(uint BusDataType, uint BusNumber, uint SlotNumber, PVOID Buffer, uint Offset, uint Length)
    {
        if (Find(BusDataType, BusNumber, SlotNumber, out bool exists) is not { } function)
        {
            if (!exists || Offset != 0 || Length < sizeof(ushort)) return 0;
            GuestMemory.Ref<ushort>(Buffer.Address) = InvalidVendor;
            return sizeof(ushort);
        }
        uint end = EndOf(Offset, Length);
        for (uint at = Offset; at < end;)
        {
            int size = StepAt(at, end);
            ulong value;
            lock (function) value = function.Read(at, size);
            for (int i = 0; i < size; i++) GuestMemory.Ref<byte>(Buffer.Address + at - Offset + (ulong)i) = (byte)(value >> (8 * i));
            at += (uint)size;
        }
        return end - Math.Min(Offset, end);
    }

    /// <summary>Writes configuration space from its beginning. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="HalSetBusDataByOffset"/>
    [KernelExport(Module = "hal.dll", MaxIrql = DISPATCH_LEVEL)]
    public uint HalSetBusData(uint BusDataType, uint BusNumber, uint SlotNumber, PVOID Buffer, uint Length) =>
        HalSetBusDataByOffset(BusDataType, BusNumber, SlotNumber, Buffer, 0, Length);

    /// <summary>Writes configuration space. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>Bytes written; 0 when nobody is there.</returns>
    /// <inheritdoc cref="HalGetBusDataByOffset"/>
    [KernelExport(Module = "hal.dll", MaxIrql = DISPATCH_LEVEL)]
    public uint HalSetBusDataByOffset(uint BusDataType, uint BusNumber, uint SlotNumber, PVOID Buffer, uint Offset, uint Length)
    {
        if (Find(BusDataType, BusNumber, SlotNumber, out _) is not { } function) return 0;
        uint end = EndOf(Offset, Length);
        for (uint at = Offset; at < end;)
        {
            int size = StepAt(at, end);
            ulong value = 0;
            for (int i = 0; i < size; i++) value |= (ulong)GuestMemory.Ref<byte>(Buffer.Address + at - Offset + (ulong)i) << (8 * i);
            lock (function) function.Write(at, size, value);
            at += (uint)size;
        }
        return end - Math.Min(Offset, end);
    }

    /// <summary>Translates a bus address to a physical one: they are the same. Any IRQL.</summary>
    /// <param name="AddressSpace">0 for memory, 1 for ports; what it is afterwards is the same.</param>
    /// <returns>FALSE for another address space.</returns>
    [KernelExport(Module = "hal.dll")]
    public BOOLEAN HalTranslateBusAddress(INTERFACE_TYPE InterfaceType, uint BusNumber, PHYSICAL_ADDRESS BusAddress, ref uint AddressSpace,
        out PHYSICAL_ADDRESS TranslatedAddress)
    {
        TranslatedAddress = BusAddress;
        return AddressSpace <= 1;
    }

    /// <summary>Makes caches and memory agree about a buffer; processors of this architecture do so by themselves.</summary>
    [WdkInline]
    public static void KeFlushIoBuffers(PMDL Mdl, BOOLEAN ReadOperation, BOOLEAN DmaOperation)
    {
    }

    IDeviceModel? Find(uint type, uint bus, uint slot, out bool busExists)
    {
        lock (gate)
        {
            busExists = type == PciConfiguration && (bus == 0 || functions.Keys.Any(f => f.Bus == bus));
            return busExists ? functions.GetValueOrDefault((bus, slot)) : null;
        }
    }

    static uint EndOf(uint offset, uint length) => (uint)Math.Min(FunctionSpaceSize, (ulong)offset + length);

    // In aligned pieces of at most four bytes, and never a byte beside those asked for.
    static int StepAt(uint at, uint end) => at % 4 == 0 && end - at >= 4 ? 4 : at % 2 == 0 && end - at >= 2 ? 2 : 1;
}
