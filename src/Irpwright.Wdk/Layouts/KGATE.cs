using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Gate object, a dispatcher object of the kernel's own.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KGATE
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
}
