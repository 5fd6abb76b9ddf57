using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>GUIDs as text: <c>{00000000-0000-0000-0000-000000000000}</c>. IRQL = PASSIVE_LEVEL.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-rtlstringfromguid"/>
public sealed class Guids
{
    const int Bytes = 16;

    readonly Machine machine;

    internal Guids(Machine machine) => this.machine = machine;

    /// <summary>Writes a GUID as text into memory that the caller frees with RtlFreeUnicodeString.</summary>
    /// <param name="Guid">16 bytes.</param>
    /// <returns>STATUS_NO_MEMORY.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlStringFromGUID(PVOID Guid, PUNICODE_STRING GuidString, [Caller] ulong caller = 0) =>
        machine.Strings.Store(GuidString, new Guid(GuestMemory.Read(Guid.Address, Bytes)).ToString("B").ToUpperInvariant(), allocate: true, caller);

    /// <summary>Reads a GUID from text with its braces.</summary>
    /// <param name="Guid">16 bytes.</param>
    /// <returns>STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlGUIDFromString(PUNICODE_STRING GuidString, PVOID Guid)
    {
        if (!System.Guid.TryParseExact(Strings.Read(GuidString), "B", out Guid parsed)) return STATUS_INVALID_PARAMETER;
        MemoryMarshal.AsBytes([parsed]).CopyTo(GuestMemory.Write(Guid.Address, Bytes));
        return STATUS_SUCCESS;
    }
}
