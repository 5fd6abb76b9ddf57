using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A bitmap. Opaque to drivers.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct RTL_BITMAP
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public uint SizeOfBitMap; // bits
    [FieldOffset(0x08)] public PULONG Buffer;
}
