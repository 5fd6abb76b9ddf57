using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A range of a cached file that is pinned; what file systems may read of a buffer control block.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_public_bcb"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PUBLIC_BCB
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public short NodeTypeCode;
    [FieldOffset(0x02)] public short NodeByteSize;
    [FieldOffset(0x04)] public uint MappedLength; // bytes
    [FieldOffset(0x08)] public long MappedFileOffset;
}
