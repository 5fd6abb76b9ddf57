using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Memory descriptor lists: locking, mapping and describing buffers.</summary>
/// <remarks>
/// A page frame number is the slice offset of the page >> 12. A system mapping is the same page seen through the
/// system-mapping window, accessible as long as at least one MDL maps it.
/// Translation is fixed, so only pages that follow each other in memory can be mapped as one range; those of a buffer
/// always do, a list of frames that a driver put together itself need not. Ranges that a driver reserved: <see cref="ReservedMappings"/>.
/// Misuse that Windows lets pass ends in the bug check that Driver Verifier has for it, 0xC4.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-mdls"/>
public sealed unsafe class Mdls
{
    /// <summary>MmHighestUserAddress.</summary>
    public const ulong HighestUserAddress = 0x7FFF_FFFE_FFFF;

    /// <summary>MmUserProbeAddress.</summary>
    public const ulong UserProbeAddress = HighestUserAddress + 1;

    /// <summary>MmSystemRangeStart.</summary>
    public const ulong SystemRangeStart = 0xFFFF_8000_0000_0000;

    const uint Tag = 0x206C_644D; // "Mdl "
    const ulong PageMask = GuestMemory.PageSize - 1;

    const MDL_FLAGS Mapped = MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly PageCounts systemMappings = new(), userMappings = new();
    int lockedPages;

    internal Mdls(Machine machine)
    {
        this.machine = machine;
        machine.Variables.DefineValue("MmHighestUserAddress", HighestUserAddress);
        machine.Variables.DefineValue("MmUserProbeAddress", UserProbeAddress);
        machine.Variables.DefineValue("MmSystemRangeStart", SystemRangeStart);
    }

    /// <summary>Pages that MmProbeAndLockPages and its relatives locked and nobody unlocked yet; one counts once for each MDL.</summary>
    public int LockedPages => Volatile.Read(ref lockedPages);

    // ---- Making and freeing

