using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>A section of an image. Addresses are RVAs, sizes bytes.</summary>
/// <param name="VirtualSize">Size in memory as the header gives it, or SizeOfRawData where that field is 0.</param>
public sealed record ImageSection(
    string Name, uint VirtualAddress, uint VirtualSize, uint PointerToRawData, uint SizeOfRawData, SectionCharacteristics Characteristics)
{
    public bool Contains(uint rva) => rva - VirtualAddress < VirtualSize;

    public bool IsExecutable => Characteristics.HasFlag(SectionCharacteristics.MemoryExecute);

    public bool IsWritable => Characteristics.HasFlag(SectionCharacteristics.MemoryWrite);

    /// <summary>
    /// Gone once DriverEntry has returned: INIT by name, whatever the linker marked, and anything marked discardable.
    /// https://learn.microsoft.com/windows-hardware/drivers/kernel/making-drivers-pageable
    /// </summary>
    public bool IsDiscardable =>
        Characteristics.HasFlag(SectionCharacteristics.MemoryDiscardable) || Name.StartsWith("INIT", StringComparison.Ordinal);

    /// <summary>Pageable by name: #pragma alloc_text(PAGE...) and code_seg("PAGE...").</summary>
    public bool IsPageable =>
        Name.StartsWith("PAGE", StringComparison.Ordinal) && !Characteristics.HasFlag(SectionCharacteristics.MemoryNotPaged);

    /// <summary>
    /// What a driver may do with the section once it is loaded. Code is never writable: Driver Verifier's code integrity checks
    /// reject such a section (bug check 0xC4, 0x2003), and with HVCI Windows enforces it.
    /// </summary>
    public PageAccess Access
    {
        get
        {
            PageAccess access = IsPageable ? PageAccess.Pageable : PageAccess.None;
            if (IsExecutable) return access | PageAccess.Read | PageAccess.Execute;
            if (IsWritable) return access | PageAccess.ReadWrite;
            return Characteristics.HasFlag(SectionCharacteristics.MemoryRead) ? access | PageAccess.Read : PageAccess.None;
        }
    }
}
