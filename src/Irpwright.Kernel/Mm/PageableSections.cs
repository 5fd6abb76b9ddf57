using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Sections of driver images that drivers lock into memory and make pageable again.</summary>
/// <remarks>
/// Nothing is ever paged out; whether a page could be is its <see cref="PageAccess.Pageable"/> flag. C# drivers have no sections: their
/// routines count as resident, and locking them only counts.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/making-drivers-pageable"/>
public sealed class PageableSections
{
    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Image> images = [];
    // Locked routines of C# drivers by address.
    readonly Dictionary<ulong, Section> routines = [];

    sealed class Section(ulong address, ulong size, bool isPageable)
    {
        public readonly ulong Address = address, Size = size;
        public readonly bool IsPageable = isPageable;
        public int Locks;
    }

    sealed record Image(ulong Base, ulong Size, IReadOnlyList<Section> Sections)
    {
        public bool IsEntirelyPageable;
    }

    internal PageableSections(Machine machine) => this.machine = machine;

    /// <summary>Makes the sections of an image known.</summary>
    public void Add(ulong imageBase, ulong size, IEnumerable<(ulong Address, ulong Size, bool IsPageable)> sections)
    {
        lock (gate) images.Add(new Image(imageBase, size, [.. sections.Select(s => new Section(s.Address, s.Size, s.IsPageable))]));
    }

    /// <summary>Forgets an image that is unloaded.</summary>
    public void Remove(ulong imageBase)
    {
        lock (gate)
        {
            foreach (Image image in images.Where(image => image.Base == imageBase)) machine.Shadow?.Set(image.Base, image.Size, ByteState.None);
            images.RemoveAll(image => image.Base == imageBase);
        }
    }

    /// <summary>Marks the pages of an image as its sections are now, after they got the access that they were made with.</summary>
    public void Apply(ulong imageBase)
    {
        lock (gate)
        {
            if (images.Find(image => image.Base == imageBase) is { } image) Apply(image);
        }
    }

    void Apply(Image image)
    {
        foreach (Section section in image.Sections) Apply(image, section);
    }

    void Apply(Image image, Section section)
    {
        bool isPageable = section.Locks == 0 && (section.IsPageable || image.IsEntirelyPageable);
        machine.Memory.SetPageable(section.Address, section.Size, isPageable);
        if (isPageable) machine.Shadow?.Add(section.Address, section.Size, ByteState.Pageable);
    }

    /// <summary>Locks the section that holds an address into memory. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>A handle to the section.</returns>
    /// <exception cref="BugCheckException">MEMORY_MANAGEMENT, 0x1234: no section is there.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID MmLockPagableDataSection(PVOID AddressWithinSection)
    {
        lock (gate)
        {
            Section section = Find(AddressWithinSection.Address, out Image? image) ?? NoSection(AddressWithinSection);
            Lock(image, section);
            return new PVOID(section.Address);
        }
    }

    /// <summary>The header's name for <see cref="MmLockPagableDataSection"/>.</summary>
    [WdkInline]
    public PVOID MmLockPagableCodeSection(PVOID Address) => MmLockPagableDataSection(Address);

    /// <summary>Locks a section once more. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="ImageSectionHandle">From <see cref="MmLockPagableDataSection"/>.</param>
    /// <exception cref="BugCheckException">MEMORY_MANAGEMENT, 0x1234: it is no handle.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void MmLockPagableSectionByHandle(PVOID ImageSectionHandle)
    {
        lock (gate) Lock(image: FindHandle(ImageSectionHandle, out Section section), section);
    }

    /// <summary>Takes one lock of a section back; after the last it is as pageable as it was made. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="ImageSectionHandle">From <see cref="MmLockPagableDataSection"/>.</param>
    /// <exception cref="BugCheckException">MEMORY_MANAGEMENT: 0x1010, it is not locked; 0x1234, it is no handle.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void MmUnlockPagableImageSection(PVOID ImageSectionHandle)
    {
        lock (gate)
        {
            Image? image = FindHandle(ImageSectionHandle, out Section section);
            if (section.Locks == 0)
            {
                throw machine.BugChecks.Stop(BugCheckCode.MEMORY_MANAGEMENT, 0x1010, section.Address, 0, 0,
                    $"MmUnlockPagableImageSection was called for the section at {Format.Address(section.Address)}, which is not locked.");
            }
            section.Locks--;
            if (image is not null) Apply(image, section);
        }
    }

    /// <summary>Makes every section of a driver pageable that is not locked. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>Where the driver's image begins; for a C# driver the address given.</returns>
    /// <exception cref="BugCheckException">MEMORY_MANAGEMENT, 0x1234: no driver is there.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID MmPageEntireDriver(PVOID AddressWithinSection) => SetEntirelyPageable(AddressWithinSection, true);

    /// <summary>Undoes <see cref="MmPageEntireDriver"/>. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">MEMORY_MANAGEMENT, 0x1234: no driver is there.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void MmResetDriverPaging(PVOID AddressWithinSection) => SetEntirelyPageable(AddressWithinSection, false);

    PVOID SetEntirelyPageable(PVOID address, bool pageable)
    {
        lock (gate)
        {
            if (images.Find(i => address.Address - i.Base < i.Size) is not { } image)
            {
                if (IsRoutine(address.Address)) return address;
                NoSection(address);
                return default;
            }
            image.IsEntirelyPageable = pageable;
            Apply(image);
            return new PVOID(image.Base);
        }
    }

    void Lock(Image? image, Section section)
    {
        section.Locks++;
        if (image is not null) Apply(image, section);
    }

    Section? Find(ulong address, out Image? image)
    {
        foreach (Image candidate in images)
        {
            if (candidate.Sections.FirstOrDefault(s => address - s.Address < s.Size) is not { } section) continue;
            image = candidate;
            return section;
        }
        image = null;
        if (!IsRoutine(address)) return null;
        if (!routines.TryGetValue(address, out Section? routine)) routines.Add(address, routine = new Section(address, 0, false));
        return routine;
    }

    Image? FindHandle(PVOID handle, out Section section)
    {
        Section? found = Find(handle.Address, out Image? image);
        section = found?.Address == handle.Address ? found : NoSection(handle);
        return image;
    }

    bool IsRoutine(ulong address) => machine.Code.RoutineAt(address) is not null;

    [DoesNotReturn]
    Section NoSection(PVOID address) =>
        throw machine.BugChecks.Stop(BugCheckCode.MEMORY_MANAGEMENT, 0x1234, address.Address, 0, 0,
            $"A driver locks or unlocks the pageable section at {address}, but no section of a driver is there.");
}
