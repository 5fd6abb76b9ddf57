using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Set when the data of a file that is no longer cached has been written.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ccuninitializecachemap"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct CACHE_UNINITIALIZE_EVENT
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public PCACHE_UNINITIALIZE_EVENT Next; // opaque to drivers
    [FieldOffset(0x08)] public KEVENT Event;
}
