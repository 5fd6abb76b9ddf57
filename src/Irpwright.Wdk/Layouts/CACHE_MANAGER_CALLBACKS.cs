using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What the cache manager calls before and after it works on a file by itself.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ccinitializecachemap"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CACHE_MANAGER_CALLBACKS
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public PACQUIRE_FOR_LAZY_WRITE AcquireForLazyWrite;
    [FieldOffset(0x08)] public PRELEASE_FROM_LAZY_WRITE ReleaseFromLazyWrite;
    [FieldOffset(0x10)] public PACQUIRE_FOR_READ_AHEAD AcquireForReadAhead;
    [FieldOffset(0x18)] public PRELEASE_FROM_READ_AHEAD ReleaseFromReadAhead;
}
