using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Notification or synchronization event; the type is in the header.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KEVENT
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
}
