using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Sections: memory that is mapped into processes by name or handle, and \Device\PhysicalMemory.</summary>
/// <remarks>All views of a section alias its bytes and lie at the same address.</remarks>
public sealed class Sections
{
    const ulong PageMask = GuestMemory.PageSize - 1;
    const ulong Granularity = 0x1_0000;
    const ulong MaximumZeroBits = 20;
    const uint KnownAttributes = SEC_COMMIT | SEC_NOCACHE;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, Section> sections = [];
    readonly List<View> views = [];

    internal Sections(Machine machine)
    {
        this.machine = machine;
        ObjectType type = machine.Objects.Types.Section;
        type.Deleting = section => Delete(section.Address);
        ulong physicalMemory = machine.Objects.Create(type, ObjectNamespace.OpaqueSize);
        sections.Add(physicalMemory, new Section(machine.Memory.UserSliceBase, GuestMemory.SliceSize, PageAccess.ReadWrite, IsPhysicalMemory: true));
        machine.Objects.SetName(physicalMemory, @"\Device\PhysicalMemory", NameLifetime.Permanent);
    }

    /// <param name="Address">User address of the first byte.</param>
    sealed record Section(ulong Address, ulong Size, PageAccess Access, bool IsPhysicalMemory = false);

    sealed record View(ulong Address, ulong Size, PageAccess Access, PVOID Object, bool IsPhysicalMemory);

    void Delete(ulong address)
    {
        Section? section;
        lock (gate) sections.Remove(address, out section);
        if (section is { IsPhysicalMemory: false }) machine.Memory.FreeUser(section.Address, section.Size);
    }

