using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Mappings of physical addresses: how drivers see the registers of their devices.</summary>
/// <remarks>
/// They lie in a window of their own (<see cref="GuestMemory.IoSpaceBase"/>) in which nothing is memory, so every access faults and
/// is led to <see cref="Hardware"/> by the processor; C# drivers get there by READ_REGISTER_ULONG and its relatives.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/mapping-bus-relative-addresses-to-virtual-addresses"/>
public sealed class IoSpace
{
    const ulong PageMask = GuestMemory.PageSize - 1;

    readonly Machine machine;
    readonly Lock gate = new();
    // By address; replaced as a whole, so that accesses need no lock.
    Mapping[] mappings = [];

    /// <summary>Whole pages; drivers may touch all of them.</summary>
    readonly record struct Mapping(ulong Address, ulong Size, ulong Physical, PageAccess Access);

    internal IoSpace(Machine machine) => this.machine = machine;

    ulong Start => GuestMemory.IoSpaceBase + (machine.Memory.SliceBase - GuestMemory.KernelBase);

    /// <summary>Maps physical addresses to read and write. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="NumberOfBytes">Greater than zero.</param>
    /// <param name="CacheType">Without effect.</param>
    /// <returns>Where the first byte is seen; NULL when there is no room.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, ulong NumberOfBytes, MEMORY_CACHING_TYPE CacheType) =>
        Map((ulong)PhysicalAddress, NumberOfBytes, PageAccess.ReadWrite);

    /// <summary>Maps physical addresses. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="NumberOfBytes">Greater than zero.</param>
    /// <param name="Protect">
    /// One of PAGE_READONLY, PAGE_READWRITE, PAGE_EXECUTE, PAGE_EXECUTE_READ and PAGE_EXECUTE_READWRITE, and PAGE_NOCACHE or
    /// PAGE_WRITECOMBINE if wanted, which have no effect. Code is never executed from there.
    /// </param>
    /// <returns>Where the first byte is seen; NULL when there is no room or <paramref name="Protect"/> is none of these.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, ulong NumberOfBytes, uint Protect)
    {
        bool both = (Protect & (PAGE_NOCACHE | PAGE_WRITECOMBINE)) == (PAGE_NOCACHE | PAGE_WRITECOMBINE);
        return both ? default : (Protect & ~(PAGE_NOCACHE | PAGE_WRITECOMBINE)) switch
        {
            PAGE_READONLY or PAGE_EXECUTE_READ => Map((ulong)PhysicalAddress, NumberOfBytes, PageAccess.Read),
            PAGE_READWRITE or PAGE_EXECUTE_READWRITE => Map((ulong)PhysicalAddress, NumberOfBytes, PageAccess.ReadWrite),
            PAGE_EXECUTE => Map((ulong)PhysicalAddress, NumberOfBytes, PageAccess.None),
            _ => default,
        };
    }

    PVOID Map(ulong physical, ulong length, PageAccess access)
    {
        ulong offset = physical & PageMask;
        if (length == 0 || length > GuestMemory.SliceSize || physical + length < physical) return default;
        ulong size = (offset + length + PageMask) & ~PageMask;
        lock (gate)
        {
            // One unmapped page behind each mapping, so that running past its end is noticed.
            ulong address = Start;
            int i = 0;
            for (; i < mappings.Length && mappings[i].Address - address < size + GuestMemory.PageSize; i++)
                address = mappings[i].Address + mappings[i].Size + GuestMemory.PageSize;
            if (address + size > Start + GuestMemory.SliceSize) return default;
            mappings = [.. mappings[..i], new Mapping(address, size, physical - offset, access), .. mappings[i..]];
            return new PVOID(address + offset);
        }
    }

    /// <summary>Ends a mapping. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="NumberOfBytes">As given when it was made.</param>
    /// <exception cref="BugCheckException">SYSTEM_PTE_MISUSE: there is no such mapping.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmUnmapIoSpace(PVOID BaseAddress, ulong NumberOfBytes)
    {
        ulong first = BaseAddress.Address & ~PageMask;
        ulong size = ((BaseAddress.Address & PageMask) + NumberOfBytes + PageMask) & ~PageMask;
        Mapping found;
        lock (gate)
        {
            found = Array.Find(mappings, m => m.Address == first);
            if (found.Size == size && size > 0)
            {
                mappings = [.. mappings.Where(m => m.Address != first)];
                return;
            }
        }
        throw found.Size == 0
            ? machine.BugChecks.Stop(BugCheckCode.SYSTEM_PTE_MISUSE, 3, 0, 0, BaseAddress.Address,
                $"MmUnmapIoSpace was called for {BaseAddress}, which MmMapIoSpace did not return or which is unmapped already.")
            : machine.BugChecks.Stop(BugCheckCode.SYSTEM_PTE_MISUSE, 2, 0, found.Size >> GuestMemory.PageShift, size >> GuestMemory.PageShift,
                $"MmUnmapIoSpace was called for {NumberOfBytes} bytes at {BaseAddress}, but {found.Size >> GuestMemory.PageShift} pages are mapped there.");
    }

    /// <summary>The physical address behind one in a mapping; false when it is in none, or in one that does not allow the access.</summary>
    public bool TryTranslate(ulong address, int size, PageAccess access, out ulong physical)
    {
        physical = 0;
        if (address - GuestMemory.IoSpaceBase >= GuestMemory.WindowSize) return false;
        foreach (Mapping mapping in mappings)
        {
            ulong offset = address - mapping.Address;
            if (offset >= mapping.Size) continue;
            physical = mapping.Physical + offset;
            return mapping.Size - offset >= (ulong)size && (mapping.Access & access) == access;
        }
        return false;
    }
}