    /// <summary>
    /// Allocates an MDL for a buffer; its pages are neither locked nor mapped (MDL-01, MDL-02). IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <param name="Length">Bytes.</param>
    /// <param name="SecondaryBuffer">TRUE: goes to the end of the IRP's list; FALSE: becomes the IRP's list.</param>
    /// <param name="ChargeQuota">Without effect.</param>
    /// <param name="Irp">IRP to attach it to, or NULL.</param>
    /// <returns>NULL when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PMDL IoAllocateMdl(PVOID VirtualAddress, uint Length, BOOLEAN SecondaryBuffer, BOOLEAN ChargeQuota, PIRP Irp,
        [Caller] ulong caller = 0)
    {
        PMDL mdl = Allocate(VirtualAddress, Length, caller);
        if (mdl.IsNull || Irp.IsNull) return mdl;
        if (!SecondaryBuffer || Irp.MdlAddress.IsNull)
        {
            Irp.MdlAddress = mdl;
            return mdl;
        }
        PMDL last = Irp.MdlAddress;
        while (!last.Next.IsNull) last = last.Next;
        last.Next = mdl;
        return mdl;
    }

    /// <summary>Makes an MDL in given memory, or in allocated memory; obsolete. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>NULL when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PMDL MmCreateMdl(PMDL MemoryDescriptorList, PVOID Base, ulong Length, [Caller] ulong caller = 0)
    {
        if (MemoryDescriptorList.IsNull) return Allocate(Base, Length, caller);
        MmInitializeMdl(MemoryDescriptorList, Base, Length);
        return MemoryDescriptorList;
    }

    PMDL Allocate(PVOID address, ulong length, ulong caller)
    {
        var mdl = new PMDL(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, MmSizeOfMdl(address, length), Tag, caller));
        if (mdl.IsNull) return mdl;
        mdl.Value = default;
        MmInitializeMdl(mdl, address, length);
        return mdl;
    }

    /// <summary>Writes the header of an MDL in memory of at least MmSizeOfMdl bytes (MDL-01).</summary>
    [WdkInline]
    public void MmInitializeMdl(PMDL MemoryDescriptorList, PVOID BaseVa, ulong Length)
    {
        MemoryDescriptorList.Next = default;
        // Larger than the field for buffers above 16 MB, in Windows too: nobody relies on it.
        MemoryDescriptorList.Size = unchecked((short)MmSizeOfMdl(BaseVa, Length));
        MemoryDescriptorList.MdlFlags = 0;
        MemoryDescriptorList.StartVa = new PVOID(BaseVa.Address & ~PageMask);
        MemoryDescriptorList.ByteOffset = (uint)(BaseVa.Address & PageMask);
        MemoryDescriptorList.ByteCount = (uint)Length;
    }

    /// <summary>Bytes that an MDL for a range takes. Any IRQL.</summary>
    [KernelExport]
    public ulong MmSizeOfMdl(PVOID Base, ulong Length) => MDL.SizeOf + 8 * PagesSpanned(Base.Address, Length);

    /// <summary>
    /// Frees one MDL, not the ones chained to it; unmaps a partial MDL (MDL-03). IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <exception cref="BugCheckException">
    /// DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS: its pages are locked, and nobody can unlock them any more.
    /// </exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoFreeMdl(PMDL Mdl, [Caller] ulong caller = 0)
    {
        // What is not an allocation has no flags to look at; the pool says what is wrong with it.
        if (machine.Pool.TryFind(Mdl.Address, out _))
        {
            MDL_FLAGS flags = Mdl.MdlFlags;
            if ((flags & MDL_PARTIAL_HAS_BEEN_MAPPED) != 0)
            {
                MmUnmapLockedPages(Mdl.MappedSystemVa, Mdl);
            }
            else if ((flags & MDL_PAGES_LOCKED) != 0)
            {
                throw machine.BugChecks.Stop(BugCheckCode.DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS, caller, 0, Mdl.Address, PageCount(Mdl),
                    $"The MDL at {Format.Address(Mdl.Address)} was freed while its pages are locked; MmUnlockPages comes first.");
            }
        }
        machine.Pool.Free(Mdl.Address, Tag);
    }

    // ---- Describing

    /// <summary>
    /// Locks the pages of the buffer and describes them (MDL-04). IRQL &lt;= APC_LEVEL, for nonpaged memory &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <exception cref="NtStatusException">STATUS_ACCESS_VIOLATION: the buffer does not allow the access. The MDL is unchanged.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Raise)]
    public void MmProbeAndLockPages(PMDL MemoryDescriptorList, MODE AccessMode, LOCK_OPERATION Operation)
    {
        RequireLockable(MemoryDescriptorList, 0xB0, "MmProbeAndLockPages");
        Lock(MemoryDescriptorList, AccessMode, Operation);
    }

    /// <summary>The same in the address space of a process, though all see the same memory. IRQL as <see cref="MmProbeAndLockPages"/>.</summary>
    /// <exception cref="BugCheckException">INVALID_PROCESS_ATTACH_ATTEMPT: not a process.</exception>
    /// <inheritdoc cref="MmProbeAndLockPages"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Raise)]
    public void MmProbeAndLockProcessPages(PMDL MemoryDescriptorList, PEPROCESS Process, MODE AccessMode, LOCK_OPERATION Operation)
    {
        RequireLockable(MemoryDescriptorList, 0xB1, "MmProbeAndLockProcessPages");
        machine.Processes.RequireAttachable(machine.CurrentThread, Process);
        Lock(MemoryDescriptorList, AccessMode, Operation);
    }

    /// <summary>Locks pages that need not follow each other, and describes them in their order. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="MemoryDescriptorList">Of as many pages as there are segments.</param>
    /// <param name="SegmentArray">The beginning of each page.</param>
    /// <inheritdoc cref="MmProbeAndLockPages"/>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Raise)]
    public void MmProbeAndLockSelectedPages(PMDL MemoryDescriptorList, PFILE_SEGMENT_ELEMENT SegmentArray, MODE AccessMode, LOCK_OPERATION Operation)
    {
        PMDL mdl = MemoryDescriptorList;
        RequireLockable(mdl, 0xB0, "MmProbeAndLockSelectedPages");
        ulong[] frames = new ulong[PageCount(mdl)];
        for (int i = 0; i < frames.Length; i++)
        {
            ulong page = new PFILE_SEGMENT_ELEMENT(SegmentArray.Address + (ulong)i * FILE_SEGMENT_ELEMENT.SizeOf).Buffer.Address & ~PageMask;
            frames[i] = GuestMemory.OffsetOf(Probe(page, GuestMemory.PageSize, AccessMode, Operation)) >> GuestMemory.PageShift;
        }
        for (int i = 0; i < frames.Length; i++) Frame(mdl, (ulong)i) = frames[i];
        Locked(mdl, Operation);
    }

    void RequireLockable(PMDL mdl, uint violation, string routine) =>
        RequireWithout(mdl, Mapped | MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_IO_SPACE, violation, routine);

    void Lock(PMDL mdl, MODE accessMode, LOCK_OPERATION operation)
    {
        DescribePages(mdl, Probe(BufferOf(mdl), mdl.ByteCount, accessMode, operation));
        Locked(mdl, operation);
    }

    byte* Probe(ulong address, ulong length, MODE accessMode, LOCK_OPERATION operation)
    {
        if (accessMode == UserMode && !IsUserRange(address, length)) throw new NtStatusException(STATUS_ACCESS_VIOLATION);
        PageAccess access = operation == IoReadAccess ? PageAccess.Read : PageAccess.ReadWrite;
        if (!machine.Memory.Contains(address) || !GuestMemory.TryTranslate(address, length, access, out byte* host, out _))
            throw new NtStatusException(STATUS_ACCESS_VIOLATION);
        return host;
    }

    void Locked(PMDL mdl, LOCK_OPERATION operation)
    {
        mdl.MdlFlags |= MDL_PAGES_LOCKED | (operation == IoReadAccess ? 0 : MDL_WRITE_OPERATION);
        ulong pages = PageCount(mdl);
        Interlocked.Add(ref lockedPages, (int)pages);
        machine.Events.Emit(new PagesLocked(mdl, BufferOf(mdl), mdl.ByteCount));
        for (ulong i = 0; i < pages; i++) machine.Shadow?.Lock(Frame(mdl, i) << GuestMemory.PageShift, 1);
    }

    /// <summary>
    /// Unlocks what MmProbeAndLockPages or a relative of it locked, and ends a system mapping of it first (MDL-05). IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <exception cref="BugCheckException">
    /// PFN_LIST_CORRUPT, for a user buffer PROCESS_HAS_LOCKED_PAGES, when the pages are not locked.
    /// </exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmUnlockPages(PMDL MemoryDescriptorList)
    {
        PMDL mdl = MemoryDescriptorList;
        RequireWithout(mdl, MDL_PARTIAL, 0xB4, "MmUnlockPages");
        RequireWithout(mdl, MDL_SOURCE_IS_NONPAGED_POOL, 0x7D, "MmUnlockPages");
        if ((mdl.MdlFlags & MDL_PAGES_LOCKED) == 0) NotLocked(mdl);
        machine.Events.Emit(new PagesUnlocked(mdl));
        if ((mdl.MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) != 0) MmUnmapLockedPages(mdl.MappedSystemVa, mdl);
        mdl.MdlFlags &= ~MDL_PAGES_LOCKED;
        ulong pages = PageCount(mdl);
        Interlocked.Add(ref lockedPages, -(int)pages);
        for (ulong i = 0; i < pages; i++) machine.Shadow?.Unlock(Frame(mdl, i) << GuestMemory.PageShift, 1);
    }

    [DoesNotReturn]
    void NotLocked(PMDL mdl)
    {
        string explanation = $"MmUnlockPages was called for the MDL at {Format.Address(mdl.Address)}, whose pages are not locked.";
        throw BufferOf(mdl) <= HighestUserAddress
            ? machine.BugChecks.Stop(BugCheckCode.PROCESS_HAS_LOCKED_PAGES, 1, mdl.Address, (ulong)LockedPages, 0, explanation)
            : machine.BugChecks.Stop(BugCheckCode.PFN_LIST_CORRUPT, 7, FrameOf(BufferOf(mdl)), 0, 0, explanation);
    }

    /// <summary>Describes a buffer in nonpaged memory, or what MmMapIoSpace mapped, which is its own system mapping (MDL-06). IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmBuildMdlForNonPagedPool(PMDL MemoryDescriptorList)
    {
        PMDL mdl = MemoryDescriptorList;
        RequireWithout(mdl, Mapped | MDL_PAGES_LOCKED | MDL_PARTIAL, 0xB0, "MmBuildMdlForNonPagedPool");
        ulong address = BufferOf(mdl);
        byte irql = machine.TryGetCurrentThread()?.Irql ?? PASSIVE_LEVEL;
        if (machine.Memory.PagedPool.Contains(address))
        {
            throw machine.BugChecks.Stop(BugCheckCode.DRIVER_VERIFIER_DETECTED_VIOLATION, 0x7F, irql, mdl.Address, (ulong)mdl.MdlFlags,
                $"MmBuildMdlForNonPagedPool was called for paged pool at {Format.Address(address)}.");
        }
        if (address <= HighestUserAddress || machine.Memory.ThreadAreas.Contains(address))
        {
            throw machine.BugChecks.Stop(BugCheckCode.DRIVER_VERIFIER_DETECTED_VIOLATION, 0x140, irql, mdl.Address, address,
                $"MmBuildMdlForNonPagedPool was called for {(address <= HighestUserAddress ? "user memory" : "a kernel stack")} " +
                $"at {Format.Address(address)}; MmProbeAndLockPages is for that.");
        }
        if (machine.IoSpace.TryTranslate(address, (int)Math.Min(mdl.ByteCount, int.MaxValue), PageAccess.None, out ulong physical))
        {
            for (ulong i = 0; i < PageCount(mdl); i++) Frame(mdl, i) = (physical >> GuestMemory.PageShift) + i;
            mdl.MdlFlags |= MDL_IO_SPACE;
        }
        else
        {
            DescribePages(mdl, GuestMemory.Translate(address, mdl.ByteCount, PageAccess.Read));
        }
        mdl.MdlFlags |= MDL_SOURCE_IS_NONPAGED_POOL;
        mdl.MappedSystemVa = new PVOID(address);
    }

    /// <summary>
    /// Makes the target describe a part of the source, whose pages must be locked or nonpaged; it shares a system mapping
    /// that the source has (MDL-09). IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <param name="VirtualAddress">Where the part begins, in the source's terms (MmGetMdlVirtualAddress plus an offset).</param>
    /// <param name="Length">Bytes; 0 for all that follows.</param>
    /// <exception cref="BugCheckException">TARGET_MDL_TOO_SMALL; PFN_LIST_CORRUPT when the part is not inside the source.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress, uint Length)
    {
        ulong offset = VirtualAddress.Address - BufferOf(SourceMdl);
        ulong available = SourceMdl.ByteCount - Math.Min(offset, SourceMdl.ByteCount);
        ulong length = Length == 0 ? available : Length;
        if (offset > SourceMdl.ByteCount || length > available) OutsideSource(SourceMdl, VirtualAddress, length);
        ulong pages = PagesSpanned(VirtualAddress.Address, length);
        ulong room = (ulong)(ushort)TargetMdl.Size;
        if (MDL.SizeOf + 8 * pages > room)
        {
            throw machine.BugChecks.Stop(BugCheckCode.TARGET_MDL_TOO_SMALL, TargetMdl.Address, SourceMdl.Address, VirtualAddress.Address, 0,
                $"The target MDL at {Format.Address(TargetMdl.Address)} has room for {(room - MDL.SizeOf) / 8} pages, " +
                $"but the part of the buffer has {pages}.");
        }
        MDL_FLAGS source = SourceMdl.MdlFlags;
        MDL_FLAGS flags = MDL_PARTIAL | source & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_IO_SPACE | MDL_WRITE_OPERATION);
        TargetMdl.MappedSystemVa = default;
        if ((source & Mapped) != 0)
        {
            TargetMdl.MappedSystemVa = new PVOID(SourceMdl.MappedSystemVa.Address + offset);
            if ((source & MDL_MAPPED_TO_SYSTEM_VA) != 0) flags |= MDL_MAPPED_TO_SYSTEM_VA | MDL_PARENT_MAPPED_SYSTEM_VA;
        }
        TargetMdl.MdlFlags = TargetMdl.MdlFlags & MDL_ALLOCATED_FIXED_SIZE | flags;
        TargetMdl.Process = SourceMdl.Process;
        TargetMdl.StartVa = new PVOID(VirtualAddress.Address & ~PageMask);
        TargetMdl.ByteOffset = (uint)(VirtualAddress.Address & PageMask);
        TargetMdl.ByteCount = (uint)length;
        ulong firstPage = (VirtualAddress.Address >> GuestMemory.PageShift) - (SourceMdl.StartVa.Address >> GuestMemory.PageShift);
        for (ulong i = 0; i < pages; i++) Frame(TargetMdl, i) = Frame(SourceMdl, firstPage + i);
    }

    [DoesNotReturn]
    void OutsideSource(PMDL source, PVOID address, ulong length) =>
        throw machine.BugChecks.Stop(BugCheckCode.PFN_LIST_CORRUPT, 0x99, source.Address, address.Address, length,
            $"IoBuildPartialMdl was asked for {length} bytes at {address}, " +
            $"but the source MDL describes {source.ByteCount} bytes at {Format.Address(BufferOf(source))}.");

    /// <summary>Ends the mapping of a partial MDL that is about to be built anew (MDL-09).</summary>
    [WdkInline]
    public void MmPrepareMdlForReuse(PMDL Mdl)
    {
        if ((Mdl.MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED) != 0) MmUnmapLockedPages(Mdl.MappedSystemVa, Mdl);
    }

    // ---- Mapping

    /// <summary>The system address of the buffer, mapping it first if need be (MDL-07, MDL-08).</summary>
    /// <returns>NULL when it cannot be mapped.</returns>
    [WdkInline]
    public PVOID MmGetSystemAddressForMdlSafe(PMDL Mdl, MM_PAGE_PRIORITY Priority) => (Mdl.MdlFlags & Mapped) != 0
        ? Mdl.MappedSystemVa
        : MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, default, 0, Priority);

    /// <summary>The same, with a bug check when it cannot be mapped; obsolete.</summary>
    [WdkInline]
    public PVOID MmGetSystemAddressForMdl(PMDL Mdl) =>
        (Mdl.MdlFlags & Mapped) != 0 ? Mdl.MappedSystemVa : MmMapLockedPages(Mdl, KernelMode);

    /// <summary>Maps locked pages; obsolete. IRQL &lt;= DISPATCH_LEVEL, for user mode &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="MmMapLockedPagesSpecifyCache"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID MmMapLockedPages(PMDL MemoryDescriptorList, MODE AccessMode) =>
        MmMapLockedPagesSpecifyCache(MemoryDescriptorList, AccessMode, MmCached, default, 1, HighPagePriority);

    /// <summary>Maps locked pages into system or user address space. IRQL &lt;= DISPATCH_LEVEL, for user mode &lt;= APC_LEVEL.</summary>
    /// <param name="CacheType">Without effect: the pages have one already.</param>
    /// <param name="RequestedAddress">Without effect: every page has one place in each space.</param>
    /// <param name="BugCheckOnFailure">Not 0: NO_MORE_SYSTEM_PTES instead of NULL.</param>
    /// <returns>
    /// The buffer's address there, with the buffer's offset in its page. NULL when frames do not follow each other.
    /// </returns>
    /// <exception cref="NtStatusException">STATUS_INSUFFICIENT_RESOURCES: a mapping into user space failed.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PVOID MmMapLockedPagesSpecifyCache(PMDL MemoryDescriptorList, MODE AccessMode, MEMORY_CACHING_TYPE CacheType,
        PVOID RequestedAddress, uint BugCheckOnFailure, MM_PAGE_PRIORITY Priority)
    {
        PMDL mdl = MemoryDescriptorList;
        PageAccess access = (Priority & MdlMappingNoWrite) != 0 ? PageAccess.Read : PageAccess.ReadWrite;
        if (AccessMode == UserMode)
        {
            RequireAny(mdl, MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_SOURCE_IS_NONPAGED_POOL);
            ulong user = Map(mdl, machine.Memory.UserSliceBase, userMappings, access);
            if (user == 0) throw new NtStatusException(STATUS_INSUFFICIENT_RESOURCES);
            machine.Events.Emit(new MdlMapped(mdl, AccessMode, new PVOID(user), Priority));
            return new PVOID(user);
        }
        RequireWithout(mdl, Mapped | MDL_PARTIAL_HAS_BEEN_MAPPED, 0xB2, "MmMapLockedPagesSpecifyCache");
        RequireAny(mdl, MDL_PAGES_LOCKED | MDL_PARTIAL);
        if ((Priority & MdlMappingNoExecute) == 0) access |= PageAccess.Execute;
        ulong address = Map(mdl, machine.Memory.ToSystemMapping(machine.Memory.SliceBase), systemMappings, access);
        if (address == 0)
        {
            if (BugCheckOnFailure == 0) return default;
            throw machine.BugChecks.Stop(BugCheckCode.NO_MORE_SYSTEM_PTES, 0, 0, PageCount(mdl), 0,
                $"The MDL at {Format.Address(mdl.Address)} cannot be mapped: its page frames do not follow each other.");
        }
        SetMapped(mdl, new PVOID(address));
        machine.Events.Emit(new MdlMapped(mdl, AccessMode, mdl.MappedSystemVa, Priority));
        return mdl.MappedSystemVa;
    }

    /// <summary>
    /// Ends a mapping; the address is not accessible any more unless another MDL maps the page, too. IRQL &lt;= DISPATCH_LEVEL, for
    /// user mode &lt;= APC_LEVEL.
    /// </summary>
    /// <exception cref="BugCheckException">SYSTEM_PTE_MISUSE, or 0xC4 for an MDL that has no mapping of its own.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void MmUnmapLockedPages(PVOID BaseAddress, PMDL MemoryDescriptorList)
    {
        PMDL mdl = MemoryDescriptorList;
        machine.Events.Emit(new MdlUnmapping(mdl, BaseAddress));
        if (BaseAddress.Address <= HighestUserAddress)
        {
            ulong mapped = machine.Memory.UserSliceBase + (Frame(mdl, 0) << GuestMemory.PageShift) + mdl.ByteOffset;
            if (BaseAddress.Address != mapped || !Unmap(mdl, machine.Memory.UserSliceBase, userMappings))
            {
                throw machine.BugChecks.Stop(BugCheckCode.DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB9, BaseAddress.Address, mdl.Address, 0,
                    $"MmUnmapLockedPages was called for {BaseAddress}, where the MDL at {Format.Address(mdl.Address)} is not mapped.");
            }
            return;
        }
        machine.ReservedMappings.RequireOther(BaseAddress, mdl);
        MDL_FLAGS flags = mdl.MdlFlags;
        if ((flags & (MDL_PARTIAL | MDL_PARTIAL_HAS_BEEN_MAPPED)) == MDL_PARTIAL)
            RequireWithout(mdl, MDL_PARTIAL, 0xB5, "MmUnmapLockedPages");
        if ((flags & MDL_MAPPED_TO_SYSTEM_VA) == 0)
            FlagViolation(mdl, 0xB6, MDL_MAPPED_TO_SYSTEM_VA, "MmUnmapLockedPages was called for an MDL that is not mapped");
        if (BaseAddress != mdl.MappedSystemVa)
        {
            throw machine.BugChecks.Stop(BugCheckCode.SYSTEM_PTE_MISUSE, 3, 0, mdl.MappedSystemVa.Address, BaseAddress.Address,
                $"MmUnmapLockedPages was given {BaseAddress}, " +
                $"but the MDL at {Format.Address(mdl.Address)} is mapped at {mdl.MappedSystemVa}.");
        }
        if (!Unmap(mdl, machine.Memory.ToSystemMapping(machine.Memory.SliceBase), systemMappings))
        {
            throw machine.BugChecks.Stop(BugCheckCode.SYSTEM_PTE_MISUSE, 6, mdl.Address, BaseAddress.Address, PageCount(mdl),
                $"The MDL at {Format.Address(mdl.Address)} describes pages that are not mapped: " +
                "it was changed since it was mapped, or its flags were copied from another MDL.");
        }
        mdl.MdlFlags &= ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED);
    }

    /// <summary>
    /// Has a reserved range lead to the pages of an MDL, as <see cref="MmMapLockedPagesSpecifyCache"/> does; 0 when they do not follow each other.
    /// </summary>
    /// <returns>The system address behind it, of the first page.</returns>
    internal ulong MapReserved(PMDL mdl, ulong reserved)
    {
        RequireWithout(mdl, Mapped | MDL_PARTIAL_HAS_BEEN_MAPPED, 0xB2, "MmMapLockedPagesWithReservedMapping");
        RequireAny(mdl, MDL_PAGES_LOCKED | MDL_PARTIAL);
        ulong address = Map(mdl, machine.Memory.ToSystemMapping(machine.Memory.SliceBase), systemMappings, PageAccess.ReadWrite);
        if (address == 0) return 0;
        SetMapped(mdl, new PVOID(reserved));
        machine.Events.Emit(new MdlMapped(mdl, KernelMode, new PVOID(reserved + mdl.ByteOffset), NormalPagePriority | MdlMappingNoExecute));
        return address & ~PageMask;
    }

    /// <summary>Undoes <see cref="MapReserved"/>; false if the MDL does not describe what it described then.</summary>
    internal bool UnmapReserved(PMDL mdl)
    {
        if ((mdl.MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) == 0)
            FlagViolation(mdl, 0xB6, MDL_MAPPED_TO_SYSTEM_VA, "MmUnmapReservedMapping was called for an MDL that is not mapped");
        if (!Unmap(mdl, machine.Memory.ToSystemMapping(machine.Memory.SliceBase), systemMappings)) return false;
        mdl.MdlFlags &= ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED);
        return true;
    }

    static void SetMapped(PMDL mdl, PVOID address)
    {
        mdl.MappedSystemVa = address;
        bool partial = (mdl.MdlFlags & MDL_PARTIAL) != 0;
        mdl.MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA | (partial ? MDL_PARTIAL_HAS_BEEN_MAPPED : 0);
    }

    /// <summary>Makes the pages of an MDL accessible through a window; 0 when they do not follow each other.</summary>
    ulong Map(PMDL mdl, ulong window, PageCounts mappings, PageAccess access)
    {
        ulong pages = PageCount(mdl);
        if (pages == 0) return 0;
        ulong first = Frame(mdl, 0);
        for (ulong i = 0; i < pages; i++)
        {
            if (Frame(mdl, i) != first + i) return 0;
            RequireMemory(mdl, first + i);
        }
        lock (gate)
        {
            for (ulong frame = first; frame < first + pages; frame++)
            {
                if (checked(++mappings.Of(frame)) == 1) Protect(window, frame, access);
            }
        }
        return window + (first << GuestMemory.PageShift) + mdl.ByteOffset;
    }

    /// <summary>Undoes <see cref="Map"/>; false, with nothing changed, if a page is not mapped.</summary>
    bool Unmap(PMDL mdl, ulong window, PageCounts mappings)
    {
        ulong pages = PageCount(mdl);
        lock (gate)
        {
            for (ulong i = 0; i < pages; i++)
            {
                ulong frame = Frame(mdl, i);
                if (frame >= PageCounts.Frames || mappings.Of(frame) == 0) return false;
            }
            for (ulong i = 0; i < pages; i++)
            {
                ulong frame = Frame(mdl, i);
                if (--mappings.Of(frame) == 0) Protect(window, frame, PageAccess.None);
            }
        }
        return true;
    }

    void Protect(ulong window, ulong frame, PageAccess access)
    {
        ulong offset = frame << GuestMemory.PageShift;
        // Memory of the user process is in the user window without a mapping, and stays there.
        if (window == machine.Memory.UserSliceBase && machine.Memory.User.Contains(machine.Memory.SliceBase + offset)) return;
        machine.Memory.Protect(window + offset, GuestMemory.PageSize, access);
    }

    void RequireMemory(PMDL mdl, ulong frame)
    {
        ulong offset = frame << GuestMemory.PageShift;
        bool isMemory = frame < GuestMemory.SliceSize >> GuestMemory.PageShift &&
            (MmIsAddressValid(new PVOID(machine.Memory.SliceBase + offset)) || MmIsAddressValid(new PVOID(machine.Memory.UserSliceBase + offset)));
        if (isMemory || machine.Memory.TryUseFirmware(offset, GuestMemory.PageSize)) return;
        if ((mdl.MdlFlags & MDL_IO_SPACE) != 0)
            throw machine.BugChecks.StopUnsupported($"Physical address 0x{offset:x} is no memory in use: registers of devices are seen only where MmMapIoSpace mapped them, not through an MDL.");
        throw machine.BugChecks.Stop(BugCheckCode.PFN_LIST_CORRUPT, 0x99, frame, 0, 0,
            $"The MDL at {Format.Address(mdl.Address)} describes page frame 0x{frame:x}, which is no memory in use: " +
            "its buffer was freed, or the MDL was written over.");
    }

    // ---- Fields (MDL-10)

    /// <summary>Address of the described buffer, in the terms of whoever made the MDL.</summary>
    [WdkInline]
    public PVOID MmGetMdlVirtualAddress(PMDL Mdl) => new(BufferOf(Mdl));

    /// <summary>Length of the described buffer, bytes.</summary>
    [WdkInline]
    public uint MmGetMdlByteCount(PMDL Mdl) => Mdl.ByteCount;

    /// <summary>Offset of the described buffer in its first page.</summary>
    [WdkInline]
    public uint MmGetMdlByteOffset(PMDL Mdl) => Mdl.ByteOffset;

    /// <summary>Address of the page frame numbers, 8 bytes each.</summary>
    [WdkInline]
    public PVOID MmGetMdlPfnArray(PMDL Mdl) => new(Mdl.Address + MDL.SizeOf);

    // ---- Addresses

    /// <summary>The physical address behind a valid virtual one, 0 for an invalid one. Any IRQL.</summary>
    [KernelExport]
    public PHYSICAL_ADDRESS MmGetPhysicalAddress(PVOID BaseAddress) =>
        machine.IoSpace.TryTranslate(BaseAddress.Address, 1, PageAccess.None, out ulong physical) ? (long)physical
        : GuestMemory.TryTranslate(BaseAddress.Address, 1, PageAccess.Read, out byte* host, out _) ? (long)GuestMemory.OffsetOf(host) : 0;

    /// <summary>Whether reading a byte would succeed now. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN MmIsAddressValid(PVOID VirtualAddress) =>
        GuestMemory.TryTranslate(VirtualAddress.Address, 1, PageAccess.Read, out _, out _)
        || machine.IoSpace.TryTranslate(VirtualAddress.Address, 1, PageAccess.Read, out _);

    /// <summary>Requires a range to be in user space; it is not touched. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Length">Bytes; 0 is always right.</param>
    /// <param name="Alignment">1, 2, 4, 8 or 16.</param>
    /// <exception cref="NtStatusException">STATUS_ACCESS_VIOLATION or STATUS_DATATYPE_MISALIGNMENT.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ProbeForRead(PVOID Address, ulong Length, uint Alignment)
    {
        if (Length == 0) return;
        if ((Address.Address & (Alignment - 1ul)) != 0) throw new NtStatusException(STATUS_DATATYPE_MISALIGNMENT);
        if (!IsUserRange(Address.Address, Length)) throw new NtStatusException(STATUS_ACCESS_VIOLATION);
    }

    /// <summary>Requires a range to be in user space and writable. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ProbeForRead"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ProbeForWrite(PVOID Address, ulong Length, uint Alignment)
    {
        ProbeForRead(Address, Length, Alignment);
        if (Length != 0 && !GuestMemory.TryTranslate(Address.Address, Length, PageAccess.ReadWrite, out _, out _))
            throw new NtStatusException(STATUS_ACCESS_VIOLATION);
    }

    static bool IsUserRange(ulong address, ulong length) => address <= HighestUserAddress && length <= HighestUserAddress + 1 - address;

    static ulong BufferOf(PMDL mdl) => mdl.StartVa.Address + mdl.ByteOffset;

    static ulong PagesSpanned(ulong address, ulong length) => ((address & PageMask) + length + PageMask) >> GuestMemory.PageShift;

    internal static ulong PageCount(PMDL mdl) => PagesSpanned(mdl.ByteOffset, mdl.ByteCount);

    static ref ulong Frame(PMDL mdl, ulong index) => ref GuestMemory.Ref<ulong>(mdl.Address + MDL.SizeOf + 8 * index);

    static ulong FrameOf(ulong address) => AddressSpace.OffsetOf(address) >> GuestMemory.PageShift;

    // A range of addresses is a range of the slice, whichever window it is seen through.
    static void DescribePages(PMDL mdl, byte* host)
    {
        ulong first = GuestMemory.OffsetOf(host) >> GuestMemory.PageShift, pages = PageCount(mdl);
        for (ulong i = 0; i < pages; i++) Frame(mdl, i) = first + i;
    }

    void RequireWithout(PMDL mdl, MDL_FLAGS unexpected, uint violation, string routine)
    {
        MDL_FLAGS found = mdl.MdlFlags & unexpected;
        if (found != 0) FlagViolation(mdl, violation, found, $"{routine} was called for an MDL with {found}");
    }

    void RequireAny(PMDL mdl, MDL_FLAGS expected)
    {
        if ((mdl.MdlFlags & expected) == 0) FlagViolation(mdl, 0xB3, expected, "An MDL was to be mapped whose pages are not locked");
    }

    [DoesNotReturn]
    void FlagViolation(PMDL mdl, uint violation, MDL_FLAGS flags, string explanation) =>
        throw machine.BugChecks.Stop(BugCheckCode.DRIVER_VERIFIER_DETECTED_VIOLATION, violation, mdl.Address,
            (ulong)mdl.MdlFlags, (ulong)flags, $"{explanation}, at {Format.Address(mdl.Address)}.");
}