    /// <summary>Creates a section that the paging file backs. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="MaximumSize">Bytes.</param>
    /// <param name="SectionPageProtection">What views may allow.</param>
    /// <param name="AllocationAttributes">SEC_COMMIT, perhaps with SEC_NOCACHE; SEC_RESERVE is not supported.</param>
    /// <param name="FileHandle">0: files of devices cannot be mapped.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER_4 (no size), STATUS_INVALID_PARAMETER_6, STATUS_INVALID_PAGE_PROTECTION, STATUS_SECTION_TOO_BIG,
    /// STATUS_INVALID_FILE_FOR_SECTION, STATUS_NO_MEMORY, and those of named objects.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwCreateSection(out HANDLE SectionHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, long? MaximumSize,
        uint SectionPageProtection, uint AllocationAttributes, HANDLE FileHandle)
    {
        SectionHandle = default;
        if ((AllocationAttributes & SEC_RESERVE) != 0) throw machine.BugChecks.StopUnsupported("Sections with SEC_RESERVE are not supported.");
        if (!FileHandle.IsNull || (AllocationAttributes & SEC_IMAGE) != 0) return STATUS_INVALID_FILE_FOR_SECTION;
        if ((AllocationAttributes & ~KnownAttributes) != 0 || (AllocationAttributes & SEC_COMMIT) == 0) return STATUS_INVALID_PARAMETER_6;
        if (VirtualMemory.AccessOf(SectionPageProtection) is not { } access || access == PageAccess.None) return STATUS_INVALID_PAGE_PROTECTION;
        if (MaximumSize is null or <= 0) return STATUS_INVALID_PARAMETER_4;
        PageRange user = machine.Memory.User;
        if ((ulong)MaximumSize > user.End - user.Start) return STATUS_SECTION_TOO_BIG;

        ulong size = ((ulong)MaximumSize + PageMask) & ~PageMask;
        ulong address = machine.VirtualMemory.Reserve(size);
        if (address == 0) return STATUS_NO_MEMORY;
        bool isUsed = false;
        NTSTATUS status = machine.NamedObjects.Create(machine.Objects.Types.Section, ObjectNamespace.OpaqueSize, DesiredAccess, ObjectAttributes, created =>
        {
            isUsed = true;
            lock (gate) sections.Add(created.Address, new Section(address, size, access));
        }, out SectionHandle);
        if (!isUsed) machine.Memory.FreeUser(address, size);
        return status;
    }

    /// <summary>Opens a section by its name. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="NamedObjects.Open"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwOpenSection(out HANDLE SectionHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes) =>
        machine.NamedObjects.Open(machine.Objects.Types.Section, DesiredAccess, ObjectAttributes, out SectionHandle);

    /// <summary>Makes a part of a section visible to a process. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="BaseAddress">0, or where the view will be anyway. Receives where it is.</param>
    /// <param name="CommitSize">Without effect: all of a section is committed.</param>
    /// <param name="SectionOffset">May be null. Rounded down to 64 KiB, for physical memory to a page.</param>
    /// <param name="ViewSize">Bytes, 0 for all up to the end; receives them rounded to whole pages.</param>
    /// <param name="AllocationType">Without effect.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER_4, _8, STATUS_INVALID_PAGE_PROTECTION, STATUS_SECTION_PROTECTION: the section allows less;
    /// STATUS_INVALID_VIEW_SIZE, STATUS_CONFLICTING_ADDRESSES, STATUS_NO_MEMORY, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, ref PVOID BaseAddress, ulong ZeroBits, ulong CommitSize,
        PLARGE_INTEGER SectionOffset, ref ulong ViewSize, SECTION_INHERIT InheritDisposition, uint AllocationType, uint Win32Protect)
    {
        if (ZeroBits > MaximumZeroBits) return STATUS_INVALID_PARAMETER_4;
        if (InheritDisposition is not (SECTION_INHERIT.ViewShare or SECTION_INHERIT.ViewUnmap)) return STATUS_INVALID_PARAMETER_8;
        if (VirtualMemory.AccessOf(Win32Protect) is not { } access) return STATUS_INVALID_PAGE_PROTECTION;
        NTSTATUS status = machine.Handles.Find(SectionHandle, 0, machine.Objects.Types.Section, MODE.KernelMode, out HandleEntry? entry);
        if (status >= 0) status = machine.Handles.FindProcess(ProcessHandle, out _);
        if (status < 0) return status;
        Section section;
        lock (gate) section = sections[entry!.Object.Address];
        if ((access & ~section.Access) != 0) return STATUS_SECTION_PROTECTION;

        ulong unit = section.IsPhysicalMemory ? GuestMemory.PageSize : Granularity;
        ulong offset = SectionOffset.IsNull ? 0 : (ulong)SectionOffset.Value & ~(unit - 1);
        if (offset >= section.Size) return STATUS_INVALID_VIEW_SIZE;
        ulong size = ViewSize == 0 ? section.Size - offset : (ViewSize + PageMask) & ~PageMask;
        if (size == 0 || size > section.Size - offset) return STATUS_INVALID_VIEW_SIZE;
        ulong address = section.Address + offset;
        if (section.IsPhysicalMemory) RequireMemory(offset, size);
        if (!BaseAddress.IsNull && (BaseAddress.Address & ~(Granularity - 1)) != address) return STATUS_CONFLICTING_ADDRESSES;
        if (ZeroBits != 0) return STATUS_NO_MEMORY; // there is none that low

        var target = new PVOID(entry.Object.Address);
        machine.Objects.ObfReferenceObject(target);
        lock (gate)
        {
            views.Add(new View(address, size, access, target, section.IsPhysicalMemory));
            Refresh(address, size);
        }
        BaseAddress = new PVOID(address);
        ViewSize = size;
        if (!SectionOffset.IsNull) SectionOffset.Value = (long)offset;
        return STATUS_SUCCESS;
    }

    // Registers of devices are seen through MmMapIoSpace.
    void RequireMemory(ulong offset, ulong size)
    {
        if (machine.Memory.TryUseFirmware(offset, size)) return;
        if (GuestMemory.IsAccessible(machine.Memory.SliceBase + offset, size, PageAccess.Read) || GuestMemory.IsAccessible(machine.Memory.UserSliceBase + offset, size, PageAccess.Read)) return;
        throw machine.BugChecks.StopUnsupported(
            $@"A view of \Device\PhysicalMemory from 0x{offset:x} on, 0x{size:x} bytes, shows more than memory that is in use; that is not supported.");
    }

    /// <summary>Ends a view. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="BaseAddress">An address in it; of several the newest view ends.</param>
    /// <returns>STATUS_NOT_MAPPED_VIEW, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress)
    {
        NTSTATUS status = machine.Handles.FindProcess(ProcessHandle, out _);
        if (status < 0) return status;
        View view;
        lock (gate)
        {
            int i = views.FindLastIndex(v => BaseAddress.Address - v.Address < v.Size);
            if (i < 0) return STATUS_NOT_MAPPED_VIEW;
            view = views[i];
            views.RemoveAt(i);
            Refresh(view.Address, view.Size);
        }
        machine.Objects.ObfDereferenceObject(view.Object);
        return STATUS_SUCCESS;
    }

    // Each page allows what the views of it allow together.
    void Refresh(ulong address, ulong size)
    {
        for (ulong page = address; page < address + size; page += GuestMemory.PageSize)
        {
            bool isUserMemory = machine.Memory.User.Contains(machine.Memory.SliceBase + AddressSpace.OffsetOf(page));
            PageAccess access = PageAccess.None;
            foreach (View view in views)
            {
                if (page - view.Address < view.Size) access |= view.Access;
            }
            // Physical pages that are user memory are seen by the process without a view.
            if (!isUserMemory || sections.Values.Any(s => !s.IsPhysicalMemory && page - s.Address < s.Size)) machine.Memory.Protect(page, GuestMemory.PageSize, access);
        }
    }
}
