using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Registers that a transfer was given: how many pages it may have mapped at once, and what is mapped.</summary>
sealed class MapRegisters(ulong address, uint count)
{
    /// <summary>What drivers know as MapRegisterBase.</summary>
    internal ulong Address { get; } = address;

    internal uint Count { get; } = count;

    internal List<MappedTransfer> Transfers { get; } = [];

    internal uint Used => (uint)Transfers.Sum(t => t.Pages);
}

/// <summary>A part of a buffer that the device has access to.</summary>
/// <param name="Bounce">Where the data is meanwhile if the device cannot reach the buffer; 0 where it can.</param>
sealed record MappedTransfer(PMDL Mdl, PVOID CurrentVa, uint Length, uint Pages, IReadOnlyList<PhysicalRun> Runs, ulong Bounce, bool WriteToDevice);

/// <summary>What a driver wants a scatter/gather list of, and who is to get it.</summary>
readonly record struct ListRequest(PDEVICE_OBJECT Device, PMDL Mdl, PVOID CurrentVa, uint Length, PDRIVER_LIST_CONTROL Routine, PVOID Context, BOOLEAN Write);

/// <summary>One adapter object.</summary>
sealed class DmaAdapter
{
    const uint ListTag = 0x47536D44, RegisterTag = 0x52616D44; // "DmSG", "DmaR"
    const uint PageMask = (uint)GuestMemory.PageSize - 1;

    sealed class ListState(MappedTransfer transfer, bool isOurs)
    {
        internal MappedTransfer Transfer { get; } = transfer;

        /// <summary>Whether the list's memory is the system's.</summary>
        internal bool IsOurs { get; } = isOurs;

        /// <summary>Made by BuildMdlFromScatterGatherList.</summary>
        internal PMDL Mdl { get; set; }
    }

    readonly Machine machine;
    readonly PDMA_ADAPTER self;
    readonly DmaChannel channel;
    readonly bool isMaster, scatterGather;
    readonly ulong highestAddress;
    readonly DMA_WIDTH width;
    readonly Dictionary<PVOID, (uint Length, long Logical)> commonBuffers = [];
    readonly Dictionary<ulong, MapRegisters> registers = [];
    readonly Dictionary<PSCATTER_GATHER_LIST, ListState> lists = [];
    uint freeRegisters;

    internal DmaAdapter(Machine machine, PDMA_ADAPTER self, PDEVICE_DESCRIPTION description, DmaChannel channel)
    {
        this.machine = machine;
        this.self = self;
        this.channel = channel;
        isMaster = description.Master;
        // The controller takes one run after the other.
        scatterGather = !isMaster || description.ScatterGather;
        width = description.DmaWidth;
        int bits = description.Version >= DEVICE_DESCRIPTION_VERSION3 && description.DmaAddressWidth is > 0 and <= 64 ? (int)description.DmaAddressWidth
            : !isMaster || description.Dma64BitAddresses ? 64 : description.Dma32BitAddresses ? 32 : 24;
        highestAddress = ulong.MaxValue >> (64 - bits);
        // A transfer of that length touches one page more if it does not begin at one.
        freeRegisters = MaximumMapRegisters = (uint)(((ulong)description.MaximumLength + PageMask) >> PAGE_SHIFT) + 1;
    }

    /// <summary>Pages that one transfer can have.</summary>
    internal uint MaximumMapRegisters { get; }

    /// <summary>Bytes.</summary>
    internal uint Alignment => isMaster || width > DMA_WIDTH.Width64Bits ? 1 : 1u << (int)width;

    /// <summary>Bytes that the system DMA controller has not moved yet; a bus master does not use it.</summary>
    internal uint Counter => isMaster ? 0 : channel.Remaining;

    BugCheckException Violation(uint code, ulong parameter2, ulong parameter3, ulong parameter4, string explanation) =>
        machine.DmaAdapters.Violation(code, parameter2, parameter3, parameter4, explanation);

    /// <summary>An adapter that is freed must have nothing any more.</summary>
    internal void RequireIdle()
    {
        lock (channel.Gate)
        {
            if (commonBuffers.Count > 0) throw Violation(0x07, self.Address, (ulong)commonBuffers.Count, 0, $"The DMA adapter {self} was freed, but not {commonBuffers.Count} of its common buffers.");
            if (channel.Owner?.Adapter == this || channel.Waiting.Any(w => w.Adapter == this)) throw Violation(0x08, self.Address, 1, 0, $"The DMA adapter {self} was freed, but its channel is still allocated or waited for.");
            if (registers.Count > 0) throw Violation(0x09, self.Address, MaximumMapRegisters - freeRegisters, 0, $"The DMA adapter {self} was freed, but not all its map registers.");
            if (lists.Count > 0) throw Violation(0x0A, self.Address, (ulong)lists.Count, 0, $"The DMA adapter {self} was freed, but not {lists.Count} of its scatter/gather lists.");
        }
    }

