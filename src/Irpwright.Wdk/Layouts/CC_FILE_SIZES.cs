using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The sizes of a file, as its file system tells the cache manager.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ccinitializecachemap"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CC_FILE_SIZES
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public long AllocationSize; // bytes
    [FieldOffset(0x08)] public long FileSize; // bytes
    [FieldOffset(0x10)] public long ValidDataLength; // bytes; long.MaxValue: nobody is to be told
}
