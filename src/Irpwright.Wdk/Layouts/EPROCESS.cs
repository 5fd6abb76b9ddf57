using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A process. Opaque to drivers; only the header is defined here.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EPROCESS
{
    public const int SizeOf = 0x800;

    [FieldOffset(0x000)] public DISPATCHER_HEADER Header;
}