    // ---- Common buffers

    internal PVOID AllocateCommonBuffer(uint length, PLARGE_INTEGER logical)
    {
        ulong address = AllocateReachable(length);
        if (address == 0) return default;
        var buffer = new PVOID(address);
        logical.Value = (long)AddressSpace.OffsetOf(address);
        lock (channel.Gate) commonBuffers.Add(buffer, (length, logical.Value));
        return buffer;
    }

    internal void FreeCommonBuffer(uint length, long logical, PVOID address)
    {
        bool known;
        lock (channel.Gate) known = commonBuffers.TryGetValue(address, out var buffer) && buffer == (length, logical) && commonBuffers.Remove(address);
        if (!known) throw Violation(0x03, 1, address.Address, 0, $"FreeCommonBuffer was called for {address}, but there is no common buffer of {length} bytes at logical address 0x{logical:x}, or it is free already.");
        FreeReachable(address.Address, length);
    }

    /// <summary>Contiguous memory that the device can reach; 0 if there is none.</summary>
    ulong AllocateReachable(uint length)
    {
        ulong address = machine.PhysicalPages.MmAllocateContiguousMemory(length, (long)Math.Min(highestAddress, long.MaxValue)).Address;
        PageRange low = machine.Memory.DriverData;
        if (address == 0 && AddressSpace.OffsetOf(low.End - 1) <= highestAddress) address = low.Allocate(length, PageAccess.ReadWrite);
        return address;
    }

    void FreeReachable(ulong address, uint length)
    {
        if (machine.Memory.DriverData.Contains(address)) machine.Memory.DriverData.Free(address, length);
        else machine.PhysicalPages.MmFreeContiguousMemory(new PVOID(address));
    }

    // ---- The channel

