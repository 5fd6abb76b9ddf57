using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A thread, also the start of ETHREAD. Opaque to drivers; only the header is defined here.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KTHREAD
{
    public const int SizeOf = 0x600;

    [FieldOffset(0x000)] public DISPATCHER_HEADER Header;
}
