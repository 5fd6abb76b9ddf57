using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Memory descriptor list: a range of virtual memory; the page frame numbers, 8 bytes each, follow at 0x30.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_mdl"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct MDL
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public PMDL Next;
    [FieldOffset(0x08)] public short Size; // bytes, page frame numbers included
    [FieldOffset(0x0A)] public MDL_FLAGS MdlFlags;
    [FieldOffset(0x0C)] public ushort AllocationProcessorNumber;
    [FieldOffset(0x0E)] public ushort Reserved;
    [FieldOffset(0x10)] public PEPROCESS Process;
    [FieldOffset(0x18)] public PVOID MappedSystemVa;
    [FieldOffset(0x20)] public PVOID StartVa; // page aligned
    [FieldOffset(0x28)] public uint ByteCount;
    [FieldOffset(0x2C)] public uint ByteOffset; // of the first byte in its page
}
