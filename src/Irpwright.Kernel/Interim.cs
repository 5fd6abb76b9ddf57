using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

// The least that the I/O manager needs of pool, MDLs and strings, until each has its component.

public sealed class Pool
{
    readonly Machine machine;
    readonly Dictionary<ulong, ulong> sizes = [];
    readonly Dictionary<ulong, Stack<ulong>> free = [];
    ulong next, end;

    internal Pool(Machine machine) => this.machine = machine;

    internal ulong Allocate(POOL_TYPE type, ulong size, uint tag, ulong owner)
    {
        size = (size + 15) & ~15UL;
        lock (sizes)
        {
            if (free.TryGetValue(size, out Stack<ulong>? blocks) && blocks.TryPop(out ulong block)) return block;
            if (end - next < size)
            {
                next = machine.Memory.NonPagedPool.Allocate(Math.Max(size, 1 << 20), PageAccess.ReadWrite);
                end = next + Math.Max(size, 1 << 20);
            }
            sizes[next] = size;
            next += size;
            return next - size;
        }
    }

    internal void Free(ulong address, uint tag)
    {
        lock (sizes)
        {
            if (!free.TryGetValue(sizes[address], out Stack<ulong>? blocks)) free[sizes[address]] = blocks = new();
            blocks.Push(address);
        }
    }

    [KernelExport] public PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, ulong NumberOfBytes, uint Tag) => new(Allocate(PoolType, NumberOfBytes, Tag, 0));

    [KernelExport] public void ExFreePoolWithTag(PVOID P, uint Tag) => Free(P.Address, Tag);
}

public sealed class Mdls
{
    readonly Machine machine;

    internal Mdls(Machine machine) => this.machine = machine;

    [KernelExport]
    public PMDL IoAllocateMdl(PVOID VirtualAddress, uint Length, BOOLEAN SecondaryBuffer, BOOLEAN ChargeQuota, PIRP Irp)
    {
        ulong pages = ((VirtualAddress.Address & 0xFFF) + Length + 0xFFF) >> 12;
        PMDL mdl = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, MDL.SizeOf + pages * 8, 0, 0));
        mdl.Value = default;
        mdl.Size = (short)(MDL.SizeOf + pages * 8);
        mdl.StartVa = new PVOID(VirtualAddress.Address & ~0xFFFUL);
        mdl.ByteOffset = (uint)(VirtualAddress.Address & 0xFFF);
        mdl.ByteCount = Length;
        if (!Irp.IsNull) Irp.MdlAddress = mdl;
        return mdl;
    }

    [WdkInline]
    public PVOID MmGetSystemAddressForMdlSafe(PMDL Mdl, MM_PAGE_PRIORITY Priority)
    {
        ulong mapped = machine.Memory.ToSystemMapping(Mdl.StartVa.Address);
        machine.Memory.Protect(mapped, Mdl.ByteOffset + Mdl.ByteCount, PageAccess.ReadWrite);
        return new PVOID(mapped + Mdl.ByteOffset);
    }

    [KernelExport] public void IoFreeMdl(PMDL Mdl) => machine.Pool.Free(Mdl.Address, 0);

    [KernelExport] public void MmUnlockPages(PMDL MemoryDescriptorList) => MemoryDescriptorList.MdlFlags &= ~MDL_FLAGS.MDL_PAGES_LOCKED;

    [KernelExport]
    public void MmProbeAndLockPages(PMDL MemoryDescriptorList, MODE AccessMode, LOCK_OPERATION Operation) => MemoryDescriptorList.MdlFlags |= MDL_FLAGS.MDL_PAGES_LOCKED;
}

public sealed class Strings
{
    readonly Machine machine;
    readonly Dictionary<string, PUNICODE_STRING> constants = [];

    internal Strings(Machine machine) => this.machine = machine;

    internal static string Read(PUNICODE_STRING text) => new(MemoryMarshal.Cast<byte, char>(GuestMemory.Read(text.Buffer.Address, text.Length)));

    internal PUNICODE_STRING Constant(string text)
    {
        lock (constants)
        {
            if (constants.TryGetValue(text, out PUNICODE_STRING constant)) return constant;
            ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, (ulong)(16 + text.Length * 2), 0, 0);
            MemoryMarshal.AsBytes(text.AsSpan()).CopyTo(GuestMemory.Write(block + 16, text.Length * 2));
            constant = new PUNICODE_STRING(block);
            constant.Buffer = new(block + 16);
            constant.Length = constant.MaximumLength = (ushort)(text.Length * 2);
            return constants[text] = constant;
        }
    }
}

public sealed class MemoryRoutines
{
    internal MemoryRoutines(Machine machine)
    {
    }
}

public sealed class DebugOutput
{
    internal DebugOutput(Machine machine)
    {
    }
}

public sealed class WorkItems
{
    internal WorkItems(Machine machine)
    {
    }
}

public sealed class SystemTime
{
    internal SystemTime(Machine machine)
    {
    }
}