    internal NTSTATUS AllocateChannel(PDEVICE_OBJECT device, uint count, PDRIVER_CONTROL routine, PVOID context)
    {
        if (count > MaximumMapRegisters) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, 16, RegisterTag, 0, zero: true);
        if (address == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        ref WAIT_CONTEXT_BLOCK block = ref device.Queue.Wcb;
        block.DeviceRoutine = routine;
        block.DeviceContext = context;
        block.NumberOfMapRegisters = count;
        block.DeviceObject = device;
        block.CurrentIrp = device.CurrentIrp;
        var request = new DmaRequest(this, device, new MapRegisters(address, count));
        lock (channel.Gate)
        {
            if (channel.Waiting.Any(w => w.Device == device))
            {
                throw Violation(0x0B, 2, 0, 0, $"AllocateAdapterChannel was called again for the device object {device}, whose last request still waits.");
            }
            channel.Waiting.Enqueue(request);
        }
        Serve(channel);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Gives the channel to whoever waits longest, until somebody keeps it.</summary>
    void Serve(DmaChannel channel)
    {
        while (true)
        {
            DmaRequest request;
            lock (channel.Gate)
            {
                if (channel.Owner is not null || !channel.Waiting.TryPeek(out request!) || request.Adapter.freeRegisters < request.Registers.Count) return;
                channel.Waiting.Dequeue();
                channel.Owner = request;
                request.Adapter.freeRegisters -= request.Registers.Count;
                request.Adapter.registers.Add(request.Registers.Address, request.Registers);
            }
            WAIT_CONTEXT_BLOCK block = request.Device.Queue.Wcb;
            IO_ALLOCATION_ACTION action = machine.Code.Call(block.DeviceRoutine, request.Device, new PIRP(block.CurrentIrp.Address),
                new PVOID(request.Registers.Address), block.DeviceContext);
            if (action == IO_ALLOCATION_ACTION.KeepObject) return;
            if (action == IO_ALLOCATION_ACTION.DeallocateObject) request.Adapter.Release(request.Registers);
            lock (channel.Gate) if (channel.Owner == request) channel.Owner = null;
        }
    }

    internal void FreeChannel()
    {
        DmaRequest? owner;
        lock (channel.Gate) owner = channel.Owner?.Adapter == this ? channel.Owner : null;
        if (owner is null) throw Violation(0x04, 1, 0, 0, $"FreeAdapterChannel was called, but the DMA adapter {self} has no channel, or it is free already.");
        Release(owner.Registers);
        lock (channel.Gate) channel.Owner = null;
        Serve(channel);
    }

    internal void FreeMapRegisters(PVOID mapRegisterBase, uint count)
    {
        MapRegisters freed = Find(mapRegisterBase, "FreeMapRegisters");
        if (count != freed.Count) throw Violation(0x05, count, freed.Count, 0, $"FreeMapRegisters was called for {count} map registers, but AdapterControl was given {freed.Count}.");
        Release(freed);
        Serve(channel);
    }

    void Release(MapRegisters freed)
    {
        lock (channel.Gate)
        {
            if (freed.Used > 0) throw Violation(0x10, freed.Used, 0, 0, $"{freed.Used} map registers were freed while they are mapped; FlushAdapterBuffers comes first.");
            if (!registers.Remove(freed.Address)) return;
            freeRegisters += freed.Count;
        }
        machine.Pool.Free(freed.Address, RegisterTag);
    }

    MapRegisters Find(PVOID mapRegisterBase, string routine)
    {
        lock (channel.Gate)
        {
            return registers.TryGetValue(mapRegisterBase.Address, out MapRegisters? found) ? found
                : throw Violation(0x05, 1, mapRegisterBase.Address, 0, $"{routine} was called with {mapRegisterBase}, which is not what an AdapterControl routine got, or was freed.");
        }
    }

    // ---- Transfers

    internal long Map(PMDL mdl, PVOID mapRegisterBase, PVOID currentVa, PULONG length, bool write)
    {
        MapRegisters used = Find(mapRegisterBase, "MapTransfer");
        if (length.Value == 0) throw Violation(0x21, mdl.Address, 0, 0, $"MapTransfer was called for zero bytes at {currentVa}.");
        if (RunsOf(mdl, currentVa, length.Value, followsChain: false) is not { } runs) throw Outside(mdl, currentVa, length.Value);
        if (isMaster && scatterGather && runs.Count > 1)
        {
            runs.RemoveRange(1, runs.Count - 1);
            length.Value = runs[0].Length;
        }
        lock (channel.Gate)
        {
            if (used.Transfers.Exists(t => t.Mdl == mdl && t.CurrentVa.Address < currentVa.Address + length.Value && currentVa.Address < t.CurrentVa.Address + t.Length))
                throw Violation(0x1D, mdl.Address, currentVa.Address, length.Value, $"MapTransfer was called for {length.Value} bytes at {currentVa}, some of which are mapped already.");
            uint pages = PagesOf(currentVa, length.Value);
            uint left = used.Count - used.Used;
            if (pages > left) throw Violation(0x00, 2, pages, left, $"MapTransfer was called for {pages} pages, but of the {used.Count} map registers that were allocated only {left} are not in use.");
            MappedTransfer transfer = Mapped(mdl, currentVa, length.Value, pages, runs, write);
            used.Transfers.Add(transfer);
            runs = [.. RunsForDevice(transfer)];
        }
        if (!isMaster) foreach (PhysicalRun run in runs) channel.Program(run, write);
        return runs[0].Address;
    }

    internal bool Flush(PMDL mdl, PVOID mapRegisterBase, PVOID currentVa, uint length, bool write)
    {
        MapRegisters used = Find(mapRegisterBase, "FlushAdapterBuffers");
        ulong begin = currentVa.Address, left = BufferOf(mdl) + mdl.ByteCount - begin;
        if (begin < BufferOf(mdl) || length > left) throw Violation(0x00, 1, left, length, $"FlushAdapterBuffers was called for {length} bytes from {currentVa} on, but the MDL has only {left}.");
        if (!isMaster) channel.Stop();
        lock (channel.Gate)
        {
            List<MappedTransfer> flushed = used.Transfers.FindAll(t => t.Mdl == mdl && t.CurrentVa.Address - begin < Math.Max(length, 1));
            if (flushed.Count == 0) throw Violation(0x16, mdl.Address, begin, length, $"FlushAdapterBuffers was called for {length} bytes from {currentVa} on, of which nothing is mapped.");
            foreach (MappedTransfer transfer in flushed)
            {
                used.Transfers.Remove(transfer);
                Unmap(transfer, write);
            }
        }
        return true;
    }

    /// <summary>Makes a part of a buffer accessible for the device; what it cannot reach, or not in one piece, is copied to where it can.</summary>
    MappedTransfer Mapped(PMDL mdl, PVOID currentVa, uint length, uint pages, List<PhysicalRun> runs, bool write)
    {
        ulong bounce = 0;
        if ((runs.Count > 1 && !scatterGather) || runs.Any(r => (ulong)r.Address + r.Length - 1 > highestAddress))
        {
            bounce = AllocateReachable(length);
            if (bounce == 0) throw Violation(0x00, 2, pages, 0, $"There is no memory for map registers: a transfer of {length} bytes needs {pages}.");
            ulong at = bounce;
            foreach (PhysicalRun run in write ? runs : [])
            {
                machine.Hardware.ReadMemory((ulong)run.Address, GuestMemory.Write(at, (int)run.Length));
                at += run.Length;
            }
        }
        return new MappedTransfer(mdl, currentVa, length, pages, runs, bounce, write);
    }

    static IReadOnlyList<PhysicalRun> RunsForDevice(MappedTransfer transfer) =>
        transfer.Bounce == 0 ? transfer.Runs : [new PhysicalRun((long)AddressSpace.OffsetOf(transfer.Bounce), transfer.Length)];

    void Unmap(MappedTransfer transfer, bool write)
    {
        if (transfer.Bounce == 0) return;
        ulong at = transfer.Bounce;
        foreach (PhysicalRun run in write ? [] : transfer.Runs)
        {
            machine.Hardware.WriteMemory((ulong)run.Address, GuestMemory.Read(at, (int)run.Length));
            at += run.Length;
        }
        FreeReachable(transfer.Bounce, transfer.Length);
    }

    // ---- Scatter/gather lists

    internal NTSTATUS BuildList(ListRequest request, PVOID buffer, uint bufferLength)
    {
        if (!isMaster) throw machine.BugChecks.StopUnsupported("A driver asked for a scatter/gather list of a device that uses the system DMA controller, which this version does not have.");
        if (RunsOf(request.Mdl, request.CurrentVa, request.Length, followsChain: true) is not { } runs) return NTSTATUS.STATUS_BUFFER_TOO_SMALL;
        uint pages = (uint)runs.Sum(r => PagesOf(r.Address, r.Length));
        if (pages > MaximumMapRegisters) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        MappedTransfer transfer;
        lock (channel.Gate) transfer = Mapped(request.Mdl, request.CurrentVa, request.Length, pages, runs, request.Write);
        IReadOnlyList<PhysicalRun> elements = RunsForDevice(transfer);
        bool isOurs = buffer.IsNull;
        ulong size = SizeOfList(elements.Count);
        NTSTATUS failure = NTSTATUS.STATUS_SUCCESS;
        if (isOurs) buffer = new PVOID(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, size, ListTag, 0, zero: true));
        if (buffer.IsNull) failure = NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        else if (!isOurs && bufferLength < size) failure = NTSTATUS.STATUS_BUFFER_TOO_SMALL;
        if (failure < 0)
        {
            Unmap(transfer, write: true);
            return failure;
        }
        PSCATTER_GATHER_LIST list = new(buffer.Address);
        list.NumberOfElements = (uint)elements.Count;
        list.Reserved = 0;
        for (int i = 0; i < elements.Count; i++)
        {
            GuestMemory.Ref<SCATTER_GATHER_ELEMENT>(list.Address + SizeOfList(i)) =
                new SCATTER_GATHER_ELEMENT { Address = elements[i].Address, Length = elements[i].Length };
        }
        lock (channel.Gate)
        {
            if (!lists.TryAdd(list, new ListState(transfer, isOurs))) throw Violation(0x0D, request.Length, 0, 0, $"BuildScatterGatherList was called for {list}, which holds a list that is in use; PutScatterGatherList comes first.");
        }
        machine.Code.Call(request.Routine, request.Device, request.Device.CurrentIrp, list, request.Context);
        return NTSTATUS.STATUS_SUCCESS;
    }

