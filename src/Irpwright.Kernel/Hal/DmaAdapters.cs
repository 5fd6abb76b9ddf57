using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>DMA adapters: what drivers of devices that move data by themselves, or by the system DMA controller, get from the HAL.</summary>
/// <remarks>
/// Logical addresses are physical ones. Misuse that Windows lets pass ends in the bug check that DMA verification has for it, 0xE6.
/// Routines of version 3 stop the machine by name.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-adapter-objects"/>
public sealed class DmaAdapters
{
    internal const uint Tag = 0x41616D44; // "DmaA"
    const int SizeOfVersion1 = 0x68, SizeOfVersion2 = 0x80;
    const int ChannelCount = 8;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<PDMA_ADAPTER, DmaAdapter> adapters = [];
    readonly Dictionary<int, PDMA_OPERATIONS> tables = [];
    readonly Dictionary<uint, DmaChannel> channels = [];

    internal DmaAdapters(Machine machine) => this.machine = machine;

    /// <summary>A channel of the system DMA controller, for the model of the device that is wired to it.</summary>
    /// <param name="number">0 to 7.</param>
    public DmaChannel Channel(int number)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)number, (uint)ChannelCount, nameof(number));
        lock (gate)
        {
            if (!channels.TryGetValue((uint)number, out DmaChannel? channel)) channels.Add((uint)number, channel = new DmaChannel(machine));
            return channel;
        }
    }

    /// <summary>Makes an adapter object for a device. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="PhysicalDeviceObject">May be null.</param>
    /// <param name="NumberOfMapRegisters">Receives how many pages one transfer can have.</param>
    /// <returns>NULL when memory is short, or there is no such version or channel. Freed with PutDmaAdapter.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Null)]
    public PDMA_ADAPTER IoGetDmaAdapter(PDEVICE_OBJECT PhysicalDeviceObject, PDEVICE_DESCRIPTION DeviceDescription, out uint NumberOfMapRegisters)
    {
        NumberOfMapRegisters = 0;
        int size = DeviceDescription.Version switch
        {
            DEVICE_DESCRIPTION_VERSION or DEVICE_DESCRIPTION_VERSION1 => SizeOfVersion1,
            DEVICE_DESCRIPTION_VERSION2 => SizeOfVersion2,
            DEVICE_DESCRIPTION_VERSION3 => DMA_OPERATIONS.SizeOf,
            _ => 0,
        };
        if (size == 0 || (!DeviceDescription.Master && DeviceDescription.DmaChannel >= ChannelCount)) return default;
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, DMA_ADAPTER.SizeOf, Tag, 0, zero: true);
        if (address == 0) return default;
        PDMA_ADAPTER made = new(address);
        made.Version = 1; // whatever version was asked for
        made.Size = DMA_ADAPTER.SizeOf;
        made.DmaOperations = TableOf(size);
        DmaChannel channel = DeviceDescription.Master ? new DmaChannel(machine) : Channel((int)DeviceDescription.DmaChannel);
        var adapter = new DmaAdapter(machine, made, DeviceDescription, channel);
        lock (gate) adapters.Add(made, adapter);
        NumberOfMapRegisters = adapter.MaximumMapRegisters;
        return made;
    }

    /// <summary>The same before there was Plug and Play; obsolete. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="IoGetDmaAdapter"/>
    [KernelExport(Module = "hal.dll", MaxIrql = PASSIVE_LEVEL)]
    public PDMA_ADAPTER HalGetAdapter(PDEVICE_DESCRIPTION DeviceDescription, out uint NumberOfMapRegisters) =>
        IoGetDmaAdapter(default, DeviceDescription, out NumberOfMapRegisters);

    PDMA_OPERATIONS TableOf(int size)
    {
        lock (gate)
        {
            if (tables.TryGetValue(size, out PDMA_OPERATIONS table)) return table;
            table = new PDMA_OPERATIONS(machine.Variables.Room((ulong)size));
            Fill(table, size);
            tables.Add(size, table);
            return table;
        }
    }

    void Fill(PDMA_OPERATIONS table, int size)
    {
        CodeMap code = machine.Code;
        table.Size = (uint)size;
        table.PutDmaAdapter = code.Routine(new PUT_DMA_ADAPTER(Put));
        table.AllocateCommonBuffer = code.Routine(new ALLOCATE_COMMON_BUFFER((adapter, length, logical, _) =>
            At(adapter, 0, PASSIVE_LEVEL).AllocateCommonBuffer(length, logical)));
        table.FreeCommonBuffer = code.Routine(new FREE_COMMON_BUFFER((adapter, length, logical, address, _) =>
            At(adapter, 0, PASSIVE_LEVEL).FreeCommonBuffer(length, logical, address)));
        table.AllocateAdapterChannel = code.Routine(new ALLOCATE_ADAPTER_CHANNEL((adapter, device, count, routine, context) =>
            At(adapter, DISPATCH_LEVEL, DISPATCH_LEVEL).AllocateChannel(device, count, routine, context)));
        table.FlushAdapterBuffers = code.Routine(new FLUSH_ADAPTER_BUFFERS((adapter, mdl, registers, address, length, write) =>
            At(adapter, 0, DISPATCH_LEVEL).Flush(mdl, registers, address, length, write)));
        table.FreeAdapterChannel = code.Routine(new FREE_ADAPTER_CHANNEL(adapter => At(adapter, DISPATCH_LEVEL, DISPATCH_LEVEL).FreeChannel()));
        table.FreeMapRegisters = code.Routine(new FREE_MAP_REGISTERS((adapter, registers, count) =>
            At(adapter, DISPATCH_LEVEL, DISPATCH_LEVEL).FreeMapRegisters(registers, count)));
        table.MapTransfer = code.Routine(new MAP_TRANSFER((adapter, mdl, registers, address, length, write) =>
            At(adapter, 0, DISPATCH_LEVEL).Map(mdl, registers, address, length, write)));
        table.GetDmaAlignment = code.Routine(new GET_DMA_ALIGNMENT(adapter => At(adapter, 0, PASSIVE_LEVEL).Alignment));
        table.ReadDmaCounter = code.Routine(new READ_DMA_COUNTER(adapter => At(adapter, 0, DISPATCH_LEVEL).Counter));
        table.GetScatterGatherList = code.Routine(new GET_SCATTER_GATHER_LIST((adapter, device, mdl, address, length, routine, context, write) =>
            At(adapter, DISPATCH_LEVEL, DISPATCH_LEVEL).BuildList(new(device, mdl, address, length, routine, context, write), default, 0)));
        table.PutScatterGatherList = code.Routine(new PUT_SCATTER_GATHER_LIST((adapter, list, write) =>
            At(adapter, DISPATCH_LEVEL, DISPATCH_LEVEL).PutList(list, write)));
        if (size < SizeOfVersion2) return;
        table.CalculateScatterGatherList = code.Routine(new CALCULATE_SCATTER_GATHER_LIST_SIZE((adapter, mdl, address, length, listSize, count) =>
            At(adapter, 0, HIGH_LEVEL).Calculate(mdl, address, length, listSize, count)));
        table.BuildScatterGatherList = code.Routine(new BUILD_SCATTER_GATHER_LIST(
            (adapter, device, mdl, address, length, routine, context, write, buffer, bufferLength) => At(adapter, DISPATCH_LEVEL, DISPATCH_LEVEL)
                .BuildList(new(device, mdl, address, length, routine, context, write), buffer, bufferLength)));
        table.BuildMdlFromScatterGatherList = code.Routine(new BUILD_MDL_FROM_SCATTER_GATHER_LIST((adapter, list, original, target) =>
            At(adapter, 0, DISPATCH_LEVEL).BuildMdl(list, original, target)));
        if (size < DMA_OPERATIONS.SizeOf) return;
        string[] version3 =
        [
            "GetDmaAdapterInfo", "GetDmaTransferInfo", "InitializeDmaTransferContext", "AllocateCommonBufferEx", "AllocateAdapterChannelEx",
            "ConfigureAdapterChannel", "CancelAdapterChannel", "MapTransferEx", "GetScatterGatherListEx", "BuildScatterGatherListEx",
            "FlushAdapterBuffersEx", "FreeAdapterObject", "CancelMappedTransfer", "AllocateDomainCommonBuffer", "FlushDmaBuffer", "JoinDmaDomain",
            "LeaveDmaDomain", "GetDmaDomain", "AllocateCommonBufferWithBounds", "AllocateCommonBufferVector", "GetCommonBufferFromVectorByIndex",
            "FreeCommonBufferFromVector", "FreeCommonBufferVector",
        ];
        for (int i = 0; i < version3.Length; i++)
            GuestMemory.Ref<ulong>(table.Address + SizeOfVersion2 + 8 * (ulong)i) = machine.Variables.Unsupported($"DMA_OPERATIONS.{version3[i]}");
    }

    /// <summary>The adapter that a routine was called for.</summary>
    DmaAdapter At(PDMA_ADAPTER address, byte minIrql, byte maxIrql)
    {
        byte irql = machine.CurrentThread.Irql;
        if (irql > maxIrql || irql < minIrql)
        {
            throw Violation(0x13, minIrql == maxIrql && minIrql != 0 ? 1u : 2u, maxIrql, irql,
                $"A DMA routine was called at IRQL {irql}, which must be {(minIrql == maxIrql ? "" : "at most ")}{maxIrql}.");
        }
        lock (gate) if (adapters.TryGetValue(address, out DmaAdapter? adapter)) return adapter;
        throw Violation(0x00, 0, address.Address, 0, $"A DMA routine was called for {address}, which is no DMA adapter, or was freed.");
    }

    void Put(PDMA_ADAPTER address)
    {
        DmaAdapter adapter = At(address, 0, PASSIVE_LEVEL);
        adapter.RequireIdle();
        lock (gate) adapters.Remove(address);
        machine.Pool.Free(address.Address, Tag);
    }

    internal BugCheckException Violation(uint code, ulong parameter2, ulong parameter3, ulong parameter4, string explanation) =>
        machine.BugChecks.Stop(BugCheckCode.DRIVER_VERIFIER_DMA_VIOLATION, code, parameter2, parameter3, parameter4, explanation);
}
