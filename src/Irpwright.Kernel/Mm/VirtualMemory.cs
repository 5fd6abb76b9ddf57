using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Memory of the user process: regions that are reserved, committed and freed (ZwAllocateVirtualMemory).</summary>
/// <remarks>The system chooses where a region lies: one that is asked for at a certain address conflicts.</remarks>
public sealed class VirtualMemory
{
    const uint Tag = 0x5364_6156; // "VadS"
    const ulong PageMask = GuestMemory.PageSize - 1;
    const ulong Granularity = 0x1_0000;
    const ulong MaximumZeroBits = 20;
    const uint KnownTypes = MEM_COMMIT | MEM_RESERVE | MEM_RESET | MEM_TOP_DOWN;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Region> regions = [];

    internal VirtualMemory(Machine machine) => this.machine = machine;

    /// <summary>Pages one behind another that were reserved together; a page is committed when it has a protection.</summary>
    sealed class Region(ulong start, ulong pages)
    {
        internal readonly ulong Start = start;
        internal readonly uint[] Protections = new uint[pages];

        internal ulong Size => (ulong)Protections.Length * GuestMemory.PageSize;

        internal bool Contains(ulong address, ulong size) => address >= Start && size <= Size && address - Start <= Size - size;

        internal Span<uint> Pages(ulong address, ulong size) => Protections.AsSpan((int)((address - Start) >> PAGE_SHIFT), (int)(size >> PAGE_SHIFT));
    }

    /// <summary>What a page protection allows; null for one that is invalid.</summary>
    internal static PageAccess? AccessOf(uint protection)
    {
        const uint modifiers = PAGE_NOCACHE | PAGE_WRITECOMBINE;
        if ((protection & modifiers) == modifiers) return null;
        return (protection & ~modifiers) switch
        {
            PAGE_NOACCESS when (protection & modifiers) == 0 => PageAccess.None,
            PAGE_READONLY => PageAccess.Read,
            PAGE_READWRITE => PageAccess.ReadWrite,
            PAGE_EXECUTE or PAGE_EXECUTE_READ => PageAccess.Read | PageAccess.Execute,
            PAGE_EXECUTE_READWRITE => PageAccess.ReadWrite | PageAccess.Execute,
            _ => null,
        };
    }

    /// <summary>Zeroed pages of the user process at a multiple of 64 KiB, without access; 0 when there are none left.</summary>
    internal ulong Reserve(ulong size)
    {
        if (machine.Pool.FailAllocation is { } fail && fail(size, Tag)) return 0;
        ulong whole = size + Granularity - GuestMemory.PageSize;
        ulong start = machine.Memory.AllocateUser(whole);
        if (start == 0) return 0;
        ulong address = (start + Granularity - 1) & ~(Granularity - 1);
        if (address > start) machine.Memory.FreeUser(start, address - start);
        if (address + size < start + whole) machine.Memory.FreeUser(address + size, start + whole - address - size);
        machine.Memory.Protect(address, size, PageAccess.None);
        return address;
    }

    /// <summary>Reserves or commits memory of a process. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="BaseAddress">0: the system chooses. Receives where the pages begin.</param>
    /// <param name="ZeroBits">Below 21; other than 0 there is no memory that low.</param>
    /// <param name="RegionSize">Bytes; receives them rounded to whole pages.</param>
    /// <param name="AllocationType">MEM_COMMIT, MEM_RESERVE or both, or MEM_RESET, perhaps with MEM_TOP_DOWN.</param>
    /// <param name="Protect">PAGE_ constants; PAGE_GUARD is not supported.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER_3 to _5, STATUS_INVALID_PAGE_PROTECTION, STATUS_NO_MEMORY, STATUS_CONFLICTING_ADDRESSES: nothing is
    /// reserved there, or it was to be reserved there; STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwAllocateVirtualMemory(HANDLE ProcessHandle, ref PVOID BaseAddress, ulong ZeroBits, ref ulong RegionSize, uint AllocationType, uint Protect)
    {
        if (ZeroBits > MaximumZeroBits) return STATUS_INVALID_PARAMETER_3;
        ulong asked = BaseAddress.Address;
        if (RegionSize == 0 || RegionSize > GuestMemory.SliceSize || asked + RegionSize < asked) return STATUS_INVALID_PARAMETER_4;
        RequireSupported(AllocationType, Protect);
        bool resets = (AllocationType & MEM_RESET) != 0;
        if ((AllocationType & ~KnownTypes) != 0 || (AllocationType & (MEM_COMMIT | MEM_RESERVE | MEM_RESET)) == 0
            || (resets && (AllocationType & ~MEM_TOP_DOWN) != MEM_RESET)) return STATUS_INVALID_PARAMETER_5;
        if (AccessOf(Protect) is not { } access) return STATUS_INVALID_PAGE_PROTECTION;
        NTSTATUS status = machine.Handles.FindProcess(ProcessHandle, out _);
        if (status < 0) return status;

        ulong start = asked & ~PageMask;
        ulong size = ((asked + RegionSize + PageMask) & ~PageMask) - start;
        if (asked != 0 && (AllocationType & MEM_RESERVE) != 0) return STATUS_CONFLICTING_ADDRESSES;
        if (asked == 0)
        {
            if (resets) return STATUS_CONFLICTING_ADDRESSES;
            start = ZeroBits == 0 ? Reserve(size) : 0;
            if (start == 0) return STATUS_NO_MEMORY;
        }
        lock (gate)
        {
            if (asked == 0) regions.Add(new Region(start, size >> PAGE_SHIFT));
            Region? region = regions.Find(r => r.Contains(start, size));
            if (region is null) return STATUS_CONFLICTING_ADDRESSES;
            if ((AllocationType & MEM_COMMIT) != 0)
            {
                region.Pages(start, size).Fill(Protect);
                machine.Memory.Protect(start, size, access);
            }
        }
        BaseAddress = new PVOID(start);
        RegionSize = size;
        return STATUS_SUCCESS;
    }