    internal void PutList(PSCATTER_GATHER_LIST list, bool write)
    {
        ListState? state;
        lock (channel.Gate)
        {
            if (!lists.Remove(list, out state)) throw Violation(0x06, (ulong)lists.Count, (ulong)lists.Count + 1, 0, $"PutScatterGatherList was called for {list}, which is no list of this adapter, or was freed.");
        }
        Unmap(state.Transfer, write);
        if (!state.Mdl.IsNull) machine.Mdls.IoFreeMdl(state.Mdl);
        if (state.IsOurs) machine.Pool.Free(list.Address, ListTag);
    }

    internal NTSTATUS Calculate(PMDL mdl, PVOID currentVa, uint length, PULONG listSize, PULONG count)
    {
        uint pages = PagesOf(currentVa, length);
        int elements = (int)pages;
        if (!mdl.IsNull)
        {
            if (RunsOf(mdl, currentVa, length, followsChain: true) is not { } runs) return NTSTATUS.STATUS_BUFFER_TOO_SMALL;
            pages = (uint)runs.Sum(r => PagesOf(r.Address, r.Length));
            elements = runs.Count;
        }
        if (pages > MaximumMapRegisters) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        listSize.Value = (uint)SizeOfList(elements);
        if (!count.IsNull) count.Value = pages;
        return NTSTATUS.STATUS_SUCCESS;
    }

