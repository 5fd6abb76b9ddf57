using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A process. Opaque to drivers; defined here is what the kernel itself uses.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EPROCESS
{
    public const int SizeOf = 0x800;

    [FieldOffset(0x000)] public DISPATCHER_HEADER Header;
    [FieldOffset(0x440)] public HANDLE UniqueProcessId;
    [FieldOffset(0x540)] public HANDLE InheritedFromUniqueProcessId;
    [FieldOffset(0x5A8)] public ImageFileNameArray ImageFileName; // the first characters of it, terminated

    [InlineArray(15)]
    public struct ImageFileNameArray
    {
        byte element;
    }
}