    void RequireSupported(uint allocationType, uint protect)
    {
        if ((allocationType & (MEM_PHYSICAL | MEM_LARGE_PAGES)) != 0)
            throw machine.BugChecks.StopUnsupported($"ZwAllocateVirtualMemory was called with allocation type 0x{allocationType:x}: AWE and large pages are not supported.");
        if ((protect & PAGE_GUARD) != 0) throw machine.BugChecks.StopUnsupported("Virtual memory with PAGE_GUARD is not supported.");
    }

    /// <summary>Decommits or releases memory of a process. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="BaseAddress">For MEM_RELEASE where the region begins.</param>
    /// <param name="RegionSize">For MEM_RELEASE 0, or the size of the region. Receives the bytes that were freed.</param>
    /// <param name="FreeType">MEM_DECOMMIT or MEM_RELEASE.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER_4, STATUS_MEMORY_NOT_ALLOCATED, STATUS_FREE_VM_NOT_AT_BASE, STATUS_UNABLE_TO_FREE_VM: more than the
    /// region, or for MEM_RELEASE less; STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwFreeVirtualMemory(HANDLE ProcessHandle, ref PVOID BaseAddress, ref ulong RegionSize, uint FreeType)
    {
        if (FreeType is not (MEM_DECOMMIT or MEM_RELEASE)) return STATUS_INVALID_PARAMETER_4;
        NTSTATUS status = machine.Handles.FindProcess(ProcessHandle, out _);
        if (status < 0) return status;
        ulong asked = BaseAddress.Address;
        ulong start = asked & ~PageMask;
        lock (gate)
        {
            Region? region = regions.Find(r => r.Contains(start, GuestMemory.PageSize));
            if (region is null) return STATUS_MEMORY_NOT_ALLOCATED;
            bool isWhole = RegionSize == 0;
            if (start != region.Start && (isWhole || FreeType == MEM_RELEASE)) return STATUS_FREE_VM_NOT_AT_BASE;
            ulong size = isWhole ? region.Size : ((asked + RegionSize + PageMask) & ~PageMask) - start;
            if (!region.Contains(start, size) || (FreeType == MEM_RELEASE && size != region.Size)) return STATUS_UNABLE_TO_FREE_VM;
            if (FreeType == MEM_RELEASE)
            {
                regions.Remove(region);
                machine.Memory.FreeUser(start, size);
            }
            else
            {
                Decommit(region, start, size);
            }
            BaseAddress = new PVOID(start);
            RegionSize = size;
            return STATUS_SUCCESS;
        }
    }

    // Pages that are committed again are zeroed.
    void Decommit(Region region, ulong start, ulong size)
    {
        machine.Memory.Protect(start, size, PageAccess.ReadWrite);
        GuestMemory.Write(start, checked((int)size)).Clear();
        machine.Memory.Protect(start, size, PageAccess.None);
        region.Pages(start, size).Clear();
    }

    /// <summary>Changes what may be done with committed pages of a process. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="OldProtect">What could be done with the first page.</param>
    /// <returns>
    /// STATUS_INVALID_PAGE_PROTECTION, STATUS_NOT_COMMITTED, STATUS_CONFLICTING_ADDRESSES: not within one region;
    /// STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwProtectVirtualMemory(HANDLE ProcessHandle, ref PVOID BaseAddress, ref ulong RegionSize, uint NewProtect, out uint OldProtect)
    {
        OldProtect = 0;
        RequireSupported(0, NewProtect);
        if (AccessOf(NewProtect) is not { } access) return STATUS_INVALID_PAGE_PROTECTION;
        NTSTATUS status = machine.Handles.FindProcess(ProcessHandle, out _);
        if (status < 0) return status;
        ulong start = BaseAddress.Address & ~PageMask;
        ulong size = ((BaseAddress.Address + RegionSize + PageMask) & ~PageMask) - start;
        lock (gate)
        {
            Region? region = regions.Find(r => r.Contains(start, size));
            if (region is null || size == 0) return STATUS_CONFLICTING_ADDRESSES;
            Span<uint> pages = region.Pages(start, size);
            if (pages.Contains(0u)) return STATUS_NOT_COMMITTED;
            OldProtect = pages[0];
            pages.Fill(NewProtect);
            machine.Memory.Protect(start, size, access);
        }
        BaseAddress = new PVOID(start);
        RegionSize = size;
        return STATUS_SUCCESS;
    }
}