    internal NTSTATUS BuildMdl(PSCATTER_GATHER_LIST list, PMDL original, PPVOID target)
    {
        if (original.IsNull) return NTSTATUS.STATUS_INVALID_PARAMETER;
        ListState? state;
        lock (channel.Gate) state = lists.GetValueOrDefault(list);
        if (state is null) return NTSTATUS.STATUS_INVALID_PARAMETER;
        if (state.Transfer.Bounce == 0)
        {
            target.Value = original;
            return NTSTATUS.STATUS_SUCCESS;
        }
        if (!state.Mdl.IsNull) return NTSTATUS.STATUS_NONE_MAPPED;
        PMDL mdl = machine.Mdls.IoAllocateMdl(new PVOID(state.Transfer.Bounce), state.Transfer.Length, false, false, default);
        if (mdl.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        machine.Mdls.MmBuildMdlForNonPagedPool(mdl);
        target.Value = state.Mdl = mdl;
        return NTSTATUS.STATUS_SUCCESS;
    }

    static ulong SizeOfList(int elements) => SCATTER_GATHER_LIST.SizeOf + (ulong)elements * SCATTER_GATHER_ELEMENT.SizeOf;

    // ---- MDLs

    static ulong BufferOf(PMDL mdl) => mdl.StartVa.Address + mdl.ByteOffset;

    static uint PagesOf(PVOID address, uint length) => PagesOf((long)address.Address, length);

    static uint PagesOf(long address, uint length) => (uint)((((ulong)address & PageMask) + length + PageMask) >> PAGE_SHIFT);

    BugCheckException Outside(PMDL mdl, PVOID currentVa, uint length) =>
        Violation(0x00, 0, mdl.Address, length, $"MapTransfer was called for {length} bytes from {currentVa} on, but the MDL at {mdl} describes {mdl.ByteCount} bytes from {new PVOID(BufferOf(mdl))} on.");

    /// <summary>The physical memory of a part of a buffer; null if the part is not inside.</summary>
    List<PhysicalRun>? RunsOf(PMDL mdl, PVOID currentVa, uint length, bool followsChain)
    {
        List<PhysicalRun> runs = [];
        ulong offset = currentVa.Address - BufferOf(mdl);
        if (offset > mdl.ByteCount || length == 0) return null;
        for (; length > 0 && !mdl.IsNull; mdl = followsChain ? mdl.Next : default)
        {
            const MDL_FLAGS locked = MDL_FLAGS.MDL_PAGES_LOCKED | MDL_FLAGS.MDL_SOURCE_IS_NONPAGED_POOL | MDL_FLAGS.MDL_PARTIAL;
            if ((mdl.MdlFlags & locked) == 0) throw Violation(0x0E, mdl.Address, 0, 0, $"The pages of the MDL at {mdl} are not locked, but a device was to transfer them.");
            for (; length > 0 && offset < mdl.ByteCount;)
            {
                ulong at = mdl.ByteOffset + offset;
                ulong frame = GuestMemory.Ref<ulong>(machine.Mdls.MmGetMdlPfnArray(mdl).Address + 8 * (at >> PAGE_SHIFT));
                long address = (long)(frame << PAGE_SHIFT | at & PageMask);
                uint inPage = (uint)Math.Min(Math.Min(length, mdl.ByteCount - offset), GuestMemory.PageSize - (at & PageMask));
                if (runs.Count > 0 && runs[^1] is var last && last.Address + last.Length == address) runs[^1] = last with { Length = last.Length + inPage };
                else runs.Add(new PhysicalRun(address, inPage));
                offset += inPage;
                length -= inPage;
            }
            offset = 0;
        }
        return length == 0 ? runs : null;
    }
}
